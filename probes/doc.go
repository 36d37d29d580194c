// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package probes answers Kubernetes' liveness, readiness and startup probes from
// memory.
//
// A [Registry] runs its checks in the background and prepares what the probes
// answer; a probe reads that and nothing else. However many checks there are,
// and whatever they do, an answer takes no lock, no allocation and no call,
// unless a check on demand has to be run for it.
//
//	                   /startupz   /livez   /readyz                   /servingz
//	before Started          503      200*   503 "starting"            503
//	after Started           200      200*   200 when every critical check passes
//	in maintenance          200      200*   503 "maintenance"         503
//	after Shutdown          200      200*   503 "shutting down"       as at Shutdown
//	AcceptWindowClosed      200      200*   503 "shutting down"       503 "shutting down"
//
//	* 503 when a liveness check fails
//
// A process goes from line to line, and back only from maintenance; Shutdown may come
// at any time:
//
//	starting -----> started -----> shut down -----> accept window closed
//	                 ^   |             ^
//	                 |   v             |
//	            in maintenance --------+
//
// [Registry.Mount] puts them on a router, and [Registry.Handler] serves them on a
// listener of their own, which should be closed last.
//
// # What a check may be
//
// A readiness check may ask a dependency, and is given a context for it. A
// liveness check takes no context: a process is not to be restarted because
// something it depends on is down, so a function of a context is refused. What
// nobody can refuse is a func() error that asks a dependency inside. For liveness
// there are heartbeats of loops, locks that have to be free, and
// functions that look at the process itself.
//
// A check names what it depends on. While that fails it is not called, and reads
// "skipped because of db": the answer names the root and not its shadows.
//
// # States of a check
//
//	          a run succeeds           FailureThreshold runs in a row fail, or are late
//	unknown ------------------> passing ----------------------------------------> failing
//	   |                           ^                                               |   ^
//	   |                           +--- SuccessThreshold runs in a row succeed ----+   |
//	   +------------------------------ a run fails, or is late ------------------------+
//
//	unknown, passing, failing --- what it depends on fails ----> skipped
//	skipped ------- nothing that it depends on fails any more --> unknown
//
// What is unknown fails, unless it is InitiallyPassing, which is then given
// FailureThreshold runs, too. A run is late after its timeout, and where none is
// started when the next result is overdue.
//
// # Critical, optional or shared
//
// Ask of each dependency what is better while it is down: no traffic, or traffic
// that is served without it. If this replica alone can lose it, and is of no use
// then, the check is critical. If requests can do without, it is optional.
//
// If all replicas use the same one, such as a database, they all see it fail at the
// same moment. A critical check then turns every replica red at once, no endpoint
// is left, and a short failure of the database becomes an outage of everything
// before it: the readiness cascade. Clients would get an error either way, but
// now from a load balancer, also for requests that need no database; and when
// the database is back the service is not, until each replica has been probed.
// So such a check is better made shared: its failure is reported as degraded for the
// time that Tolerate says, and only what lasts longer, or by TolerateShare recurs,
// turns readiness red. That a dependency is not there at the start is never
// tolerated: a replica that has never reached it may be what is wrong.
//
// # What the answers are worth
//
// A readiness check that has not run yet is failing, unless it is said to be
// passing at first. So is one whose run has not returned within its timeout, from
// that very moment on; it is given no second goroutine, so a check that never
// returns costs one for the life of the process. A check that panics or calls
// [runtime.Goexit] is failing. Panics in goroutines that it starts itself are
// beyond reach.
//
// A result has an age: when the next one is overdue the answer turns to 503 by
// itself. Whoever reads it compares its time with the monotonic clock, so it does
// not matter what keeps the checks from running, nor if the wall clock is set.
//
// A check may run on demand instead: when a probe finds its result older than its
// time to live. Probes then wait for that one run, for 800 ms at most, which is
// less than the second that the kubelet gives them; a run never sees the context
// of a request. Only a probe that starts such a run, or waits for it, takes a
// lock. It does neither while all results are fresh, once the run is late or waits
// for one that is, and when Run does not run. At start, in maintenance and at
// shutdown a plain answer needs no results: then only a probe that is told of them
// asks, and at shutdown none does. [Registry.Status] and [Registry.Watch] ask nobody.
//
// # What a probe may ask
//
// GET and HEAD are answered with 200, or 503 or what FailureCode and OffCode say,
// in one write, never with a redirect by a handler of this package; an [http.ServeMux] in
// front of one redirects paths such as //readyz. The rest is the vocabulary of Kubernetes'
// API server (k8s.io/apiserver/pkg/server/healthz):
//
//	/readyz              ok, or the names of what fails
//	/readyz/db           one check; 404 if there is none of that name
//	/readyz?verbose      every check in a line
//	/readyz?exclude=db   without that check, any number of times; the answer says so
//	/readyz?format=json  or html, or text; or by the Accept header
//
// JSON is application/health+json (draft-inadarei-api-health-check-06) with the
// dependencies added, and HTML a page for people with the graph.
//
// # What a stranger learns
//
// An answer says "ok" or the names of the checks that fail. What a check's error
// says goes to the log, in one line when the check begins to fail and one when
// it recovers, to the history, and to those whom Details lets see it. The kubelet
// drops the body of a failed probe and reads 10 KiB of it at most
// (pkg/probe/http/http.go in k8s.io/kubernetes); answers are no longer than that
// unless verbose or a page is asked for: of many names some are listed, and how
// many more there are, and of a name the first 120 bytes. A name that could be
// mistaken for something else, such as one with a comma or a line separator, is in
// quotes, as [strconv.Quote] makes them.
//
// # Which path for whom
//
// When a pod is deleted its endpoint is no longer ready, whatever its probes say.
// What readiness still decides is whether the endpoint is serving, and kube-proxy
// falls back to those that serve when none is ready
// (k8s.io/kubernetes/pkg/proxy/topology.go). So the kubelet may better ask
// /servingz, which turns red when the listener closes, and load balancers that
// probe for themselves /readyz, which turns red at once. Where there is only one
// path, RedAt decides.
//
// # Concurrency
//
// All methods may be called at any time from any goroutine, handlers and listeners
// included. Run owns the goroutines of the checks, and the one that delivers
// changes, and waits for them.
package probes
