// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The profiler labels that say whose a goroutine is.
const (
	stackLabel = "lameduck.component" // the component's name
	appLabel   = "lameduck.app"       // a number, since two Apps may have components of one name
)

const (
	// maxStacks bounds what is said of one component, in bytes.
	maxStacks = 16 << 10

	// maxOthers bounds what is kept of the goroutines that are nobody's, in bytes.
	maxOthers = 64 << 10
)

// A profile has the stacks of all goroutines, as they were at one time.
type profile struct {
	phase int
	done  chan struct{} // closed when what follows is set

	ended  time.Time
	took   time.Duration
	stacks map[string]*stacks // of the App's own, by component
	others []string           // those without a component, the rarest last
}

// take takes the profile, in the text form of the goroutine profile.
func (p *profile) take(app string) {
	defer close(p.done)
	begin := time.Now()
	p.stacks = make(map[string]*stacks)
	size := 0
	blocks := blockWriter{each: func(block string) {
		if _, first, found := strings.Cut(block, "\n"); found && strings.HasPrefix(block, "goroutine profile: ") {
			block = first
		}
		labels := labelsOf(block)
		name, labelled := labelOf(labels, stackLabel)
		switch number, _ := labelOf(labels, appLabel); {
		case !labelled && (!isOwn(block) || strings.Contains(block, hookFunction)):
			p.others = append(p.others, block)
			for size += len(block); size > maxOthers && len(p.others) > 1; p.others = p.others[1:] {
				size -= len(p.others[0])
			}
		case labelled && number == app:
			if p.stacks[name] == nil {
				p.stacks[name] = new(stacks)
			}
			p.stacks[name].add(block)
		}
	}}
	pprof.Lookup("goroutine").WriteTo(&blocks, 1)
	blocks.end()
	p.ended = time.Now()
	p.took = p.ended.Sub(begin)
}

// hookFunction is in the stacks of the goroutines that are in a function of a component.
const hookFunction = "lameduck/lifecycle.protect+0x"

// isOwn reports whether a stack is of a goroutine that waits for the components, or is
// in a function of one.
func isOwn(block string) bool {
	return strings.Contains(block, "lameduck/lifecycle.(*process).") ||
		strings.Contains(block, "lameduck/lifecycle.(*startup).") ||
		strings.Contains(block, "lameduck/lifecycle.(*stopping).")
}

// of returns the stacks of the goroutines that carry the component's label, and
// those of the goroutines without any that are in one of its functions: the code that
// runs in them may have replaced the labels. If there are none of either, one of
// those that are nobody's hangs.
func (p *profile) of(component string, functions []string) string {
	all := new(stacks)
	if own := p.stacks[component]; own != nil {
		*all = *own
		all.blocks = slices.Clone(own.blocks)
	}
	for _, block := range slices.Backward(p.others) {
		if slices.ContainsFunc(functions, func(f string) bool {
			return strings.Contains(block, "\t"+f+"+0x") || strings.Contains(block, "\t"+f+".")
		}) {
			all.add("without its label, but in its functions: " + block)
		}
	}
	if len(all.blocks) > 0 {
		return all.String()
	}
	for _, block := range slices.Backward(p.others) {
		all.add(block)
	}
	return "no goroutine carries its label; the stacks of those that carry none, the rarest first:\n\n" + all.String()
}

// A blockWriter calls a function for each block of text between empty lines.
type blockWriter struct {
	each func(block string)
	rest []byte
}

func (w *blockWriter) Write(b []byte) (int, error) {
	seen := max(len(w.rest)-1, 0) // up to where there is no empty line
	w.rest = append(w.rest, b...)
	for {
		before, after, found := bytes.Cut(w.rest[seen:], []byte("\n\n"))
		if !found {
			return len(b), nil
		}
		w.each(string(w.rest[:seen+len(before)]))
		w.rest, seen = append(w.rest[:0], after...), 0
	}
}

// end is for the last block, after which there is no empty line.
func (w *blockWriter) end() {
	if block := bytes.TrimSpace(w.rest); len(block) > 0 {
		w.each(string(block))
	}
}

// stacks are what is said of one component, up to maxStacks.
type stacks struct {
	blocks []string
	size   int
	more   int // how many were left out
}

func (s *stacks) add(block string) {
	if s.size == 0 && len(block) > maxStacks {
		block = block[:maxStacks]
	}
	if s.size += len(block); s.size > maxStacks {
		s.more++
		return
	}
	s.blocks = append(s.blocks, block)
}

func (s *stacks) String() string {
	text := strings.Join(s.blocks, "\n\n")
	if s.more > 0 {
		text += fmt.Sprintf("\n\nand %d more, beyond the %d KiB of stacks that are written of one component", s.more, maxStacks>>10)
	}
	return text
}

// labelsOf returns the labels of a block of the profile, which has one for each
// distinct stack, and the labels on a line of their own.
func labelsOf(block string) string {
	_, labels, _ := strings.Cut(block, "\n# labels: ")
	labels, _, _ = strings.Cut(labels, "\n")
	return labels
}

// labelOf returns the value of a label. They are Go-quoted strings; so the text
// looked for cannot be part of a value.
func labelOf(labels, key string) (value string, ok bool) {
	_, value, ok = strings.Cut(labels, strconv.Quote(key)+":")
	if !ok {
		return "", false
	}
	quoted, err := strconv.QuotedPrefix(value)
	if err != nil {
		return "", false
	}
	value, err = strconv.Unquote(quoted)
	return value, err == nil
}
