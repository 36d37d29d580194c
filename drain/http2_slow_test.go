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
// one, of which most is in a kernel when its handler has returned: net/http closes the
// connection a second after its GOAWAY, and the client says until the end that it has
// room for more. The same client of net/http's Shutdown stands beside it.
func TestHTTP2SlowDownloadArrives(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for _, d := range []slowDownload{
		{"out of the server's kernel", fromServer, 6 << 20, 800 << 10, time.Minute},
		{"out of the client's kernel", fromClient, 6 << 20, 800 << 10, time.Minute},
		// The client has had its time before it has read the farewell.
		{"out of the client's kernel, for long", fromClient, 4<<20 - 64<<10, 240 << 10, 8 * time.Second},
	} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			got, lost := d.run(t, func(ctx context.Context, s *drain.Server) {
				report, err := s.Drain(ctx)
				assert.NoError(t, err)
				assert.EqualValues(t, 1, report.GoAway)
				assert.Zero(t, report.GoAwayOnce)
			})
			assert.EqualValues(t, d.size, got)
			assert.Zero(t, lost)

			got, lost = d.run(t, func(ctx context.Context, s *drain.Server) {
				s.HTTP.Shutdown(ctx)
			})
			t.Logf("http.Server.Shutdown: %d of %d bytes, and %d requests lost", got, d.size, lost)
			assert.True(t, got < d.size || lost > 0, "the baseline loses nothing, so this test tests nothing")
		})
	}
}

// A slowDownload is a client that downloads slowly.
type slowDownload struct {
	name  string
	slow  func(c *net.TCPConn, rate int64) net.Conn
	size  int64
	rate  int64         // bytes a second
	posts time.Duration // for which it also sends small requests
}

// aheadHTTP2 is how much of a download is on its way when the server ends: less than
// the client's window.
const aheadHTTP2 = 3 << 20

// run has one client download slowly, and send small requests on the same connection
// for as long as it takes new streams, while the server ends. It returns how many
// bytes have come, and how many of the small requests were lost.
func (d slowDownload) run(t *testing.T, end func(context.Context, *drain.Server)) (got, lost int64) {
	t.Helper()
	ahead := make(chan struct{})
	s := &drain.Server{Spread: -1, HTTP: &http.Server{Protocols: protocols("h2c"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Write(make([]byte, aheadHTTP2))
			close(ahead)
			w.Write(make([]byte, d.size-aheadHTTP2))
			return
		}
		io.Copy(io.Discard, r.Body)
	})}}
	l := listen(t, "tcp", "127.0.0.1:0")
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()

	elsewhere := errors.New("the client has gone elsewhere")
	var dials atomic.Int32
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) > 1 {
			return nil, elsewhere
		}
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return d.slow(c.(*net.TCPConn), d.rate), nil
	}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client, url := &http.Client{Transport: transport}, "http://"+l.Addr().String()

	resp, err := client.Get(url)
	require.NoError(t, err)
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
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		defer cancel()
		end(ctx, s)
	}()
	var posts sync.WaitGroup
	var failed atomic.Int64
	for going, start := true, time.Now(); going; {
		posts.Go(func() {
			if time.Since(start) > d.posts {
				return
			}
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

// A throttle lets at most so many bytes pass as the time since its start allows. What a
// busy machine misses it makes up for.
type throttle struct {
	rate   int64 // bytes a second
	start  time.Time
	passed int64
}

// pass waits until some of p may be filled, and returns that.
func (t *throttle) pass(p []byte) []byte {
	p = p[:min(len(p), 4<<10)]
	time.Sleep(time.Duration(t.passed)*time.Second/time.Duration(t.rate) - time.Since(t.start))
	return p
}

// A smallWindow is a client whose kernel takes little that is not read, so the rest
// stays in the server's.
type smallWindow struct {
	net.Conn
	throttle
}

func fromServer(c *net.TCPConn, rate int64) net.Conn {
	c.SetReadBuffer(64 << 10)
	return &smallWindow{c, throttle{rate: rate, start: time.Now()}}
}

func (w *smallWindow) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(w.pass(p))
	w.passed += int64(n)
	return n, err
}

// A largeWindow is a client whose kernel takes all that it is sent.
type largeWindow struct {
	net.Conn
	throttle
	mu   sync.Mutex // guards what follows
	more sync.Cond
	kept bytes.Buffer
	err  error // of the connection; what is kept comes before it
}

func fromClient(c *net.TCPConn, rate int64) net.Conn {
	w := &largeWindow{Conn: c, throttle: throttle{rate: rate, start: time.Now()}}
	w.more.L = &w.mu
	go w.fill()
	return w
}

// fill reads until the connection ends.
func (w *largeWindow) fill() {
	p := make([]byte, 64<<10)
	for {
		n, err := w.Conn.Read(p)
		w.mu.Lock()
		w.kept.Write(p[:n])
		w.err = err
		w.more.Signal()
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Close lets Read yield no more.
func (w *largeWindow) Close() error {
	w.mu.Lock()
	w.kept.Reset()
	w.mu.Unlock()
	return w.Conn.Close()
}

func (w *largeWindow) Read(p []byte) (int, error) {
	p = w.pass(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.kept.Len() == 0 {
		if w.err != nil {
			return 0, w.err
		}
		w.more.Wait()
	}
	n, err := w.kept.Read(p)
	w.passed += int64(n)
	return n, err
}
