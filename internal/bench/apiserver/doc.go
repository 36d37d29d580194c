// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package apiserver puts every manifest of the repository before what the API server
// itself judges by: strict decoding, defaults, validation and the Pod Security
// Standards. It is in this module because that is k8s.io/kubernetes.
package apiserver
