// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube_test

import (
	"context"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/assert/yaml"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/kube"
	"github.com/lameduck-go/lameduck/probes"
)

// TestCheckApp has programs for which good, or what is made of it, is right or wrong.
func TestCheckApp(t *testing.T) {
	const at = spec + "containers[0]."
	onRouter := slices.Clip([]string{"port: 8081, path: /readyz", "port: 8080, path: /readyz",
		"port: probes, path: /livez", "port: http, path: /livez", "port: probes, path: /startupz", "port: http, path: /startupz"})
	for name, tt := range map[string]struct {
		app   func(*lifecycle.App)
		edits []string
		want  []string
	}{
		"paths of its own": {func(a *lifecycle.App) {
			a.Probes = &probes.Registry{Prefix: "/internal", ReadyPath: "/ready", ServingPath: "-"}
		}, []string{"path: /livez", "path: /internal/livez", "path: /readyz", "path: /internal/ready", "/startupz", "/servingz"}, []string{
			at + `startupProbe.httpGet.path: the program has no probe at "/servingz", but at /internal/startupz`}},
		"a path beneath another": {func(a *lifecycle.App) {
			a.Probes = &probes.Registry{LivePath: "/health", ReadyPath: "/health/ready"}
		}, []string{"path: /livez", "path: /health/ready/db", "path: /readyz", "path: /health/ready"}, []string{
			at + `livenessProbe.httpGet.path: "/health/ready/db" is that of readiness: it would restart the container for what a restart does not cure; it is to ask /health`}},
		"on the router": {func(a *lifecycle.App) {
			a.Probes, a.ProbeAddr = new(probes.Registry), ""
		}, onRouter, nil},
		"on the router, and asked elsewhere": {func(a *lifecycle.App) {
			a.Probes, a.ProbeAddr = new(probes.Registry), ""
		}, onRouter[2:], []string{at + "readinessProbe.httpGet.port: 8081 is not 8080, where the program answers"}},
		"on a router of another server": {func(a *lifecycle.App) {
			a.Probes, a.ProbeAddr = new(probes.Registry), ""
			a.Components = append(a.Components, lifecycle.HTTP("admin", &http.Server{Addr: ":8081"}))
		}, nil, nil},
		"on a router, at a path of one's own": {func(a *lifecycle.App) {
			a.Probes, a.ProbeAddr = new(probes.Registry), ""
		}, append(onRouter, "port: http, path: /livez", "port: http, path: /alive"), nil},
		"one path for both, of one's own": {func(a *lifecycle.App) { a.Admin = http.NotFoundHandler() },
			[]string{"port: probes, path: /livez", "port: 8081, path: /healthz", "/readyz", "/healthz"}, []string{
				at + `livenessProbe.httpGet.path: "/healthz" is that of readiness: it would restart the container for what a restart does not cure`}},
		"a path of Admin": {func(a *lifecycle.App) { a.Admin = http.NotFoundHandler() }, []string{"/livez", "/healthz"}, nil},
		"loopback": {func(a *lifecycle.App) { a.ProbeAddr = "[::1]:8081" }, []string{
			"httpGet: {port: probes, path: /startupz}", "exec: {command: [web, probe, startup]}",
			"httpGet: {port: probes, path: /livez}", "exec: {command: [web, probe, live]}"}, []string{
			at + "readinessProbe.httpGet.port: the program answers on ::1 alone, where the kubelet cannot ask"}},
		"a listener of its own": {func(a *lifecycle.App) {
			a.Components[0].Listen = func(context.Context) (net.Listener, error) { return nil, net.ErrClosed }
		}, []string{"targetPort: http", "targetPort: 9999"}, nil},
		"a worker that may listen": {func(a *lifecycle.App) {
			a.Components = append(a.Components, lifecycle.Component{Name: "udp", Run: func(context.Context) error { return nil }})
		}, []string{"targetPort: http", "targetPort: 9999"}, nil},
		"only the second path of readiness": {func(a *lifecycle.App) { a.Probes = &probes.Registry{ReadyPath: "-"} }, nil, []string{
			at + `readinessProbe.httpGet.path: the program has no probe at "/readyz", but at /servingz`}},
		"no path of liveness": {func(a *lifecycle.App) { a.Probes = &probes.Registry{LivePath: "-"} }, nil, []string{
			at + `livenessProbe.httpGet.path: the program has no probe at "/livez", but at nothing, since it has no such path`}},
		"the floor of the App": {func(a *lifecycle.App) { a.Floor = 25 * time.Second }, nil, []string{
			spec + `terminationGracePeriodSeconds: component "http": the grace period of 30s is too short: pre-stop hook 0s + floor 25s + finishing requests 3s + stopping components 5s + reserve 2s = 35s`}},
		"the floors of two": {func(a *lifecycle.App) {
			a.Components = append(a.Components, lifecycle.HTTP("admin", &http.Server{Addr: ":8082"}))
		}, []string{"- {name: GRACE_PERIOD, value: 30s}", "- {name: SHUTDOWN_DELAY, value: 25s}"}, []string{
			spec + `terminationGracePeriodSeconds: component "http": the grace period of 30s is too short: pre-stop hook 0s + floor 25s + finishing requests 3s + stopping components 5s + reserve 2s = 35s; ` +
				`component "admin": the grace period of 30s is too short: pre-stop hook 0s + floor 25s + finishing requests 3s + stopping components 5s + reserve 2s = 35s`}},
		"no floor": {func(a *lifecycle.App) { a.Floor = -1 }, []string{"PeriodSeconds: 30", "PeriodSeconds: 6", "value: 30s", "value: 6s"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			app := newApp()
			tt.app(app)
			faults(t, kube.Check(app, edit(t, tt.edits...), yaml.Unmarshal), tt.want...)
		})
	}
}

