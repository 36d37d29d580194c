// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package heptio

import (
	"errors"
	"fmt"
	"time"

	"github.com/heptiolabs/healthcheck"

	"github.com/lameduck-go/lameduck/probes"
)

var (
	errBroken  = errors.New("panic or runtime.Goexit")
	errTimeout = fmt.Errorf("timed out after %v", probes.DefaultTimeout)
	errOverdue = errors.New("no result in time")
)

// An entry is a check and its last result. It judges as the registry does.
type entry struct {
	check   healthcheck.Check
	version int // how often check was replaced

	running bool
	began   time.Time // when the last run did

	ran    bool
	result error
	ended  time.Time
}

func (e *entry) end(now time.Time, err error) {
	if now.Sub(e.began) >= probes.DefaultTimeout {
		err = errTimeout
	}
	e.running, e.ran, e.result, e.ended = false, true, err, now
}

// failure returns why the check fails, or nil. A result does not grow old once
// nobody is to renew it.
func (e *entry) failure(now time.Time, retired bool) error {
	switch {
	case e.running && now.Sub(e.began) >= probes.DefaultTimeout:
		return errTimeout
	case !e.ran:
		return healthcheck.ErrNoData
	case e.result == nil && !retired && now.Sub(e.ended) >= probes.DefaultInterval+probes.DefaultTimeout:
		return errOverdue
	}
	return e.result
}
