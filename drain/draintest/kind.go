// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest

import (
	"fmt"
	"time"

	"github.com/lameduck-go/lameduck/internal/load"
)

// A Kind is a way in which clients use connections, and how many do. Each client
// has at most one connection and sends one request at a time.
type Kind struct {
	// Name is what the report calls the kind. No two kinds have the same.
	Name string

	// Method is that of the requests. Empty means POST. All but GET and HEAD have
	// a small body.
	Method string

	// NewConn gives each request a connection of its own, which says
	// "Connection: close". Otherwise a connection is kept until the server
	// closes it. A closed one keeps its port for a minute: pace these clients.
	NewConn bool

	// MinThink and MaxThink bound the think time, from the end of one request to
	// the next, which is drawn evenly between them. Zero for both means none.
	MinThink, MaxThink time.Duration

	// Clients is how many clients there are. Zero means Config.Clients.
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
	case k.MinThink < 0:
		return fmt.Errorf("draintest: kind %q: MinThink is negative: %v", k.Name, k.MinThink)
	case k.MaxThink < 0:
		return fmt.Errorf("draintest: kind %q: MaxThink is negative: %v", k.Name, k.MaxThink)
	case k.MinThink > k.MaxThink:
		return fmt.Errorf("draintest: kind %q: MinThink, %v, is longer than MaxThink, %v", k.Name, k.MinThink, k.MaxThink)
	}
	return nil
}

// load returns what a client of the kind has to know.
func (k Kind) load() load.Kind {
	return load.Kind{Name: k.Name, Method: k.Method, NewConn: k.NewConn, MinThink: k.MinThink, MaxThink: k.MaxThink}
}
