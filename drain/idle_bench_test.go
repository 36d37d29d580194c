// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/internal/sock"
)

// idleEnv makes the test binary a server or a client of many idle connections, in
// a process of its own: a process may not have as many files as both need.
const idleEnv = "LAMEDUCK_TEST_IDLE"

// An idleResult is what the server's process says at its end.
type idleResult struct {
	Memory int64         // heap and stacks in use with all connections idle, less what was before
	CPU    time.Duration // of the process, for the end
	Took   time.Duration // the end
	Report drain.Report
}

// idleProcess is the main of such a process: "client", or a server by "drain" or
// "net/http", or one of these with its clients on the network in memory.
func idleProcess(mode string) {
	in := bufio.NewReader(os.Stdin)
	if mode == "client" {
		idleClient(in)
		return
	}
	if way, ok := strings.CutPrefix(mode, "in memory "); ok {
		idleInMemory(way, in)
		return
	}
	l, err := drain.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	var result idleResult
	result.run(mode, l, func() { in.ReadString('\n') })
	json.NewEncoder(os.Stdout).Encode(result)
}

// run serves l until ready returns, and then ends the server.
func (r *idleResult) run(mode string, l net.Listener, ready func()) {
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })}
	s := &drain.Server{HTTP: h, Floor: time.Second}
	serve := s.Serve
	if mode == "net/http" {
		serve = h.Serve
	}
	before := memory()
	served := make(chan error, 1)
	go func() { served <- serve(l) }()
	ready()
	r.Memory = memory() - before
	cpu, began := cpuTime(), time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	if mode == "net/http" {
		h.Shutdown(ctx)
	} else {
		r.Report, _ = s.Drain(ctx)
	}
	r.CPU, r.Took = cpuTime()-cpu, time.Since(began)
	<-served
}

func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// idleClient reads "addr conns talkers", opens the connections, each with one
// request, and says so. Then the talkers go on talking, one request every 700 ms,
// until their connections are closed, and the others only look. At the end it
// says how many requests were lost and how many sent.
func idleClient(in *bufio.Reader) {
	var addr string
	var conns, talkers int
	if _, err := fmt.Fscan(in, &addr, &conns, &talkers); err != nil {
		panic(err)
	}
	var sent, lost atomic.Int64
	idle := make([]net.Conn, 0, conns)
	request := func(nc net.Conn) (end bool, err error) {
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			return true, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.Close, err
	}
	for range conns {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			panic(err)
		}
		if _, err := request(nc); err != nil {
			panic(err)
		}
		idle = append(idle, nc)
	}
	fmt.Println("ready")
	var group sync.WaitGroup
	for _, nc := range idle[:talkers] {
		group.Go(func() {
			defer nc.Close()
			for {
				time.Sleep(700 * time.Millisecond)
				if sock.Peek(nc) != sock.Empty {
					return // closed before anything was written: no loss
				}
				sent.Add(1)
				if end, err := request(nc); err != nil {
					lost.Add(1)
					return
				} else if end {
					return
				}
			}
		})
	}
	for _, nc := range idle[talkers:] {
		group.Go(func() {
			nc.Read(make([]byte, 1))
			nc.Close()
		})
	}
	group.Wait()
	fmt.Println(lost.Load(), sent.Load())
}

// A helper is a process of this test binary that is talked to by lines.
type helper struct {
	b   *testing.B
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startHelper(b *testing.B, mode string) *helper {
	b.Helper()
	h := &helper{b: b, cmd: exec.CommandContext(b.Context(), os.Args[0])}
	h.cmd.Env = append(os.Environ(), idleEnv+"="+mode)
	h.cmd.Stderr = os.Stderr
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	h.out = bufio.NewReader(out)
	if err := h.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.cmd.Process.Kill(); h.cmd.Wait() })
	return h
}

func (h *helper) line() string {
	h.b.Helper()
	s, err := h.out.ReadString('\n')
	if err != nil {
		h.b.Fatal(err)
	}
	return strings.TrimSpace(s)
}

