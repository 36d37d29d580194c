// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/lameduck-go/lameduck/drain"
)

// A broker is the connection to NATS, which is made again when it breaks.
type broker struct {
	url  string
	conn *nats.Conn
	js   jetstream.JetStream
}

func (b *broker) open(context.Context) (err error) {
	b.conn, err = nats.Connect(b.url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	b.js, err = jetstream.New(b.conn)
	return err
}

func (b *broker) ready(ctx context.Context) error {
	if s := b.conn.Status(); s != nats.CONNECTED {
		return fmt.Errorf("%v", s)
	}
	return b.conn.FlushWithContext(ctx)
}

func (b *broker) close(context.Context) error {
	b.conn.Close() // what had to be said was answered
	return nil
}

// A consumer takes messages from a stream, a few ahead, and handles one at a time.
type consumer struct {
	*broker
	handle  func(ctx context.Context, message []byte) error
	from    jetstream.Consumer
	running jetstream.ConsumeContext
	taken   drain.Tracker
}

// start makes the stream and its durable consumer, which replicas share, and waits for
// NATS if it is away.
func (c *consumer) start(ctx context.Context) error {
	for {
		err := c.create(ctx)
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
	var err error
	c.running, err = c.from.Consume(c.take, jetstream.PullMaxMessages(10))
	return err
}

func (c *consumer) create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.*"}}); err != nil {
		return err
	}
	var err error
	c.from, err = c.js.CreateOrUpdateConsumer(ctx, "ORDERS", jetstream.ConsumerConfig{Durable: "workers", AckPolicy: jetstream.AckExplicitPolicy})
	return err
}

// take handles a message. One whose handling fails, or that is not acknowledged since
// the grace period is over, is delivered again; so handle has to bear that.
func (c *consumer) take(m jetstream.Msg) {
	ctx, done, err := c.taken.Start(context.Background(), m.Subject())
	if err != nil {
		m.Nak() // for another replica, at once
		return
	}
	defer done()
	if c.handle(ctx, m.Data()) != nil {
		m.Nak()
		return
	}
	m.DoubleAck(ctx) // until NATS has it: the connection is closed next
}

func (c *consumer) ready(ctx context.Context) error {
	_, err := c.from.Info(ctx)
	return err
}

// drain asks for no more, and returns when all that was sent by then is handled.
func (c *consumer) drain(ctx context.Context) error {
	c.running.Drain()
	select {
	case <-c.running.Closed():
	case <-ctx.Done():
	}
	return c.taken.Drain(ctx)
}

// handle stands for work.
func handle(ctx context.Context, message []byte) error {
	select {
	case <-time.After(10 * time.Millisecond):
		fmt.Printf("handled %s\n", message)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
