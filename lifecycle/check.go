// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/lameduck-go/lameduck/internal/graph"
)

// The names under which errors and stacks speak of what is no component.
const (
	flushName  = "flush"
	probesName = "probes"
)

// check reports what is wrong with the components, each with its name.
func (p *process) check() error {
	errs := []error{p.checkApp(), p.checkBudget()}
	served := make(map[any]string)
	for i, c := range p.app.Components {
		if c.Name == "" {
			errs = append(errs, fmt.Errorf("component %d has no name", i))
		}
		if c.Ready != nil && strings.ContainsFunc(c.Name, unicode.IsControl) {
			errs = append(errs, fmt.Errorf("component %d: the name %q of its check has control characters", i, c.Name))
		}
		if c.Name == flushName || c.Name == probesName {
			errs = append(errs, fmt.Errorf("component %d: the name %q is that of a part of every App", i, c.Name))
		}
		if c.Server == nil {
			if c.Listen != nil {
				errs = append(errs, fmt.Errorf("component %q: Listen is for a Server, and there is none", c.Name))
			}
			continue
		}
		errs = append(errs, p.checkServer(c))
		for _, server := range []any{c.Server, c.Server.HTTP} {
			if other, ok := served[server]; ok {
				errs = append(errs, fmt.Errorf("components %q and %q have the same server", other, c.Name))
				break
			}
		}
		served[c.Server] = c.Name
		if c.Server.HTTP != nil {
			served[c.Server.HTTP] = c.Name
		}
	}
	return errors.Join(append(errs, graph.Check(nodes(p.app.Components)))...)
}

// checkApp reports what is wrong apart from the components and the budget.
func (p *process) checkApp() error {
	var errs []error
	for i, f := range p.app.Observers {
		if f == nil {
			errs = append(errs, fmt.Errorf("observer %d is nil", i))
		}
	}
	if p.app.ProbeAddr == "" && p.app.PreStopToken != "" {
		errs = append(errs, errors.New("the pre-stop endpoint needs ProbeAddr"))
	}
	if p.app.ProbeAddr == "" && p.app.Admin != nil {
		errs = append(errs, errors.New("the Admin handler needs ProbeAddr, on which it is served"))
	}
	if withoutPort(p.app.ProbeAddr) {
		errs = append(errs, fmt.Errorf("ProbeAddr %q has no port; is it made of a variable that is not set?", p.app.ProbeAddr))
	}
	if err := p.checkProbes(); err != nil {
		errs = append(errs, err)
	}
	if strings.TrimSpace(p.app.PreStopToken) != p.app.PreStopToken || strings.ContainsFunc(p.app.PreStopToken, unicode.IsControl) {
		errs = append(errs, errors.New("PreStopToken has white space around it or control characters, which no header can carry"))
	}
	if p.app.PreStop > 0 && p.app.PreStopToken != "" {
		errs = append(errs, fmt.Errorf("PreStop is %v, but the time of the pre-stop endpoint is part of the shutdown", p.app.PreStop))
	}
	return errors.Join(errs...)
}

// checkProbes reports what the probes cannot be mounted with: a panic of the registry's, or
// of the mux, that names the path.
func (p *process) checkProbes() (err error) {
	if p.app.ProbeAddr == "" {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the paths of Probes: %v", v)
		}
	}()
	p.probeMux()
	return nil
}

// withoutPort reports whether an address ends where its port should be. Listen would take
// any that is free, which nobody knows.
func withoutPort(addr string) bool { return strings.HasSuffix(addr, ":") }

// checkBudget reports what is too short for any floor, with the longest one in the
// sum; otherwise it is for each server to say whether its floor fits.
func (p *process) checkBudget() error {
	if p.budget.check(0) == nil {
		return nil
	}
	var floor time.Duration
	for _, c := range p.app.Components {
		if c.Server != nil {
			floor = max(floor, p.floorOf(c))
		}
	}
	return p.budget.check(floor)
}

// floorOf returns the floor of a server: that of the process, if it has none.
func (p *process) floorOf(c Component) time.Duration {
	if c.Server.Floor == 0 {
		return p.budget.floor
	}
	return max(c.Server.Floor, 0)
}

// checkServer reports what is wrong with a server.
func (p *process) checkServer(c Component) error {
	h, grpc := c.Server.HTTP, c.Server.GRPC
	switch {
	case h == nil && grpc == nil:
		return fmt.Errorf("component %q: the server is nil", c.Name)
	case h != nil && grpc != nil:
		return fmt.Errorf("component %q: its server has both HTTP and GRPC; each takes a component of its own", c.Name)
	case h != nil && c.Addr != "":
		return fmt.Errorf("component %q: Addr is for GRPC; that of HTTP is its own", c.Name)
	case grpc != nil && c.Addr == "" && c.Listen == nil:
		return fmt.Errorf("component %q: a gRPC server without Addr", c.Name)
	case c.Listen == nil && withoutPort(c.address()):
		return fmt.Errorf("component %q: its address %q has no port; is it made of a variable that is not set?", c.Name, c.address())
	case p.app.ProbeAddr != "" && c.address() == p.app.ProbeAddr && !strings.HasSuffix(p.app.ProbeAddr, ":0"):
		return fmt.Errorf("component %q: its address %s is also that of the probe listener; mount the probes on its router instead", c.Name, p.app.ProbeAddr)
	case c.Start != nil || c.Run != nil || c.Stop != nil:
		return fmt.Errorf("component %q: a server has no Start, Run or Stop of its own", c.Name)
	case c.Drain != nil:
		return fmt.Errorf("component %q: a server has no Drain of its own", c.Name)
	}
	if p.budget.check(0) != nil {
		return nil // said once, by checkBudget
	}
	if err := p.budget.check(p.floorOf(c)); err != nil {
		return fmt.Errorf("component %q: %w", c.Name, err)
	}
	return nil
}

func nodes(components []Component) []graph.Node {
	nodes := make([]graph.Node, 0, len(components))
	for _, c := range components {
		nodes = append(nodes, graph.Node{Name: c.Name, DependsOn: c.DependsOn})
	}
	return nodes
}
