// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"bytes"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stackLabel is the profiler label that carries a component's name.
const stackLabel = "lameduck.component"

const (
	// profileAge is how long a goroutine profile is good for: what hangs is
	// still there, and many components that hang cost one profile.
	profileAge = time.Second

	// maxStacks bounds what is said of one component, in bytes.
	maxStacks = 16 << 10
)

// A profiler knows the stacks of the goroutines of each component.
type profiler struct {
	mu          sync.Mutex // guards what follows
	taken       time.Time
	byComponent map[string]string
}

// stacks returns the stacks of the goroutines that belong to a component, in the
// text form of the goroutine profile, or "" when there are none.
func (p *profiler) stacks(component string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.byComponent[component]; ok && time.Since(p.taken) < profileAge {
		return s
	}
	p.byComponent = goroutineProfile()
	p.taken = time.Now()
	return p.byComponent[component]
}

// goroutineProfile returns the stacks of all labelled goroutines, by component.
func goroutineProfile() map[string]string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return nil
	}
	stacks := make(map[string]string)
	for block := range strings.SplitSeq(b.String(), "\n\n") {
		component, ok := componentOf(block)
		if !ok {
			continue
		}
		switch s := stacks[component]; {
		case s == "":
			stacks[component] = strings.TrimSpace(block)
		case len(s)+len(block) < maxStacks:
			stacks[component] = s + "\n\n" + strings.TrimSpace(block)
		}
	}
	return stacks
}

// componentOf returns the component to which a block of the profile belongs. The
// profile has a block for each distinct stack, and the labels on a line of their
// own, as Go-quoted strings; so the text looked for cannot be part of a value.
func componentOf(block string) (name string, ok bool) {
	_, labels, ok := strings.Cut(block, "\n# labels: ")
	if !ok {
		return "", false
	}
	_, value, ok := strings.Cut(labels, strconv.Quote(stackLabel)+":")
	if !ok {
		return "", false
	}
	quoted, err := strconv.QuotedPrefix(value)
	if err != nil {
		return "", false
	}
	name, err = strconv.Unquote(quoted)
	return name, err == nil
}
