// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube

import (
	"cmp"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// A program is an App as a manifest has to know it.
type program struct {
	app       *lifecycle.App
	probeHost string // of ProbeAddr
	probePort int    // of ProbeAddr; 0 if it has none, or any
	servers   []int  // the ports of the servers, in order
	complete  bool   // there is no server but those
	paths     []probePath
}

// A probePath is where a probe is.
type probePath struct {
	kind, path string
}

// The kinds of probes, by the names that [probes.Exec] has for them; serving is
// the second one of readiness.
const (
	live    = "live"
	ready   = "ready"
	startup = "startup"
	serving = "serving"
)

// newProgram returns an error if the App could not run in any manifest.
func newProgram(a *lifecycle.App) (*program, error) {
	p := &program{app: a, complete: true}
	grace := a.GracePeriod
	if grace >= 0 {
		grace = math.MaxInt64 // too short a one is the manifest's fault
	}
	if _, err := p.plan(grace, a.PreStop, cmp.Or(a.Floor, drain.DefaultFloor)); err != nil {
		return nil, err
	}
	p.probeHost, p.probePort = split(a.ProbeAddr)
	for _, c := range a.Components {
		if c.Server == nil {
			p.complete = p.complete && c.Run == nil // which may listen, too
			continue
		}
		addr := c.Addr
		if c.Server.HTTP != nil {
			addr = c.Server.HTTP.Addr
		}
		_, port := split(addr)
		if c.Listen != nil || port == 0 {
			p.complete = false
			continue
		}
		p.servers = append(p.servers, port)
	}
	r := a.Probes
	if r == nil {
		r = new(probes.Registry)
	}
	for _, at := range []probePath{
		{live, cmp.Or(r.LivePath, "/livez")},
		{ready, cmp.Or(r.ReadyPath, "/readyz")},
		{startup, cmp.Or(r.StartupPath, "/startupz")},
		{serving, cmp.Or(r.ServingPath, "/servingz")},
	} {
		if at.path != "-" {
			p.paths = append(p.paths, probePath{at.kind, r.Prefix + at.path})
		}
	}
	return p, nil
}

// split returns zero for a port that is not known without the system's files.
func split(addr string) (host string, number int) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0
	}
	switch port {
	case "http":
		return host, 80
	case "https":
		return host, 443
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return host, 0
	}
	return host, int(n)
}

// plan returns what the App's plan would be with other times. The App is not to be
// changed, nor to be copied whole.
func (p *program) plan(grace, preStop, floor time.Duration) (lifecycle.Plan, error) {
	a := p.app
	if floor == 0 {
		floor = -1 // none; zero would mean that of the environment
	}
	other := &lifecycle.App{
		Components:   a.Components,
		Probes:       a.Probes,
		ProbeAddr:    a.ProbeAddr,
		PreStopToken: a.PreStopToken,
		GracePeriod:  grace,
		PreStop:      preStop,
		Reserve:      a.Reserve,
		Floor:        floor,
		Flush:        a.Flush,
		Observers:    a.Observers,
	}
	if preStop > a.PreStop {
		other.PreStopToken = "" // a hook that sleeps excludes it; that is a fault of its own
	}
	return other.Plan()
}

// kindAt returns the kind of the probe at a path, or beneath it; empty if there is
// none.
func (p *program) kindAt(path string) string {
	path, _, _ = strings.Cut(path, "?")
	longest := probePath{}
	for _, at := range p.paths {
		rest, ok := strings.CutPrefix(path, at.path)
		if ok && (rest == "" || rest[0] == '/') && len(at.path) > len(longest.path) {
			longest = at
		}
	}
	return longest.kind
}

// where returns the path of the probe of a kind; empty if it has none.
func (p *program) where(kind string) string {
	for _, at := range p.paths {
		if at.kind == kind {
			return at.path
		}
	}
	return ""
}

// first returns the path of the first probe that has one, of some kinds.
func (p *program) first(kinds []string) string {
	for _, kind := range kinds {
		if path := p.where(kind); path != "" {
			return path
		}
	}
	return "nothing, since it has no such path"
}

// askPort returns the port at which the probes are: that of the probe listener, or
// else of the first server, on whose router they are then taken to be.
func (p *program) askPort() int {
	if p.app.ProbeAddr == "" && len(p.servers) > 0 {
		return p.servers[0]
	}
	return p.probePort
}

// loopback reports whether the probes are out of the kubelet's reach.
func (p *program) loopback() bool {
	ip := net.ParseIP(p.probeHost)
	return p.probeHost == "localhost" || ip != nil && ip.IsLoopback()
}
