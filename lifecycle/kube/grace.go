// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// defaultGrace is SetDefaults_PodSpec's, in seconds (pkg/apis/core/v1/defaults.go).
const defaultGrace = 30

// grace compares the grace periods, the pre-stop hook and the plan.
func (p *pod) grace() {
	pathOf := p.path + ".terminationGracePeriodSeconds"
	given := seconds(or(p.spec.TerminationGracePeriodSeconds, defaultGrace))
	takes, from := p.taken()
	switch {
	case takes > given:
		p.fault(pathOf, "the pod is killed after %v, and the program takes %v (%s)", given, takes, from)
	case takes > 0 && whole(takes) < given:
		p.fault(pathOf, "the program uses %v (%s) of the %v", takes, from, given)
	}
	floor := cmp.Or(p.app.Floor, p.duration("SHUTDOWN_DELAY", drain.DefaultFloor, 0))
	hook := p.preStop()
	shorter := given
	if takes > 0 {
		shorter = min(given, takes)
	}
	if _, err := p.plan(max(shorter, 1), max(hook, p.app.PreStop), floor); err != nil {
		reason := strings.TrimPrefix(err.Error(), lifecycle.ErrConfig.Error()+": ")
		p.fault(pathOf, "%s", strings.ReplaceAll(reason, "\n", "; "))
	}
	for _, own := range []struct {
		name  string
		probe *probe
	}{{"startupProbe", p.own.StartupProbe}, {"livenessProbe", p.own.LivenessProbe}, {"readinessProbe", p.own.ReadinessProbe}} {
		if own.probe != nil && own.probe.TerminationGracePeriodSeconds != nil && seconds(*own.probe.TerminationGracePeriodSeconds) < takes {
			p.fault(p.ownPath+"."+own.name+".terminationGracePeriodSeconds", "shorter than the %v that the program takes (%s)", takes, from)
		}
	}
}

// taken returns the grace period that the program believes in, and where it is
// from; zero if that cannot be known.
func (p *pod) taken() (time.Duration, string) {
	i, ok := p.env("GRACE_PERIOD")
	if p.app.GracePeriod != 0 {
		if ok {
			p.fault(p.envPath(i), "GRACE_PERIOD changes nothing: App.GracePeriod is set")
		}
		return p.app.GracePeriod, "App.GracePeriod"
	}
	if !ok {
		return lifecycle.DefaultGracePeriod, "by default"
	}
	return p.duration("GRACE_PERIOD", lifecycle.DefaultGracePeriod, 1), "GRACE_PERIOD"
}

// env returns where an environment variable of the container is set, the last
// time, which is the one that counts. An empty value is as none.
func (p *pod) env(name string) (i int, ok bool) {
	for i, e := range slices.Backward(p.own.Env) {
		if e.Name == name {
			return i, e.Value != "" || len(e.ValueFrom) > 0
		}
	}
	return 0, false
}

func (p *pod) envPath(i int) string { return fmt.Sprintf("%s.env[%d]", p.ownPath, i) }

// duration returns what the program makes of an environment variable; zero if it
// cannot be known.
func (p *pod) duration(name string, def, least time.Duration) time.Duration {
	i, ok := p.env(name)
	if !ok {
		return def
	}
	e := p.own.Env[i]
	if e.Value == "" {
		p.fault(p.envPath(i)+".valueFrom", "%s comes from elsewhere, where it cannot be compared", name)
		return 0
	}
	d, err := time.ParseDuration(e.Value)
	if err != nil || d < least {
		p.fault(p.envPath(i)+".value", "%s: %q is not a duration such as 30s", name, e.Value)
		return 0
	}
	return d
}

