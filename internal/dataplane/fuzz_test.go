// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// FuzzForeign has the clients of others print anything: what is made of it is no more
// losses than requests, or an error, and the same at the second look.
func FuzzForeign(f *testing.F) {
	for _, out := range []string{
		"",
		"Code  -1 : 3 (1.5 %)\nCode 200 : 197 (98.5 %)\nCode 503 : 1 (0.1 %)\n",
		"  197 requests in 10.00s, 20KB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n",
		"Status code distribution:\n  [200]\t197 responses\n  [503]\t1 responses\n\nError distribution:\n  [3]\tGet \"http://a\": dial tcp: refused\n",
		"requests: 360 total, 360 started, 359 done, 358 succeeded, 2 failed, 1 errored, 0 timeout\nstatus codes: 358 2xx, 0 3xx, 1 4xx, 0 5xx\n",
		"Code 200 : 99999999999999999999 (1 %)\nCode 503 : 9223372036854775807 (1 %)\nCode 503 : 1 (1 %)\n",
		"requests: 1 total, 1 started\nstatus codes: 2 2xx\n",
		"  [200]\t9223372036854775807 responses\n  [500]\t9223372036854775807 responses\n",
	} {
		f.Add(out)
	}
	f.Fuzz(func(t *testing.T, out string) {
		for _, client := range foreigners("") {
			sent, lost, err := client.parse(out)
			again, lostAgain, _ := client.parse(out)
			assert.Equal(t, []int{sent, lost}, []int{again, lostAgain})
			if err != nil {
				assert.Zero(t, sent+lost, client.name)
				continue
			}
			assert.Positive(t, sent, client.name)
			assert.GreaterOrEqual(t, lost, 0, client.name)
			assert.LessOrEqual(t, lost, sent, client.name)
		}
	})
}

// FuzzBooks has a replica write anything to its books: each line is in them once, as the
// run of a request or of a client of others, and the sums agree.
func FuzzBooks(f *testing.F) {
	f.Add("+0123456789abcdef\n-0123456789abcdef\n+wrk\n-wrk\n")
	f.Add("+\n-\n\n+0123456789ABCDEF\n+0123456789abcdeg\n")
	f.Add("é\n+0x00000000000001\n+ 123456789abcdef\n")
	f.Fuzz(func(t *testing.T, lines string) {
		b := newBooks()
		begun := 0
		for line := range strings.SplitSeq(lines, "\n") {
			b.server(line)
			if strings.HasPrefix(line, "+") {
				begun++
			}
		}
		runs := 0
		for _, n := range b.foreign {
			runs += n
		}
		for id, e := range b.requests {
			runs += e.runs
			assert.Contains(t, strings.ToLower(lines), fmt.Sprintf("%016x", id))
		}
		assert.Equal(t, begun, runs)
		assert.Equal(t, len(b.requests), b.balance().orphans, "nobody has sent them")
	})
}

// FuzzFlags: what is taken makes sense.
func FuzzFlags(f *testing.F) {
	f.Add("-terminations 3 -naive 1 -planes nftables")
	f.Add("-clients wrk,,hey -parts , -parallel 0")
	f.Add("-article 24s -seed 18446744073709551615 -fortio x")
	f.Add("-article 1h -- more")
	f.Fuzz(func(t *testing.T, args string) {
		c, err := parse(strings.Split(args, " "), io.Discard)
		if err != nil {
			return
		}
		assert.Positive(t, c.terminations)
		assert.Positive(t, c.naive)
		assert.Positive(t, c.parallel)
		assert.Greater(t, c.article, preStopSleeps)
		for wanted, all := range map[*[]string][]string{&c.parts: allParts, &c.planes: planes, &c.clients: foreignNames()} {
			for _, name := range *wanted {
				assert.True(t, slices.Contains(all, name), name)
			}
		}
	})
}
