// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// listed reads a list of names as an answer has it, and returns also how many it
// says were left out, and what comes after.
func listed(t *testing.T, text string) (names []string, more int, rest string) {
	t.Helper()
	for {
		if q, err := strconv.QuotedPrefix(text); err == nil {
			name, err := strconv.Unquote(q)
			require.NoError(t, err)
			names, text = append(names, name), text[len(q):]
		} else {
			end := strings.IndexAny(text, ",;\n")
			require.NotEqual(t, -1, end, "%q", text)
			names, text = append(names, text[:end]), text[end:]
		}
		if n, _ := fmt.Sscanf(text, ", and %d more", &more); n == 1 {
			return names, more, strings.TrimPrefix(text, fmt.Sprintf(", and %d more", more))
		}
		var again bool
		if text, again = strings.CutPrefix(text, ", "); !again {
			return names, 0, text
		}
	}
}

// whole asserts that a list has the names, as far as it goes, and counts the rest.
// Of a long name the beginning will do.
func whole(t *testing.T, want, got []string, more int) {
	t.Helper()
	require.NotEmpty(t, got)
	require.Len(t, want, len(got)+more)
	for i, name := range got {
		if len(want[i]) <= 120 {
			assert.Equal(t, want[i], name)
			continue
		}
		beginning, dots := strings.CutSuffix(name, "...")
		assert.True(t, dots && len(beginning) > 120-utf8.UTFMax && strings.HasPrefix(want[i], beginning), "%q", name)
	}
}

// boundedAnswers asks, with every check failing or skipped, for all that can be
// asked without verbose.
func boundedAnswers(t *testing.T, names []string) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var failing, skipped []string
		var checks []probes.Check
		known := make(map[string]bool)
		for i, name := range names {
			c := probes.Check{Name: name, Func: fail, Optional: i%5 == 4}
			if i%3 == 2 && len(failing) > 0 {
				c.DependsOn = []string{failing[len(failing)/2]}
			}
			_, err := new(probes.Registry).Expect(name) // as a check of that name is
			if err != nil || known[name] {
				continue
			}
			known[name] = true
			checks = append(checks, c)
			if i < 30 {
				require.NoError(t, r.AddLiveness(name, func() error { return errDown }))
			}
			switch {
			case c.Optional:
			case c.DependsOn != nil:
				skipped = append(skipped, name)
			default:
				failing = append(failing, name)
			}
		}
		if len(failing) == 0 {
			return
		}
		require.NoError(t, r.AddReadiness(checks...))
		slices.Sort(failing)
		slices.Sort(skipped)
		r.run()
		defer r.end()
		all := url.Values{"exclude": names}.Encode()
		some := url.Values{"exclude": slices.Concat(failing[:len(failing)/8], skipped[:len(skipped)/2])}
		for _, name := range names[:len(names)/8] {
			some.Add("exclude", name+"?") // there is none of that name
		}
		for _, path := range []string{"/readyz", "/livez", "/startupz", "/servingz", "/readyz/" + failing[0], "/livez/" + failing[0], "/readyz/none"} {
			for _, query := range []string{"", all, "verbose=0&" + some.Encode()} {
				for _, format := range []string{"text", "json"} {
					w := httptest.NewRecorder()
					req := httptest.NewRequest(http.MethodGet, "/", nil)
					req.URL = &url.URL{Path: path, RawQuery: query + "&format=" + format}
					r.Handler().ServeHTTP(w, req)
					require.LessOrEqual(t, w.Body.Len(), 10<<10, "%.20q %.40s %s", path, query, format)
					require.True(t, utf8.Valid(w.Body.Bytes()))
					if w.Header().Get("Content-Type") == "application/health+json" {
						var got struct{ Output string }
						require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
						assert.False(t, strings.Contains(got.Output, "\n"))
					}
				}
			}
		}
		text := request(r.Handler(), http.MethodGet, "/readyz").Body.String()
		got, more, rest := listed(t, strings.TrimPrefix(text, "not ready: "))
		whole(t, failing, got, more)
		if len(skipped) > 0 {
			require.True(t, strings.HasPrefix(rest, "; skipped: "), "%q", rest)
			got, more, rest = listed(t, strings.TrimPrefix(rest, "; skipped: "))
			whole(t, skipped, got, more)
		}
		assert.Equal(t, "\n", rest)
	})
}

var oddNames = []string{
	"db; skipped: x", "db, cache", "and 3 more", "shutting down", "maintenance", "starting", "starting, missing: x", "db\nwarning: x",
	"a\u2028[+]b ok", "\u2029", "\u202egnp.exe", "\u200b", " db", "db ", "\u00a0", `"db"`, `\`, `"`, "db failed: x", "<db>", "&amp;", "é ü",
	"a/b c", "\x7f", "\xff", "postgres:5432", "\U0010ffff", "👩‍🔬",
}

