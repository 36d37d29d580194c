// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package netlab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A recorder is a test that records how it is ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}

func (r *recorder) Skip(args ...any) {
	r.skipped = fmt.Sprint(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestUnavailable(t *testing.T) {
	err := fmt.Errorf("%w: %w", errUnavailable, errors.ErrUnsupported)

	for value, want := range map[string]recorder{
		"":         {skipped: "netlab: needs Linux, root and TUN devices: unsupported operation"},
		"required": {failed: "netlab: needs Linux, root and TUN devices: unsupported operation, and LAMEDUCK_NETLAB=required"},
	} {
		t.Setenv(Required, value)
		var r recorder
		var wg sync.WaitGroup
		wg.Go(func() { unavailable(&r, err) })
		wg.Wait()
		assert.Equal(t, want, r)
	}
}

// A device whose Read could not be ended would hold up close until the next packet.
func TestADeviceIsPolled(t *testing.T) {
	lab := New(t, 0, "a")
	for _, p := range lab.hub.ports {
		assert.NoError(t, p.dev.(*os.File).SetReadDeadline(time.Now().Add(time.Hour)))
	}
}

func TestOpen(t *testing.T) {
	New(t, 0, "a") // skips where there is none
	lab, err := Open(0, "a", "b")
	require.NoError(t, err)
	assert.Equal(t, "10.77.0.2", lab.Addr("b"))
	lab.Close()
	assert.ErrorIs(t, lab.Do("a", func() error { panic("called") }), os.ErrClosed)

	lab, err = Open(0, "a", "a")
	assert.EqualError(t, err, `netlab: two hosts of the name "a"`)
	assert.Nil(t, lab)
}

func TestAdd(t *testing.T) {
	lab := New(t, 0, "a")
	assert.EqualError(t, lab.add("a"), `netlab: two hosts of the name "a"`)
	for i := range 253 {
		lab.hosts[fmt.Sprint(i)] = host{ns: lab.hosts["a"].ns}
	}
	require.Len(t, lab.hosts, 254)
	assert.EqualError(t, lab.add("b"), "netlab: more hosts than addresses")
}
