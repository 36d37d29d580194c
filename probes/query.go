// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// A format is that of an answer.
type format int

const (
	formatText format = iota
	formatJSON        // application/health+json
	formatPage        // for people
)

// A query is what is asked for beyond a plain answer.
type query struct {
	format  format
	verbose bool
	exclude []string // names, as they came
}

// parse never fails: what it does not understand it leaves out, since a probe has
// to be answered.
func parse(r *http.Request) query {
	values, _ := url.ParseQuery(r.URL.RawQuery) // with what could be parsed
	q := query{exclude: values["exclude"]}
	if v, ok := values["verbose"]; ok {
		on, err := strconv.ParseBool(v[0])
		q.verbose = on || err != nil // ?verbose alone
	}
	switch values.Get("format") {
	case "json":
		q.format = formatJSON
	case "html":
		q.format = formatPage
	case "text":
	default:
		q.format = accepted(r.Header["Accept"])
	}
	return q
}

// accepted returns the format that is preferred, by RFC 9110, section 12.5.1: of
// those with the highest weight the first one. Ranges of types mean text.
func accepted(accept []string) format {
	best, weight := formatText, 0.0
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		mediaType, params, _ := strings.Cut(part, ";")
		var f format
		switch strings.ToLower(strings.TrimSpace(mediaType)) {
		case "application/health+json", "application/json":
			f = formatJSON
		case "text/html":
			f = formatPage
		case "text/plain", "text/*", "*/*":
		default:
			continue
		}
		if w := quality(params); w > weight {
			best, weight = f, w
		}
	}
	return best
}

// quality returns the weight among the parameters of a media range: 1 if there is
// none, and 0 if it is not understood.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "q") {
			w, err := strconv.ParseFloat(value, 64)
			if err != nil || !(w >= 0 && w <= 1) {
				return 0
			}
			return w
		}
	}
	return 1
}
