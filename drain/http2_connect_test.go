// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// connectWebSocket is the header block of an extended CONNECT (RFC 8441, section 5).
const connectWebSocket = "\x00\x07:method\x07CONNECT" + "\x00\x09:protocol\x09websocket" + "\x86\x84\x41\x01a"

// A WebSocket over HTTP/2 is a stream that does not end by itself: it is told once its
// client is, and waited for. net/http reads whether it takes extended CONNECTs when the
// process starts.
func TestHTTP2ExtendedConnectIsToldAndWaitedFor(t *testing.T) {
	const debug = "http2xconnect=1"
	if !strings.Contains(os.Getenv("GODEBUG"), debug) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG="+debug)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: "+t.Name()+"/TLS")
		return
	}
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		told := make(chan time.Time, 1)
		r := start(&drain.Server{Floor: time.Second, Spread: -1}, func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, http.MethodConnect, r.Method)
			assert.Equal(t, "websocket", r.Header.Get(":protocol"))
			control := http.NewResponseController(w)
			assert.NoError(t, control.Flush())
			echo := make(chan struct{})
			go func() {
				defer close(echo)
				for buf := make([]byte, 100); ; {
					n, err := r.Body.Read(buf)
					if err != nil {
						return
					}
					w.Write(buf[:n])
					control.Flush()
				}
			}()
			<-drain.Draining(r.Context())
			told <- time.Now()
			<-echo // the client's farewell, in the protocol that is spoken
		})
		c := dial(r).http2("")
		c.mute = true
		synctest.Wait()
		require.Contains(t, c.of(h2Settings)[0].payload, "\x00\x08\x00\x00\x00\x01", "SETTINGS_ENABLE_CONNECT_PROTOCOL")
		c.send(h2Headers, h2EndHeaders, 1, connectWebSocket)
		c.send(h2Data, 0, 1, "before")
		synctest.Wait()
		t0 := time.Now()
		time.AfterFunc(300*time.Millisecond, func() {
			assert.Equal(t, []uint32{highestStream}, c.goAways())
			assert.Empty(t, told, "the client does not know yet where not to come back")
			c.send(h2Ping, h2Ack, 0, c.of(h2Ping)[0].payload)
		})
		time.AfterFunc(7*time.Second, func() {
			c.send(h2Data, 0, 1, "while draining")
			synctest.Wait()
			assert.False(t, c.answered(1))
			c.send(h2Data, h2EndStream, 1, "")
			synctest.Wait()
			assert.True(t, c.answered(1))
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 300*time.Millisecond, (<-told).Sub(t0))
		assert.Equal(t, 8*time.Second, took, "and net/http's second after its GOAWAY")
		var got []string
		for _, f := range c.of(h2Data) {
			got = append(got, f.payload)
		}
		assert.Equal(t, []string{"before", "while draining", ""}, got)
		assert.Empty(t, report.Cut)
		<-c.end
		r.nothingOpen()
	})
}
