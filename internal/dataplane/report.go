// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/load"
)

const outcomeHead = "data plane\tstrategy\tended\tsent\tanswered\tlost\t" +
	"refused\treset\tclosed\tgoaway\ttimeout\tstatus\ttruncated\tother\t" + // load.Causes
	"never ran\tinto the void\trun twice\texit median\tworst\t"

// report prints the outcomes as tables.
func report(out io.Writer, all []*outcome) {
	table(out, outcomeHead, all, func(w io.Writer, o *outcome) {
		b := o.balance
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t", o.name, o.strategy, len(o.terminations), b.sent, b.answered, b.sent-b.answered)
		for cause := load.Refused; cause < load.Causes; cause++ {
			n := 0
			for _, t := range o.books.kinds {
				n += t.causes[cause]
			}
			fmt.Fprintf(w, "%d\t", n)
		}
		median, worst := o.exits()
		fmt.Fprintf(w, "%d\t%d\t%d\t%.2fs\t%.2fs\t\n", b.neverRan, b.void, b.twice, median.Seconds(), worst.Seconds())
	})
	table(out, "lost of sent\t\t"+kindNames()+"\t", all, func(w io.Writer, o *outcome) {
		fmt.Fprintf(w, "%s\t%s\t", o.name, o.strategy)
		for _, m := range mix {
			t := o.books.kinds[m.kind.Name]
			if t == nil {
				t = new(tally)
			}
			fmt.Fprintf(w, "%d of %d\t", t.lost(), t.sent)
		}
		fmt.Fprintln(w)
	})
	foreignTable(out, all)
	for _, o := range all {
		if newPlane(o.plane).told() || o.strategy == lameduck {
			fmt.Fprintln(out, o.windows())
		}
		for _, line := range o.lossLines() {
			fmt.Fprintf(out, "%s, %s, loss: %s\n", o.name, o.strategy, line)
		}
		for _, t := range o.foreign {
			if t.odd != "" {
				fmt.Fprintf(out, "%s, %s, %s gave up: %s\n", o.name, o.strategy, t.name, t.odd)
			}
		}
	}
}

func table(out io.Writer, head string, all []*outcome, row func(io.Writer, *outcome)) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, head)
	for _, o := range all {
		row(w, o)
	}
	w.Flush()
	fmt.Fprintln(out)
}

func kindNames() string {
	var names []string
	for _, m := range mix {
		names = append(names, m.kind.Name)
	}
	return strings.Join(names, "\t")
}

// foreignTable has what the clients of others say of themselves, and how many of
// their requests the replicas have run.
func foreignTable(out io.Writer, all []*outcome) {
	with := slices.DeleteFunc(slices.Clone(all), func(o *outcome) bool { return len(o.foreign) == 0 })
	if len(with) == 0 {
		return
	}
	names := []string{"lost of sent (ran)", ""}
	for _, t := range with[0].foreign {
		names = append(names, t.name)
	}
	table(out, strings.Join(names, "\t")+"\t", with, func(w io.Writer, o *outcome) {
		fmt.Fprintf(w, "%s\t%s\t", o.name, o.strategy)
		for _, t := range o.foreign {
			if t.absent {
				fmt.Fprint(w, "-\t")
				continue
			}
			fmt.Fprintf(w, "%d of %d (%d)\t", t.lost, t.sent, t.ran)
		}
		fmt.Fprintln(w)
	})
}

// exits returns the median and the longest time from a termination to the end of
// the replica.
func (o *outcome) exits() (median, worst time.Duration) {
	return spread(o.terminations, func(t termination) time.Duration { return t.exit })
}

// spread returns the median and the longest of the times that f returns.
func spread(all []termination, f func(termination) time.Duration) (median, worst time.Duration) {
	var times []time.Duration
	for _, t := range all {
		times = append(times, f(t))
	}
	slices.Sort(times)
	n := len(times)
	return (times[(n-1)/2] + times[n/2]) / 2, times[n-1]
}

