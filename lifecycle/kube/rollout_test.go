// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert/yaml"

	"github.com/lameduck-go/lameduck/lifecycle/kube"
)

func TestCheckRollout(t *testing.T) {
	const room = "a node has room for one such pod, and the new one is to come before the old one goes (maxUnavailable 0)"
	const gone = "may be gone at once: requests meet nobody until the new ones are ready"
	const autoscaler = "kind: HorizontalPodAutoscaler\nspec: {scaleTargetRef: {kind: Deployment, name: web}, maxReplicas: 9, minReplicas: "
	const strategy = "rollingUpdate: {maxUnavailable: 0, maxSurge: 1}"
	for name, tt := range map[string]struct {
		edits []string
		want  []string
	}{
		"recreate":                              {[]string{strategy, "type: Recreate"}, []string{"Deployment/web: spec.strategy.type: Recreate ends every pod before the first new one begins"}},
		"default":                               {[]string{strategy, "type: RollingUpdate"}, nil},
		"the only one goes":                     {[]string{"replicas: 3", "replicas: 1", "maxUnavailable: 0", "maxUnavailable: 1", "  maxUnavailable: 1\n", "  maxUnavailable: 100%\n"}, []string{"Deployment/web: spec.strategy.rollingUpdate.maxUnavailable: of 1 replicas 1 " + gone}},
		"all go":                                {[]string{"maxUnavailable: 0", "maxUnavailable: 100%"}, []string{"Deployment/web: spec.strategy.rollingUpdate.maxUnavailable: of 3 replicas 3 " + gone}},
		"a third goes":                          {[]string{"maxUnavailable: 0", "maxUnavailable: 1"}, nil},
		"neither":                               {[]string{"replicas: 3", "replicas: 1", strategy, "rollingUpdate: {maxSurge: 0}"}, []string{"Deployment/web: spec.strategy.rollingUpdate.maxUnavailable: of 1 replicas 1 " + gone}},
		"no number":                             {[]string{"maxUnavailable: 0", "maxUnavailable: few", "maxSurge: 1", "maxSurge: '1'"}, []string{`Deployment/web: spec.strategy.rollingUpdate.maxUnavailable: "few" is neither a number nor a percentage`, `Deployment/web: spec.strategy.rollingUpdate.maxSurge: "1" is neither a number nor a percentage`}},
		"no replicas":                           {[]string{"replicas: 3", "replicas: 0", "maxUnavailable: 0", "maxUnavailable: 1"}, nil},
		"a port of the host":                    {[]string{"containerPort: 8080", "containerPort: 8080, hostPort: 80"}, []string{spec + "containers[0].ports[0].hostPort: " + room}},
		"a port of the host, after the old one": {[]string{"containerPort: 8080", "containerPort: 8080, hostPort: 80", "maxUnavailable: 0", "maxUnavailable: 1"}, nil},
		"the network of the host":               {[]string{"      terminationGrace", "      hostNetwork: true\n      terminationGrace"}, []string{spec + "hostNetwork: " + room}},

		"budget of all":        {[]string{"  maxUnavailable: 1\n", "  minAvailable: 3\n"}, []string{"PodDisruptionBudget/web: spec.minAvailable: of 3 replicas none may be evicted: no node that has one can be drained"}},
		"budget of most":       {[]string{"  maxUnavailable: 1\n", "  minAvailable: 67%\n"}, []string{"PodDisruptionBudget/web: spec.minAvailable: of 3 replicas none may be evicted: no node that has one can be drained"}},
		"budget of many":       {[]string{"  maxUnavailable: 1\n", "  minAvailable: 66%\n"}, nil},
		"budget of a part":     {[]string{"  maxUnavailable: 1\n", "  maxUnavailable: 1%\n"}, nil},
		"budget of none":       {[]string{"  maxUnavailable: 1\n", "  maxUnavailable: 0\n"}, []string{"PodDisruptionBudget/web: spec.maxUnavailable: of 3 replicas none may be evicted: no node that has one can be drained"}},
		"budget of the only":   {[]string{"  maxUnavailable: 1\n", "  minAvailable: 1\n", "replicas: 3\n", "\n"}, []string{"PodDisruptionBudget/web: spec.minAvailable: of 1 replicas none may be evicted: no node that has one can be drained"}},
		"budget of the fewest": {[]string{"  maxUnavailable: 1\n", "  minAvailable: 1\n", "replicas: 3\n", "\n", "# A comment, which is no document.", autoscaler + "2}"}, nil},
		"budget of the fewest, which is one": {[]string{"  maxUnavailable: 1\n", "  minAvailable: 1\n", "# A comment, which is no document.", autoscaler + "null}"},
			[]string{"PodDisruptionBudget/web: spec.minAvailable: of 1 replicas none may be evicted: no node that has one can be drained"}},
		"budget of no number":          {[]string{"  maxUnavailable: 1\n", "  minAvailable: most\n"}, []string{`PodDisruptionBudget/web: spec.minAvailable: "most" is neither a number nor a percentage`}},
		"budget of others":             {[]string{"  maxUnavailable: 1\n  selector: {matchLabels: {app: web}}", "  maxUnavailable: 1\n  selector: {matchLabels: {app: wep}}"}, []string{"PodDisruptionBudget/web: spec.selector.matchLabels: selects no pod of the manifest"}},
		"service of others":            {[]string{"  selector: {app: web}", "  selector: {app: wep}"}, []string{"Service/web: spec.selector: selects no pod of the manifest"}},
		"service of no pods":           {[]string{"  selector: {app: web}", "  type: ExternalName"}, nil},
		"service at probes":            {[]string{"targetPort: http", "targetPort: probes"}, []string{"Service/web: spec.ports[0].targetPort: probes is where the probes are, not the service"}},
		"service at no port":           {[]string{"targetPort: http", "targetPort: web"}, []string{`Service/web: spec.ports[0].targetPort: no port of the pod has the name "web"`}},
		"service at no server":         {[]string{", targetPort: http", ""}, []string{"Service/web: spec.ports[0].targetPort: 80: no server of the program listens on 80"}},
		"service at a sidecar":         {[]string{"targetPort: http", "targetPort: 15000", "      containers:", "      initContainers: [{name: proxy, restartPolicy: Always, ports: [{containerPort: 15000}]}]\n      containers:"}, nil},
		"service elsewhere":            {[]string{"kind: Service\nmetadata:", "kind: Service\nmetadata:\n  namespace: shop", "kind: Deployment\nmetadata:", "kind: Deployment\nmetadata:\n  namespace: store"}, []string{"Service/web: spec.selector: selects no pod of the manifest"}},
		"service there":                {[]string{"kind: Service\nmetadata:", "kind: Service\nmetadata:\n  namespace: shop", "kind: Deployment\nmetadata:", "kind: Deployment\nmetadata:\n  namespace: shop"}, nil},
		"service in one":               {[]string{"kind: Service\nmetadata:", "kind: Service\nmetadata:\n  namespace: shop"}, nil},
		"service of unready, headless": {[]string{"  selector: {app: web}", "  selector: {app: web}\n  clusterIP: None\n  publishNotReadyAddresses: true"}, nil},
		"service of unready":           {[]string{"  selector: {app: web}", "  selector: {app: web}\n  publishNotReadyAddresses: true"}, []string{"Service/web: spec.publishNotReadyAddresses: clients are sent to pods that are not ready"}},
	} {
		t.Run(name, func(t *testing.T) {
			faults(t, kube.Check(newApp(), edit(t, tt.edits...), yaml.Unmarshal), tt.want...)
		})
	}
}

// What Admin answers is asked at the probe listener, through a Service too.
func TestCheckServiceOfAdmin(t *testing.T) {
	app := newApp()
	app.Admin = http.NotFoundHandler()
	faults(t, kube.Check(app, edit(t, "targetPort: http", "targetPort: probes"), yaml.Unmarshal))
}
