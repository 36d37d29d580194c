// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package lifecycletest tests how a user's own process starts and stops.
//
// [Start] runs a [lifecycle.App] in the test, under testing/synctest in fake time if
// it opens no socket; [StartProcess] runs a program in a process of its own, to be ended
// by real signals under a watch that sends SIGKILL as the kubelet does.
//
// The order, the report and the status of the exit are then the test's to judge:
//
//	func TestStop(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			s := lifecycletest.Start(t, service())
//			s.Ready(time.Minute)
//			r := s.Stop("the test is over")
//			if order := r.Order("ComponentStopped"); !slices.Equal(order, []string{"web", "db"}) {
//				t.Errorf("stopped in the order %v", order)
//			}
//			if r.ExitStatus != 0 || r.Report.Took > 5*time.Second {
//				t.Errorf("status %d: %v", r.ExitStatus, r.Report)
//			}
//		})
//	}
package lifecycletest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// A Service is an App that runs.
type Service struct {
	t      testing.TB
	app    *lifecycle.App
	grace  time.Duration
	start  chan struct{} // closed when all has started
	done   chan struct{} // closed when Run has returned; publishes result
	result Result

	mu     sync.Mutex // guards what follows
	events []lifecycle.Event
}

// A Result says what has become of a run.
type Result struct {
	Err        error             // of Run
	ExitStatus int               // with which Main would have left
	Report     *lifecycle.Report // nil if nothing was started
	Events     []lifecycle.Event
}

// Start runs the App and returns when all of its components have started, or when
// Run has returned. It adds an observer and, if there is none, a registry to the App,
// which must not be used by anything else. The App is stopped when the test ends.
//
// The test fails if that takes until the test's deadline, with as much time left as it
// takes to stop the App; or, where there is none, as in a bubble of testing/synctest, for
// ten minutes, the default of go test. It says which components have not started.
func Start(t testing.TB, app *lifecycle.App) *Service {
	t.Helper()
	s := &Service{t: t, app: app, start: make(chan struct{}), done: make(chan struct{})}
	if app.Probes == nil {
		app.Probes = &probes.Registry{Logger: app.Logger}
	}
	plan, err := app.Plan()
	if err == nil {
		s.grace = plan.GracePeriod
	}
	app.Observers = append(slices.Clip(app.Observers), s.observe)
	go func() {
		defer close(s.done)
		err := app.Run(t.Context())
		s.result = Result{err, lifecycle.ExitCode(err), app.Report(), s.seen()}
	}()
	t.Cleanup(func() {
		app.Shutdown("the test is over")
		<-s.done
	})
	within := s.startsWithin()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-s.start:
	case <-s.done:
	case <-timer.C:
		t.Fatalf("lifecycletest: not started within %v: %s", within.Round(time.Millisecond), strings.Join(s.unstarted(), ", "))
	case <-t.Context().Done():
		t.Fatalf("lifecycletest: not started when the test's context ended: %s", strings.Join(s.unstarted(), ", "))
	}
	return s
}

// noDeadline is how long a start may take where the test has no deadline.
const noDeadline = 10 * time.Minute

// startsWithin returns how long the start may take.
func (s *Service) startsWithin() time.Duration {
	deadline, ok := deadlineOf(s.t)
	if !ok {
		return noDeadline
	}
	left := time.Until(deadline)
	return max(left-s.grace-time.Second, left/2)
}

// deadlineOf returns the deadline of a test. In a bubble, where the clock is another
// one, asking for it is a panic.
func deadlineOf(t testing.TB) (deadline time.Time, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	if t, has := t.(interface{ Deadline() (time.Time, bool) }); has {
		return t.Deadline()
	}
	return time.Time{}, false
}

// unstarted returns the names of the components that have not started though all that
// they depend on has.
func (s *Service) unstarted() (names []string) {
	started := make(map[string]bool)
	for _, e := range s.seen() {
		if e.Instant == "ComponentStarted" {
			started[e.Component] = true
		}
	}
	for _, c := range s.app.Components {
		waits := slices.ContainsFunc(c.DependsOn, func(name string) bool { return !started[name] })
		if !started[c.Name] && !waits {
			names = append(names, c.Name)
		}
	}
	return names
}

// seen returns the events until now.
func (s *Service) seen() []lifecycle.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clip(s.events)
}

func (s *Service) observe(e lifecycle.Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	if e.Instant == "Started" {
		close(s.start)
	}
}

// Ready returns when the readiness probe passes. The test fails if it does not within
// the time given, or if Run returns before.
func (s *Service) Ready(within time.Duration) {
	s.t.Helper()
	end := time.Now().Add(within)
	for {
		w := httptest.NewRecorder()
		s.app.Probes.ReadyHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		if w.Code == http.StatusOK {
			return
		}
		select {
		case <-s.done:
			s.t.Fatalf("lifecycletest: the process has ended before it was ready: %v", s.result.Err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(end) {
			s.t.Fatalf("lifecycletest: not ready within %v: %s", within, w.Body)
		}
	}
}

// Stop begins the shutdown and returns when Run has. The test fails if that takes
// longer than the grace period.
func (s *Service) Stop(reason string) Result {
	s.t.Helper()
	s.app.Shutdown(reason)
	return s.Wait(s.grace)
}

// Wait returns when Run has, which may begin the shutdown by itself. The test fails
// if that takes longer than the time given.
func (s *Service) Wait(within time.Duration) Result {
	s.t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		select {
		case <-s.done: // both: of an App that is invalid the grace period is zero
		default:
			s.t.Fatalf("lifecycletest: the process has not ended within %v", within)
		}
	}
	return s.result
}

// Order returns the names of the components in the order in which they came to an
// instant, such as ComponentStopped.
func (r Result) Order(instant string) []string {
	var names []string
	for _, e := range r.Events {
		if e.Instant == instant {
			names = append(names, e.Component)
		}
	}
	return names
}
