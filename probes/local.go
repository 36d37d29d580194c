// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// isLocal reports whether the request comes from this host: not through a proxy on
// it that says so, nor from a page of somebody else in a browser on it.
func isLocal(r *http.Request) bool {
	for name := range r.Header {
		if isForwarding(name) {
			return false
		}
	}
	return isLoopback(r.RemoteAddr) && isOwnName(r.Host)
}

// isRebound reports whether the request comes from this host, and asks for another.
// A browser does so for a page whose name's address has become a loopback one: to
// the browser both are the same site, and the page may read the answer.
func isRebound(r *http.Request) bool { return isLoopback(r.RemoteAddr) && !isOwnName(r.Host) }

// isLoopback reports whether a peer's address is one of this host's own.
func isLoopback(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err == nil && a.Addr().IsLoopback()
}

// isOwnName reports whether a Host header has what nobody else can have the address
// of: localhost (RFC 6761, section 6.3), an address, or nothing.
func isOwnName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if inside, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inside, "]"); !ok {
			return false
		}
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// isForwarding reports whether a header, in its canonical form, is one that
// proxies add.
func isForwarding(name string) bool {
	switch name {
	case "Forwarded", "Via", "Cdn-Loop", "X-Real-Ip", "X-Azure-Clientip", "Cf-Connecting-Ip":
		return true
	}
	for _, prefix := range []string{"X-Forwarded-", "X-Envoy-", "X-Original-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(name, "Client-Ip") // X-, True-, Fastly- and others
}
