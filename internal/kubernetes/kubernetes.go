// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package kubernetes knows what a process sees of Kubernetes.
package kubernetes

import "os"

// Inside reports whether the process runs in a container of Kubernetes, which sets
// KUBERNETES_SERVICE_HOST in every one.
func Inside() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }
