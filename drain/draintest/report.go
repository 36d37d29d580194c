// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lameduck-go/lameduck/internal/load"
)

// A Report says what was sent and what was lost.
type Report struct {
	Kinds []KindReport    // by kind of client
	Exits []time.Duration // from the termination of each server until it was gone
}

// A KindReport counts the requests of one kind of client.
type KindReport struct {
	Kind  string
	Sent  int
	OK    int // answered with a complete 2xx
	Dials int // requests that needed a new connection

	// The losses, by cause.
	Refused   int // the dial was refused
	Reset     int // a RST, at the dial or later; in HTTP/2 a RST_STREAM too
	Closed    int // the stream ended before the first byte of an answer
	GoAway    int // the same after a GOAWAY, or one that leaves the request out
	Timeout   int // no complete answer within 10 s, or no connection within 3 s, in which this process ran
	Status    int // a complete answer that is not a 2xx
	Truncated int // an answer that ends early
	Other     int // anything else

	// FirstLoss is the error of the first loss, for a hint.
	FirstLoss error
}

// Lost returns how many requests of the kind were lost.
func (k KindReport) Lost() int { return k.Sent - k.OK }

func (k *KindReport) count(r load.Result) {
	k.Sent++
	if !r.Reused {
		k.Dials++
	}
	n := [load.Causes]*int{&k.OK, &k.Refused, &k.Reset, &k.Closed, &k.GoAway, &k.Timeout, &k.Status, &k.Truncated, &k.Other}
	*n[r.Cause]++
	if r.Cause != load.OK && k.FirstLoss == nil {
		k.FirstLoss = r.Err
	}
}

// add adds the counts of k. It keeps the name.
func (t *KindReport) add(k KindReport) {
	t.Sent += k.Sent
	t.OK += k.OK
	t.Dials += k.Dials
	t.Refused += k.Refused
	t.Reset += k.Reset
	t.Closed += k.Closed
	t.GoAway += k.GoAway
	t.Timeout += k.Timeout
	t.Status += k.Status
	t.Truncated += k.Truncated
	t.Other += k.Other
	if t.FirstLoss == nil {
		t.FirstLoss = k.FirstLoss
	}
}

// Add adds the counts and the exits of another roll. Kinds of the same name are
// one kind; those that r has not yet come after its own.
func (r *Report) Add(o *Report) {
	for _, k := range o.Kinds {
		i := slices.IndexFunc(r.Kinds, func(t KindReport) bool { return t.Kind == k.Kind })
		if i < 0 {
			r.Kinds = append(r.Kinds, k)
		} else {
			r.Kinds[i].add(k)
		}
	}
	r.Exits = append(r.Exits, o.Exits...)
}

// Total returns the counts of all kinds together.
func (r *Report) Total() KindReport {
	total := KindReport{Kind: "total"}
	for _, k := range r.Kinds {
		total.add(k)
	}
	return total
}

// Lost returns how many requests were lost.
func (r *Report) Lost() int { return r.Total().Lost() }

// Exit returns the median and the longest time from a termination to the end of
// the server.
func (r *Report) Exit() (median, worst time.Duration) {
	if len(r.Exits) == 0 {
		return 0, 0
	}
	exits, n := slices.Sorted(slices.Values(r.Exits)), len(r.Exits)
	return (exits[(n-1)/2] + exits[n/2]) / 2, exits[n-1]
}

// String returns the report as a table.
func (r *Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tsent\tok\tlost\trefused\treset\tclosed\tgoaway\ttimeout\tstatus\ttruncated\tother\tdials\t")
	for _, k := range append(slices.Clone(r.Kinds), r.Total()) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
			k.Kind, k.Sent, k.OK, k.Lost(), k.Refused, k.Reset, k.Closed, k.GoAway, k.Timeout, k.Status, k.Truncated, k.Other, k.Dials)
	}
	w.Flush()
	median, worst := r.Exit()
	fmt.Fprintf(&b, "%d terminations, to the exit %.3f s median, %.3f s worst\n", len(r.Exits), median.Seconds(), worst.Seconds())
	for _, k := range r.Kinds {
		if k.FirstLoss != nil {
			fmt.Fprintf(&b, "first loss, %s: %v\n", k.Kind, k.FirstLoss)
		}
	}
	return b.String()
}
