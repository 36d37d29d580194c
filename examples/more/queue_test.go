// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// handled counts how often the consumers have said of each message that it is handled.
func handled(outputs ...string) map[string]int {
	counts := make(map[string]int)
	for _, out := range outputs {
		for line := range strings.Lines(out) {
			if message, found := strings.CutPrefix(strings.TrimSpace(line), "handled "); found {
				counts[message]++
			}
		}
	}
	return counts
}

// TestQueueRolls: a consumer is replaced while messages come, and each is handled once
// and acknowledged, none delivered twice.
func TestQueueRolls(t *testing.T) {
	t.Parallel()
	_, url := startNATS(t)
	conn, err := nats.Connect(url)
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)

	const messages, before = 300, 100
	old := start(t, "queue", "NATS_URL="+url)
	for i := range messages {
		_, err := js.Publish(t.Context(), "orders.new", fmt.Append(nil, i))
		require.NoError(t, err)
	}
	old.Await(fmt.Sprintf("handled %d\n", before), patience) // and more are taken
	require.NoError(t, old.Signal(syscall.SIGTERM))
	code, _ := old.Wait()
	assert.Zero(t, code, old.Output())
	first := handled(old.Output())
	assert.Less(t, len(first), messages, "nothing is left to the next one, so this test tests nothing")

	consumer, err := js.Consumer(t.Context(), "ORDERS", "workers")
	require.NoError(t, err)
	info, err := consumer.Info(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, len(first), info.Delivered.Consumer, "what was taken is finished")
	assert.Zero(t, info.NumAckPending)

	next := start(t, "queue", "NATS_URL="+url)
	next.Await(fmt.Sprintf("handled %d\n", messages-1), patience)
	code, _ = next.end()
	assert.Zero(t, code, next.Output())
	info, err = consumer.Info(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, messages, info.AckFloor.Stream)
	assert.EqualValues(t, messages, info.Delivered.Consumer, "none is delivered twice")
	assert.Equal(t, []int{0, 0}, []int{info.NumAckPending, int(info.NumPending)})
	all := handled(old.Output(), next.Output())
	assert.Len(t, all, messages)
	for message, n := range all {
		assert.Equal(t, 1, n, "message %s", message)
	}
}

func TestQueueNamesItsBroker(t *testing.T) {
	t.Parallel()
	broker, url := startNATS(t)
	p := start(t, "queue", "NATS_URL="+url)
	awaitReadiness(t, p.Probe, 200, "ok\n")
	broker.end()
	awaitReadiness(t, p.Probe, 503, "not ready: nats; skipped: orders\n")
	broker.begin()
	awaitReadiness(t, p.Probe, 200, "ok\n")

	conn, err := nats.Connect(url)
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "orders.new", []byte("after"))
	require.NoError(t, err)
	p.Await("handled after\n", patience)
	code, _ := p.end()
	assert.Zero(t, code, p.Output())
}