func TestCheckOtherKinds(t *testing.T) {
	const podOnly = `
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - name: proxy
    - name: web
      readinessProbe: {httpGet: {port: 8081, path: /livez}}
`
	second := strings.Replace(podOnly, "{name: web, labels", "{name: web, annotations: {kubectl.kubernetes.io/default-container: web}, labels", 1)
	list, err := json.Marshal(map[string]any{"kind": "List", "items": []any{map[string]any{"kind": "Pod", "spec": map[string]any{}}}})
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		manifest string
		want     []string
	}{
		"the first container": {podOnly, []string{"Pod/web: spec.containers[0].readinessProbe: missing: the pod would be ready before the program is"}},
		"the one of the annotation": {second, []string{`Pod/web: spec.containers[1].readinessProbe.httpGet.path: "/livez" is that of liveness: ` +
			"it would not turn red at the shutdown, nor name what fails; it is to ask /readyz"}},
		"an annotation of none": {strings.ReplaceAll(second, "- name: web", "- name: wep"), []string{`Pod/web: spec.containers: none is the program's: "web"`}},
		"no container":          {"kind: Pod\nspec: {}", []string{`Pod/: spec.containers: none is the program's: ""`}},
		"a StatefulSet":         {strings.Replace(good, "Deployment", "StatefulSet", 1), nil},
		"a StatefulSet without a readiness": {strings.Replace(strings.Replace(good, "Deployment", "StatefulSet", 1), "readinessProbe", "ready", 1), []string{
			"StatefulSet/web: spec.template.spec.containers[0].readinessProbe: missing: the pod would be ready before the program is"}},
		"budget of a DaemonSet": {strings.NewReplacer("Deployment", "DaemonSet", "  maxUnavailable: 1\n", "  minAvailable: 1\n").Replace(good), nil},
		"a List":                {string(list), []string{`Pod/: spec.containers: none is the program's: ""`}},
		"a List of something":   {"kind: List\nitems: [3]", []string{"document 1: items[0]: json: cannot unmarshal number into Go value of type kube.object"}},
		"no spec":               {"kind: Deployment\nmetadata: {name: web}", []string{"Deployment/web: spec: missing"}},
		"a spec of another form": {"kind: Pod\nspec: {containers: [{name: 3}]}", []string{
			"Pod/: spec: json: cannot unmarshal number into Go struct field container.containers.name of type string"}},
		"nothing":          {"# nothing\n---\n", []string{"manifest: has no Deployment, StatefulSet, DaemonSet, ReplicaSet or Pod"}},
		"nothing of use":   {"kind: Service\nspec: {selector: {a: b}}", []string{"manifest: has no Deployment, StatefulSet, DaemonSet, ReplicaSet or Pod"}},
		"no object":        {"a: b", []string{"document 1: no kind: not an object of Kubernetes"}},
		"no YAML":          {good + "---\n{", []string{"document 5: yaml: line 2: did not find expected node content"}},
		"marker in a text": {"a: |\n  b\n---x\n", []string{"document 1: yaml: line 3: could not find expected ':'"}},
		"returns only":     {strings.ReplaceAll(good+"---\nkind: Pod\nspec: {}\n", "\n", "\r"), []string{`Pod/: spec.containers: none is the program's: ""`}},
		"returns, too":     {strings.ReplaceAll(good+"---\nkind: Pod\nspec: {}\n", "\n", "\r\n"), []string{`Pod/: spec.containers: none is the program's: ""`}},
	} {
		t.Run(name, func(t *testing.T) {
			faults(t, kube.Check(newApp(), []byte(tt.manifest), yaml.Unmarshal), tt.want...)
		})
	}
}

