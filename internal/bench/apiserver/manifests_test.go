// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package apiserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	security "k8s.io/pod-security-admission/api"
	securitypolicy "k8s.io/pod-security-admission/policy"
)

var codecs = serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)

// documents are those of a file as kubectl takes them apart.
func documents(t *testing.T, manifest []byte) (docs [][]byte) {
	r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return docs
		}
		require.NoError(t, err)
		docs = append(docs, doc)
	}
}

// judge returns why the API server would not take a document, and what it would warn
// of.
func judge(t *testing.T, doc []byte) error {
	obj, err := runtime.Decode(codecs.UniversalDecoder(), doc) // into the internal version, with defaults
	if err != nil {
		return err
	}
	setNamespace(t, obj)
	switch o := obj.(type) {
	case *apps.Deployment:
		options := pod.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)
		errs := appsvalidation.ValidateDeployment(o, options)
		for _, warning := range pod.GetWarningsForPodTemplate(t.Context(), field.NewPath("spec", "template"), &o.Spec.Template, nil) {
			errs = append(errs, field.InternalError(nil, errors.New(warning)))
		}
		return errors.Join(errs.ToAggregate(), restricted(doc))
	case *core.Service:
		o.Spec.ClusterIP, o.Spec.ClusterIPs = "None", []string{"None"} // which the registry allots
		return corevalidation.ValidateServiceCreate(o).ToAggregate()
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{}).ToAggregate()
	default:
		return fmt.Errorf("no test for a %T", obj)
	}
}

func setNamespace(t *testing.T, obj runtime.Object) {
	o, ok := obj.(interface {
		GetNamespace() string
		SetNamespace(string)
	})
	require.True(t, ok)
	if o.GetNamespace() == "" {
		o.SetNamespace("default")
	}
}

// restricted holds the pods of a Deployment against the strictest of the Pod Security
// Standards.
func restricted(doc []byte) error {
	obj, err := runtime.Decode(codecs.UniversalDeserializer(), doc)
	if err != nil {
		return err
	}
	evaluator, err := securitypolicy.NewEvaluator(securitypolicy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	template := &obj.(*appsv1.Deployment).Spec.Template
	level := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	var errs []error
	for _, result := range evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec) {
		if !result.Allowed {
			errs = append(errs, fmt.Errorf("%s: %s", result.ForbiddenReason, result.ForbiddenDetail))
		}
	}
	return errors.Join(errs...)
}

// manifests are all of the repository.
func manifests(t *testing.T) (files []string) {
	err := filepath.WalkDir("../../..", func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && len(entry.Name()) > 2 && entry.Name()[0] == '.' {
			return filepath.SkipDir
		}
		if ext := filepath.Ext(path); ext == ".yaml" || ext == ".yml" {
			files = append(files, path)
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func TestManifests(t *testing.T) {
	for _, file := range manifests(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			assert.Equal(t, filepath.Join("..", "..", "..", "examples", "kubernetes", "manifests"), filepath.Dir(file),
				"where a test holds them to their program, too")
			manifest, err := os.ReadFile(file)
			require.NoError(t, err)
			docs := documents(t, manifest)
			require.NotEmpty(t, docs)
			for i, doc := range docs {
				assert.NoError(t, judge(t, doc), "document %d", i+1)
			}
		})
	}
}

func TestJudgeIsStrict(t *testing.T) {
	manifest, err := os.ReadFile("../../../examples/kubernetes/manifests/service.yaml")
	require.NoError(t, err)
	for _, tt := range []struct {
		doc            int
		old, new, want string
	}{
		{0, "readinessProbe:", "readinesProbe:", `unknown field "spec.template.spec.containers[0].readinesProbe"`},
		{0, "  replicas: 3", "  replicas: 3\n  replicas: 4", "replicas"},
		{0, "  replicas: 3", `  replicas: "3"`, "cannot unmarshal string"},
		{0, "maxSurge: 1", "maxSurge: 0", "may not be 0 when `maxSurge` is 0"},
		{0, "port: probes", "port: probe_port", "httpGet.port"},
		{0, "drop: [ALL]", "drop: [CHOWN]", "unrestricted capabilities"},
		{0, "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot != true"},
		{1, "targetPort: http", "targetPort: http_", "targetPort"},
		{2, "maxUnavailable: 1", "maxUnavailable: 1\n  minAvailable: 1", "cannot be both set"},
	} {
		t.Run(tt.new, func(t *testing.T) {
			doc := documents(t, manifest)[tt.doc]
			require.Contains(t, string(doc), tt.old)
			assert.ErrorContains(t, judge(t, []byte(strings.Replace(string(doc), tt.old, tt.new, 1))), tt.want)
		})
	}
}
