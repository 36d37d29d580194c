// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package kube compares a program with its Kubernetes manifest: the two have to
// agree on the grace period, the pre-stop hook, and where the probes are, and
// nothing in a cluster says so when they do not.
//
// [Stanza] prints what the manifest of an [lifecycle.App] has to have. [Check]
// reads a manifest and names what in it does not fit the App, each [Fault] by the
// path of its field. It is meant for a test beside main:
//
//	func TestManifest(t *testing.T) {
//		manifest, err := os.ReadFile("deploy/service.yaml")
//		if err != nil {
//			t.Fatal(err)
//		}
//		if err := kube.Check(newApp(), manifest, yaml.Unmarshal); err != nil {
//			t.Error(err)
//		}
//	}
//
// where newApp is what main gives to [lifecycle.Main]. The package parses no YAML
// and so requires no module: Unmarshal is that of the library that the caller has,
// such as go.yaml.in/yaml/v3, which testify brings along. That of sigs.k8s.io/yaml
// takes options, too, and so a function around it.
//
// # What is looked at
//
// The pods of a Deployment, a StatefulSet, a DaemonSet, a ReplicaSet or a Pod; the
// strategy of a Deployment; the Services and PodDisruptionBudgets of the same
// manifest; and those in a List. Of a pod, the container is the App's that the
// annotation kubectl.kubernetes.io/default-container names, as for kubectl, and the
// first one without it. Manifests of several programs are checked one by one.
// Fields that are not given have the API's defaults: replicas one, the grace period
// thirty seconds.
//
// The grace period:
//   - what the program takes, from App.GracePeriod, GRACE_PERIOD in the manifest, or
//     the default, is terminationGracePeriodSeconds, and the plan fits into that;
//   - a pre-stop hook that sleeps is in App.PreStop; one that asks the program is at
//     /prestop and has the token; no probe has a shorter grace period of its own;
//   - no shell and no other stop signal is between the kubelet and the program.
//
// The probes:
//   - there is one of readiness, and each asks at the App's ProbeAddr;
//   - liveness does not ask what a dependency decides, and readiness asks what the
//     shutdown turns red; tcpSocket says nothing of either;
//   - a timeout is not longer than its period, thresholds are what the API allows,
//     and a start-up has time to finish, within progressDeadlineSeconds.
//
// The roll-out:
//   - no replica goes before its successor is ready if it is the last one;
//   - no hostPort and no hostNetwork keeps the successor from being scheduled;
//   - a PodDisruptionBudget leaves one pod to be evicted, or nodes cannot be drained,
//     of the fewest that a HorizontalPodAutoscaler of the manifest leaves;
//   - a Service sends clients to a server of the App, or to the ProbeAddr if there is an
//     App.Admin, and not to pods that are not ready, unless it is headless.
//
// # What is not
//
// Whether the API server takes the manifest: kubectl apply --dry-run=server says
// that, unknown fields included. What envFrom brings. What a mutating webhook adds, such as a mesh's
// sidecar. And what balancers outside the cluster are set to.
//
// The rules are those of k8s.io/kubernetes v1.37: pkg/kubelet/kuberuntime for hooks
// and grace periods, pkg/kubelet/prober for probes, pkg/controller/deployment/util for
// the roll-out, pkg/controller/disruption for the budget.
package kube
