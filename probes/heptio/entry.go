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
// nobody is to renew it, and nothing is late where the registry says that all is
// well, as it goes on to say of liveness when its Run is over.
func (e *entry) failure(now time.Time, s status) error {
	switch {
	case !s.passes && e.running && now.Sub(e.began) >= probes.DefaultTimeout:
		return errTimeout
	case !e.ran:
		return healthcheck.ErrNoData
	case e.result == nil && !s.passes && !s.retired && now.Sub(e.ended) >= probes.DefaultInterval+probes.DefaultTimeout:
		return errOverdue
	}
	return e.result
}
