// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// The timing that [Stanza] prints. A probe costs the program next to nothing, so
// they ask often where that makes a roll-out shorter.
const (
	startupFailures = 60 // at one a second: what a start may take
	readinessPeriod = 5
	livenessPeriod  = 10
)

// Stanza returns what the manifest of app has to have, as the YAML of a patch for a
// Deployment whose container has the name that is given (kubectl patch deployment
// NAME --patch-file FILE): the grace period, the three probes, and the pre-stop hook
// that PreStop or PreStopToken speaks of, with the token in it. The times are those
// that App.Plan says, with GRACE_PERIOD and SHUTDOWN_DELAY of this process, and the
// floor of a program inside Kubernetes. [Check] finds no fault in it.
//
// It is an error if the App cannot run, which then wraps [lifecycle.ErrConfig], and
// if nobody could ask its probes: without a ProbeAddr they are taken to be on the
// router of the first server, which takes a Probes and a known port. Stanza may be
// called at any time before Run.
func Stanza(app *lifecycle.App, container string) (string, error) {
	if app == nil {
		return "", fmt.Errorf("%w: the App is nil", lifecycle.ErrConfig)
	}
	prog, err := newProgram(app)
	if err != nil {
		return "", err
	}
	plan, err := prog.inKubernetes()
	if err != nil {
		return "", err
	}
	port := prog.askPort()
	readiness := cmp.Or(prog.where(ready), prog.where(serving))
	if port == 0 || app.ProbeAddr == "" && app.Probes == nil || prog.loopback() || readiness == "" {
		return "", errors.New("kube: the kubelet could not ask for readiness: ProbeAddr is empty, a loopback address or without a port, or there is no ReadyPath")
	}
	var b strings.Builder
	comment(&b, plan)
	fmt.Fprintf(&b, `spec:
  template:
    spec:
      terminationGracePeriodSeconds: %d
      containers:
        - name: %s
`, whole(plan.GracePeriod)/time.Second, quote(container))
	environment(&b, app, plan)
	preStopHook(&b, app, port)
	asks := cmp.Or(prog.where(startup), prog.where(live))
	writeProbe(&b, "startupProbe", asks, port, 1, startupFailures)
	writeProbe(&b, "livenessProbe", prog.where(live), port, livenessPeriod, 3)
	writeProbe(&b, "readinessProbe", readiness, port, readinessPeriod, 2)
	return b.String(), nil
}

// inKubernetes returns the plan of the App under the environment of this process,
// but with the floor that it has in a cluster.
func (p *program) inKubernetes() (lifecycle.Plan, error) {
	own, err := p.app.Plan()
	if err != nil {
		return own, err
	}
	floor := cmp.Or(p.app.Floor, drain.DefaultFloor)
	if s := os.Getenv("SHUTDOWN_DELAY"); p.app.Floor == 0 && s != "" {
		floor, _ = time.ParseDuration(s) // that it is one, Plan has found
	}
	return p.plan(own.GracePeriod, own.PreStop, floor)
}

func comment(b *strings.Builder, plan lifecycle.Plan) {
	fmt.Fprintf(b, "# From the signal on: new connections are served for %v to %v; all has stopped by %v;\n",
		plan.Phases[0].Least, plan.Phases[0].By, plan.Deadline())
	fmt.Fprintf(b, "# the pod is killed after %v, less the %v of a pre-stop hook.\n", plan.GracePeriod, plan.PreStop)
}

// environment writes the variables that the program reads, if it does.
func environment(b *strings.Builder, app *lifecycle.App, plan lifecycle.Plan) {
	delay := os.Getenv("SHUTDOWN_DELAY")
	if app.Floor != 0 {
		delay = ""
	}
	if app.GracePeriod != 0 && delay == "" {
		return
	}
	b.WriteString("          env:\n")
	if app.GracePeriod == 0 {
		fmt.Fprintf(b, "            - name: GRACE_PERIOD\n              value: %s\n", quote(plan.GracePeriod.String()))
	}
	if delay != "" {
		fmt.Fprintf(b, "            - name: SHUTDOWN_DELAY\n              value: %s\n", quote(delay))
	}
}

// preStopHook writes the hook that the App expects, if it does.
func preStopHook(b *strings.Builder, app *lifecycle.App, port int) {
	if app.PreStop > 0 {
		fmt.Fprintf(b, `          lifecycle:
            preStop:
              sleep:
                seconds: %d
`, whole(app.PreStop)/time.Second)
	}
	if app.PreStopToken != "" {
		fmt.Fprintf(b, `          lifecycle:
            preStop:
              httpGet:
                port: %d
                path: %s
                httpHeaders:
                  - name: Authorization
                    value: %s
`, port, preStopPath, quote("Bearer "+app.PreStopToken))
	}
}

// writeProbe writes nothing for a probe that has no path.
func writeProbe(b *strings.Builder, name, path string, port, period, failures int) {
	if path == "" {
		return
	}
	fmt.Fprintf(b, `          %s:
            httpGet:
              port: %d
              path: %s
            timeoutSeconds: 1
            periodSeconds: %d
            failureThreshold: %d
`, name, port, quote(path), period, failures)
}

// quote returns a scalar of YAML in double quotes, whose escapes are Go's (YAML
// 1.2.2, section 5.7).
func quote(s string) string { return strconv.QuoteToASCII(s) }
