// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package lameduck is the map of a library that takes a Go service off the air
// without losing a request. It holds no code; the work is in its packages.
//
//   - [github.com/lameduck-go/lameduck/lifecycle] starts and stops the parts of
//     a process in the order of their dependencies, on one deadline, and has the
//     helper for main.
//   - [github.com/lameduck-go/lameduck/lifecycle/lifecycletest] runs a process of
//     your own, in fake time or under real signals, and tells how it has ended.
//   - [github.com/lameduck-go/lameduck/lifecycle/kube] prints what a Kubernetes
//     manifest has to say of a process, and checks one against it.
//   - [github.com/lameduck-go/lameduck/drain] takes a [net/http.Server] off the
//     air: it goes on accepting while load balancers still send, tells each
//     client to go, and calls Shutdown last. A gRPC server is taken down alike.
//   - [github.com/lameduck-go/lameduck/drain/draintest] rolls a server under
//     clients that never retry, and counts what was lost.
//   - [github.com/lameduck-go/lameduck/probes] answers liveness, readiness and
//     startup probes from memory.
//   - [github.com/lameduck-go/lameduck/probes/checks] has ready-made checks.
//   - [github.com/lameduck-go/lameduck/probes/heptio] connects
//     github.com/heptiolabs/healthcheck, both ways.
//
// # Words
//
// The lame duck is the time from the decision to stop until the last connection
// is gone. The floor is the shortest time for which new connections are still
// accepted. The quiet period is how long no new connection may arrive before the
// removal of this process counts as known everywhere. The cap is the longest the
// accept window may last. Linger is how long an idle connection may wait for the
// request whose answer tells its client to go. The grace period is Kubernetes'
// terminationGracePeriodSeconds; everything fits inside it. The reserve is its
// end, which serving and stopping may not use. What is ended by force is cut.
package lameduck