func TestCheckJSON(t *testing.T) {
	err := kube.Check(newApp(), []byte(`{"kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [{}]}}`), nil)
	faults(t, err, "Pod/web: spec.containers[0].readinessProbe: missing: the pod would be ready before the program is")
}

// An App that cannot run is no fault of the manifest.
func TestAppThatCannotRun(t *testing.T) {
	twice := newApp()
	twice.Components = append(twice.Components, twice.Components[0])
	for name, app := range map[string]*lifecycle.App{
		"nil":       nil,
		"twice":     twice,
		"negative":  {GracePeriod: -1},
		"no port":   {ProbeAddr: "", PreStopToken: "secret"},
		"two hooks": {ProbeAddr: ":8081", PreStopToken: "secret", PreStop: 1},
	} {
		t.Run(name, func(t *testing.T) {
			assert.ErrorIs(t, kube.Check(app, []byte(good), yaml.Unmarshal), lifecycle.ErrConfig)
			_, err := kube.Stanza(app, "web")
			assert.ErrorIs(t, err, lifecycle.ErrConfig)
		})
	}
}

// deployment is what a stanza is a part of.
func deployment(stanza string) []byte {
	return []byte("kind: Deployment\nmetadata: {name: web}\n" + stanza)
}

func TestStanzaHasNoFault(t *testing.T) {
	for name, tt := range map[string]struct {
		env map[string]string
		app func(*lifecycle.App)
	}{
		"default":            {nil, func(*lifecycle.App) {}},
		"environment":        {map[string]string{"GRACE_PERIOD": "45.5s", "SHUTDOWN_DELAY": "20s"}, func(*lifecycle.App) {}},
		"no floor":           {map[string]string{"GRACE_PERIOD": "6s", "SHUTDOWN_DELAY": "0"}, func(*lifecycle.App) {}},
		"fields":             {map[string]string{"GRACE_PERIOD": "1h", "SHUTDOWN_DELAY": "2h"}, func(a *lifecycle.App) { a.GracePeriod, a.Floor = time.Minute, 10*time.Second }},
		"a floor of its own": {map[string]string{"GRACE_PERIOD": "1m"}, func(a *lifecycle.App) { a.Floor = 40 * time.Second }},
		"a sleep":            {nil, func(a *lifecycle.App) { a.PreStop = 1500 * time.Millisecond }},
		"a token":            {nil, func(a *lifecycle.App) { a.PreStopToken = `"odd": {a} #<'\` }},
		"paths": {nil, func(a *lifecycle.App) {
			a.Probes = &probes.Registry{Prefix: `/it's:"a"`, StartupPath: "-", ReadyPath: "-"}
		}},
		"without liveness":      {nil, func(a *lifecycle.App) { a.Probes = &probes.Registry{LivePath: "-"} }},
		"on the router":         {nil, func(a *lifecycle.App) { a.ProbeAddr, a.Probes = "", new(probes.Registry) }},
		"a server with a floor": {nil, func(a *lifecycle.App) { a.Components[0].Server.Floor = drain.DefaultFloor * 2 }},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range tt.env {
				t.Setenv(key, value)
			}
			app := newApp()
			tt.app(app)
			stanza, err := kube.Stanza(app, "web")
			require.NoError(t, err)
			assert.NoError(t, kube.Check(app, deployment(stanza), yaml.Unmarshal), stanza)
		})
	}
}

