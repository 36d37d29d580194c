// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// FuzzSleeps looks for sleeps in any command: never less than none, and one more is as
// much more as it says.
func FuzzSleeps(f *testing.F) {
	f.Add("sleep 5", uint16(10), "s")
	f.Add("sh -c /bin/sleep 0.5m && kill 1", uint16(0), "")
	f.Add("sleep 99999999999999999999999999d; sleep 1e9", uint16(1), "d")
	f.Add("nosleep 5 sleep5 sleep", uint16(7), "h")
	f.Add("sleep 1 2 sleep 3s", uint16(3), "m")
	f.Fuzz(func(t *testing.T, command string, n uint16, unit string) {
		before, _ := sleeps(&hook{Exec: &execAction{Command: []string{command}}})
		assert.GreaterOrEqual(t, before, time.Duration(0))
		assert.LessOrEqual(t, before, time.Duration(longest))
		if unitOf[unit] == 0 {
			return
		}
		more := fmt.Sprintf("sleep %d%s", n, unit)
		after, known := sleeps(&hook{Exec: &execAction{Command: []string{command + " ;", ";" + more}}})
		assert.True(t, known)
		assert.Equal(t, min(before+time.Duration(n)*unitOf[unit], longest), after, more)
	})
}

// FuzzDocuments cuts any text: no line of it is lost, and no marker is left in one.
func FuzzDocuments(f *testing.F) {
	f.Add("a: 1\n---\nb: 2\n")
	f.Add("---\r\n--- a\n---b\n ---\n----\n---")
	f.Add("\r---\t|\r...\n--- # c\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		docs := documents([]byte(text))
		want := strings.ReplaceAll(text, "\r", "\n")
		joined := string(bytes.Join(docs, []byte("---")))
		assert.Equal(t, want, joined)
		for i, doc := range docs {
			lines := strings.Split(string(doc), "\n")
			if i > 0 {
				lines = lines[1:] // what stands behind the marker
			}
			for _, line := range lines {
				rest, ok := strings.CutPrefix(line, "---")
				assert.False(t, ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t'), "%q", line)
			}
		}
	})
}

// FuzzValue reads a number or a text, and what it stands for lies within what there is.
func FuzzValue(f *testing.F) {
	for _, data := range []string{"1", `"25%"`, `"http"`, "null", `""`, `"-1%"`, "1.5", "1e2", `"99999999999999999999%"`, `"%"`, "{}", `"10%%"`, "-9223372036854775808"} {
		f.Add([]byte(data), uint16(10))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint16) {
		var v value
		if json.Unmarshal(data, &v) != nil {
			return
		}
		assert.Equal(t, string(bytes.TrimSpace(data)) != "null", v.set)
		least, err := v.of(int(n), "25%", down)
		most, mostErr := v.of(int(n), "25%", up)
		assert.Equal(t, err == nil, mostErr == nil)
		if err != nil {
			assert.NotEmpty(t, v.text)
			return
		}
		assert.LessOrEqual(t, least, most)
		switch {
		case v.set && v.text == "":
			assert.Equal(t, v.number, least)
			assert.Equal(t, v.number, most)
		default:
			var percent int
			fmt.Sscanf(v.text, "%d%%", &percent)
			if !v.set {
				percent = 25
			}
			if percent < math.MaxInt32 && percent > math.MinInt32 {
				assert.LessOrEqual(t, most-least, 1)
				assert.LessOrEqual(t, least*100, percent*int(n))
				assert.GreaterOrEqual(t, most*100, percent*int(n))
			}
		}
	})
}

// FuzzSplit: a port is one, or is not known.
func FuzzSplit(f *testing.F) {
	for _, addr := range []string{":8081", "localhost:http", "[::1]:https", "", ":0", ":65536", ":-1", "a:b:c", "[::1%lo]:80", ":+80", ":080"} {
		f.Add(addr)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		host, number := split(addr)
		assert.True(t, number >= 0 && number <= math.MaxUint16)
		assert.LessOrEqual(t, len(host), len(addr))
		if number > 0 {
			assert.True(t, strings.HasPrefix(strings.TrimPrefix(addr, "["), host), addr)
			_, again := split(fmt.Sprintf("[%s]:%d", host, number))
			assert.Equal(t, number, again)
		}
	})
}
