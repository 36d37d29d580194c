// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"
)

// unknown is what cannot be read on this system.
const unknown = -1

// holds is what a process holds at a moment.
type holds struct {
	Goroutines, Descriptors int
	Heap, Resident          int // bytes
}

// look returns what this process holds.
func look() holds {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return holds{
		Goroutines:  runtime.NumGoroutine(),
		Descriptors: descriptors(),
		Heap:        int(m.HeapAlloc),
		Resident:    resident(),
	}
}

// atRest returns what this process holds when it holds no more goroutines and
// descriptors than before, or when the time for that is over: the last that a goroutine
// does is seen before its end is.
func atRest(before holds, rest time.Duration) holds {
	for begin := time.Now(); !look().beyond(before).none() && time.Since(begin) < rest; {
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	debug.FreeOSMemory() // collects once more, what finalizers have held
	return look()
}

// beyond returns h with the goroutines and descriptors only that before had not.
func (h holds) beyond(before holds) holds {
	h.Goroutines -= before.Goroutines
	if h.Descriptors != unknown {
		h.Descriptors -= before.Descriptors
	}
	return h
}

func (h holds) none() bool { return h.Goroutines <= 0 && h.Descriptors <= 0 }

// worse returns the larger of each.
func (h holds) worse(o holds) holds {
	return holds{
		max(h.Goroutines, o.Goroutines), max(h.Descriptors, o.Descriptors),
		max(h.Heap, o.Heap), max(h.Resident, o.Resident),
	}
}

// warm has the runtime open what it keeps for good, the poller and the goroutine for
// signals, and returns what there is then.
func warm() holds {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	signal.Stop(signals)
	return look()
}

// descriptors counts the open ones, without the one that it takes to count them.
func descriptors() int {
	all, err := os.ReadDir("/dev/fd")
	if err != nil {
		return unknown
	}
	return len(all) - 1
}

// resident reads the second number of /proc/self/statm, in pages (proc_pid_statm(5)).
func resident() int {
	var size, pages int
	f, err := os.Open("/proc/self/statm")
	if err != nil {
		return unknown
	}
	defer f.Close()
	if _, err := fmt.Fscan(f, &size, &pages); err != nil {
		return unknown
	}
	return pages * os.Getpagesize()
}

// tell adds what a replica holds to a file, in one write.
func tell(file string, h holds) error {
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// worst returns the worst of what replicas have told, and begins the file anew.
func worst(file string) (all holds, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, errors.New("no replica has said what it holds at its end")
	}
	if err != nil {
		return all, err
	}
	defer os.Remove(file)
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var h holds
		if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
			return all, fmt.Errorf("what a replica says, %q: %w", lines.Text(), err)
		}
		all = all.worse(h)
	}
	return all, lines.Err()
}
