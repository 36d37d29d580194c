// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube

import (
	"slices"
	"strings"

	"github.com/lameduck-go/lameduck/probes"
)

// A role is one of the three probes of a container.
type role struct {
	name string   // of the field
	fits []string // the kinds that it may ask
	why  string   // what happens otherwise
}

var (
	startupRole   = role{"startupProbe", []string{startup, live}, "a dependency that is down would end the start"}
	livenessRole  = role{"livenessProbe", []string{live}, "it would restart the container for what a restart does not cure"}
	readinessRole = role{"readinessProbe", []string{ready, serving}, "it would not turn red at the shutdown, nor name what fails"}
)

// probes looks at the three probes of the container.
func (p *pod) probes() {
	p.probe(startupRole, p.own.StartupProbe)
	p.probe(livenessRole, p.own.LivenessProbe)
	p.probe(readinessRole, p.own.ReadinessProbe)
	if p.own.ReadinessProbe == nil {
		p.fault(p.ownPath+".readinessProbe", "missing: the pod would be ready before the program is")
	}
	l, r := p.own.LivenessProbe, p.own.ReadinessProbe
	if l == nil || r == nil || l.HTTPGet == nil || r.HTTPGet == nil {
		return
	}
	// Paths that are nobody's are the caller's own; one for both is wrong whose it is.
	if p.kindAt(l.HTTPGet.Path) == "" && l.HTTPGet.Path == r.HTTPGet.Path && l.HTTPGet.Port == r.HTTPGet.Port {
		p.fault(p.ownPath+".livenessProbe.httpGet.path", "%q is that of readiness: %s", l.HTTPGet.Path, livenessRole.why)
	}
}

func (p *pod) probe(r role, probe *probe) {
	if probe == nil {
		return
	}
	pathOf := p.ownPath + "." + r.name
	kind := ""
	switch {
	case probe.HTTPGet != nil:
		kind = p.httpProbe(r, pathOf+".httpGet", probe.HTTPGet)
	case probe.Exec != nil:
		kind = p.execProbe(r, pathOf+".exec.command", probe.Exec.Command)
	case probe.TCPSocket != nil:
		p.tcpProbe(r, pathOf+".tcpSocket", probe.TCPSocket.Port)
	case probe.GRPC != nil: // whose service is the program's business
	default:
		p.fault(pathOf, "asks nothing: neither httpGet nor exec, tcpSocket or grpc")
	}
	p.timing(r, pathOf, probe, kind)
}

// httpProbe returns the kind of the probe that is asked.
func (p *pod) httpProbe(r role, pathOf string, get *httpGet) string {
	p.listener(pathOf, get.Port, p.askPort())
	p.plain(pathOf, get)
	kind := p.kindAt(get.Path)
	switch {
	case kind != "" && !slices.Contains(r.fits, kind):
		p.misfit(r, pathOf+".path", get.Path, kind)
	case kind == "" && p.app.ProbeAddr != "" && p.app.Admin == nil:
		p.fault(pathOf+".path", "the program has no probe at %q, but at %s", get.Path, p.first(r.fits))
	}
	return kind
}

// misfit reports a probe that asks for another one's answer.
func (p *pod) misfit(r role, pathOf, asks, kind string) {
	p.fault(pathOf, "%q is that of %s: %s; it is to ask %s", asks, adjective[kind], r.why, p.first(r.fits))
}

var adjective = map[string]string{live: "liveness", ready: "readiness", startup: "startup", serving: "readiness"}

// listener reports a port that is not the one at which the program answers.
func (p *pod) listener(pathOf string, asked value, want int) {
	pathOf += ".port"
	number, err := p.port(asked)
	switch {
	case err != nil:
		p.fault(pathOf, "%v", err)
	case want != 0 && number != want && (p.app.ProbeAddr != "" || p.complete && !slices.Contains(p.servers, number)):
		p.fault(pathOf, "%v is not %d, where the program answers", asked, want)
	case p.loopback():
		p.fault(pathOf, "the program answers on %s alone, where the kubelet cannot ask", p.probeHost)
	}
}

// plain reports what keeps a request from the probe listener, which is the pod's,
// and speaks no TLS.
func (p *pod) plain(pathOf string, get *httpGet) {
	if get.Host != "" {
		p.fault(pathOf+".host", "%q is asked instead of the pod", get.Host)
	}
	if get.Scheme == "HTTPS" && p.app.ProbeAddr != "" {
		p.fault(pathOf+".scheme", "the probe listener speaks HTTP")
	}
}

// execProbe returns the kind of the probe that is asked by probes.Exec, if it is
// that.
func (p *pod) execProbe(r role, pathOf string, command []string) string {
	n := len(command)
	if n < 3 || command[n-2] != "probe" {
		return ""
	}
	kind := command[n-1]
	if strings.HasPrefix(kind, "/") {
		kind = p.kindAt(kind)
	}
	if !slices.Contains(r.fits, kind) {
		if p.where(kind) == "" {
			p.fault(pathOf, "the program has no probe %q", command[n-1])
		} else {
			p.misfit(r, pathOf, command[n-1], kind)
		}
	}
	return kind
}

// tcpProbe reports a port that accepts whatever the state of the program. One that
// is not known may be that of Registry.ServeTCP.
func (p *pod) tcpProbe(r role, pathOf string, asked value) {
	number, err := p.port(asked)
	if err != nil {
		p.fault(pathOf+".port", "%v", err)
		return
	}
	ofProbes := number == p.probePort && number != 0
	if ofProbes || r.name == readinessRole.name && slices.Contains(p.servers, number) {
		p.fault(pathOf, "port %d accepts connections before the program is ready, and at the shutdown: ask %s by httpGet", number, p.first(r.fits))
	}
}

// timing reports numbers that cannot work.
func (p *pod) timing(r role, pathOf string, probe *probe, kind string) {
	t := probes.Timing{
		InitialDelaySeconds: probe.InitialDelaySeconds,
		TimeoutSeconds:      probe.TimeoutSeconds,
		PeriodSeconds:       probe.PeriodSeconds,
		SuccessThreshold:    probe.SuccessThreshold,
		FailureThreshold:    probe.FailureThreshold,
	}
	for _, warning := range t.Warnings() {
		p.fault(pathOf, "%s", warning)
	}
	if r.name != readinessRole.name && t.SuccessThreshold > 1 {
		p.fault(pathOf+".successThreshold", "has to be 1")
	}
	if r.name != startupRole.name {
		return
	}
	start := t.StartUp()
	if kind == startup && start == 0 {
		p.fault(pathOf+".failureThreshold", "the first probe already ends a start that is not over")
	}
	if deadline := seconds(p.deadline); deadline > 0 && start >= deadline {
		p.fault(pathOf, "a start may take %v, and the roll-out has failed after %v (progressDeadlineSeconds)", start, deadline)
	}
}