func TestStanzaOfNoProbes(t *testing.T) {
	for name, app := range map[string]*lifecycle.App{
		"no address":   {Components: newApp().Components},
		"no port":      {ProbeAddr: ":0"},
		"loopback":     {ProbeAddr: "localhost:8081"},
		"no readiness": {ProbeAddr: ":8081", Probes: &probes.Registry{ReadyPath: "-", ServingPath: "-"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kube.Stanza(app, "web")
			assert.ErrorContains(t, err, "the kubelet could not ask for readiness")
		})
	}
}

// The floor counts as inside Kubernetes, wherever the stanza is printed.
func TestStanzaThatDoesNotFit(t *testing.T) {
	t.Setenv("GRACE_PERIOD", "9s")
	_, err := newApp().Plan()
	require.NoError(t, err, "outside Kubernetes it fits")
	_, err = kube.Stanza(newApp(), "web")
	assert.ErrorIs(t, err, lifecycle.ErrConfig)
	assert.ErrorContains(t, err, "floor 5s")
}

// Neither changes the App, which runs after them.
func TestAppRunsAfterwards(t *testing.T) {
	app := newApp()
	app.ProbeAddr, app.Components = "127.0.0.1:0", nil
	kube.Check(app, []byte(good), yaml.Unmarshal)
	kube.Stanza(app, "web")
	app.Shutdown("at once")
	assert.NoError(t, app.Run(t.Context()))
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(good), ":8081", "", int64(0))
	f.Add([]byte("kind: List\nitems: [{kind: Pod, spec: {containers: [{env: [{name: GRACE_PERIOD, value: 9e9h}]}]}}]"), "x", "t", int64(math.MaxInt64))
	f.Add(edit(f, hook("preStop: {exec: {command: [sleep, 99999999999999d]}}")...), "localhost:http", "", int64(-1))
	f.Add(edit(f, "maxUnavailable: 0", "maxUnavailable: 99999999999999999%"), ":8081", "", int64(1))
	f.Fuzz(func(t *testing.T, manifest []byte, addr, token string, preStop int64) {
		app := newApp()
		app.ProbeAddr, app.PreStopToken, app.PreStop = addr, token, time.Duration(preStop)
		err := kube.Check(app, manifest, yaml.Unmarshal)
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range joined.Unwrap() {
				if fault, ok := err.(*kube.Fault); ok && (fault.Object == "" || fault.Reason == "") {
					t.Errorf("a fault without a name: %#v", fault)
				}
			}
		}
		if again := kube.Check(app, manifest, yaml.Unmarshal); (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
			t.Errorf("another answer: %v, then %v", err, again)
		}
	})
}

func FuzzStanza(f *testing.F) {
	f.Add("web", "/internal", "secret", int64(30*time.Second), int64(5*time.Second), int64(0))
	f.Add("1e3", "/a: b # c", "\u2028'\"\\", int64(math.MaxInt64), int64(-1), int64(time.Second))
	f.Fuzz(func(t *testing.T, container, prefix, token string, grace, floor, preStop int64) {
		if !strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "?") || !utf8.ValidString(prefix) || !utf8.ValidString(token) || grace > 1e18 {
			return // which a registry refuses, or no request can have
		}
		app := newApp()
		app.GracePeriod, app.Floor, app.PreStop = time.Duration(grace), time.Duration(floor), time.Duration(preStop)
		app.Probes, app.PreStopToken = &probes.Registry{Prefix: prefix}, token
		stanza, err := kube.Stanza(app, container)
		if err != nil {
			return
		}
		if err := kube.Check(app, deployment(stanza), yaml.Unmarshal); err != nil {
			t.Errorf("%v in\n%s", err, stanza)
		}
	})
}
