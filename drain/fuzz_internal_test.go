// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"net/http"
	"testing"
)

// FuzzUpgrades compares upgrades with the letter of RFC 9110: sections 5.6.1
// (lists), 5.6.3 (whitespace), 7.6.1 (Connection) and 7.8 (Upgrade).
func FuzzUpgrades(f *testing.F) {
	for _, s := range [][3]string{
		{"", "", ""},
		{"websocket", "Upgrade", ""},
		{"websocket", "keep-alive, Upgrade", ""},
		{"WebSocket", "", "UPGRADE"},
		{"websocket", "keep-alive", "foo,\tupgrade ,bar"},
		{"websocket", ",,upgrade,,", ""},
		{"websocket", "upgraded, upgrad, up grade", ""},
		{"websocket", "", ""},
		{"", "Upgrade", ""},
		{"h2c", "Upgrade, HTTP2-Settings", ""},
		{"H2C", "Upgrade", "HTTP2-Settings"},
		{"h2c, websocket", "Upgrade", ""},
		{"h2c,", "Upgrade", ""},
		{"websocket", "\u00a0upgrade", ""},
		{"websocket", "\x0bupgrade", ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, upgrade, first, second string) {
		r := &http.Request{Header: http.Header{}}
		if upgrade != "" {
			r.Header.Set("Upgrade", upgrade)
		}
		for _, value := range []string{first, second} {
			if value != "" {
				r.Header.Add("Connection", value)
			}
		}
		want := false
		for _, protocol := range list(upgrade) {
			want = want || protocol != "h2c"
		}
		named := false
		for _, option := range append(list(first), list(second)...) {
			named = named || option == "upgrade"
		}
		want = want && named
		if got := upgrades(r); got != want {
			t.Errorf("upgrades is %v for Upgrade %q, Connection %q and %q", got, upgrade, first, second)
		}
	})
}

// list returns the elements of a list in small letters, by a state machine over
// its bytes that shares nothing with the code it checks.
func list(s string) []string {
	var all []string
	var element, space []byte
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == ',':
			if len(element) > 0 {
				all = append(all, string(element))
			}
			element, space = nil, nil
		case s[i] == ' ' || s[i] == '\t':
			if len(element) > 0 {
				space = append(space, s[i])
			}
		default:
			b := s[i]
			if 'A' <= b && b <= 'Z' {
				b += 'a' - 'A'
			}
			element = append(append(element, space...), b)
			space = nil
		}
	}
	return all
}
