// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package bench measures what a probe costs, beside other libraries in the same
// run. It is a module of its own, with tests only, so that theirs is no
// requirement of anybody's. Package kubelet in it lets the kubelet's own prober
// judge the endpoints, and package apiserver the API server's validation the manifests.
//
//	make bench
package bench
