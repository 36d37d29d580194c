// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// A park is a server with a readiness that goes red with T0, and its probers.
type park struct {
	*rig
	red atomic.Bool
}

func startPark(t *testing.T, srv *drain.Server) *park {
	p := new(park)
	p.rig = start(t, srv, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && p.red.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	return p
}

// probe asks once, on a connection of its own, unless the listener is closed.
func (p *park) probe(agent, path string) bool {
	nc, err := p.l.Dial(p.t.Context())
	if err != nil {
		return false
	}
	c := &client{p.t, nc, bufio.NewReader(nc)}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: test\r\nUser-Agent: %s\r\n\r\n", path, agent)
	c.answer()
	return true
}

// twice probes now and after a gap.
func (p *park) twice(gap time.Duration, agent, path string) {
	p.probe(agent, path)
	time.Sleep(gap)
	p.probe(agent, path)
}

// at probes at each of the times from now.
func (p *park) at(agent, path string, times ...time.Duration) {
	for _, d := range times {
		time.AfterFunc(d, func() { p.probe(agent, path) })
	}
}

// every probes after first and then every period, until the listener is closed.
func (p *park) every(first, period time.Duration, agent, path string) {
	time.AfterFunc(first, func() {
		for p.probe(agent, path) {
			time.Sleep(period)
		}
	})
}

func TestWindowWaitsForProbers(t *testing.T) {
	const (
		readyz = "/readyz"
		ms     = time.Millisecond
	)
	for _, tt := range []struct {
		name   string
		srv    *drain.Server
		before func(p *park) // ends at T0
		after  func(p *park) // from T0 on
		want   time.Duration // for which the window is open
		quiet  bool
	}{
		{
			"until the third failing answer of one that asks every 2 s", &drain.Server{FailureThreshold: 3},
			func(p *park) { p.every(0, 2*time.Second, "a", readyz); time.Sleep(11 * time.Second) },
			func(p *park) {},
			5 * time.Second, true,
		},
		{
			"each has to fail as often as set", &drain.Server{FailureThreshold: 3},
			func(p *park) {
				p.every(0, 2*time.Second, "a", readyz)
				p.every(0, time.Second, "b", readyz)
				time.Sleep(10500 * time.Millisecond)
			},
			func(p *park) {},
			5500 * time.Millisecond, true,
		},
		{
			"a single stray request does not hold it", &drain.Server{FailureThreshold: 3},
			func(p *park) { p.probe("curl", readyz) },
			func(p *park) {},
			time.Second, true,
		},
		{
			"nor does one after T0", &drain.Server{FailureThreshold: 3},
			func(p *park) {},
			func(p *park) { p.at("curl", readyz, 500*ms) },
			time.Second, true,
		},
		{
			"nor do many, each by another name", &drain.Server{FailureThreshold: 3},
			func(p *park) { p.probe("a", readyz); p.probe("b", readyz) },
			func(p *park) { p.at("c", readyz, 500*ms); p.at("a", "/healthz", 500*ms) },
			time.Second, true,
		},
		{
			"two stray requests hold it for three times the gap", &drain.Server{FailureThreshold: 3},
			func(p *park) { p.twice(1500*ms, "curl", readyz) },
			func(p *park) {},
			4500 * time.Millisecond, true,
		},
		{
			"two at one instant do not", &drain.Server{FailureThreshold: 3},
			func(p *park) { p.twice(0, "curl", readyz) },
			func(p *park) {},
			time.Second, true,
		},
		{
			"nor do two that are a minute apart", &drain.Server{FailureThreshold: 3},
			func(p *park) { p.twice(time.Minute, "curl", readyz) },
			func(p *park) {},
			time.Second, true,
		},
		{
			"a second request after T0 makes a prober", &drain.Server{FailureThreshold: 2},
			func(p *park) { p.probe("a", readyz); time.Sleep(1500 * ms) },
			func(p *park) { p.every(500*ms, 2*time.Second, "a", readyz) },
			2500 * time.Millisecond, true,
		},
		{
			"the first failing answer counts, too", &drain.Server{FailureThreshold: 3},
			func(p *park) {},
			func(p *park) { p.every(100*ms, 800*ms, "a", readyz) },
			1700 * time.Millisecond, true,
		},
		{
			"failures before T0 do not count", &drain.Server{FailureThreshold: 1},
			func(p *park) {
				p.red.Store(true)
				p.every(0, 3*time.Second, "a", readyz)
				time.Sleep(7500 * ms)
			},
			func(p *park) {},
			1500 * time.Millisecond, true,
		},
		{
			"liveness that passes does not hold it", &drain.Server{FailureThreshold: 1},
			func(p *park) { p.twice(time.Second, "a", readyz); p.twice(time.Second, "a", "/livez") },
			func(p *park) { p.at("a", readyz, 500*ms); p.at("a", "/livez", 2*time.Second) },
			2 * time.Second, true, // when it is seen to be liveness
		},
		{
			"the kubelet does not hold it", &drain.Server{FailureThreshold: 9},
			func(p *park) { p.every(0, time.Second, "kube-probe/1.37", readyz); time.Sleep(9500 * ms) },
			func(p *park) {},
			time.Second, true,
		},
		{
			"one that stops asking is waited for three intervals more", &drain.Server{FailureThreshold: 3},
			func(p *park) { p.twice(2*time.Second, "a", readyz); time.Sleep(1500 * ms) },
			func(p *park) { p.at("a", readyz, 500*ms) },
			6500 * time.Millisecond, true,
		},
		{
			"and never longer than a minute", &drain.Server{FailureThreshold: 1},
			func(p *park) { p.twice(30*time.Second, "a", readyz); time.Sleep(54 * time.Second) },
			func(p *park) {},
			6 * time.Second, true,
		},
		{
			"one that asks again after a minute has to ask twice", &drain.Server{FailureThreshold: 1},
			func(p *park) {
				p.twice(30*time.Second, "a", readyz)
				time.Sleep(time.Minute)
				p.probe("a", readyz)
			},
			func(p *park) {},
			time.Second, true,
		},
		{
			"a long gap is forgotten in time", &drain.Server{FailureThreshold: 3},
			func(p *park) {
				p.probe("a", readyz)
				time.Sleep(20 * time.Second)
				for range 30 {
					time.Sleep(time.Second)
					p.probe("a", readyz)
				}
			},
			func(p *park) {},
			3 * time.Second, true,
		},
		{
			"one that asks faster while it is told to fail", &drain.Server{FailureThreshold: 3},
			func(p *park) { p.twice(4*time.Second, "a", readyz) },
			func(p *park) { p.every(4*time.Second, 250*ms, "a", readyz) },
			4500 * time.Millisecond, true,
		},
		{
			"one that then asks too slowly is taken to have gone", &drain.Server{FailureThreshold: 3},
			func(p *park) { p.twice(time.Second, "a", readyz) },
			func(p *park) { p.at("a", readyz, time.Second, 5*time.Second) },
			4 * time.Second, true,
		},
		{
			"two that look like one share the answers", &drain.Server{FailureThreshold: 3},
			func(p *park) {
				p.every(0, 2*time.Second, "a", readyz)
				p.every(10*ms, 2*time.Second, "a", readyz)
				time.Sleep(10500 * ms)
			},
			func(p *park) {},
			3500 * time.Millisecond, true,
		},
		{
			"eight that look like one are waited for between their requests", &drain.Server{FailureThreshold: 9},
			func(p *park) {
				for range 8 {
					p.every(0, 2*time.Second, "a", readyz)
				}
				time.Sleep(11 * time.Second)
			},
			func(p *park) {},
			3 * time.Second, true,
		},
		{
			"the cap ends the wait", &drain.Server{FailureThreshold: 100, Cap: 7 * time.Second},
			func(p *park) { p.every(0, time.Second, "a", readyz); time.Sleep(1500 * ms) },
			func(p *park) {},
			7 * time.Second, false,
		},
		{
			"also that for one that asks every 30 s", &drain.Server{FailureThreshold: 2},
			func(p *park) { p.twice(30*time.Second, "a", readyz); time.Sleep(20 * time.Second) },
			func(p *park) { p.at("a", readyz, 10*time.Second) },
			14 * time.Second, false,
		},
		{
			"nobody is waited for unless set", &drain.Server{},
			func(p *park) { p.every(0, time.Second, "a", readyz); time.Sleep(1500 * ms) },
			func(p *park) {},
			time.Second, true,
		},
		{
			"what is no probe does not hold it", &drain.Server{FailureThreshold: 3, Quiet: -1},
			func(p *park) { p.twice(time.Second, "a", "/other") },
			func(p *park) {},
			time.Second, true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.srv.Floor = time.Second
				p := startPark(t, tt.srv)
				tt.before(p)
				p.red.Store(true)
				tt.after(p)
				report, took, err := p.drain(28 * time.Second)
				require.NoError(t, err)
				assert.Equal(t, tt.want, report.Accept.Took)
				assert.Equal(t, tt.quiet, report.Quiet)
				assert.Equal(t, tt.want, took)
				time.Sleep(10 * time.Second) // the probers give up
				p.nothingOpen()
			})
		})
	}
}

// A prober that was still told 200 just after T0 is waited for once it is told 503.
func TestReadinessThatTurnsLateIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPark(t, &drain.Server{Floor: 2 * time.Second, FailureThreshold: 2})
		p.every(0, time.Second, "a", "/readyz") // after T0: 200, 503, 503
		time.Sleep(5500 * time.Millisecond)
		time.AfterFunc(time.Second, func() { p.red.Store(true) })
		report, _, err := p.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 2500*time.Millisecond, report.Accept.Took)
		time.Sleep(time.Second) // the prober gives up
		p.nothingOpen()
	})
}
