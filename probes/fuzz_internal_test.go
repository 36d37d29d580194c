// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// FuzzAccept holds the choice of a format against what must not change it.
func FuzzAccept(f *testing.F) {
	f.Add("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "application/json")
	f.Add("application/health+json;q=0.5", "text/plain;q=0.4")
	f.Add("text/html;level=1;Q=1", "TEXT/HTML ; q=1.000")
	f.Add("text/html;q=NaN, application/json;q=-1", "text/*;q=1e-9")
	f.Add("text/html;q=0x1p-1", "application/json;q=+0.5")
	f.Add(`text/html;a=",application/json"`, ";;q=,")
	f.Fuzz(func(t *testing.T, one, two string) {
		got := accepted([]string{one, two})
		assert.Equal(t, got, accepted([]string{one + "," + two}), "a list may be on several lines")
		assert.Equal(t, got, accepted([]string{one, "x/y;q=1", two}), "of what is not there")
		assert.Equal(t, got, accepted([]string{one, two, "text/html;q=0,application/json;q=0"}), "of what is refused")
		if accepted([]string{one}) == accepted([]string{two}) {
			assert.Equal(t, got, accepted([]string{two, one}))
		}
		first := accepted([]string{"text/html;q=1", one, two})
		assert.Equal(t, formatPage, first, "nothing outweighs the first of weight 1")
		all := strings.ToLower(one + "," + two)
		switch got {
		case formatJSON:
			assert.Contains(t, all, "json")
		case formatPage:
			assert.Contains(t, all, "text/html")
		}
		for _, params := range []string{one, two} {
			q := quality(params)
			assert.True(t, q >= 0 && q <= 1, "%v", q)
		}
	})
}

// FuzzLoopback compares with the older parser of addresses, where that knows them.
func FuzzLoopback(f *testing.F) {
	for _, addr := range []string{"127.0.0.1:1", "127.1.2.3:0", "[::1]:80", "[::ffff:127.0.0.1]:80", "10.0.0.1:1", "@", "", "localhost:80", "[::1%lo]:1", "127.0.0.1", ":80", "[fe80::1%eth0]:1", "1.2.3.4:99999"} {
		f.Add(addr)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		if strings.Contains(addr, "%") {
			return // a zone, which only the newer one takes
		}
		got := isLoopback(addr)
		host, _, err := net.SplitHostPort(addr)
		ip := net.ParseIP(host)
		if got {
			assert.NoError(t, err)
			assert.True(t, ip.IsLoopback(), addr)
		}
		if port, err := netip.ParseAddrPort(addr); err == nil && ip != nil {
			assert.Equal(t, ip.IsLoopback(), got, port)
		}
	})
}

// FuzzOwnName: no name of somebody else's is taken for one of this host's, whatever
// stands before or after one.
func FuzzOwnName(f *testing.F) {
	for _, host := range []string{"localhost", "localhost:8081", "LOCALHOST.", "127.0.0.1:80", "[::1]", "[::1]:80", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "::1", "evil.example:localhost", "0::[.", "[::1].", "[::1", "::1]"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		own := isOwnName(host)
		if name := strings.ToLower(host); own && name != "" && name != "." {
			hostname, _, err := net.SplitHostPort(name)
			if err != nil {
				hostname = strings.Trim(name, "[]")
			}
			hostname = strings.TrimSuffix(hostname, ".")
			ip, err := netip.ParseAddr(hostname)
			assert.True(t, hostname == "" || hostname == "localhost" || strings.HasSuffix(hostname, ".localhost") || err == nil, "%q %v", host, ip)
		}
		if !strings.Contains(host, ":") { // the rest would be a port
			assert.False(t, isOwnName("x"+host+".example"), host)
		}
	})
}

// FuzzExec asks for any probe: the one that is asked for reaches the listener, or the
// question is not put.
func FuzzExec(f *testing.F) {
	for _, probe := range []string{"ready", "live", "startup", "/readyz", "/readyz/db?verbose&exclude=a", "", "Ready", "readyz", "//x", "/%zz", "/a b", "/#x", "/?", "/\x00", "/\xff", "/@evil.example/", "/../x", "/? "} {
		f.Add(probe)
	}
	var got []*http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r)
		io.WriteString(w, r.RequestURI)
	}))
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, probe string) {
		got = nil
		result, said := ask(t.Context(), s.Listener.Addr().String(), probe)
		if result == unasked {
			assert.Empty(t, got)
			u, err := url.Parse("http://localhost" + probe)
			assert.True(t, !strings.HasPrefix(probe, "/") || err != nil || strings.Contains(u.RawQuery, " "), "%q can be asked", probe)
			return
		}
		if !assert.Len(t, got, 1) {
			return
		}
		r := got[0]
		assert.Equal(t, "localhost", r.Host)
		assert.Equal(t, http.MethodGet, r.Method)
		assert.Zero(t, r.ContentLength)
		assert.Equal(t, success, result)
		assert.Equal(t, strings.TrimSpace(r.RequestURI[:min(len(r.RequestURI), maxSaid)]), said)
		if path, ok := pathOf[probe]; ok {
			probe = path
		}
		want, err := url.Parse("http://localhost" + probe)
		if assert.NoError(t, err) {
			assert.Equal(t, want.RequestURI(), r.RequestURI)
		}
	})
}

// FuzzNames: of any names a list has the first ones, and is as long as it may be.
func FuzzNames(f *testing.F) {
	f.Add("db", 100, uint8(3))
	f.Add(strings.Repeat("é", 100), 200, uint8(20))
	f.Add("a, b; c\n\"", 0, uint8(2))
	f.Add("\xff\xfe", 10, uint8(1))
	f.Fuzz(func(t *testing.T, name string, most int, n uint8) {
		if short := cut(name); short != name {
			assert.LessOrEqual(t, len(short), maxName+len("..."))
			assert.True(t, !utf8.ValidString(name) || utf8.ValidString(short))
		}
		names := make([]string, n)
		for i := range names {
			names[i] = name
		}
		text := list(names, most)
		before, _, _ := strings.Cut(text, ", and ")
		if utf8.ValidString(name) && !strings.Contains(name, ", and ") {
			assert.LessOrEqual(t, len(before), max(most, 0))
		}
		assert.Equal(t, quoted(name) == name, plain(name))
	})
}
