// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"net/http"
	"strings"
)

// probePaths are where probes are commonly served.
var probePaths = map[string]bool{
	"/livez": true, "/readyz": true, "/startupz": true, "/servingz": true, "/healthz": true,
	"/live": true, "/ready": true, "/health": true,
}

// kubelet begins the User-Agent of the kubelet (pkg/probe/http/request.go in
// k8s.io/kubernetes).
const kubelet = "kube-probe/"

// probeAgents begin the User-Agent of the kubelet, and of the health checks of
// Google's and Amazon's load balancers.
var probeAgents = []string{kubelet, "GoogleHC/", "ELB-HealthChecker/"}

// IsProbe reports whether a request is a health probe: by its path (/livez,
// /readyz, /startupz, /servingz, /healthz, /live, /ready, /health, or a method of
// gRPC's grpc.health.v1.Health) or by the User-Agent of the kubelet, of Google's load
// balancers or of Amazon's. The kubelet goes on probing readiness, each time on a new
// connection, until a pod's containers
// have stopped; if that were traffic, a drain would never become quiet.
func IsProbe(r *http.Request) bool {
	if probePaths[r.URL.Path] || strings.HasPrefix(r.URL.Path, healthPath) {
		return true
	}
	agent := r.UserAgent()
	for _, prefix := range probeAgents {
		if strings.HasPrefix(agent, prefix) {
			return true
		}
	}
	return false
}
