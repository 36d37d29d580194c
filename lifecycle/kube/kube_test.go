// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/assert/yaml" // so that the module requires no parser of its own
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/kube"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newApp returns the program of good.
func newApp() *lifecycle.App {
	return &lifecycle.App{
		ProbeAddr:  ":8081",
		Components: []lifecycle.Component{lifecycle.HTTP("http", &http.Server{Addr: ":8080"})},
	}
}

// good is a manifest without a fault.
const good = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 30
      containers:
        - name: web
          image: web
          env:
            - {name: GRACE_PERIOD, value: 30s}
          ports:
            - {name: http, containerPort: 8080}
            - {name: probes, containerPort: 8081}
          startupProbe:
            httpGet: {port: probes, path: /startupz}
            periodSeconds: 1
            failureThreshold: 60
          livenessProbe:
            httpGet: {port: probes, path: /livez}
          readinessProbe:
            httpGet: {port: 8081, path: /readyz}
            periodSeconds: 5
---
# A comment, which is no document.
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports:
    - {port: 80, targetPort: http}
--- # another
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: web
spec:
  maxUnavailable: 1
  selector: {matchLabels: {app: web}}
`

// edit returns good with each old text replaced by the new one after it.
func edit(t testing.TB, oldnew ...string) []byte {
	t.Helper()
	s := good
	for i := 0; i < len(oldnew); i += 2 {
		require.Equal(t, 1, strings.Count(s, oldnew[i]), "%q has to be there once", oldnew[i])
		s = strings.Replace(s, oldnew[i], oldnew[i+1], 1)
	}
	return []byte(s)
}

const spec = "Deployment/web: spec.template.spec."

// faults asserts what an error of Check joins.
func faults(t *testing.T, err error, want ...string) {
	t.Helper()
	var got []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			assert.ErrorAs(t, err, new(*kube.Fault))
			got = append(got, err.Error())
		}
	}
	assert.Equal(t, want, got)
	assert.Equal(t, len(want) > 0, err != nil)
}

func TestGood(t *testing.T) {
	assert.NoError(t, kube.Check(newApp(), []byte(good), yaml.Unmarshal))
}

func TestCheckGracePeriod(t *testing.T) {
	for name, tt := range map[string]struct {
		edits []string
		app   func(*lifecycle.App)
		want  []string
	}{
		"shorter than the program's": {[]string{"PeriodSeconds: 30", "PeriodSeconds: 20"}, nil, []string{
			spec + "terminationGracePeriodSeconds: the pod is killed after 20s, and the program takes 30s (GRACE_PERIOD)"}},
		"by default shorter": {[]string{"      terminationGracePeriodSeconds: 30\n", "", "value: 30s", "value: 31s"}, nil, []string{
			spec + "terminationGracePeriodSeconds: the pod is killed after 30s, and the program takes 31s (GRACE_PERIOD)"}},
		"longer": {[]string{"PeriodSeconds: 30", "PeriodSeconds: 60"}, nil, []string{
			spec + "terminationGracePeriodSeconds: the program uses 30s (GRACE_PERIOD) of the 1m0s"}},
		"longer by a part of a second": {[]string{"value: 30s", "value: 29.5s"}, nil, nil},
		"not told": {[]string{"PeriodSeconds: 30", "PeriodSeconds: 60", "GRACE_PERIOD", "OTHER"}, nil, []string{
			spec + "terminationGracePeriodSeconds: the program uses 30s (by default) of the 1m0s"}},
		"the last one counts": {[]string{"- {name: GRACE_PERIOD, value: 30s}", "- {name: GRACE_PERIOD, value: 5s}\n            - {name: GRACE_PERIOD, value: 30s}"}, nil, nil},
		"empty":               {[]string{"value: 30s", `value: ""`}, nil, nil},
		"set in the program": {[]string{"PeriodSeconds: 30", "PeriodSeconds: 60", "value: 30s", "value: 60s"},
			func(a *lifecycle.App) { a.GracePeriod = 30 * time.Second }, []string{
				spec + "containers[0].env[0]: GRACE_PERIOD changes nothing: App.GracePeriod is set",
				spec + "terminationGracePeriodSeconds: the program uses 30s (App.GracePeriod) of the 1m0s"}},
		"no duration": {[]string{"value: 30s", `value: "30"`}, nil, []string{
			spec + `containers[0].env[0].value: GRACE_PERIOD: "30" is not a duration such as 30s`}},
		"zero": {[]string{"value: 30s", "value: 0s"}, nil, []string{
			spec + `containers[0].env[0].value: GRACE_PERIOD: "0s" is not a duration such as 30s`}},
		"from elsewhere": {[]string{"value: 30s", "valueFrom: {configMapKeyRef: {name: a, key: b}}"}, nil, []string{
			spec + "containers[0].env[0].valueFrom: GRACE_PERIOD comes from elsewhere, where it cannot be compared"}},
		"the floor does not fit": {[]string{"PeriodSeconds: 30", "PeriodSeconds: 9", "value: 30s", "value: 9s"}, nil, []string{
			spec + `terminationGracePeriodSeconds: component "http": the grace period of 9s is too short: pre-stop hook 0s + floor 5s + finishing requests 1.3125s + stopping components 1.75s + reserve 2s = 10.0625s`}},
		"the floor of the manifest does not fit": {[]string{"- {name: GRACE_PERIOD, value: 30s}", "- {name: SHUTDOWN_DELAY, value: 25s}"}, nil, []string{
			spec + `terminationGracePeriodSeconds: component "http": the grace period of 30s is too short: pre-stop hook 0s + floor 25s + finishing requests 3s + stopping components 5s + reserve 2s = 35s`}},
		"no floor": {[]string{"PeriodSeconds: 30", "PeriodSeconds: 6", "- {name: GRACE_PERIOD, value: 30s}",
			"- {name: GRACE_PERIOD, value: 6s}\n            - {name: SHUTDOWN_DELAY, value: 0s}"}, nil, nil},
		"a probe's own": {[]string{"path: /livez}", "path: /livez}\n            terminationGracePeriodSeconds: 5"}, nil, []string{
			spec + "containers[0].livenessProbe.terminationGracePeriodSeconds: shorter than the 30s that the program takes (GRACE_PERIOD)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GRACE_PERIOD", "1s") // of the caller, and nobody's business
			t.Setenv("SHUTDOWN_DELAY", "1h")
			app := newApp()
			if tt.app != nil {
				tt.app(app)
			}
			faults(t, kube.Check(app, edit(t, tt.edits...), yaml.Unmarshal), tt.want...)
		})
	}
}

// hook adds a pre-stop hook to good.
func hook(text string) []string {
	return []string{"          startupProbe:", "          lifecycle:\n            " + text + "\n          startupProbe:"}
}

func TestCheckPreStop(t *testing.T) {
	const at = spec + "containers[0].lifecycle.preStop"
	slept := func(d string) string {
		return at + ": takes " + d + " of the grace period, and the program leaves it 0s (App.PreStop); it needs no such hook"
	}
	ask := func(get string) string { return "preStop: {httpGet: {" + get + "}}" }
	const bearer = "httpHeaders: [{name: authorization, value: Bearer secret}]"
	for name, tt := range map[string]struct {
		hook    string
		preStop time.Duration
		token   string
		want    []string
	}{
		"sleep": {"preStop: {sleep: {seconds: 5}}", 0, "", []string{slept("5s")}},
		"sleep that eats the budget": {"preStop: {sleep: {seconds: 20}}", 0, "", []string{slept("20s"),
			spec + `terminationGracePeriodSeconds: component "http": the grace period of 30s is too short: pre-stop hook 20s + floor 5s + finishing requests 1.5s + stopping components 2s + reserve 2s = 30.5s`}},
		"sleep as a command": {"preStop: {exec: {command: [sleep, 5s]}}", 0, "", []string{slept("5s")}},
		"sleep of a shell":   {"preStop: {exec: {command: [/bin/sh, -c, /bin/sleep 0.1m; sleep 1]}}", 0, "", []string{slept("7s")}},
		"sleep for ever": {"preStop: {exec: {command: [sh, -c, 'sleep " + strings.Repeat("9", 400) + "d; sleep 9999999999; sleep 9999999999d']}}", 0, "", []string{slept("277777h46m40s"),
			spec + `terminationGracePeriodSeconds: the grace period of 30s is too short: pre-stop hook 277777h46m40s + floor 5s + finishing requests 0s + stopping components 10ms + reserve 2s = 277777h46m47.01s`}},
		"sleep that is known":  {"preStop: {sleep: {seconds: 5}}", 5 * time.Second, "", nil},
		"sleep that is longer": {"preStop: {sleep: {seconds: 7}}", 5 * time.Second, "", []string{strings.Replace(slept("7s"), "0s", "5s", 1)}},
		"sleep and a token":    {"preStop: {sleep: {seconds: 5}}", 0, "secret", []string{slept("5s")}},
		"none that is known":   {"{}", 5 * time.Second, "", []string{at + ": there is none, and the program leaves it 5s (App.PreStop)"}},
		"unknown":              {"preStop: {exec: {command: [/bye]}}", 0, "", []string{at + ": takes of the grace period, and the program leaves it nothing (App.PreStop)"}},
		"unknown, but counted": {"preStop: {exec: {command: [/bye]}}", time.Second, "", nil},
		"another's":            {ask("port: 9999, path: /bye"), time.Second, "", nil},
		"the program":          {ask("port: probes, path: /prestop, " + bearer), 0, "secret", nil},
		"the program has none": {ask("port: probes, path: /prestop, " + bearer), 0, "", []string{at + ".httpGet: the program has no pre-stop endpoint (App.PreStopToken)"}},
		"another token": {ask("port: probes, path: /prestop, " + bearer), 0, "other", []string{
			at + ".httpGet.httpHeaders: the token is not the program's (App.PreStopToken): the hook is answered 403"}},
		"no token":                    {ask("port: probes, path: /prestop"), 0, "secret", []string{at + ".httpGet.httpHeaders: no Authorization: the hook is answered 403"}},
		"wrong port":                  {ask("port: http, path: /prestop, " + bearer), 0, "secret", []string{at + ".httpGet.port: http is not 8081, where the program answers"}},
		"wrong path":                  {ask("port: probes, path: /stop, " + bearer), 0, "secret", []string{at + `.httpGet.path: "/stop" is not /prestop`}},
		"with TLS":                    {ask("port: probes, path: /prestop, scheme: HTTPS, " + bearer), 0, "secret", []string{at + ".httpGet.scheme: the probe listener speaks HTTP"}},
		"the program, behind a shell": {ask("port: probes, path: /prestop, "+bearer) + "\n          command: [sh, -c, /web && true]", 0, "secret", nil},
		"stop signal":                 {"stopSignal: SIGUSR1", 0, "", []string{spec + "containers[0].lifecycle.stopSignal: the program does not take SIGUSR1 for a signal to stop"}},
	} {
		t.Run(name, func(t *testing.T) {
			app := newApp()
			app.PreStop, app.PreStopToken = tt.preStop, tt.token
			faults(t, kube.Check(app, edit(t, hook(tt.hook)...), yaml.Unmarshal), tt.want...)
		})
	}
}

func TestCheckProbes(t *testing.T) {
	const at = spec + "containers[0]."
	const restart = "it would restart the container for what a restart does not cure"
	for name, tt := range map[string]struct {
		edits []string
		want  []string
	}{
		"liveness at readiness's path": {[]string{"/livez", "/readyz"}, []string{
			at + `livenessProbe.httpGet.path: "/readyz" is that of readiness: ` + restart + "; it is to ask /livez"}},
		"liveness at readiness's check": {[]string{"/livez", `"/readyz/db?verbose"`}, []string{
			at + `livenessProbe.httpGet.path: "/readyz/db?verbose" is that of readiness: ` + restart + "; it is to ask /livez"}},
		"readiness at liveness's path": {[]string{"/readyz", "/livez"}, []string{
			at + `readinessProbe.httpGet.path: "/livez" is that of liveness: it would not turn red at the shutdown, nor name what fails; it is to ask /readyz`}},
		"startup at readiness's path": {[]string{"/startupz", "/readyz"}, []string{
			at + `startupProbe.httpGet.path: "/readyz" is that of readiness: a dependency that is down would end the start; it is to ask /startupz`}},
		"startup at liveness's path":  {[]string{"/startupz", "/livez"}, nil},
		"readiness while it serves":   {[]string{"/readyz", "/servingz"}, nil},
		"no such path":                {[]string{"/livez", "/healthz"}, []string{at + `livenessProbe.httpGet.path: the program has no probe at "/healthz", but at /livez`}},
		"wrong port":                  {[]string{"port: 8081, path: /readyz", "port: 8080, path: /readyz"}, []string{at + "readinessProbe.httpGet.port: 8080 is not 8081, where the program answers"}},
		"port of another name":        {[]string{"port: probes, path: /livez", "port: http, path: /livez"}, []string{at + "livenessProbe.httpGet.port: http is not 8081, where the program answers"}},
		"port without a name":         {[]string{"port: probes, path: /livez", "port: probe, path: /livez"}, []string{at + `livenessProbe.httpGet.port: no port of the pod has the name "probe"`}},
		"another host":                {[]string{"path: /livez", "path: /livez, host: example.com"}, []string{at + `livenessProbe.httpGet.host: "example.com" is asked instead of the pod`}},
		"with TLS":                    {[]string{"path: /livez", "path: /livez, scheme: HTTPS"}, []string{at + "livenessProbe.httpGet.scheme: the probe listener speaks HTTP"}},
		"no readiness":                {[]string{"readinessProbe:", "readinesProbe:"}, []string{at + "readinessProbe: missing: the pod would be ready before the program is"}},
		"asks nothing":                {[]string{"httpGet: {port: 8081, path: /readyz}\n", "\n"}, []string{at + "readinessProbe: asks nothing: neither httpGet nor exec, tcpSocket or grpc"}},
		"by grpc":                     {[]string{"httpGet: {port: 8081, path: /readyz}", "grpc: {port: 8080}"}, nil},
		"by exec":                     {[]string{"httpGet: {port: 8081, path: /readyz}", "exec: {command: [/web, probe, ready]}"}, nil},
		"by exec of something":        {[]string{"httpGet: {port: 8081, path: /readyz}", "exec: {command: [/ask]}"}, nil},
		"by exec of another":          {[]string{"httpGet: {port: probes, path: /livez}", "exec: {command: [/web, probe, ready]}"}, []string{at + `livenessProbe.exec.command: "ready" is that of readiness: ` + restart + "; it is to ask /livez"}},
		"by exec of another's path":   {[]string{"httpGet: {port: probes, path: /livez}", "exec: {command: [/web, probe, /readyz/db]}"}, []string{at + `livenessProbe.exec.command: "/readyz/db" is that of readiness: ` + restart + "; it is to ask /livez"}},
		"by exec of none":             {[]string{"httpGet: {port: probes, path: /livez}", "exec: {command: [/web, probe, alive]}"}, []string{at + `livenessProbe.exec.command: the program has no probe "alive"`}},
		"readiness by tcpSocket":      {[]string{"httpGet: {port: 8081, path: /readyz}", "tcpSocket: {port: http}"}, []string{at + "readinessProbe.tcpSocket: port 8080 accepts connections before the program is ready, and at the shutdown: ask /readyz by httpGet"}},
		"startup by tcpSocket":        {[]string{"httpGet: {port: probes, path: /startupz}", "tcpSocket: {port: probes}"}, []string{at + "startupProbe.tcpSocket: port 8081 accepts connections before the program is ready, and at the shutdown: ask /startupz by httpGet"}},
		"startup of a server":         {[]string{"httpGet: {port: probes, path: /startupz}", "tcpSocket: {port: http}"}, nil},
		"tcpSocket without a name":    {[]string{"httpGet: {port: probes, path: /startupz}", "tcpSocket: {port: tcp}"}, []string{at + `startupProbe.tcpSocket.port: no port of the pod has the name "tcp"`}},
		"a timeout beyond the period": {[]string{"periodSeconds: 5", "periodSeconds: 5\n            timeoutSeconds: 6"}, []string{at + "readinessProbe: timeoutSeconds (6) exceeds periodSeconds (5): a probe that hangs delays the next ones"}},
		"negative":                    {[]string{"periodSeconds: 5", "failureThreshold: -1"}, []string{at + "readinessProbe: failureThreshold is negative (-1): Kubernetes refuses it"}},
		"successes of liveness":       {[]string{"path: /livez}", "path: /livez}\n            successThreshold: 2"}, []string{at + "livenessProbe.successThreshold: has to be 1"}},
		"successes of readiness":      {[]string{"periodSeconds: 5", "successThreshold: 2"}, nil},
		"a start without time":        {[]string{"failureThreshold: 60", "failureThreshold: 1"}, []string{at + "startupProbe.failureThreshold: the first probe already ends a start that is not over"}},
		"a start after the deadline":  {[]string{"failureThreshold: 60", "failureThreshold: 601"}, []string{at + "startupProbe: a start may take 10m0s, and the roll-out has failed after 10m0s (progressDeadlineSeconds)"}},
		"a start before the deadline": {[]string{"failureThreshold: 60", "failureThreshold: 601", "  replicas: 3", "  replicas: 3\n  progressDeadlineSeconds: 601"}, nil},
		"a shell":                     {[]string{"          image: web", "          command: [/bin/sh, -c, '/web --quick']"}, []string{at + "command: the shell gets the signal and does not hand it on: begin the program with exec"}},
		"a shell with an option":      {[]string{"          image: web", "          command: [bash, -euxc, /web]"}, []string{at + "command: the shell gets the signal and does not hand it on: begin the program with exec"}},
		"a shell that goes":           {[]string{"          image: web", "          command: [sh, -c]\n          args: ['cd /; exec /web']"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			faults(t, kube.Check(newApp(), edit(t, tt.edits...), yaml.Unmarshal), tt.want...)
		})
	}
}
