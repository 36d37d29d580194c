// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/lameduck-go/lameduck/internal/netlab"
)

// A plane is what stands between clients and replicas, on the host "node".
type plane interface {
	// start has the plane know the hosts that replicas will run on.
	start(lab *netlab.Lab, dir string, hosts []string) error

	// route and unroute are the control plane's word that a replica has come or
	// gone. A plane with health checks finds out by itself.
	route(host string) error
	unroute(host string) error

	// told reports whether route and unroute are how the plane knows.
	told() bool

	// port returns that of the node for a protocol, "h2c" or HTTP/1.1.
	port(proto string) string

	// wait returns when nothing of the plane runs any more.
	wait()
}

// newPlane returns a plane by its name.
func newPlane(name string) plane {
	switch name {
	case "nftables":
		return new(nftables)
	case "haproxy":
		return &proxy{command: []string{"haproxy", "-db", "-f"}, config: haproxyConfig}
	case "nginx":
		return &proxy{command: []string{"nginx", "-c"}, config: nginxConfig}
	case "caddy":
		return &proxy{command: []string{"caddy", "run", "--adapter", "caddyfile", "--config"}, config: caddyConfig}
	}
	panic("no plane " + name)
}

var planes = []string{"nftables", "haproxy", "nginx", "caddy"}

// needs are the files without which a plane cannot be had, or programs.
var needs = map[string][]string{
	"nftables": {"nft"},
	"haproxy":  {"haproxy"},
	"nginx":    {"nginx", "/usr/lib/nginx/modules/ngx_http_lua_module.so"},
	"caddy":    {"caddy"},
}

// lacks returns why a plane cannot be had, after its name; empty if it can.
func lacks(plane string) string {
	for _, need := range needs[plane] {
		_, err := os.Stat(need)
		if !filepath.IsAbs(need) {
			_, err = exec.LookPath(need)
		}
		if err != nil {
			return plane
		}
	}
	if plane == "nftables" {
		cmd := exec.Command("nft", "--check", "--file", "-")
		cmd.Stdin = strings.NewReader(nftablesCheck)
		if out, err := cmd.CombinedOutput(); err != nil {
			line, _, _ := strings.Cut(string(out), "\n")
			return fmt.Sprintf("nftables (nft: %v: %s)", err, line)
		}
	}
	return ""
}

func installed(plane string) bool { return lacks(plane) == "" }

// nftablesCheck has what the rules of the plane have, which is more than a kernel has
// to have been built with.
const nftablesCheck = `
table ip check {
	chain endpoints { meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 192.0.2.1 . 80 }; }
	chain prerouting { type nat hook prerouting priority -100; tcp dport 80 jump endpoints; }
	chain postrouting { type nat hook postrouting priority 100; ct status dnat masquerade fully-random; }
}
`

// The nftables plane is what kube-proxy makes of a NodePort service: each new
// connection is given to an endpoint at random, and conntrack keeps it there, whether
// the endpoint is still in the rule or not. Entries are never flushed, as kube-proxy
// does not flush those of TCP.
type nftables struct {
	lab *netlab.Lab

	mu    sync.Mutex
	hosts []string // guarded by mu
}

const nftablesSetup = `
table ip service {
	chain endpoints {}
	chain prerouting { type nat hook prerouting priority -100; tcp dport 80 jump endpoints; }
	chain postrouting { type nat hook postrouting priority 100; ct status dnat masquerade fully-random; }
}
`

func (n *nftables) start(lab *netlab.Lab, _ string, _ []string) error {
	n.lab = lab
	err := lab.Do("node", func() error {
		for file, value := range map[string]string{
			"ip_forward":               "1",
			"conf/all/send_redirects":  "0", // packets leave by the device that they have come by
			"conf/tun0/send_redirects": "0",
			"ip_local_port_range":      "1024 65000", // masquerading takes from here
		} {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+file, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return n.apply(nftablesSetup)
}

// apply has nft carry out rules, all of them at one instant.
func (n *nftables) apply(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := n.lab.Do("node", cmd.Run); err != nil {
		return fmt.Errorf("nft: %w: %s", err, &out)
	}
	return nil
}

func (n *nftables) route(host string) error {
	return n.change(func(hosts []string) []string { return append(hosts, host) })
}

func (n *nftables) unroute(host string) error {
	return n.change(func(hosts []string) (rest []string) {
		for _, h := range hosts {
			if h != host {
				rest = append(rest, h)
			}
		}
		return rest
	})
}

func (n *nftables) change(f func(hosts []string) []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts = f(n.hosts)
	var endpoints []string
	for i, h := range n.hosts {
		endpoints = append(endpoints, fmt.Sprintf("%d : %s . %s", i, n.lab.Addr(h), workPort))
	}
	rules := "flush chain ip service endpoints\n"
	if len(endpoints) > 0 {
		rules += fmt.Sprintf("add rule ip service endpoints meta l4proto tcp dnat ip to numgen random mod %d map { %s }\n",
			len(endpoints), strings.Join(endpoints, ", "))
	}
	return n.apply(rules)
}

func (*nftables) told() bool         { return true }
func (*nftables) port(string) string { return "80" }
func (*nftables) wait()              {}

// A proxy is a reverse proxy of others, which asks each replica for its readiness.
type proxy struct {
	command []string // the name of the file that config returns follows
	config  func(dir string, addrs []string) string
	running sync.WaitGroup
}

func (p *proxy) start(lab *netlab.Lab, dir string, hosts []string) error {
	var addrs []string
	for _, h := range hosts {
		addrs = append(addrs, lab.Addr(h))
	}
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(p.config(dir, addrs)), 0o644); err != nil {
		return err
	}
	cmd := exec.Command(p.command[0], append(p.command[1:], file)...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := lab.Start("node", cmd); err != nil {
		return err
	}
	p.running.Go(func() { cmd.Wait() })
	return nil
}

func (*proxy) route(string) error   { return nil }
func (*proxy) unroute(string) error { return nil }
func (*proxy) told() bool           { return false }
func (p *proxy) wait()              { p.running.Wait() }

func (*proxy) port(proto string) string {
	if proto == "h2c" {
		return "81"
	}
	return "80"
}
