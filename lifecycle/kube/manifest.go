// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// An object is what a manifest has of anything; spec depends on the kind.
type object struct {
	Kind     string            `json:"kind"`
	Metadata metadata          `json:"metadata"`
	Spec     json.RawMessage   `json:"spec"`
	Items    []json.RawMessage `json:"items"` // of a List
}

func (o object) name() string { return o.Kind + "/" + o.Metadata.Name }

type metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type workloadSpec struct {
	Replicas                *int     `json:"replicas"`
	ProgressDeadlineSeconds *int     `json:"progressDeadlineSeconds"`
	Strategy                strategy `json:"strategy"`
	Template                struct {
		Metadata metadata `json:"metadata"`
		Spec     podSpec  `json:"spec"`
	} `json:"template"`
}

type strategy struct {
	Type          string `json:"type"`
	RollingUpdate struct {
		MaxUnavailable value `json:"maxUnavailable"`
		MaxSurge       value `json:"maxSurge"`
	} `json:"rollingUpdate"`
}

type podSpec struct {
	TerminationGracePeriodSeconds *int        `json:"terminationGracePeriodSeconds"`
	HostNetwork                   bool        `json:"hostNetwork"`
	InitContainers                []container `json:"initContainers"`
	Containers                    []container `json:"containers"`
}

type container struct {
	Name           string   `json:"name"`
	RestartPolicy  string   `json:"restartPolicy"`
	Command        []string `json:"command"`
	Args           []string `json:"args"`
	Env            []env    `json:"env"`
	Ports          []port   `json:"ports"`
	Lifecycle      lifetime `json:"lifecycle"`
	StartupProbe   *probe   `json:"startupProbe"`
	LivenessProbe  *probe   `json:"livenessProbe"`
	ReadinessProbe *probe   `json:"readinessProbe"`
}

type env struct {
	Name      string          `json:"name"`
	Value     string          `json:"value"`
	ValueFrom json.RawMessage `json:"valueFrom"`
}

type port struct {
	Name          string `json:"name"`
	ContainerPort int    `json:"containerPort"`
	HostPort      int    `json:"hostPort"`
}

type lifetime struct {
	PreStop    *hook  `json:"preStop"`
	StopSignal string `json:"stopSignal"`
}

type hook struct {
	Exec    *execAction `json:"exec"`
	HTTPGet *httpGet    `json:"httpGet"`
	Sleep   *struct {
		Seconds int `json:"seconds"`
	} `json:"sleep"`
}

type probe struct {
	Exec      *execAction `json:"exec"`
	HTTPGet   *httpGet    `json:"httpGet"`
	TCPSocket *struct {
		Port value `json:"port"`
	} `json:"tcpSocket"`
	GRPC *struct {
		Port int `json:"port"`
	} `json:"grpc"`
	InitialDelaySeconds           int  `json:"initialDelaySeconds"`
	TimeoutSeconds                int  `json:"timeoutSeconds"`
	PeriodSeconds                 int  `json:"periodSeconds"`
	SuccessThreshold              int  `json:"successThreshold"`
	FailureThreshold              int  `json:"failureThreshold"`
	TerminationGracePeriodSeconds *int `json:"terminationGracePeriodSeconds"`
}

type execAction struct {
	Command []string `json:"command"`
}

type httpGet struct {
	Path        string `json:"path"`
	Port        value  `json:"port"`
	Host        string `json:"host"`
	Scheme      string `json:"scheme"`
	HTTPHeaders []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"httpHeaders"`
}

type serviceSpec struct {
	Type                     string            `json:"type"`
	ClusterIP                string            `json:"clusterIP"`
	Selector                 map[string]string `json:"selector"`
	PublishNotReadyAddresses bool              `json:"publishNotReadyAddresses"`
	Ports                    []struct {
		Port       int   `json:"port"`
		TargetPort value `json:"targetPort"`
	} `json:"ports"`
}

type autoscalerSpec struct {
	ScaleTargetRef struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"scaleTargetRef"`
	MinReplicas *int `json:"minReplicas"`
}

type budgetSpec struct {
	MinAvailable   value `json:"minAvailable"`
	MaxUnavailable value `json:"maxUnavailable"`
	Selector       struct {
		MatchLabels      map[string]string `json:"matchLabels"`
		MatchExpressions []json.RawMessage `json:"matchExpressions"`
	} `json:"selector"`
}

// A value is a number or a text, as the API has it for ports, which may be names,
// and for numbers of pods, which may be percentages.
type value struct {
	set    bool
	number int
	text   string
}

func (v *value) UnmarshalJSON(data []byte) error {
	*v = value{}
	if string(data) == "null" {
		return nil
	}
	v.set = true
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &v.text)
	}
	return json.Unmarshal(data, &v.number)
}

func (v value) String() string {
	if v.text != "" {
		return v.text
	}
	return strconv.Itoa(v.number)
}

// of returns how many of n pods v stands for; def is what it is if not set.
func (v value) of(n int, def string, round func(float64) float64) (int, error) {
	if !v.set {
		v = value{text: def}
	}
	if v.text == "" {
		return v.number, nil
	}
	percent, err := strconv.Atoi(strings.TrimSuffix(v.text, "%"))
	if err != nil || !strings.HasSuffix(v.text, "%") {
		return 0, fmt.Errorf("%q is neither a number nor a percentage", v.text)
	}
	return int(round(float64(percent) * float64(n) / 100)), nil
}

func or(p *int, def int) int {
	if p == nil {
		return def
	}
	return *p
}

var up, down = math.Ceil, math.Floor
