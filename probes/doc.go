// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package probes answers Kubernetes' liveness, readiness and startup probes from
// memory.
//
// A [Registry] runs its checks in the background and prepares what the probes
// answer; a probe reads that and nothing else. However many checks there are,
// and whatever they do, an answer takes no lock, no allocation and no call.
//
//	              /startupz   /livez   /readyz
//	before Started     503      200*   503 "starting"
//	after Started      200      200*   200 when every readiness check passes
//	after Shutdown     200      200*   503 "shutting down", for good
//
//	* 503 when a liveness check fails
//
// # What a check may be
//
// A readiness check may ask a dependency, and is given a context for it. A
// liveness check takes no context: a process is not to be restarted because
// something it depends on is down, so what needs the network does not fit.
//
// # What the answers are worth
//
// A readiness check that has not run yet is failing. So is one whose run has not
// returned within its timeout, from that very moment on; it is given no second
// goroutine, so a check that never returns costs one for the life of the
// process. A check that panics or calls [runtime.Goexit] is failing. Panics in
// goroutines that it starts itself are beyond reach.
//
// A result has an age: when the next one is overdue the answer turns to 503 by
// itself. Whoever reads it compares its time with the clock, so it does not
// matter what keeps the checks from running.
//
// # What a stranger learns
//
// An answer says "ok" or the names of the checks that fail. What a check's error
// says goes to the log, in one line when the check begins to fail and one when
// it recovers. The kubelet drops the body of a failed probe and reads 10 KiB of
// it at most (pkg/probe/http/http.go in k8s.io/kubernetes); the answers stay
// below that.
//
// # Concurrency
//
// All methods may be called at any time from any goroutine, handlers included.
// Run owns the goroutines of the checks and waits for them.
package probes
