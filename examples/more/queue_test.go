// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

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

// TestQueueRolls: two consumers are replaced at once while messages come. What they
// have handled is acknowledged, and what they leave comes to the next ones: each message
// is handled once, and none is left until its time is over.
func TestQueueRolls(t *testing.T) {
	t.Parallel()
	_, url := startNATS(t)
	conn, err := nats.Connect(url)
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)

	const messages, before = 600, 50
	old := []program{start(t, "queue", "NATS_URL="+url), start(t, "queue", "NATS_URL="+url)}
	for i := range messages {
		_, err := js.Publish(t.Context(), "orders.new", fmt.Append(nil, i))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		return len(handled(old[0].Output())) > before && len(handled(old[1].Output())) > before
	}, patience, time.Millisecond)
	next := []program{start(t, "queue", "NATS_URL="+url), start(t, "queue", "NATS_URL="+url)}
	for _, p := range old {
		require.NoError(t, p.Signal(syscall.SIGTERM))
	}
	var outputs []string
	for _, p := range old {
		code, _ := p.Wait()
		assert.Zero(t, code, p.Output())
		outputs = append(outputs, p.Output())
	}
	require.Less(t, len(handled(outputs...)), messages, "nothing is left to the next ones, so this test tests nothing")

	// Less than the 30 s after which JetStream delivers again what nobody acknowledges.
	assert.Eventually(t, func() bool {
		return len(handled(append(outputs, next[0].Output(), next[1].Output())...)) == messages
	}, 25*time.Second, 10*time.Millisecond, "a message is lost, or waits")
	for _, p := range next {
		code, _ := p.end()
		assert.Zero(t, code, p.Output())
		outputs = append(outputs, p.Output())
	}
	consumer, err := js.Consumer(t.Context(), "ORDERS", "workers")
	require.NoError(t, err)
	info, err := consumer.Info(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, messages, info.AckFloor.Stream)
	assert.Equal(t, []int{0, 0}, []int{info.NumAckPending, int(info.NumPending)})
	all := handled(outputs...)
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
