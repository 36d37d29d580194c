// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube

import (
	"fmt"
	"slices"
)

// rollout looks at how a Deployment replaces its pods, by the arithmetic of
// ResolveFenceposts (pkg/controller/deployment/util).
func (p *pod) rollout(s strategy) {
	const pathOf = "spec.strategy"
	if p.replicas <= 0 {
		return
	}
	if s.Type == "Recreate" {
		p.fault(pathOf+".type", "Recreate ends every pod before the first new one begins")
		return
	}
	unavailable, err1 := s.RollingUpdate.MaxUnavailable.of(p.replicas, "25%", down)
	surge, err2 := s.RollingUpdate.MaxSurge.of(p.replicas, "25%", up)
	if err1 != nil {
		p.fault(pathOf+".rollingUpdate.maxUnavailable", "%v", err1)
	}
	if err2 != nil {
		p.fault(pathOf+".rollingUpdate.maxSurge", "%v", err2)
	}
	if err1 != nil || err2 != nil {
		return
	}
	if unavailable == 0 && surge == 0 {
		unavailable = 1
	}
	if unavailable >= p.replicas {
		p.fault(pathOf+".rollingUpdate.maxUnavailable", "of %d replicas %d may be gone at once: requests meet nobody until the new ones are ready", p.replicas, unavailable)
	}
	if unavailable == 0 {
		p.ofTheHost()
	}
}

// ofTheHost reports what only one pod of a node can have: where every node has one,
// the pod that is to come before the old one goes can be placed nowhere.
func (p *pod) ofTheHost() {
	const why = "a node has room for one such pod, and the new one is to come before the old one goes (maxUnavailable 0)"
	if p.spec.HostNetwork {
		p.fault(p.path+".hostNetwork", why)
		return
	}
	for i, c := range p.spec.Containers {
		for j, port := range c.Ports {
			if port.HostPort != 0 {
				p.fault(fmt.Sprintf("%s.containers[%d].ports[%d].hostPort", p.path, i, j), why)
			}
		}
	}
}

// selected returns the pods that a selector selects, of those in the manifest; nil
// if that cannot be known. That there are none is a fault.
func (c *checker) selected(pathOf string, selector map[string]string) []*pod {
	if len(selector) == 0 || len(c.pods) == 0 {
		return nil
	}
	var pods []*pod
	for _, p := range c.pods {
		if p.selectedBy(c.namespace, selector) {
			pods = append(pods, p)
		}
	}
	if pods == nil {
		c.fault(pathOf, "selects no pod of the manifest")
	}
	return pods
}

// service looks at where a Service sends clients.
func (c *checker) service(o object) {
	var spec serviceSpec
	if !c.decode(o, &spec) {
		return
	}
	pods := c.selected("spec.selector", spec.Selector)
	// A headless one is how the pods of a StatefulSet find each other before they are
	// ready.
	if len(pods) > 0 && spec.PublishNotReadyAddresses && spec.ClusterIP != "None" {
		c.fault("spec.publishNotReadyAddresses", "clients are sent to pods that are not ready")
	}
	for _, p := range pods {
		for i, port := range spec.Ports {
			target := port.TargetPort
			if !target.set || target == (value{set: true}) {
				target.number = port.Port
			}
			p.target(fmt.Sprintf("spec.ports[%d].targetPort", i), target)
		}
	}
}

// target reports a port to which no client should be sent.
func (p *pod) target(pathOf string, target value) {
	number, err := p.port(target)
	switch {
	case err != nil:
		p.fault(pathOf, "%v", err)
	case number == p.probePort && number != 0 && p.app.Admin != nil: // such as metrics
	case number == p.probePort && number != 0 && !slices.Contains(p.servers, number):
		p.fault(pathOf, "%v is where the probes are, not the service", target)
	case p.complete && !slices.Contains(p.servers, number) && !p.others(number):
		p.fault(pathOf, "%v: no server of the program listens on %d", target, number)
	}
}

// others reports whether another container than the program's may listen on a port.
func (p *pod) others(number int) bool {
	return slices.ContainsFunc(append(slices.Clone(p.spec.Containers), p.spec.InitContainers...), func(c container) bool {
		return c.Name != p.own.Name && slices.ContainsFunc(c.Ports, func(port port) bool { return port.ContainerPort == number })
	})
}

// disruptions looks at whether a PodDisruptionBudget lets nodes be drained; both of
// its numbers are rounded up (getExpectedPodCount in pkg/controller/disruption).
func (c *checker) disruptions(o object) {
	var spec budgetSpec
	if !c.decode(o, &spec) || len(spec.Selector.MatchExpressions) > 0 {
		return
	}
	for _, p := range c.selected("spec.selector.matchLabels", spec.Selector.MatchLabels) {
		field, allowed, err := "maxUnavailable", 0, error(nil)
		if spec.MaxUnavailable.set {
			allowed, err = spec.MaxUnavailable.of(p.replicas, "", up)
		} else {
			field = "minAvailable"
			allowed, err = spec.MinAvailable.of(p.replicas, "0", up)
			allowed = p.replicas - allowed
		}
		switch {
		case err != nil:
			c.fault("spec."+field, "%v", err)
		case allowed <= 0 && p.replicas > 0:
			c.fault("spec."+field, "of %d replicas none may be evicted: no node that has one can be drained", p.replicas)
		}
	}
}
