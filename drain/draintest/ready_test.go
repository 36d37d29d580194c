// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"regexp"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain/draintest"
)

// unready answers the readiness probe, and nobody else. When it is asked for the second
// time, and so the first answer has been judged, it says so.
func unready(code int) {
	var asked atomic.Int64
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PROBE_PORT"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		if asked.Add(1) == 2 {
			os.Stdout.WriteString("listening on :8080\n")
		}
	}))
}

// A told writer calls a function when something is written that has the text.
type told struct {
	text string
	call func()
}

func (w told) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.text)) {
		w.call()
	}
	return len(p), nil
}

// TestNotReadySaysWhatWasTried: the error names the address, the ports that the command
// was given, and what it has said.
func TestNotReadySaysWhatWasTried(t *testing.T) {
	for name, tt := range map[string]struct {
		env  string
		want string
	}{
		"is not ready": {"", `GET http://127\.0\.0\.1:(\d+)/healthz: 503 Service Unavailable; its \$PORT is \d+, its \$PROBE_PORT (\d+)`},
		"listens elsewhere": {"PORT=8080", `GET http://127\.0\.0\.1:(\d+)/healthz: 200 OK, but dial tcp 127\.0\.0\.1:\d+: .*refused.*; ` +
			`its \$PORT is 8080, its \$PROBE_PORT (\d+)`},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := draintest.Roll(ctx, draintest.Config{
				Command: []string{os.Args[0]},
				Env:     []string{serverEnv + "=" + name, tt.env},
				Ready:   "/healthz",
				Output:  told{"listening", cancel},
			})
			require.ErrorIs(t, err, context.Canceled)
			m := regexp.MustCompile(`^draintest: the command is not ready: context canceled \(` + tt.want + `\)\nlistening on :8080\n$`).FindStringSubmatch(err.Error())
			if assert.NotNil(t, m, "%v", err) {
				assert.Equal(t, m[1], m[2])
			}
		})
	}
}
