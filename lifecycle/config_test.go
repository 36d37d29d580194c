// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
)

func TestInvalidConfiguration(t *testing.T) {
	started := false
	start := func(context.Context) error { started = true; return nil }
	shared := new(http.Server)
	server := func(floor time.Duration) *drain.Server {
		return &drain.Server{HTTP: new(http.Server), Floor: floor}
	}
	tests := []struct {
		name string
		env  [2]string
		app  lifecycle.App
		want string
	}{
		{"no name", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Start: start}}},
			"component 0 has no name"},
		{"the name of Flush", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "flush", Start: start}}},
			`component 0: the name "flush" is that of a part of every App`},
		{"the name of the probe listener", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "probes", Start: start}}},
			`component 0: the name "probes" is that of a part of every App`},
		{"duplicate name", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "a", Start: start}, {Name: "a"}}},
			`duplicate name "a"`},
		{"unknown dependency", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "a", DependsOn: []string{"b"}, Start: start}}},
			`"a" depends on "b", which does not exist`},
		{"cycle", [2]string{}, lifecycle.App{Components: []lifecycle.Component{
			{Name: "a", DependsOn: []string{"b"}, Start: start}, {Name: "b", DependsOn: []string{"a"}}}},
			"dependency cycle: a -> b -> a"},
		{"nil server", [2]string{}, lifecycle.App{Components: []lifecycle.Component{lifecycle.HTTP("web", nil)}},
			`component "web": the server is nil`},
		{"one server twice", [2]string{}, lifecycle.App{Components: []lifecycle.Component{lifecycle.HTTP("a", shared), lifecycle.HTTP("b", shared)}},
			`components "a" and "b" have the same server`},
		{"server with a start", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "web", Server: server(0), Start: start}}},
			`component "web": a server has no Start, Run or Stop of its own`},
		{"server with a drain", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "web", Server: server(0), Drain: start}}},
			`component "web": a server has no Drain of its own`},
		{"listener without a server", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "web", Listen: func(context.Context) (net.Listener, error) { return nil, nil }}}},
			`component "web": Listen is for a Server, and there is none`},
		{"nil observer", [2]string{}, lifecycle.App{Observers: []func(lifecycle.Event){func(lifecycle.Event) {}, nil}}, "observer 1 is nil"},
		{"pre-stop endpoint without a listener", [2]string{}, lifecycle.App{PreStopToken: "secret"}, "the pre-stop endpoint needs ProbeAddr"},
		{"a token with a line's end", [2]string{}, lifecycle.App{PreStopToken: "secret\n", ProbeAddr: ":8081"},
			"PreStopToken has white space around it or control characters, which no header can carry"},
		{"a token of two lines", [2]string{}, lifecycle.App{PreStopToken: "sec\nret", ProbeAddr: ":8081"},
			"PreStopToken has white space around it or control characters, which no header can carry"},
		{"pre-stop endpoint beside a hook", [2]string{}, lifecycle.App{PreStopToken: "secret", ProbeAddr: ":8081", PreStop: 5 * time.Second},
			"PreStop is 5s, but the time of the pre-stop endpoint is part of the shutdown"},
		{"floor longer than the grace period", [2]string{}, lifecycle.App{
			GracePeriod: 10 * time.Second, Components: []lifecycle.Component{{Name: "web", Server: server(8 * time.Second)}}},
			`component "web": the grace period of 10s is too short: pre-stop hook 0s + floor 8s + finishing requests 1.5s + stopping components 2s + reserve 2s = 13.5s`},
		{"pre-stop hook eats the grace period", [2]string{}, lifecycle.App{PreStop: 29 * time.Second, Components: []lifecycle.Component{{Name: "a", Start: start}}},
			"the grace period of 30s is too short: pre-stop hook 29s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 2s = 31.01s"},
		{"negative grace period", [2]string{}, lifecycle.App{GracePeriod: -1}, "grace period is negative: -1ns"},
		{"negative reserve", [2]string{}, lifecycle.App{Reserve: -time.Second}, "reserve is negative: -1s"},
		{"negative pre-stop", [2]string{}, lifecycle.App{PreStop: -time.Second}, "pre-stop hook is negative: -1s"},
		{"bad GRACE_PERIOD", [2]string{"GRACE_PERIOD", "thirty"}, lifecycle.App{}, `GRACE_PERIOD: "thirty" is not a duration such as 30s`},
		{"bad SHUTDOWN_DELAY", [2]string{"SHUTDOWN_DELAY", "5"}, lifecycle.App{}, `SHUTDOWN_DELAY: "5" is not a duration such as 30s`},
		{"negative SHUTDOWN_DELAY", [2]string{"SHUTDOWN_DELAY", "-5s"}, lifecycle.App{}, `SHUTDOWN_DELAY: "-5s" is negative`},
		{"SHUTDOWN_DELAY does not fit", [2]string{"SHUTDOWN_DELAY", "30s"}, lifecycle.App{
			Components: []lifecycle.Component{lifecycle.HTTP("web", new(http.Server))}},
			`component "web": the grace period of 30s is too short: pre-stop hook 0s + floor 30s (SHUTDOWN_DELAY) + finishing requests 3s + stopping components 5s + reserve 2s = 40s`},
		{"no time at all", [2]string{"GRACE_PERIOD", "0s"}, lifecycle.App{},
			"the grace period of 0s (GRACE_PERIOD) is too short: pre-stop hook 0s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 10ms = 20ms"},
		{"a grace period of a millisecond", [2]string{}, lifecycle.App{GracePeriod: time.Millisecond},
			"the grace period of 1ms is too short: pre-stop hook 0s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 10ms = 20ms"},
		{"a short grace period is complained of once", [2]string{}, lifecycle.App{GracePeriod: time.Millisecond, Components: []lifecycle.Component{lifecycle.HTTP("web", new(http.Server))}},
			"the grace period of 1ms is too short: pre-stop hook 0s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 10ms = 20ms"},
		{"a reserve longer than the grace period", [2]string{}, lifecycle.App{GracePeriod: time.Second, Reserve: 2 * time.Second},
			"the grace period of 1s is too short: pre-stop hook 0s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 2s = 2.01s"},
		{"a hook as long as the grace period", [2]string{}, lifecycle.App{GracePeriod: 10 * time.Second, PreStop: 10 * time.Second},
			"the grace period of 10s is too short: pre-stop hook 10s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 2s = 12.01s"},
		{"a floor for ever", [2]string{}, lifecycle.App{Floor: math.MaxInt64, Components: []lifecycle.Component{lifecycle.HTTP("web", new(http.Server))}},
			`component "web": the grace period of 30s is too short: pre-stop hook 0s + floor 2562047h47m16.854775807s + finishing requests 3s + stopping components 5s + reserve 2s = 2562047h47m16.854775807s`},
		{"probes on a server's address", [2]string{}, lifecycle.App{ProbeAddr: ":8080", Components: []lifecycle.Component{lifecycle.HTTP("web", &http.Server{Addr: ":8080"})}},
			`component "web": its address :8080 is also that of the probe listener; mount the probes on its router instead`},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			if tt.env[0] != "" {
				t.Setenv(tt.env[0], tt.env[1])
			}
			err := tt.app.Run(t.Context())
			require.EqualError(t, err, "lifecycle: invalid configuration: "+tt.want)
			assert.ErrorIs(t, err, lifecycle.ErrConfig)
			assert.Equal(t, 2, lifecycle.ExitCode(err))
			assert.False(t, started, "nothing is started")
		})
	}
}

