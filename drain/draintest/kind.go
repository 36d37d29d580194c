// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lameduck-go/lameduck/internal/load"
)

// A Kind is a way in which clients use connections, and how many do. Each client
// has at most one connection. It sends one request at a time or, with HTTP/2,
// Streams of them side by side.
type Kind struct {
	// Name is what the report calls the kind. No two kinds have the same.
	Name string

	// Method is that of the requests. Empty means POST. All but GET and HEAD have
	// a small body.
	Method string

	// NewConn gives each request a connection of its own, which says
	// "Connection: close" in HTTP/1.1. Otherwise a connection is kept until the
	// server closes it or, in HTTP/2, tells it to go. A closed one keeps its port
	// for a minute: pace these clients.
	NewConn bool

	// Proto is the protocol, by its ALPN name: "h2c" is HTTP/2 in the clear, by
	// prior knowledge; "h2" is HTTP/2 over TLS, with a server whose certificate
	// is not checked. Empty means HTTP/1.1.
	Proto string

	// Streams is how many requests an HTTP/2 client has under way on its
	// connection. Zero means one; negative is an error. More than the server allows
	// wait in the client.
	Streams int

	// Streaming makes the body of an HTTP/2 request one of 4 KiB and of unknown
	// length, sent in several DATA frames with pauses while the answer is read.
	Streaming bool

	// MinThink and MaxThink bound the think time, from the end of one request to
	// the next, which is drawn evenly between them. Zero for both means none;
	// negative, and a MinThink that is longer, are errors.
	MinThink, MaxThink time.Duration

	// Clients is how many clients there are. Zero means Config.Clients; negative is
	// an error.
	Clients int
}

// defaultKinds returns the ways that differ in how they lose requests: busy
// connections meet a close while a request is under way, idle ones are closed
// before they are told, and new ones are refused.
func defaultKinds() []Kind {
	const ms = time.Millisecond
	return []Kind{
		{Name: "POST, no think time"},
		{Name: "POST, 20 ms", MinThink: 10 * ms, MaxThink: 30 * ms},
		{Name: "POST, 300 ms", MinThink: 150 * ms, MaxThink: 450 * ms},
		{Name: "POST, 2 s", MinThink: 1000 * ms, MaxThink: 3000 * ms},
		{Name: "GET, 20 ms", Method: "GET", MinThink: 10 * ms, MaxThink: 30 * ms},
		{Name: "new connection, 10 ms", NewConn: true, MinThink: 5 * ms, MaxThink: 15 * ms},
	}
}

// checkKinds says what is wrong with the kinds.
func checkKinds(kinds []Kind) error {
	names := make(map[string]bool)
	for i, k := range kinds {
		switch {
		case k.Name == "":
			return fmt.Errorf("draintest: Kinds[%d] has no Name", i)
		case names[k.Name]:
			return fmt.Errorf("draintest: two kinds have the name %q", k.Name)
		}
		names[k.Name] = true
		if err := k.check(); err != nil {
			return err
		}
	}
	return nil
}

func (k Kind) check() error {
	switch {
	case k.Clients < 0:
		return fmt.Errorf("draintest: kind %q: Clients is negative: %d", k.Name, k.Clients)
	case strings.ContainsFunc(k.Method, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("draintest: kind %q: no method: %q", k.Name, k.Method)
	case k.MinThink < 0:
		return fmt.Errorf("draintest: kind %q: MinThink is negative: %v", k.Name, k.MinThink)
	case k.MaxThink < 0:
		return fmt.Errorf("draintest: kind %q: MaxThink is negative: %v", k.Name, k.MaxThink)
	case k.MinThink > k.MaxThink:
		return fmt.Errorf("draintest: kind %q: MinThink, %v, is longer than MaxThink, %v", k.Name, k.MinThink, k.MaxThink)
	case k.Proto != "" && k.Proto != "h2" && k.Proto != "h2c":
		return fmt.Errorf("draintest: kind %q: Proto is neither \"h2\" nor \"h2c\" nor empty: %q", k.Name, k.Proto)
	case k.Streams < 0:
		return fmt.Errorf("draintest: kind %q: Streams is negative: %d", k.Name, k.Streams)
	case k.Proto == "" && k.Streams > 1:
		return fmt.Errorf("draintest: kind %q: Streams without HTTP/2: %d", k.Name, k.Streams)
	case k.Proto == "" && k.Streaming:
		return fmt.Errorf("draintest: kind %q: Streaming without HTTP/2", k.Name)
	case k.Streaming && (k.Method == http.MethodGet || k.Method == http.MethodHead):
		return fmt.Errorf("draintest: kind %q: Streaming, and %s has no body", k.Name, k.Method)
	}
	return nil
}

// load returns what a client of the kind has to know.
func (k Kind) load() load.Kind {
	return load.Kind{
		Name: k.Name, Method: k.Method, NewConn: k.NewConn, MinThink: k.MinThink, MaxThink: k.MaxThink,
		Proto: k.Proto, Streams: k.Streams, Streaming: k.Streaming,
	}
}
