// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package bench measures what a probe costs, beside other libraries in the same
// run. It is a module of its own, so that theirs is no requirement of anybody's.
// Package kubelet in it lets the kubelet's own prober judge the endpoints, and package
// apiserver the API server's validation the manifests. Command evidence measures more,
// and writes it up; what it measures is in peers, which is another module.
//
//	make bench
//	make evidence
package bench