func TestNilAppIsInvalid(t *testing.T) {
	assert.EqualError(t, (*lifecycle.App)(nil).Run(t.Context()), "lifecycle: invalid configuration: the App is nil")
}

func TestNilContextIsInvalid(t *testing.T) {
	a, _ := app()
	var none context.Context
	assert.EqualError(t, a.Run(none), "lifecycle: invalid configuration: the context is nil")
	_, err := (*lifecycle.App)(nil).Plan()
	assert.EqualError(t, err, "lifecycle: invalid configuration: the App is nil")
}

// TestAbsurdDurations: they are refused, whatever their sum overflows to, or do
// what they say.
func TestAbsurdDurations(t *testing.T) {
	const most = time.Duration(math.MaxInt64)
	for _, tt := range []struct {
		name                    string
		grace, preStop, reserve time.Duration
		valid                   bool
	}{
		{"a nanosecond", 1, 0, 0, false},
		{"a millisecond", time.Millisecond, 0, 0, false},
		{"a little less than the least", 20*time.Millisecond - 1, 0, 0, false},
		{"the least", 20 * time.Millisecond, 0, 0, true},
		{"a hook of all", time.Second, time.Second, 0, false},
		{"a hook of all but the least", time.Second, time.Second - 20*time.Millisecond, 10 * time.Millisecond, true},
		{"a reserve beyond all", time.Second, 0, 2 * time.Second, false},
		{"a reserve of all but a nanosecond", time.Second, 0, time.Second - 1, false},
		{"for ever", most, 0, 0, true},
		{"for ever but a hook's time", most, most - time.Second, 1, true},
		{"a reserve for ever", 0, 0, most, false},
		{"a hook for ever", 0, most, 0, false},
		{"a hook and a reserve for ever", 0, most, most, false},
		{"all for ever", most, most, most, false},
		{"a reserve of all", time.Second, 0, time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stopped := false
				a, _ := app(lifecycle.Component{Name: "a", Stop: func(context.Context) error { stopped = true; return nil }})
				a.GracePeriod, a.PreStop, a.Reserve = tt.grace, tt.preStop, tt.reserve
				err := runFor(t, a, time.Second)
				if !tt.valid {
					require.ErrorIs(t, err, lifecycle.ErrConfig)
					assert.ErrorContains(t, err, "is too short: ")
					return
				}
				require.NotErrorIs(t, err, lifecycle.ErrConfig)
				synctest.Wait()
				assert.True(t, stopped)
			})
		})
	}
}

