// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// An exit is the status with which Exec leaves the process. Docker reserves 2.
type exit int

const (
	success exit = 0 // the probe passes
	failure exit = 1 // it does not, or nobody answers
	unasked exit = 3 // the question could not be put
)

// String returns the word that Kubernetes has for it (pkg/probe in
// k8s.io/kubernetes).
func (e exit) String() string {
	return map[exit]string{success: "success", failure: "failure", unasked: "unknown"}[e]
}

// execTimeout lets Exec say why before the kubelet's own timeout, of one second
// unless the probe sets another, ends it.
const execTimeout = 900 * time.Millisecond

// maxSaid is how much of an answer is kept: as much as Docker keeps of what a
// health check prints.
const maxSaid = 4 << 10

var pathOf = map[string]string{"live": "/livez", "ready": "/readyz", "startup": "/startupz"}

// Exec makes the program its own prober: for an exec probe of Kubernetes and a
// HEALTHCHECK of Docker in an image that has nothing else to ask with. Called
// first in main, it returns at once unless the program's first argument is
// probe. Then it asks the probe listener at addr, prints the answer and exits:
//
//	myservice probe ready
//	HEALTHCHECK CMD ["/myservice", "probe", "live"]
//
// The second argument is live, ready or startup, or, where the probes are mounted
// elsewhere, a path such as /internal/readyz. addr is what that process listens
// on, a host and a port; an empty or unspecified host, as in ":8081", is this one.
//
// The exit status is 0 for success, which is an answer of 200; 1 for failure, which
// is any other answer, such as a redirect, and none within 900 ms; and 3 for
// unknown, when a probe or an addr cannot be asked. 2 is reserved by Docker. To
// both Docker and the kubelet all but 0 is a failure. What is printed is that word
// and the first 4 KiB of the answer, or the error.
func Exec(addr string) {
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		os.Exit(int(exec(os.Stdout, addr, os.Args[2:])))
	}
}

func exec(out io.Writer, addr string, args []string) exit {
	result, said := unasked, "usage: probe live|ready|startup|/path"
	if len(args) == 1 {
		ctx, cancel := context.WithTimeout(context.Background(), execTimeout)
		defer cancel()
		result, said = ask(ctx, addr, args[0])
	}
	fmt.Fprintf(out, "%v: %s\n", result, said)
	return result
}

// ask returns the result and what was said.
func ask(ctx context.Context, addr, probe string) (exit, string) {
	path := pathOf[probe]
	if strings.HasPrefix(probe, "/") {
		path = probe
	}
	if path == "" {
		return unasked, fmt.Sprintf("no probe is called %q: live, ready, startup, or a path", probe)
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return unasked, err.Error()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return unasked, err.Error()
	}
	if strings.Contains(req.URL.RawQuery, " ") { // which net/http would send as it is, and no server takes
		return unasked, fmt.Sprintf("a space in %q", probe)
	}
	resp, err := dialing(addr).RoundTrip(req) // follows no redirect
	if err != nil {
		return failure, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxSaid)) // what there is of it
	if resp.StatusCode != http.StatusOK {
		return failure, fmt.Sprintf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return success, strings.TrimSpace(string(body))
}

// dialing returns a transport whose requests all go to addr, on a new connection
// each, as the kubelet's do.
func dialing(addr string) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}
}
