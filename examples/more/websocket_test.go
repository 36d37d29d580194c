// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/proc"
)

const (
	talkers = 200
	pause   = 50 * time.Millisecond // of a talker, between an echo and the next message
)

// A talker is a client that sends a message, waits for its echo and pauses, until
// the connection ends. Its fields may be read once it has.
type talker struct {
	sent, echoed int
	err          error // what the last Read said
	ended        time.Time
}

// talk opens connections and returns once each has had an echo. The function that
// it returns waits for their ends.
func talk(t *testing.T, addr string) (wait func() []talker) {
	t.Helper()
	all := make([]talker, talkers)
	var first, last sync.WaitGroup
	for i := range all {
		conn := dial(t, addr)
		first.Add(1)
		last.Go(func() { all[i].talk(t.Context(), conn, sync.OnceFunc(first.Done)) })
	}
	first.Wait()
	return func() []talker {
		last.Wait()
		return all
	}
}

func dial(t *testing.T, addr string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/echo", nil)
	require.NoError(t, err)
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

func (c *talker) talk(ctx context.Context, conn *websocket.Conn, begun func()) {
	defer begun()
	echoes := make(chan string)
	go func() { // it reads at all times, to hear of the end
		defer close(echoes)
		for {
			_, message, err := conn.Read(ctx)
			if err != nil {
				c.err, c.ended = err, time.Now()
				return
			}
			echoes <- string(message)
		}
	}()
	for {
		message := fmt.Sprint("message ", c.sent)
		if conn.Write(ctx, websocket.MessageText, []byte(message)) == nil {
			c.sent++
		}
		if <-echoes == message {
			c.echoed++
		}
		begun()
		select {
		case _, ok := <-echoes:
			if !ok {
				return
			}
		case <-time.After(pause):
		}
	}
}

// count returns how the connections ended, how many messages stayed without an
// echo, and when the ends were.
func count(all []talker) (ends map[string]int, sent, lost int, instants []time.Time) {
	ends = make(map[string]int)
	for _, c := range all {
		end := "1006: closed without a farewell"
		if status := websocket.CloseStatus(c.err); status != -1 {
			end = status.String()
		}
		ends[end]++
		sent += c.sent
		lost += c.sent - c.echoed
		instants = append(instants, c.ended)
	}
	return ends, sent, lost, instants
}

// TestWebSocketsAreToldToGo is about clients that have nothing on their way when
// they are told. On a machine that stalls for longer than a talker pauses, between
// an echo and the farewell, that is not so, and the test has to be done again;
// with a farewell that does not wait for an echo each run loses tens of messages.
func TestWebSocketsAreToldToGo(t *testing.T) {
	lost := -1
	for range 3 {
		if lost = terminate(t); lost == 0 {
			break
		}
	}
	assert.Zero(t, lost, "messages without an echo, in each of three runs")
}

// terminate runs websocket under talkers, checks how it ends and returns how many
// messages were lost.
func terminate(t *testing.T) (lost int) {
	t.Helper()
	const floor = 2 * time.Second
	p := start(t, "websocket", "SHUTDOWN_DELAY="+floor.String(), "GRACE_PERIOD=20s")
	wait := talk(t, p.Addr)
	code, took := p.end()
	ends, sent, lost, instants := count(wait())
	t.Logf("%d connections: %v; %d of %d messages lost; farewells over %v; exit after %v", talkers, ends, lost, sent, apart(instants), took)

	assert.Equal(t, map[string]int{websocket.StatusGoingAway.String(): talkers}, ends)
	assert.GreaterOrEqual(t, apart(instants), time.Second)
	assert.Zero(t, code, p.Output())
	assert.Less(t, took, floor+3*time.Second)
	report := p.Line("instant=Drained")
	assert.Contains(t, report, fmt.Sprintf("hijacked=%d ", talkers))
	assert.Contains(t, report, "hijacked_cut=0 ")
	return lost
}

// TestShutdownTellsNoWebSocket is what TestWebSocketsAreToldToGo is measured
// against.
func TestShutdownTellsNoWebSocket(t *testing.T) {
	p := program{proc.Serve(t, os.Args[0], naiveEnv+"=websocket", "GORACE=atexit_sleep_ms=0")} // no pause of the race detector's own
	wait := talk(t, p.Addr)
	code, took := p.end()
	ends, sent, lost, instants := count(wait())
	t.Logf("%d connections: %v; %d of %d messages lost; ends over %v; exit after %v", talkers, ends, lost, sent, apart(instants), took)

	assert.Zero(t, code, p.Output())
	assert.Equal(t, map[string]int{"1006: closed without a farewell": talkers}, ends)
}

// A silent client has no next message after which it could be told.
func TestASilentWebSocketIsToldToGo(t *testing.T) {
	p := start(t, "websocket", "GRACE_PERIOD=20s")
	conn := dial(t, p.Addr)
	status := make(chan websocket.StatusCode, 1)
	go func() {
		_, _, err := conn.Read(t.Context())
		status <- websocket.CloseStatus(err)
	}()
	code, took := p.end()
	assert.Zero(t, code, p.Output())
	assert.Less(t, took, 3*time.Second)
	assert.Equal(t, websocket.StatusGoingAway, <-status)
}

func TestAWebSocketThatIgnoresTheFarewellIsCut(t *testing.T) {
	const grace = 4 * time.Second
	p := start(t, "websocket", "GRACE_PERIOD="+grace.String())
	conn := dial(t, p.Addr)
	require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte("hello")))
	_, _, err := conn.Read(t.Context())
	require.NoError(t, err)
	code, took := p.end() // while nothing reads from conn
	assert.Equal(t, 4, code, p.Output())
	assert.Less(t, took, grace)
	line := p.Line("left behind")
	t.Logf("exit after %v: %.300s", took, line)
	assert.Contains(t, line, "hijacked connection from 127.0.0.1:")
	assert.Contains(t, line, "/echo")
}