func TestAnswersAreBoundedUnlessVerbose(t *testing.T) {
	many := func(n int, name func(i int) string) (names []string) {
		for i := range n {
			names = append(names, name(i))
		}
		return names
	}
	for what, names := range map[string][]string{
		"odd":                oddNames,
		"many":               many(2000, func(i int) string { return fmt.Sprintf("check-%04d", i) }),
		"one long, and more": append(many(100, func(i int) string { return fmt.Sprint("c", i) }), strings.Repeat("a", 9<<10)),
		"long":               many(100, func(i int) string { return fmt.Sprint(i, strings.Repeat("é", 5<<10)) }),
		"longer in JSON":     many(300, func(i int) string { return fmt.Sprint(i, strings.Repeat("<", 200)) }),
		"long and quoted":    many(300, func(i int) string { return fmt.Sprint(i, strings.Repeat(`";\`, 100)) }),
		"longer in quotes":   many(300, func(i int) string { return fmt.Sprint(i, strings.Repeat("\u2028\U000e0001", 50)) }),
		"short":              many(1000, func(i int) string { return strconv.FormatInt(int64(i), 36) }),
		"short and quoted":   many(1000, func(i int) string { return `"` + strconv.FormatInt(int64(i), 36) }),
	} {
		t.Run(what, func(t *testing.T) { boundedAnswers(t, names) })
	}
}

func FuzzAnswersAreBounded(f *testing.F) {
	for i, name := range oddNames {
		f.Add(name, uint64(i), uint16(1<<(i%9)))
	}
	f.Fuzz(func(t *testing.T, name string, seed uint64, n uint16) {
		random := rand.New(rand.NewPCG(seed, 0))
		var names []string
		for range n % 2000 {
			odd := oddNames[random.IntN(len(oddNames))]
			names = append(names, strings.Repeat(odd, 1+random.IntN(2)*random.IntN(200))+name+strconv.FormatUint(random.Uint64N(1<<40), 36))
		}
		boundedAnswers(t, append(names, name))
	})
}

// A check can be called what an answer says otherwise; nobody takes it for that.
func TestNamesThatForge(t *testing.T) {
	for name, want := range map[string]string{
		"db; skipped: x":  `"db; skipped: x"`,
		"db, cache":       `"db, cache"`,
		"and 3 more":      `"and 3 more"`,
		"shutting down":   `"shutting down"`,
		"maintenance":     `"maintenance"`,
		"starting":        `"starting"`,
		"a\u2028[+]b ok":  `"a\u2028[+]b ok"`,
		"\u202egnp":       `"\u202egnp"`,
		" db":             `" db"`,
		"a failed: b":     `"a failed: b"`,
		`"a"`:             `"\"a\""`,
		`a\u2028`:         `a\u2028`,
		"orders to ship":  "orders to ship",
		"postgres:5432/é": "postgres:5432/é",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			require.NoError(t, r.AddReadiness(
				probes.Check{Name: name, Func: func(context.Context) error { return errors.New("a\nb\u2028c\u202ed") }},
				probes.Check{Name: "web", DependsOn: []string{name}, Func: pass, Optional: true}))
			r.Maintain("x\u2028y", time.Second)
			r.run()
			time.Sleep(time.Second)
			line := "not ready: " + want + "\n"
			assert.Equal(t, "503 "+line, r.readyz())
			assert.ElementsMatch(t, []string{line, "[-]" + want + " failed: a b c d\n", "[~]web degraded: skipped because of " + want + "\n"},
				slices.Collect(strings.Lines(request(r.Handler(), http.MethodGet, "/readyz?verbose").Body.String())))
			assert.Equal(t, "ok, degraded: web\nexcluded: "+want+"\n",
				request(r.Handler(), http.MethodGet, "/readyz?exclude="+url.QueryEscape(name)).Body.String())
			assert.Equal(t, strings.TrimSpace(line), r.Status().Reason)
			for _, c := range r.History() {
				assert.NotContains(t, c.Reason, "\u2028")
				if c.Check == "" && c.To == "failing" && !strings.HasPrefix(c.Reason, "not ready: maintenance: x y") {
					assert.Equal(t, "not ready: "+want, c.Reason)
				}
				if c.Check == "web" {
					assert.Equal(t, "skipped because of "+want, c.Reason)
				}
			}
			for line := range strings.Lines(r.all()) {
				assert.True(t, strings.HasPrefix(line, "level="), "%q", line)
				assert.NotContains(t, line, "\u2028")
			}
			r.end()
		})
	}
}
