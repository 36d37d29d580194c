// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// documents cuts a stream of YAML at its markers. A line that begins with one is
// a marker wherever it stands, in a block scalar too (YAML 1.2.2, section 9.1.2), so
// no parser is needed to find them. JSON has none: its strings have no line ends.
func documents(manifest []byte) [][]byte {
	var all [][]byte
	var current []byte
	for line := range bytes.Lines(bytes.ReplaceAll(manifest, []byte("\r"), []byte("\n"))) {
		rest, ok := bytes.CutPrefix(line, []byte("---"))
		if ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\n"), rest[0]) >= 0) {
			all = append(all, current)
			current = bytes.Clone(rest)
			continue
		}
		current = append(current, line...)
	}
	return append(all, current)
}

// read returns the objects of a manifest, and an error for each document that is
// none.
func read(manifest []byte, unmarshal func([]byte, any) error) (objects []object, errs []error) {
	for i, doc := range documents(manifest) {
		data, err := toJSON(doc, unmarshal)
		if err == nil && data != nil {
			objects, err = appendObjects(objects, data)
		}
		if err != nil {
			errs = append(errs, &Fault{Object: fmt.Sprintf("document %d", i+1), Reason: err.Error()})
		}
	}
	return objects, errs
}

// toJSON returns nil for a document without content.
func toJSON(doc []byte, unmarshal func([]byte, any) error) ([]byte, error) {
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil, nil
	}
	var content any
	if err := unmarshal(doc, &content); err != nil || content == nil {
		return nil, err
	}
	return json.Marshal(content)
}

// appendObjects appends the object that data is, or those of a List, in which no
// List can be.
func appendObjects(objects []object, data []byte) ([]object, error) {
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		return objects, err
	}
	if o.Kind == "" {
		return objects, fmt.Errorf("no kind: not an object of Kubernetes")
	}
	objects = append(objects, o)
	for i, item := range o.Items {
		var inner object
		if err := json.Unmarshal(item, &inner); err != nil {
			return objects, fmt.Errorf("items[%d]: %w", i, err)
		}
		objects = append(objects, inner)
	}
	return objects, nil
}
