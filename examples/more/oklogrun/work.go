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
	mu     sync.Mutex // guards closed, and orders against a send on it then
	closed bool
	orders chan string
}

func newWorker(db *store) *worker { return &worker{db: db, orders: make(chan string, 100)} }

func (w *worker) add(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		http.Error(rw, "shutting down", http.StatusServiceUnavailable)
		return
	}
	select {
	case w.orders <- r.URL.Query().Get("of"):
		rw.WriteHeader(http.StatusAccepted)
	default:
		http.Error(rw, "too many orders", http.StatusTooManyRequests)
	}
}

// close makes Run return when the orders are saved.
func (w *worker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	close(w.orders)
}

func (w *worker) Run(context.Context) error {
	for of := range w.orders {
		time.Sleep(10 * time.Millisecond) // which it takes
		if err := w.db.save(of); err != nil {
			return err
		}
	}
	return nil
}
