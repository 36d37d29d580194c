// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

func TestDrainTakesTheFloorWithoutTraffic(t *testing.T) {
	for _, tt := range []struct {
		name       string
		env        string
		floor      time.Duration
		wantWindow time.Duration
	}{
		{"none outside Kubernetes", "", 0, 0},
		{"default inside Kubernetes", "10.0.0.1", 0, drain.DefaultFloor},
		{"negative", "10.0.0.1", -1, 0},
		{"set", "", 3 * time.Second, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", tt.env)
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &drain.Server{Floor: tt.floor}, ok)
				report, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.Equal(t, tt.wantWindow, took)
				assert.Equal(t, tt.wantWindow, report.Accept.Took)
				assert.True(t, report.Quiet)
			})
		})
	}
}

func TestQuietPeriod(t *testing.T) {
	t.Run("counts from T0 when there is traffic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Linger: -1}, ok)
			c := r.dial()
			c.get("/")
			time.Sleep(time.Minute)
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, drain.DefaultQuiet, report.Accept.Took)
			assert.Less(t, took, drain.DefaultQuiet+100*time.Millisecond)
		})
	})
	t.Run("starts again with each new connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Floor: time.Second}, ok)
			for i := range 5 {
				time.AfterFunc(time.Duration(i+1)*700*time.Millisecond, func() {
					c := r.dial()
					assert.True(t, c.get("/").Close || i == 0, "after half the floor every answer says close")
					c.Close()
				})
			}
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 3500*time.Millisecond+drain.DefaultQuiet, report.Accept.Took)
			assert.Equal(t, report.Accept.Took, took)
			assert.True(t, report.Quiet)
			assert.EqualValues(t, 5, report.Total().Connections)
			assert.EqualValues(t, 5, report.Total().Requests)
		})
	})
	t.Run("is two fifths of a long floor", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Floor: 5 * time.Second}, ok)
			for _, at := range []time.Duration{3 * time.Second, 4500 * time.Millisecond} {
				time.AfterFunc(at, func() {
					c := r.dial()
					c.get("/")
					c.Close()
				})
			}
			report, _, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 6500*time.Millisecond, report.Accept.Took)
			assert.True(t, report.Quiet)
		})
	})
	t.Run("is not disturbed by probes or by silent connections", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Floor: 2 * time.Second, Silent: -1}, ok)
			for i := range 4 {
				time.AfterFunc(time.Duration(i)*500*time.Millisecond, func() {
					c := r.dial()
					c.get("/readyz")
					c.Close()
					c = r.dial()
					fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\nUser-Agent: kube-probe/1.37\r\n\r\n")
					c.answer()
					c.Close()
					r.dial()
				})
			}
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 2*time.Second, report.Accept.Took)
			assert.Less(t, took, 2*time.Second+100*time.Millisecond)
			assert.Zero(t, report.Total().Connections)
			assert.Zero(t, report.Total().Requests)
			assert.EqualValues(t, 4, report.Silent)
		})
	})
	t.Run("ends at the cap, which is half of the time given", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{}, ok)
			first := r.dial()
			first.get("/")
			stop := make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					nc, err := r.l.Dial(t.Context())
					if err != nil {
						return
					}
					c := &client{t, nc, bufio.NewReader(nc)}
					c.get("/")
					c.Close()
					select {
					case <-stop:
						return
					case <-time.After(300 * time.Millisecond):
					}
				}
			}()
			first.Close()
			report, _, err := r.drain(20 * time.Second)
			close(stop)
			<-done
			require.NoError(t, err)
			assert.Equal(t, 10*time.Second, report.Accept.Took)
			assert.False(t, report.Quiet)
		})
	})
}

func TestIsProbe(t *testing.T) {
	for _, tt := range []struct {
		path, agent string
		want        bool
	}{
		{"/readyz", "", true},
		{"/livez", "curl/8", true},
		{"/servingz", "curl/8", true},
		{"/work", "kube-probe/1.37", true},
		{"/work", "ELB-HealthChecker/2.0", true},
		{"/work", "GoogleHC/1.0", true},
		{"/grpc.health.v1.Health/Check", "", true},
		{"/work", "curl/8", false},
		{"/readyz/db", "curl/8", false},
	} {
		r, err := http.NewRequest("GET", "http://test"+tt.path, nil)
		require.NoError(t, err)
		r.Header.Set("User-Agent", tt.agent)
		assert.Equal(t, tt.want, drain.IsProbe(r), "%s %s", tt.path, tt.agent)
	}
}