func (h *helper) result() (r idleResult) {
	h.b.Helper()
	if err := json.Unmarshal([]byte(h.line()), &r); err != nil {
		h.b.Fatal(err)
	}
	return r
}

// sockets ends a server on which conns connections are open, each in processes of
// their own on loopback sockets.
func sockets(b *testing.B, mode string, conns, talkers int) (idleResult, int) {
	b.Helper()
	server, client := startHelper(b, mode), startHelper(b, "client")
	fmt.Fprintln(client.in, server.line(), conns, talkers)
	client.line()
	fmt.Fprintln(server.in, "end")
	result := server.result()
	lost, _, _ := strings.Cut(client.line(), " ")
	n, err := strconv.Atoi(lost)
	if err != nil {
		b.Fatal(err)
	}
	return result, n
}

// BenchmarkIdle takes a server with many idle connections off the air, of which
// one in twenty still talks: what a connection costs, beside net/http, and what is
// lost. Floor 1 s.
func BenchmarkIdle(b *testing.B) {
	for _, conns := range []int{100, 1000, 5000, 15000} {
		b.Run(fmt.Sprintf("sockets=%d", conns), func(b *testing.B) {
			for b.Loop() {
				ours, lost := sockets(b, "drain", conns, conns/20)
				rival, rivalLost := sockets(b, "net/http", conns, conns/20)
				idleReport(b, conns, ours, rival)
				b.ReportMetric(float64(lost), "lost")
				b.ReportMetric(float64(rivalLost), "Shutdown-lost")
				if lost > 0 {
					b.Errorf("lost %d", lost)
				}
			}
		})
	}
	for _, conns := range []int{1000, 5000, 15000, 50000} {
		b.Run(fmt.Sprintf("memory=%d", conns), func(b *testing.B) {
			for b.Loop() {
				rival := inMemory(b, "net/http", conns)
				idleReport(b, conns, inMemory(b, "drain", conns), rival)
			}
		})
	}
}

// inMemory does it on the network in memory, whose clients only wait for the end.
func inMemory(b *testing.B, way string, conns int) idleResult {
	b.Helper()
	h := startHelper(b, "in memory "+way)
	fmt.Fprintln(h.in, conns)
	return h.result()
}

func idleReport(b *testing.B, conns int, ours, rival idleResult) {
	b.ReportMetric(float64(ours.Memory-rival.Memory)/float64(conns), "extra-B/conn")
	b.ReportMetric(float64(ours.CPU.Microseconds())/float64(conns), "cpu-µs/conn")
	b.ReportMetric(float64(rival.CPU.Microseconds())/float64(conns), "Shutdown-cpu-µs/conn")
	b.ReportMetric(ours.Took.Seconds(), "drain-s")
	b.ReportMetric(rival.Took.Seconds(), "Shutdown-s")
	b.ReportMetric(0, "ns/op")
}

// idleInMemory reads how many connections it is to open.
func idleInMemory(way string, in io.Reader) {
	var conns int
	if _, err := fmt.Fscan(in, &conns); err != nil {
		panic(err)
	}
	l := memnet.Listen()
	var group sync.WaitGroup
	var result idleResult
	result.run(way, l, func() {
		var clients []net.Conn
		for range conns {
			nc, err := l.Dial(context.Background())
			if err != nil {
				panic(err)
			}
			io.WriteString(nc, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			var answer bytes.Buffer
			for part := make([]byte, 512); !bytes.HasSuffix(answer.Bytes(), []byte("\r\n\r\nok")); {
				n, err := nc.Read(part)
				if err != nil {
					panic(err)
				}
				answer.Write(part[:n])
			}
			clients = append(clients, nc)
		}
		for _, nc := range clients {
			group.Go(func() {
				nc.Read(make([]byte, 1))
				nc.Close()
			})
		}
	})
	group.Wait()
	json.NewEncoder(os.Stdout).Encode(result)
}
