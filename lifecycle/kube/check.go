// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// A Fault is one thing in a manifest that does not fit the program.
type Fault struct {
	Object string // its kind and name, such as Deployment/orders
	Path   string // of the field, as the API server writes it; empty for the whole object
	Reason string // never contains the App's PreStopToken
}

func (f *Fault) Error() string {
	if f.Path == "" {
		return f.Object + ": " + f.Reason
	}
	return f.Object + ": " + f.Path + ": " + f.Reason
}

// Check reports what in manifest does not fit app; see the package's documentation
// for what it looks at. manifest is one or more documents of YAML, or JSON if
// unmarshal is nil. The error joins one [*Fault] for each culprit, in the order of
// the manifest, and is nil if there is none. An App that cannot run whatever its
// manifest is an error that wraps [lifecycle.ErrConfig] instead. Whoever wants one
// fault on purpose goes through the errors, which Unwrap returns as a slice.
//
// app is not run, nothing of it is called, and the environment of the caller
// changes nothing: GRACE_PERIOD and SHUTDOWN_DELAY are those of the manifest. Only
// what the caller itself reads from its environment to make app, such as a token,
// has to be set. Check may be called at any time before Run.
func Check(app *lifecycle.App, manifest []byte, unmarshal func(data []byte, v any) error) error {
	if app == nil {
		return fmt.Errorf("%w: the App is nil", lifecycle.ErrConfig)
	}
	prog, err := newProgram(app)
	if err != nil {
		return err
	}
	if unmarshal == nil {
		unmarshal = json.Unmarshal
	}
	objects, faults := read(manifest, unmarshal)
	c := &checker{program: prog, faults: faults}
	c.workloads(objects)
	for _, o := range objects {
		c.object, c.namespace = o.name(), o.Metadata.Namespace
		switch o.Kind {
		case "Service":
			c.service(o)
		case "PodDisruptionBudget":
			c.disruptions(o)
		}
	}
	return errors.Join(c.faults...)
}

// A checker goes through a manifest.
type checker struct {
	*program
	object    string // that is being looked at
	namespace string // of that
	pods      []*pod
	faults    []error
}

func (c *checker) fault(path, format string, args ...any) {
	c.faults = append(c.faults, &Fault{Object: c.object, Path: path, Reason: fmt.Sprintf(format, args...)})
}

// decode reports whether the spec of o could be read.
func (c *checker) decode(o object, spec any) bool {
	if len(o.Spec) == 0 {
		c.fault("spec", "missing")
		return false
	}
	if err := json.Unmarshal(o.Spec, spec); err != nil {
		c.fault("spec", "%v", err)
		return false
	}
	return true
}

// A pod is the template of a workload's pods.
type pod struct {
	*checker
	path     string // of spec
	in       string // its namespace; empty: that of kubectl
	labels   map[string]string
	spec     podSpec
	own      container // the App's
	ownPath  string
	replicas int // the fewest; 0 if it is not known how many there are
	deadline int // progressDeadlineSeconds; 0 if there is none
}

func (c *checker) workloads(objects []object) {
	fewest := c.autoscaled(objects)
	for _, o := range objects {
		c.object = o.name()
		switch o.Kind {
		case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet":
			var spec workloadSpec
			if !c.decode(o, &spec) {
				continue
			}
			p := &pod{checker: c, path: "spec.template.spec", in: o.Metadata.Namespace, labels: spec.Template.Metadata.Labels,
				spec: spec.Template.Spec}
			if o.Kind != "DaemonSet" {
				p.replicas = or(spec.Replicas, 1)
				if n, ok := fewest[o.name()]; ok && p.replicas != 0 {
					p.replicas = n
				}
			}
			if o.Kind == "Deployment" {
				p.deadline = or(spec.ProgressDeadlineSeconds, 600)
			}
			p.check(spec.Template.Metadata)
			if o.Kind == "Deployment" {
				p.rollout(spec.Strategy)
			}
		case "Pod":
			var spec podSpec
			if c.decode(o, &spec) {
				p := &pod{checker: c, path: "spec", in: o.Metadata.Namespace, labels: o.Metadata.Labels, spec: spec}
				p.check(o.Metadata)
			}
		}
	}
	if len(c.pods) == 0 && len(c.faults) == 0 {
		c.object = "manifest"
		c.fault("", "has no Deployment, StatefulSet, DaemonSet, ReplicaSet or Pod")
	}
}

// autoscaled returns how many pods a HorizontalPodAutoscaler of the manifest leaves
// of a workload at least, by the workload's name. It counts in place of replicas,
// which is left out then, so that kubectl apply does not take it back.
func (c *checker) autoscaled(objects []object) map[string]int {
	fewest := make(map[string]int)
	for _, o := range objects {
		var spec autoscalerSpec
		if c.object = o.name(); o.Kind == "HorizontalPodAutoscaler" && c.decode(o, &spec) {
			fewest[spec.ScaleTargetRef.Kind+"/"+spec.ScaleTargetRef.Name] = or(spec.MinReplicas, 1)
		}
	}
	return fewest
}

// check looks at what a pod of any workload has.
func (p *pod) check(m metadata) {
	p.pods = append(p.pods, p)
	name, named := m.Annotations["kubectl.kubernetes.io/default-container"]
	i := slices.IndexFunc(p.spec.Containers, func(c container) bool { return !named || c.Name == name })
	if i < 0 {
		p.fault(p.path+".containers", "none is the program's: %q", name)
		return
	}
	p.own, p.ownPath = p.spec.Containers[i], fmt.Sprintf("%s.containers[%d]", p.path, i)
	p.grace()
	p.command()
	p.probes()
}

// port returns the number of a port that may be a name, of any container of the pod.
func (p *pod) port(v value) (int, error) {
	if v.text == "" {
		return v.number, nil
	}
	for _, c := range append(slices.Clone(p.spec.Containers), p.spec.InitContainers...) {
		for _, port := range c.Ports {
			if port.Name == v.text {
				return port.ContainerPort, nil
			}
		}
	}
	return 0, fmt.Errorf("no port of the pod has the name %q", v.text)
}

// selectedBy reports whether a selector selects the pod, of an object that is in a
// namespace.
func (p *pod) selectedBy(namespace string, labels map[string]string) bool {
	if p.in != "" && namespace != "" && p.in != namespace {
		return false
	}
	for key, value := range labels {
		if got, ok := p.labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}
