// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// A store stands for a database.
type store struct {
	mu   sync.Mutex
	open bool
	done []string
}

var errClosed = errors.New("the database is closed")

func (s *store) Open(context.Context) error { return s.set(true) }

func (s *store) Close(context.Context) error {
	fmt.Println("the database has", len(s.done), "orders")
	return s.set(false)
}

func (s *store) Ping(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return errClosed
	}
	return nil
}

func (s *store) set(open bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = open
	return nil
}

func (s *store) save(order string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return errClosed
	}
	s.done = append(s.done, order)
	return nil
}

func (s *store) list(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(w, len(s.done))
}

// A worker saves the orders that it is given, one after another.
type worker struct {
	db     *store
	orders chan order
	taken  drain.Tracker // orders that are accepted and not yet saved
}

type order struct {
	of   string
	done func() // gives its slot back
}

func newWorker(db *store) *worker { return &worker{db: db, orders: make(chan order, 100)} }

// add accepts an order, unless the worker takes no more.
func (w *worker) add(rw http.ResponseWriter, r *http.Request) {
	_, done, err := w.taken.Start(context.Background(), "order")
	if err != nil {
		rw.Header().Set("Retry-After", "1")
		http.Error(rw, "shutting down", http.StatusServiceUnavailable)
		return
	}
	select {
	case w.orders <- order{r.URL.Query().Get("of"), done}:
		rw.WriteHeader(http.StatusAccepted)
	default:
		done()
		http.Error(rw, "too many orders", http.StatusTooManyRequests)
	}
}

// Drain returns when all accepted orders are saved.
func (w *worker) Drain(ctx context.Context) error { return w.taken.Drain(ctx) }

// Run saves orders until ctx ends.
func (w *worker) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case o := <-w.orders:
			time.Sleep(10 * time.Millisecond) // which it takes
			err := w.db.save(o.of)
			o.done()
			if err != nil {
				return err
			}
		}
	}
}
