// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/load"
)

// FuzzPath: a path that is taken stands in the request line as it is, and is all that
// does.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"/work", "/work?ms=5&bytes=2", "", "work", "/a b", "/a\r\nX: y", "//x", "/%zz", "/é", "/#f", "/\x00", "/\u2028", "/\xff", "/*"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if checkPath("Path", path) != nil {
			return
		}
		ours, theirs := net.Pipe()
		asked := make(chan string, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer theirs.Close()
			defer cancel() // one request will do
			line, _ := bufio.NewReader(theirs).ReadString('\n')
			asked <- line
		}()
		client := &load.Client{
			Kind: load.Kind{Method: http.MethodGet}, Path: path,
			Dial:   func(context.Context) (net.Conn, error) { return ours, nil },
			Record: func(load.Result) {},
		}
		client.Run(ctx)
		line := <-asked
		assert.Equal(t, "GET "+path+" HTTP/1.1\r\n", line)
		require.Equal(t, 2, strings.Count(line, " "))
	})
}