func TestConfiguredTimesWinOverTheEnvironment(t *testing.T) {
	t.Setenv("GRACE_PERIOD", "nonsense")
	t.Setenv("SHUTDOWN_DELAY", "nonsense")
	synctest.Test(t, func(t *testing.T) {
		a, _ := app(lifecycle.Component{Name: "a"})
		a.GracePeriod, a.Floor = time.Minute, -1
		assert.NoError(t, runFor(t, a, time.Second))
	})
}

func TestComponentWithoutFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app(lifecycle.Component{Name: "a"}, lifecycle.Component{Name: "b", DependsOn: []string{"a", "a"}})
		require.NoError(t, runFor(t, a, time.Second))
		assert.Equal(t, "stopped", a.Report().Components[1].Fate)
	})
}

func TestAppWithoutComponentsWaitsForItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app()
		t0 := time.Now()
		require.NoError(t, runFor(t, a, time.Second))
		assert.Equal(t, time.Second, time.Since(t0))
	})
}

// TestOddNames: the stacks of a component are found whatever its name is, and are
// not those of another one.
func TestOddNames(t *testing.T) {
	names := []string{`a"b`, "a\nb", "a\n\nb", `"lameduck.component":"db"`, "ü", " ", "a, b", "\x00\xff", strings.Repeat("long", 500)}
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		components := []lifecycle.Component{{Name: "db", Stop: func(context.Context) error { return nil }}}
		for _, name := range names {
			components = append(components, lifecycle.Component{Name: name, Stop: func(context.Context) error { <-release; return nil }})
		}
		a, _ := app(components...)
		err := runFor(t, a, time.Second)
		for i, name := range names {
			assert.ErrorContains(t, err, "stop "+name+": lifecycle: not done by its deadline")
			assert.Contains(t, a.Report().Components[i+1].Stacks, "TestOddNames", "%q", name)
		}
	})
}
