// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// A Consumer takes messages from a queue, one at a time.
type Consumer struct {
	Queue  <-chan string
	Handle func(ctx context.Context, msg string)

	work drain.Tracker
}

// Run returns once the consumer is told to stop.
func (c *Consumer) Run(ctx context.Context) {
	for c.next(ctx) == nil {
	}
}

// next handles a message. It takes the slot first: a message that has come in need
// not be given back then.
func (c *Consumer) next(ctx context.Context) error {
	ctx, done, err := c.work.Start(ctx, "message")
	if err != nil {
		return err
	}
	defer done()
	select {
	case <-c.work.Draining():
	case msg := <-c.Queue:
		c.Handle(ctx, msg)
	}
	return nil
}

// Stop returns when no message is at work.
func (c *Consumer) Stop(ctx context.Context) error { return c.work.Drain(ctx) }

// A queue consumer that is told to stop takes no more messages, and finishes the one
// it has begun.
func ExampleTracker() {
	queue := make(chan string, 2)
	queue <- "first"
	queue <- "second"
	begun := make(chan string)
	consumer := &Consumer{Queue: queue}
	consumer.Handle = func(ctx context.Context, msg string) {
		begun <- msg
		select {
		case <-consumer.work.Draining(): // the work takes until just then
			fmt.Println("finished:", msg)
		case <-ctx.Done(): // the deadline is near: time to put the work away
		}
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		consumer.Run(context.Background())
	}()
	fmt.Println("begun:", <-begun)

	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	fmt.Println("error:", consumer.Stop(ctx))
	<-stopped
	fmt.Println("left in the queue:", <-queue)
	// Output:
	// begun: first
	// finished: first
	// error: <nil>
	// left in the queue: second
}

// Work that begins while the tracker drains is refused; what had begun is waited for.
func ExampleTracker_Start() {
	var work drain.Tracker
	_, done, err := work.Start(context.Background(), "import of 7.csv")
	fmt.Println("in flight:", work.InFlight(), "error:", err)

	drained := make(chan error)
	go func() { drained <- work.Drain(context.Background()) }()
	<-work.Draining()
	_, _, err = work.Start(context.Background(), "import of 8.csv")
	fmt.Println("refused:", errors.Is(err, drain.ErrDraining))
	done()
	fmt.Println("drained:", <-drained, "in flight:", work.InFlight())
	// Output:
	// in flight: 1 error: <nil>
	// refused: true
	// drained: <nil> in flight: 0
}
