// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// A sourceListener's connections tell what net/http has them read from.
type sourceListener struct {
	net.Listener
	sources chan io.Reader
}

type sourceConn struct {
	*net.TCPConn
	sources chan io.Reader
}

func (l sourceListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return sourceConn{c.(*net.TCPConn), l.sources}, nil
}

func (c sourceConn) ReadFrom(r io.Reader) (int64, error) {
	c.sources <- r
	return c.TCPConn.ReadFrom(r)
}

// TestFilesReachTheSocketAsFiles: the socket is given the file itself, which is
// what makes net.TCPConn use sendfile.
func TestFilesReachTheSocketAsFiles(t *testing.T) {
	const size = 1 << 20
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, make([]byte, size), 0o600))
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := sourceListener{inner, make(chan io.Reader, 1)}
	srv := &drain.Server{HTTP: &http.Server{Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })}}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + inner.Addr().String())
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	assert.EqualValues(t, size, n)
	limited, ok := (<-l.sources).(*io.LimitedReader)
	if assert.True(t, ok) {
		assert.IsType(t, (*os.File)(nil), limited.R)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = srv.Drain(ctx)
	require.NoError(t, err)
	<-served
}
