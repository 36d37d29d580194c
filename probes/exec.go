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

// A Result is what a probe comes to, in Kubernetes' words (pkg/probe in
// k8s.io/kubernetes).
type Result string

const (
	Success Result = "success" // the probe passes
	Failure Result = "failure" // it does not, or nobody answers
	Unknown Result = "unknown" // the question could not be put
)

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
// on, such as ":8081"; see [Ask]. The exit status is 0 for [Success], 1 for
// [Failure] and 3 for [Unknown], since 2 is reserved by Docker; to both Docker
// and the kubelet all but 0 is a failure. It exits within a second.
func Exec(addr string) {
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		os.Exit(exec(os.Stdout, addr, os.Args[2:]))
	}
}

// exec returns the exit status.
func exec(out io.Writer, addr string, args []string) int {
	result, said := Unknown, "usage: probe live|ready|startup|/path"
	if len(args) == 1 {
		ctx, cancel := context.WithTimeout(context.Background(), execTimeout)
		defer cancel()
		result, said = Ask(ctx, addr, args[0])
	}
	fmt.Fprintf(out, "%s: %s\n", result, said)
	switch result {
	case Success:
		return 0
	case Failure:
		return 1
	default:
		return 3
	}
}

// Ask asks the probe listener at addr, a host and a port, over HTTP, and returns
// the result and the first 4 KiB of what was said: the answer, or the error. An
// empty or unspecified host, as in ":8081", is this one. probe is live, ready or
// startup, or the path of one.
//
// An answer of 200 is [Success]; any other, such as a redirect, is [Failure], and
// so is none by the end of ctx. A probe or an addr that cannot be asked is
// [Unknown].
func Ask(ctx context.Context, addr, probe string) (Result, string) {
	path := pathOf[probe]
	if strings.HasPrefix(probe, "/") {
		path = probe
	}
	if path == "" {
		return Unknown, fmt.Sprintf("no probe is called %q: live, ready, startup, or a path", probe)
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return Unknown, err.Error()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return Unknown, err.Error()
	}
	resp, err := dialing(addr).RoundTrip(req) // follows no redirect
	if err != nil {
		return Failure, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxSaid)) // what there is of it
	if resp.StatusCode != http.StatusOK {
		return Failure, fmt.Sprintf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return Success, strings.TrimSpace(string(body))
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
