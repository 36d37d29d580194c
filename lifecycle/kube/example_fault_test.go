// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/stretchr/testify/assert/yaml"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/kube"
)

// A test that wants one fault on purpose, here a grace period of a minute that another
// container needs, goes through all of them.
func ExampleFault() {
	app := &lifecycle.App{
		ProbeAddr:  ":8081",
		Components: []lifecycle.Component{lifecycle.HTTP("http", &http.Server{Addr: ":8080"})},
	}
	manifest := `
kind: Deployment
metadata: {name: orders}
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 60
      containers:
        - name: orders
          livenessProbe: {httpGet: {port: 8081, path: /livez}}
          readinessProbe: {tcpSocket: {port: 8080}}
`
	err := kube.Check(app, []byte(manifest), yaml.Unmarshal)
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range all.Unwrap() {
			fault, ok := err.(*kube.Fault)
			if ok && strings.HasSuffix(fault.Path, ".terminationGracePeriodSeconds") {
				continue
			}
			fmt.Println(fault.Object)
			fmt.Println(fault.Path)
			fmt.Println(fault.Reason)
		}
	}
	// Output:
	// Deployment/orders
	// spec.template.spec.containers[0].readinessProbe.tcpSocket
	// port 8080 accepts connections before the program is ready, and at the shutdown: ask /readyz by httpGet
}
