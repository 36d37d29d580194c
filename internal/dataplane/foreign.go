// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A foreign is a load generator that nobody here has written. It runs again and
// again, each time for a segment of the job.
type foreign struct {
	name, proto string
	argv        func(url, body string, segment time.Duration) []string
	parse       func(out string) (sent, lost int, err error)
}

// A tallied is what a foreign client says of itself.
type tallied struct {
	name       string
	sent, lost int
	ran        int // by the replicas, in their own count
	absent     bool
	odd        string // the last output that had no result in it
}

// payload is the file that the clients of others have their body from.
const payload = "payload"

// segmentMore is how much longer than it should a segment may take.
const segmentMore = 20 * time.Second

// foreigners are all of them. Their rates are low: they share two cores with what
// they load. (h2load has an option for the rate, with which it sends nothing more on
// a connection after the one that was closed.)
func foreigners(fortio string) []foreign {
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.0fs", d.Seconds()) }
	return []foreign{
		{"fortio", "", func(url, _ string, d time.Duration) []string {
			return []string{fortio, "load", "-quiet", "-allow-initial-errors", "-c", "2", "-qps", "20", "-t", seconds(d), "-H", "Request-Id: fortio", url}
		}, parseFortio},
		{"fortio-stdclient", "", func(url, body string, d time.Duration) []string {
			return []string{fortio, "load", "-quiet", "-allow-initial-errors", "-stdclient", "-payload-file", body, "-c", "2", "-qps", "20", "-t", seconds(d),
				"-H", "Request-Id: fortio-stdclient", url}
		}, parseFortio},
		{"wrk", "", func(url, _ string, d time.Duration) []string {
			return []string{"wrk", "-t1", "-c2", "-d" + seconds(d), "-H", "Request-Id: wrk", url + "?ms=50"}
		}, parseWrk},
		{"hey", "", func(url, body string, d time.Duration) []string {
			return []string{"hey", "-c", "2", "-q", "10", "-z", seconds(d), "-m", "POST", "-D", body, "-H", "Request-Id: hey", url}
		}, parseHey},
		{"h2load", "", func(url, body string, d time.Duration) []string {
			return []string{"h2load", "--h1", "-c2", fmt.Sprintf("-n%.0f", 36*d.Seconds()), "-d", body, "-H", "Request-Id: h2load", url + "?ms=50"}
		}, parseH2load},
		{"h2load-h2c", "h2c", func(url, body string, d time.Duration) []string {
			return []string{"h2load", "-c1", "-m2", fmt.Sprintf("-n%.0f", 36*d.Seconds()), "-d", body, "-H", "Request-Id: h2load-h2c", url + "?ms=50"}
		}, parseH2load},
	}
}

func foreignNames() (names []string) {
	for _, f := range foreigners("") {
		names = append(names, f.name)
	}
	return names
}

// available returns those that are wanted and installed, and the names of those that
// are not installed.
func available(all []foreign, wanted []string) (there []foreign, missing []string) {
	for _, f := range all {
		if !slices.Contains(wanted, f.name) {
			continue
		}
		if _, err := exec.LookPath(f.argv("", "", 0)[0]); err != nil {
			missing = append(missing, f.name)
		} else {
			there = append(there, f)
		}
	}
	return there, missing
}

// loadForeign starts the foreign clients. The function that it returns waits for
// the end of the segments that run, and may be called twice.
func (r *rig) loadForeign(ctx context.Context) (stop func() ([]tallied, error)) {
	over, cancel := context.WithCancel(ctx)
	tallies, errs := make([]tallied, len(r.foreign)), make([]error, len(r.foreign))
	var group sync.WaitGroup
	for i, f := range r.foreign {
		tallies[i].name = f.name
		if f.proto == "h2c" && r.plane.told() {
			// h2load opens no connection in place of one that it was told to leave,
			// and counts what it has not sent then. Proxies keep the client's.
			tallies[i].absent = true
			continue
		}
		group.Go(func() {
			for errs[i] == nil && over.Err() == nil {
				errs[i] = r.segmentOf(ctx, f, &tallies[i])
			}
		})
	}
	return func() ([]tallied, error) {
		cancel()
		group.Wait()
		r.books.mu.Lock()
		defer r.books.mu.Unlock()
		for i := range tallies {
			tallies[i].ran = r.books.foreign[tallies[i].name]
		}
		return tallies, errors.Join(errs...)
	}
}

// segmentOf runs a foreign client once and adds to its tally.
func (r *rig) segmentOf(ctx context.Context, f foreign, t *tallied) error {
	bounded, cancel := context.WithTimeout(ctx, r.segment+segmentMore)
	defer cancel()
	out, err := r.output(bounded, f.argv("http://"+r.addr(f.proto)+"/", filepath.Join(r.dir, payload), r.segment))
	if err != nil && (ctx.Err() != nil || bounded.Err() == nil) {
		return fmt.Errorf("%s: %w\n%s", f.name, err, out)
	}
	sent, lost, err := f.parse(out)
	if err != nil {
		// A segment that did not come about, because of a first connection that
		// was refused, say, or that had no end.
		sent, lost = 1, 1
		t.odd = strings.TrimSpace(out[max(0, len(out)-200):])
	}
	t.sent += sent
	t.lost += lost
	return nil
}

// output runs a program on the clients' host and returns what it prints. Its exit
// status is of no matter: some have one for losses.
func (r *rig) output(ctx context.Context, argv []string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = r.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := r.lab.Start("clients", cmd); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	return out.String(), errors.Join(err, ctx.Err())
}

// sum adds up the first group of all that matches. What nobody can have counted is cut,
// so that the sum does not overflow.
func sum(out, expr string) (n int) {
	for _, m := range regexp.MustCompile(expr).FindAllStringSubmatch(out, -1) {
		k, _ := strconv.Atoi(m[1])
		n += min(k, 1e12)
	}
	return n
}

var errOutput = errors.New("not the output that was expected")

// counted returns an error for what are no counts.
func counted(sent, lost int) (int, int, error) {
	if sent <= 0 || lost < 0 || lost > sent {
		return 0, 0, errOutput
	}
	return sent, lost, nil
}

func parseFortio(out string) (sent, lost int, err error) {
	sent = sum(out, `(?m)^Code +-?\d+ : (\d+) \(`)
	return counted(sent, sent-sum(out, `(?m)^Code +2\d\d : (\d+) \(`))
}

// parseWrk counts what wrk does not count as a request: those without an answer.
func parseWrk(out string) (sent, lost int, err error) {
	answered := sum(out, `(\d+) requests in `)
	if answered == 0 {
		return 0, 0, errOutput
	}
	without := sum(out, `Socket errors:.* connect (\d+)`) + sum(out, `Socket errors:.* read (\d+)`) +
		sum(out, `Socket errors:.* write (\d+)`) + sum(out, `Socket errors:.* timeout (\d+)`)
	return counted(answered+without, without+sum(out, `Non-2xx or 3xx responses: (\d+)`))
}

func parseHey(out string) (sent, lost int, err error) {
	ok, other := sum(out, `\[2\d\d\]\s+(\d+) responses`), sum(out, `\[[^2]\d\d\]\s+(\d+) responses`)
	lost = other + sum(out, `(?m)^  \[(\d+)\]\t[^\n]*(?:http|dial)`)
	return counted(ok+lost, lost)
}

// parseH2load does not count what h2load never began, because a connection was gone.
func parseH2load(out string) (sent, lost int, err error) {
	sent = sum(out, `requests: .* (\d+) started`)
	return counted(sent, sent-sum(out, `status codes: (\d+) 2xx`))
}
