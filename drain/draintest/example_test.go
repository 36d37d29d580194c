// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/drain/draintest"
)

func ExampleRoll() {
	report, err := draintest.Roll(context.Background(), draintest.Config{
		Serve: func(ctx context.Context, l net.Listener) error {
			s := &drain.Server{HTTP: &http.Server{Handler: http.HandlerFunc(work)}, Floor: 500 * time.Millisecond}
			go s.Serve(l)
			<-ctx.Done()
			_, err := s.Drain(context.Background())
			return err
		},
		Propagation: 500 * time.Millisecond,
	})
	fmt.Println(report.Lost(), err)
	// Output: 0 <nil>
}

// A load of one's own: many clients that are seldom heard of, and a few that are
// never silent.
func ExampleKind() {
	report, err := draintest.Roll(context.Background(), draintest.Config{
		Serve:       drained,
		Propagation: 500 * time.Millisecond,
		Kinds: []draintest.Kind{
			{Name: "browsers", Method: "GET", MaxThink: 3 * time.Second, Clients: 100},
			{Name: "upstream", Clients: 4},
		},
	})
	for _, k := range report.Kinds {
		fmt.Println(k.Kind, k.Lost())
	}
	fmt.Println(err)
	// Output:
	// browsers 0
	// upstream 0
	// <nil>
}
