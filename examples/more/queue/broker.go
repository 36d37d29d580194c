// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"fmt"
	"log/slog"
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
	away string // why it is away, as it was logged last; of the callbacks, which come one by one
}

// open returns when NATS is there: a process that leaves instead is started again and
// again, each time a little later.
func (b *broker) open(ctx context.Context) (err error) {
	b.conn, err = nats.Connect(b.url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(500*time.Millisecond),
		nats.DisconnectErrHandler(b.complain), nats.ReconnectErrHandler(b.complain))
	if err != nil {
		return err
	}
	changed := b.conn.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer b.conn.RemoveStatusListener(changed)
	if !b.conn.IsConnected() {
		select {
		case <-changed:
		case <-ctx.Done():
			b.conn.Close()
			return ctx.Err()
		}
	}
	if b.conn.IsClosed() {
		return b.conn.LastError() // it has been refused, and would be again
	}
	b.js, err = jetstream.New(b.conn)
	return err
}

// complain logs why NATS is away, and that only when it is another reason than before.
func (b *broker) complain(_ *nats.Conn, err error) {
	if err != nil && err.Error() != b.away {
		b.away = err.Error()
		slog.Warn("NATS is away", "error", err)
	}
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

// start makes the stream and its durable consumer, which replicas share.
func (c *consumer) start(ctx context.Context) error {
	for last := ""; ; {
		err := c.create(ctx)
		if err == nil {
			break
		}
		if text := err.Error(); text != last { // JetStream comes up after NATS, or is not set up at all
			slog.Warn("waiting for JetStream", "error", err)
			last = text
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
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
	// AckWait is for the few messages together that are ahead, not for one.
	c.from, err = c.js.CreateOrUpdateConsumer(ctx, "ORDERS",
		jetstream.ConsumerConfig{Durable: "workers", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second})
	return err
}

// take handles a message. One whose handling fails, or that is not acknowledged since
// the grace period is over, is delivered again; so handle has to bear that.
func (c *consumer) take(m jetstream.Msg) {
	ctx, done, err := c.taken.Start(context.Background(), m.Subject())
	if err != nil {
		m.Nak() // shutting down: for another replica, at once
		return
	}
	defer done()
	if err := c.handle(ctx, m.Data()); err != nil {
		slog.Error("message", "subject", m.Subject(), "error", err)
		m.Nak()
		return
	}
	if err := m.DoubleAck(ctx); err != nil { // until NATS has it: the connection is closed next
		slog.Error("message is handled and will come again", "subject", m.Subject(), "error", err)
	}
}

func (c *consumer) ready(ctx context.Context) error {
	_, err := c.from.Info(ctx)
	return err
}

// drain asks for no more, finishes the message that is being handled, and gives back
// those that are ahead.
func (c *consumer) drain(ctx context.Context) error {
	c.running.Drain()
	err := c.taken.Drain(ctx)
	if c.answers(ctx) { // else there is nobody to give them back to, and NATS would be waited for 10 s
		select {
		case <-c.running.Closed():
		case <-ctx.Done():
		}
	}
	return err
}

// answers reports whether NATS is there, and says something within two seconds.
func (c *consumer) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.conn.IsConnected() && c.conn.FlushWithContext(ctx) == nil
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