// preStop looks at the pre-stop hook, and returns how long it sleeps.
func (p *pod) preStop() time.Duration {
	pathOf := p.ownPath + ".lifecycle"
	if s := p.own.Lifecycle.StopSignal; s != "" && s != "SIGTERM" && s != "SIGINT" {
		p.fault(pathOf+".stopSignal", "the program does not take %s for a signal to stop", s)
	}
	pathOf += ".preStop"
	hook := p.own.Lifecycle.PreStop
	switch {
	case hook == nil:
		if p.app.PreStop > 0 {
			p.fault(pathOf, "there is none, and the program leaves it %v (App.PreStop)", p.app.PreStop)
		}
		return 0
	case hook.HTTPGet != nil && p.asksProgram(hook.HTTPGet):
		p.hookRequest(pathOf+".httpGet", hook.HTTPGet)
		return 0
	}
	slept, known := sleeps(hook)
	switch {
	case known && whole(slept) != whole(p.app.PreStop):
		p.fault(pathOf, "takes %v of the grace period, and the program leaves it %v (App.PreStop); it needs no such hook", slept, p.app.PreStop)
	case !known && p.app.PreStop == 0:
		p.fault(pathOf, "takes of the grace period, and the program leaves it nothing (App.PreStop)")
	}
	return slept
}

// asksProgram reports whether a hook looks as if it were for the program's /prestop.
func (p *pod) asksProgram(get *httpGet) bool {
	number, err := p.port(get.Port)
	return get.Path == preStopPath || err == nil && number != 0 && number == p.probePort
}

// preStopPath is where the probe listener of an App has its pre-stop endpoint.
const preStopPath = "/prestop"

// hookRequest looks at a hook that asks the program.
func (p *pod) hookRequest(pathOf string, get *httpGet) {
	if p.app.PreStopToken == "" {
		p.fault(pathOf, "the program has no pre-stop endpoint (App.PreStopToken)")
		return
	}
	if get.Path != preStopPath {
		p.fault(pathOf+".path", "%q is not %s", get.Path, preStopPath)
	}
	p.listener(pathOf, get.Port, p.probePort)
	p.plain(pathOf, get)
	for _, h := range get.HTTPHeaders {
		if strings.EqualFold(h.Name, "Authorization") {
			if h.Value != "Bearer "+p.app.PreStopToken {
				p.fault(pathOf+".httpHeaders", "the token is not the program's (App.PreStopToken): the hook is answered 403")
			}
			return
		}
	}
	p.fault(pathOf+".httpHeaders", "no Authorization: the hook is answered 403")
}

var sleepCommand = regexp.MustCompile(`(?:^|[\s;&|/])sleep\s+([0-9]+(?:\.[0-9]+)?)([smhd]?)(?:$|[\s;&|])`)

var unitOf = map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// sleeps returns how long a hook sleeps, if that can be seen.
func sleeps(h *hook) (d time.Duration, known bool) {
	if h.Sleep != nil {
		return seconds(h.Sleep.Seconds), true
	}
	if h.Exec == nil {
		return 0, false
	}
	for _, m := range sleepCommand.FindAllStringSubmatch(strings.Join(h.Exec.Command, " "), -1) {
		n, _ := strconv.ParseFloat(m[1], 64) // infinite if it is too large
		d += time.Duration(min(n*float64(unitOf[m[2]]), float64(longest)))
		d, known = min(d, longest), true
	}
	return d, known
}

// longest keeps sums of durations from overflowing.
const longest = 1e9 * time.Second

// whole returns d in whole seconds, rounded up, as a manifest has to have it.
func whole(d time.Duration) time.Duration {
	return (min(d, math.MaxInt64-time.Second) + time.Second - 1).Truncate(time.Second)
}

func seconds(n int) time.Duration { return time.Duration(min(n, 1e9)) * time.Second }

// shellScript is the option with which a shell takes a script for an argument, and
// those that may be with it, such as -ec.
var shellScript = regexp.MustCompile(`^-[a-z]*c$`)

// command looks for a shell between the kubelet and the program: it is the process
// that gets the signal, and hands none on.
func (p *pod) command() {
	words := append(slices.Clone(p.own.Command), p.own.Args...)
	hook := p.own.Lifecycle.PreStop
	told := hook != nil && hook.HTTPGet != nil && p.app.PreStopToken != "" // without the signal
	if len(p.own.Command) == 0 || len(words) < 3 || told {
		return
	}
	switch path.Base(words[0]) {
	case "sh", "bash", "ash", "dash":
		script := strings.TrimSpace(words[len(words)-1])
		if shellScript.MatchString(words[1]) && !strings.Contains(script, "exec ") {
			p.fault(p.ownPath+".command", "the shell gets the signal and does not hand it on: begin the program with exec")
		}
	}
}
