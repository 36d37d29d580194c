// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/lameduck-go/lameduck/probes"
)

// A service is what a check asks: it can be down, and counts how often it is
// asked.
type service struct {
	down  atomic.Bool
	takes time.Duration
	calls atomic.Int32
}

func (s *service) check(name string, dependsOn ...string) probes.Check {
	return probes.Check{Name: name, DependsOn: dependsOn, Jitter: -1, Func: func(context.Context) error {
		s.calls.Add(1)
		time.Sleep(s.takes)
		if s.down.Load() {
			return errDown
		}
		return nil
	}}
}

func (s *service) onDemand(name string, ttl time.Duration, dependsOn ...string) probes.Check {
	c := s.check(name, dependsOn...)
	c.TTL = ttl
	return c
}
