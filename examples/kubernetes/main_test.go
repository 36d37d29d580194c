// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/lameduck-go/lameduck/lifecycle/kube"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manifests has each manifest, and the environment that it gives to newApp.
var manifests = map[string]map[string]string{
	"service.yaml": nil,
	"prestop.yaml": {"PRE_STOP_TOKEN": "change-me"},
	"sidecar.yaml": {"CACHE_ADDR": "localhost:9090"},
}

func read(t *testing.T, name string) string {
	manifest, err := os.ReadFile(filepath.Join("manifests", name))
	require.NoError(t, err)
	return string(manifest)
}

// check is Check of the program in the environment of its manifest.
func check(t *testing.T, name, manifest string) error {
	for key, value := range manifests[name] {
		t.Setenv(key, value)
	}
	return kube.Check(newApp(), []byte(manifest), yaml.Unmarshal)
}

// This is the test to copy.
func TestManifests(t *testing.T) {
	files, err := filepath.Glob("manifests/*")
	require.NoError(t, err)
	require.Len(t, files, len(manifests))
	for name := range manifests {
		t.Run(name, func(t *testing.T) {
			assert.NoError(t, check(t, name, read(t, name)))
		})
	}
}

// What is changed in a manifest, or in a program that goes with it, is found.
func TestManifestsThatDiffer(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"service.yaml", "value: 30s", "value: 60s", "spec.template.spec.terminationGracePeriodSeconds: the pod is killed after 30s"},
		{"service.yaml", "maxUnavailable: 0", "maxUnavailable: 100%", "spec.strategy.rollingUpdate.maxUnavailable: of 3 replicas 3 may be gone"},
		{"service.yaml", "path: /livez", "path: /readyz", "livenessProbe.httpGet.path"},
		{"service.yaml", "targetPort: http", "targetPort: probes", "Service/hello: spec.ports[0].targetPort"},
		{"service.yaml", "failureThreshold: 60", "failureThreshold: 121", "startupProbe: a start may take 2m0s"},
		{"prestop.yaml", "Bearer change-me", "Bearer changed", "lifecycle.preStop.httpGet.httpHeaders: the token is not the program's"},
		{"prestop.yaml", "port: probes\n                path: /prestop", "port: http\n                path: /prestop", "lifecycle.preStop.httpGet.port: http is not 8081"},
		{"sidecar.yaml", "      containers:\n        - name: hello", "      containers:\n        - name: other\n        - name: hello", "readinessProbe: missing"},
	} {
		t.Run(fmt.Sprintf("%s %s", tt.name, tt.new), func(t *testing.T) {
			manifest := read(t, tt.name)
			require.Equal(t, 1, strings.Count(manifest, tt.old))
			assert.ErrorContains(t, check(t, tt.name, strings.Replace(manifest, tt.old, tt.new, 1)), tt.want)
		})
	}
}

// The stanza that the program prints has the probes of the manifests.
func TestStanza(t *testing.T) {
	type pod struct {
		Spec struct {
			Template struct {
				Spec struct {
					Grace      int `yaml:"terminationGracePeriodSeconds"`
					Containers []struct {
						Name      string
						Startup   map[string]any `yaml:"startupProbe"`
						Liveness  map[string]any `yaml:"livenessProbe"`
						Readiness map[string]any `yaml:"readinessProbe"`
					}
				}
			}
		}
	}
	stanza, err := kube.Stanza(newApp(), "hello")
	require.NoError(t, err)
	var printed, written pod
	require.NoError(t, yaml.Unmarshal([]byte(stanza), &printed))
	deployment, _, _ := strings.Cut(strings.ReplaceAll(read(t, "service.yaml"), "port: probes", "port: 8081"), "\n---\n")
	require.NoError(t, yaml.Unmarshal([]byte(deployment), &written))
	require.NotEmpty(t, written.Spec.Template.Spec.Containers[0].Readiness)
	assert.Equal(t, printed, written)
}

// TestClouds holds the pairs of times in CLOUDS.md against the budget: each fits, and
// its floor is the least that the accept window lasts.
func TestClouds(t *testing.T) {
	page, err := os.ReadFile("CLOUDS.md")
	require.NoError(t, err)
	assert.LessOrEqual(t, strings.Count(string(page), "\n"), 150)
	pairs := regexp.MustCompile("`GRACE_PERIOD=(\\S+) SHUTDOWN_DELAY=(\\S+)`").FindAllStringSubmatch(string(page), -1)
	require.Len(t, pairs, 11)
	for _, pair := range pairs {
		t.Run(pair[0], func(t *testing.T) {
			t.Setenv("GRACE_PERIOD", pair[1])
			t.Setenv("SHUTDOWN_DELAY", pair[2])
			plan, err := newApp().Plan()
			require.NoError(t, err)
			assert.Equal(t, pair[1], seconds(plan.GracePeriod))
			assert.Equal(t, pair[2], seconds(plan.Phases[0].Least))
			assert.LessOrEqual(t, plan.Phases[0].Least, plan.Phases[0].By)
			_, err = kube.Stanza(newApp(), "hello")
			assert.NoError(t, err)
		})
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0fs", d.Seconds()) }
