// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// A client that reads a large answer slowly has not read the farewell, which is behind
// it. The requests that it sends meanwhile are answered, and so is the rest of the large
// one, of which most is in the kernel when its handler has returned: net/http closes the
// connection a second after its GOAWAY, and the client says until the end that it has
// room for more. The same client of net/http's Shutdown stands beside it.
func TestHTTP2SlowDownloadArrives(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	got, lost := downloadSlowly(t, func(ctx context.Context, s *drain.Server) {
		report, err := s.Drain(ctx)
		assert.NoError(t, err)
		assert.EqualValues(t, 1, report.GoAway)
		assert.Zero(t, report.GoAwayOnce)
	})
	assert.EqualValues(t, largeAnswerHTTP2, got)
	assert.Zero(t, lost)

	got, lost = downloadSlowly(t, func(ctx context.Context, s *drain.Server) {
		s.HTTP.Shutdown(ctx)
	})
	t.Logf("http.Server.Shutdown: %d of %d bytes, and %d requests lost", got, largeAnswerHTTP2, lost)
	assert.True(t, got < largeAnswerHTTP2 || lost > 0, "the baseline loses nothing, so this test tests nothing")
}

const (
	largeAnswerHTTP2 = 6 << 20
	aheadHTTP2       = 3 << 20 // of it, on the way when the server ends: less than the client's window
)

// downloadSlowly has one client download slowly, and send small requests on the
// same connection for as long as it takes new streams, while the server ends. It
// returns how many bytes have come, and how many of the small requests were lost.
func downloadSlowly(t *testing.T, end func(context.Context, *drain.Server)) (got, lost int64) {
	t.Helper()
	ahead := make(chan struct{})
	s := &drain.Server{Spread: -1, HTTP: &http.Server{Protocols: protocols("h2c"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Write(make([]byte, aheadHTTP2))
			close(ahead)
			w.Write(make([]byte, largeAnswerHTTP2-aheadHTTP2))
			return
		}
		io.Copy(io.Discard, r.Body)
	})}}
	l := listen(t, "tcp", "127.0.0.1:0")
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()

	var slow atomic.Bool
	elsewhere := errors.New("the client has gone elsewhere")
	var dials atomic.Int32
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) > 1 {
			return nil, elsewhere
		}
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return throttledConn{c, &slow}, err
	}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client, url := &http.Client{Transport: transport}, "http://"+l.Addr().String()

	resp, err := client.Get(url)
	require.NoError(t, err)
	slow.Store(true)
	downloaded := make(chan struct{})
	go func() {
		defer close(downloaded)
		got, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}()
	<-ahead
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		end(ctx, s)
	}()
	var posts sync.WaitGroup
	var failed atomic.Int64
	for going := true; going; {
		posts.Go(func() {
			body := struct{ io.Reader }{bytes.NewReader(make([]byte, 100))} // which nobody can send again
			resp, err := client.Post(url, "", body)
			switch {
			case err == nil:
				resp.Body.Close()
			case !errors.Is(err, elsewhere):
				failed.Add(1)
			}
		})
		select {
		case <-downloaded:
			going = false
		case <-time.After(300 * time.Millisecond):
		}
	}
	posts.Wait()
	<-ended
	l.Close()
	<-served
	return got, failed.Load()
}

// A throttledConn reads at most 4 KiB every 5 ms, once it is slow.
type throttledConn struct {
	net.Conn
	slow *atomic.Bool
}

func (c throttledConn) Read(p []byte) (int, error) {
	if c.slow.Load() {
		p = p[:min(len(p), 4<<10)]
		time.Sleep(5 * time.Millisecond)
	}
	return c.Conn.Read(p)
}
