// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package kubelet lets the kubelet's own probers, k8s.io/kubernetes/pkg/probe, judge
// the endpoints.
package kubelet
