// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzParse: what the flags are taken for makes sense.
func FuzzParse(f *testing.F) {
	f.Add("-replicas 3 -rate 100 -clients 60 -out x")
	f.Add("-strategies lameduck,lameduck -json -floor 15s -sleep 1m")
	f.Add("-strategies , -propagation -0s -rtt 1000000001ns")
	f.Add("-json=maybe -- -help")
	f.Fuzz(func(t *testing.T, args string) {
		c, err := parse(strings.Split(args, " "), io.Discard)
		if err != nil {
			return
		}
		assert.True(t, c.replicas >= 1 && c.replicas <= 20)
		assert.True(t, c.rate >= 1 && c.rate <= 20000)
		assert.True(t, c.clients >= len(mix) && c.clients <= 2000)
		assert.True(t, c.propagation >= 0 && c.rtt >= 0 && c.sleep >= 0 && c.sleep <= time.Minute)
		assert.True(t, c.floor >= 0 && c.floor <= 15*time.Second)
		assert.NotEmpty(t, c.out)
		assert.Subset(t, allStrategies, c.strategies)
		assert.NotEmpty(t, c.strategies)
	})
}

// FuzzMark: a line of a replica's is what it has told, or nothing.
func FuzzMark(f *testing.F) {
	f.Add([]byte(`{"instant":"Started","time":"2026-01-02T03:04:05.000000006Z"}`))
	f.Add([]byte(`{"instant":"","time":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"Instant":"a\u2028","time":"9999-12-31T23:59:59-23:59"} `))
	f.Add([]byte(`{"instant":"a"`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, line []byte) {
		instant, at, ok := parseMark(line)
		if !ok {
			assert.Empty(t, instant)
			assert.True(t, at.IsZero())
			return
		}
		assert.NotEmpty(t, instant)
		again, err := json.Marshal(told{instant, at})
		require.NoError(t, err)
		sameInstant, sameAt, ok := parseMark(again)
		assert.True(t, ok)
		assert.Equal(t, instant, sameInstant)
		assert.True(t, at.Equal(sameAt), "%v, then %v", at, sameAt)
	})
}
