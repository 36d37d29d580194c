// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube_test

import (
	"fmt"
	"net/http"

	"github.com/stretchr/testify/assert/yaml"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/kube"
)

func ExampleStanza() {
	app := &lifecycle.App{
		ProbeAddr:  ":8081",
		Components: []lifecycle.Component{lifecycle.HTTP("http", &http.Server{Addr: ":8080"})},
	}
	stanza, err := kube.Stanza(app, "orders")
	fmt.Print(stanza, err)
	// Output:
	// # From the signal on: new connections are served for 5s to 11.5s; all has stopped by 28s;
	// # the pod is killed after 30s, less the 0s of a pre-stop hook.
	// spec:
	//   template:
	//     spec:
	//       terminationGracePeriodSeconds: 30
	//       containers:
	//         - name: "orders"
	//           env:
	//             - name: GRACE_PERIOD
	//               value: "30s"
	//           startupProbe:
	//             httpGet:
	//               port: 8081
	//               path: "/startupz"
	//             timeoutSeconds: 1
	//             periodSeconds: 1
	//             failureThreshold: 60
	//           livenessProbe:
	//             httpGet:
	//               port: 8081
	//               path: "/livez"
	//             timeoutSeconds: 1
	//             periodSeconds: 10
	//             failureThreshold: 3
	//           readinessProbe:
	//             httpGet:
	//               port: 8081
	//               path: "/readyz"
	//             timeoutSeconds: 1
	//             periodSeconds: 5
	//             failureThreshold: 2
	// <nil>
}

func ExampleCheck() {
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
      containers:
        - name: orders
          env: [{name: GRACE_PERIOD, value: 60s}]
          lifecycle: {preStop: {sleep: {seconds: 20}}}
          livenessProbe: {httpGet: {port: 8081, path: /readyz}}
          readinessProbe: {httpGet: {port: 8080, path: /readyz}}
`
	fmt.Println(kube.Check(app, []byte(manifest), yaml.Unmarshal)) // or that of go.yaml.in/yaml/v3
	// Output:
	// Deployment/orders: spec.template.spec.terminationGracePeriodSeconds: the pod is killed after 30s, and the program takes 1m0s (GRACE_PERIOD)
	// Deployment/orders: spec.template.spec.containers[0].lifecycle.preStop: takes 20s of the grace period, and the program leaves it 0s (App.PreStop); it needs no such hook
	// Deployment/orders: spec.template.spec.terminationGracePeriodSeconds: component "http": the grace period of 30s is too short: pre-stop hook 20s + floor 5s + finishing requests 1.5s + stopping components 2s + reserve 2s = 30.5s
	// Deployment/orders: spec.template.spec.containers[0].livenessProbe.httpGet.path: "/readyz" is that of readiness: it would restart the container for what a restart does not cure; it is to ask /livez
	// Deployment/orders: spec.template.spec.containers[0].readinessProbe.httpGet.port: 8080 is not 8081, where the program answers
}