// windows says how the accept windows have ended, how long it took to tell the
// plane, and what was lost when that took longer.
func (o *outcome) windows() string {
	var capped, lostCapped, late, lostLate int
	for _, t := range o.terminations {
		if t.capped {
			capped++
			lostCapped += t.lost
		}
		if t.late {
			late++
			lostLate += t.lost
		}
	}
	n := len(o.terminations)
	line := fmt.Sprintf("%s, %s: ", o.name, o.strategy)
	if newPlane(o.plane).told() {
		median, worst := spread(o.terminations, func(t termination) time.Duration { return t.propagation })
		line += fmt.Sprintf("propagation %.1f s at the median, %.1f s at worst; %d of %d were told after the replica had closed its listener: %d lost there; ",
			median.Seconds(), worst.Seconds(), late, n, lostLate)
	}
	return line + fmt.Sprintf("in %d of %d the accept window was closed by its cap: %d lost there", capped, n, lostCapped)
}

// lossLines names the first loss of each kind, or the first ten with Lameduck, which
// is not to have any, and when they were.
func (o *outcome) lossLines() (lines []string) {
	perKind := 1
	if o.strategy == lameduck && !o.beyond {
		perKind = 10
	}
	for _, l := range o.books.firstLosses(perKind) {
		when := "before the first termination"
		for i, t := range o.terminations {
			if !l.at.Before(t.begin) {
				when = fmt.Sprintf("%.3f s after termination %d began, whose replica took %.3f s to leave", l.at.Sub(t.begin).Seconds(), i+1, t.exit.Seconds())
			}
		}
		lines = append(lines, fmt.Sprintf("%s, %s: %v", l.kind, when, l.err))
	}
	return lines
}

// excused counts the losses after an accept window that was at its cap while the
// plane still sent clients: nothing in the process can serve who comes then.
func (o *outcome) excused() (n int) {
	for _, t := range o.terminations {
		if t.beyondCap() {
			n += t.after
		}
	}
	return n
}

// heldFor is when Lameduck ends connections that go on being used: at the deadline of
// the drain, 23 s after the signal with a grace period of 30 s, less the margin.
const heldFor = 23*time.Second - drain.CancelMargin

// held counts the replicas that were still there then. Clients that are told to go
// have gone long before.
func (o *outcome) held() (n int) {
	for _, t := range o.terminations {
		if t.exit >= heldFor {
			n++
		}
	}
	return n
}

// fault says what is wrong with an outcome: Lameduck has lost something, what has to
// lose nothing, or the books do not balance.
func (o *outcome) fault() string {
	lost, foreign := o.balance.sent-o.balance.answered, 0
	for _, t := range o.foreign {
		foreign += t.lost
		if answered := t.sent - t.lost; answered > t.ran {
			return fmt.Sprintf("the books do not balance: %s has %d answers, and the replicas have run %d of its requests", t.name, answered, t.ran)
		}
	}
	switch {
	case o.balance.orphans > 0:
		return fmt.Sprintf("the books do not balance: %d requests are on one side only", o.balance.orphans)
	case o.strategy == lameduck && lost > o.excused():
		return fmt.Sprintf("%d lost", lost-o.excused())
	case o.strategy == lameduck && foreign > 0 && !slices.ContainsFunc(o.terminations, termination.beyondCap): // when, they do not say
		return fmt.Sprintf("clients of others have lost %d", foreign)
	case o.strategy == lameduck && o.held() > 0:
		return fmt.Sprintf("%d of %d were held until their last connections were ended: nobody had told them to go", o.held(), len(o.terminations))
	case o.beyond && o.excused() == 0:
		return "a propagation beyond the cap loses nothing, so this tests nothing"
	case o.strategy == shutdown && lost == 0:
		return "the baseline loses nothing, so this tests nothing"
	}
	return ""
}
