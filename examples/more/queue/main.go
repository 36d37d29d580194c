// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command queue is a consumer of a NATS JetStream that finishes the messages it has
// taken, and takes no more, when it is replaced. Copy it, and put your own in place of
// handle.
//
// It serves the probes on $PROBE_PORT (8081). Set $NATS_URL.
package main

import (
	"cmp"
	"os"

	"github.com/lameduck-go/lameduck/lifecycle"
)

func main() {
	b := &broker{url: cmp.Or(os.Getenv("NATS_URL"), "nats://localhost:4222")}
	c := &consumer{broker: b, handle: handle}
	lifecycle.Main(&lifecycle.App{
		ProbeAddr: ":" + cmp.Or(os.Getenv("PROBE_PORT"), "8081"),
		Components: []lifecycle.Component{
			{Name: "nats", Start: b.open, Ready: b.ready, Stop: b.close},
			{Name: "orders", DependsOn: []string{"nats"}, Start: c.start, Ready: c.ready, Drain: c.drain},
		},
	})
}
