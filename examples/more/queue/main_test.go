// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/drain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is less than the time after which a message that nobody acknowledges is
// delivered again.
const patience = 20 * time.Second

// startNATS starts a server in this process, and returns where it is.
func startNATS(t *testing.T) (url string, end func()) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	require.NoError(t, err)
	s.Start()
	require.True(t, s.ReadyForConnections(patience))
	end = func() {
		s.Shutdown()
		s.WaitForShutdown()
	}
	t.Cleanup(end)
	return s.ClientURL(), end
}

// startConsumer starts a consumer whose handle tells what it is given and then asks
// what to do.
func startConsumer(t *testing.T, url string, handle func(context.Context, []byte) error) *consumer {
	t.Helper()
	c := &consumer{broker: startBroker(t, url), handle: handle}
	require.NoError(t, c.start(t.Context()))
	return c
}

func startBroker(t *testing.T, url string) *broker {
	t.Helper()
	b := &broker{url: url}
	require.NoError(t, b.open(t.Context()))
	t.Cleanup(func() { b.close(context.Background()) })
	return b
}

func publish(t *testing.T, c *consumer, n int) {
	t.Helper()
	for i := range n {
		_, err := c.js.Publish(t.Context(), "orders.new", fmt.Append(nil, i))
		require.NoError(t, err)
	}
}

func info(t *testing.T, c *consumer) *jetstream.ConsumerInfo {
	t.Helper()
	i, err := c.from.Info(t.Context())
	require.NoError(t, err)
	return i
}

// within waits for a value, and fails the test if there is none.
func within[T any](t *testing.T, values <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-time.After(patience):
		require.Fail(t, what)
		panic("unreachable")
	}
}

// TestDrainFinishesWhatIsHandled, once, and gives back what was ahead of it: another
// consumer has that at once, and not when nobody has acknowledged it for 30 s.
func TestDrainFinishesWhatIsHandled(t *testing.T) {
	url, _ := startNATS(t)
	begun, finish := make(chan string, 100), make(chan struct{})
	finishAll := sync.OnceFunc(func() { close(finish) })
	defer finishAll()
	old := startConsumer(t, url, func(ctx context.Context, message []byte) error {
		begun <- string(message)
		select {
		case <-finish:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	const messages = 20
	publish(t, old, messages)
	assert.Equal(t, "0", within(t, begun, "nothing is handled"))
	require.Eventually(t, func() bool { return info(t, old).NumAckPending == 10 }, patience, time.Millisecond, "messages are taken ahead")

	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		drained <- old.drain(ctx)
	}()
	within(t, old.taken.Draining(), "what is taken is not drained")
	select {
	case err := <-drained:
		require.Fail(t, "the message in hand is left behind", err)
	case <-time.After(100 * time.Millisecond): // it has nothing else to wait for
	}
	finishAll()
	require.NoError(t, within(t, drained, "it does not drain"))
	assert.Empty(t, begun, "another one is begun during the drain")
	assert.EqualValues(t, 1, info(t, old).AckFloor.Stream, "what was handled is acknowledged")
	old.close(context.Background())

	handled := make(chan string, 100)
	next := startConsumer(t, url, func(_ context.Context, message []byte) error { handled <- string(message); return nil })
	got := make(map[string]int)
	for range messages - 1 {
		got[within(t, handled, "a message is lost, or waits until its time is over")]++
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, next.drain(ctx))
	assert.Empty(t, handled, "a message is handled twice")
	assert.Len(t, got, messages-1)
	assert.NotContains(t, got, "0")
	assert.EqualValues(t, messages, info(t, next).AckFloor.Stream)
}

// TestCloseWithoutDrainLosesTheAck is what TestDrainFinishesWhatIsHandled is measured
// against: what has been handled is delivered once more, and what was ahead waits.
func TestCloseWithoutDrainLosesTheAck(t *testing.T) {
	url, _ := startNATS(t)
	begun, finish, finished := make(chan struct{}, 100), make(chan struct{}), make(chan struct{}, 100)
	old := startConsumer(t, url, func(context.Context, []byte) error {
		begun <- struct{}{}
		<-finish
		finished <- struct{}{}
		return nil
	})
	other := startBroker(t, url)
	publish(t, old, 20)
	within(t, begun, "nothing is handled")
	require.Eventually(t, func() bool { return info(t, old).NumAckPending == 10 }, patience, time.Millisecond)
	old.close(context.Background())
	close(finish)
	within(t, finished, "it is not finished")
	from, err := other.js.Consumer(t.Context(), "ORDERS", "workers")
	require.NoError(t, err)
	i, err := from.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []int{0, 10}, []int{int(i.AckFloor.Stream), i.NumAckPending}, "the baseline loses nothing, so this test tests nothing")
}

// TestHandlingIsToldBeforeTheEnd: it has some time left to put its work away, and its
// message is another's. One that does not listen is named.
func TestHandlingIsToldBeforeTheEnd(t *testing.T) {
	url, _ := startNATS(t)
	begun := make(chan struct{}, 1)
	told := make(chan time.Time, 1)
	c := startConsumer(t, url, func(ctx context.Context, _ []byte) error {
		begun <- struct{}{}
		<-ctx.Done()
		told <- time.Now()
		return context.Cause(ctx)
	})
	publish(t, c, 1)
	within(t, begun, "nothing is handled")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	assert.NoError(t, c.drain(ctx))
	deadline, _ := ctx.Deadline()
	assert.True(t, within(t, told, "it is not told").Before(deadline))
	next := startConsumer(t, url, func(context.Context, []byte) error { begun <- struct{}{}; return nil })
	within(t, begun, "the message is lost, or waits until its time is over")
	require.NoError(t, next.drain(t.Context()))
	assert.EqualValues(t, 1, info(t, next).AckFloor.Stream)
}

func TestHandlingThatDoesNotListenIsNamed(t *testing.T) {
	url, _ := startNATS(t)
	begun, release := make(chan struct{}, 1), make(chan struct{})
	c := startConsumer(t, url, func(context.Context, []byte) error { begun <- struct{}{}; <-release; return nil })
	defer close(release)
	publish(t, c, 1)
	within(t, begun, "nothing is handled")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := c.drain(ctx)
	assert.ErrorIs(t, err, drain.ErrCut)
	assert.ErrorContains(t, err, "orders.new")
}

// TestDrainWithoutItsBroker: there is nothing to wait for.
func TestDrainWithoutItsBroker(t *testing.T) {
	url, end := startNATS(t)
	c := startConsumer(t, url, func(context.Context, []byte) error { return nil })
	end()
	drained := make(chan error, 1)
	require.Eventually(t, func() bool { return !c.conn.IsConnected() }, patience, time.Millisecond)
	go func() { drained <- c.drain(context.Background()) }()
	assert.NoError(t, within(t, drained, "it waits for NATS"))
}

func TestOpenThatIsToldToStop(t *testing.T) {
	url, end := startNATS(t)
	end()
	ctx, cancel := context.WithCancel(context.Background())
	opened := make(chan error, 1)
	go func() { opened <- (&broker{url: url}).open(ctx) }()
	select {
	case err := <-opened:
		require.Fail(t, "it does not wait", err)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	assert.ErrorIs(t, within(t, opened, "it goes on"), context.Canceled)
}
