// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
)

func TestAppRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app()
		require.NoError(t, runFor(t, a, time.Second))
		assert.EqualError(t, a.Run(t.Context()), "lifecycle: invalid configuration: the App has been run before")
	})
}

func TestSecondRunInsideTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a *lifecycle.App
		a, _ = app(lifecycle.Component{Name: "a", Start: func(ctx context.Context) error { return a.Run(ctx) }})
		err := a.Run(t.Context())
		assert.EqualError(t, err, "lifecycle: start failed: start a: lifecycle: invalid configuration: the App has been run before")
	})
}

func TestManyRunsAtOnceAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, _ := app(d.component("db"))
		var group sync.WaitGroup
		errs := make([]error, 50)
		for i := range errs {
			group.Go(func() { errs[i] = runFor(t, a, time.Minute) })
		}
		group.Wait()
		ran := 0
		for _, err := range errs {
			if err == nil {
				ran++
				continue
			}
			assert.EqualError(t, err, "lifecycle: invalid configuration: the App has been run before")
		}
		assert.Equal(t, 1, ran)
		assert.Equal(t, []string{"1s db started", "1m2s db stopped"}, d.lines())
	})
}

func TestAppCanRunAfterItsConfigurationIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app(lifecycle.Component{})
		require.ErrorIs(t, runFor(t, a, time.Second), lifecycle.ErrConfig)
		a.Components[0].Name = "a"
		assert.NoError(t, runFor(t, a, time.Second))
	})
}

func TestComponentAddedWhileItRunsIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		var a *lifecycle.App
		late := d.component("late")
		a, _ = app(lifecycle.Component{Name: "a", Start: func(context.Context) error {
			a.Components = append(a.Components, late)
			return nil
		}})
		require.NoError(t, runFor(t, a, time.Minute))
		assert.Empty(t, d.lines())
	})
}
