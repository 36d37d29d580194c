// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/redis/go-redis/v9"
)

// orders are rows of a table; how many were added is counted in Redis.
type orders struct {
	db    *sql.DB
	cache *redis.Client
}

// create creates the table. The lock is for replicas that start side by side.
func (o *orders) create(ctx context.Context) error {
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(1)`); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY)`); err != nil {
		return err
	}
	return tx.Commit()
}

// ready says whether the table can be read: it is not called while PostgreSQL or Redis
// is away.
func (o *orders) ready(ctx context.Context) error {
	_, err := o.db.ExecContext(ctx, `SELECT 1 FROM orders LIMIT 1`)
	return err
}

// unavailable keeps the error for the log: it may name hosts and users.
func unavailable(w http.ResponseWriter, r *http.Request, err error) {
	slog.ErrorContext(r.Context(), "orders", "error", err)
	http.Error(w, "try again", http.StatusServiceUnavailable)
}

func (o *orders) add(w http.ResponseWriter, r *http.Request) {
	if _, err := o.db.ExecContext(r.Context(), `INSERT INTO orders DEFAULT VALUES`); err != nil {
		unavailable(w, r, err)
		return
	}
	if err := o.cache.Incr(r.Context(), "orders").Err(); err != nil {
		unavailable(w, r, err)
	}
}

// count answers how many orders PostgreSQL has, and how many Redis has counted.
func (o *orders) count(w http.ResponseWriter, r *http.Request) {
	var rows int64
	if err := o.db.QueryRowContext(r.Context(), `SELECT count(*) FROM orders`).Scan(&rows); err != nil {
		unavailable(w, r, err)
		return
	}
	counted, err := o.cache.Get(r.Context(), "orders").Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		unavailable(w, r, err)
		return
	}
	fmt.Fprintln(w, rows, counted)
}
