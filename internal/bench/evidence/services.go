// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A service is one of the programs of the module in ../peers, in a way to deploy it.
type service struct {
	name    string
	program string // its directory
	module  string // whose version is told
	heavy   bool   // takes long to compile, so that CI leaves it out
	prestop bool   // sleeps before the signal
	env     []string
}

const (
	sleep = "5s" // the usual preStop sleep

	caddy        = "caddy"
	caddyModule  = "github.com/caddyserver/caddy/v2"
	caddyVersion = "v2.11.9"
)

// Services are in pairs: as the library's own documentation has it, and with the
// sleep that is usual where endpoints lag behind.
var services = []service{
	{name: "Lameduck, floor 5 s", program: "lameduck", env: floor("5s")},
	{name: "Lameduck, floor 2 s", program: "lameduck", env: floor("2s")},
	{name: "Lameduck, no floor", program: "lameduck", env: floor("0s")},
	{name: "net/http", program: "nethttp"},
	{name: "net/http, preStop sleep", program: "nethttp", prestop: true},
	{name: "ory/graceful", program: "ory", module: "github.com/ory/graceful"},
	{name: "ory/graceful, preStop sleep", program: "ory", module: "github.com/ory/graceful", prestop: true},
	{name: "oklog/run", program: "oklogrun", module: "github.com/oklog/run"},
	{name: "oklog/run, preStop sleep", program: "oklogrun", module: "github.com/oklog/run", prestop: true},
	{name: "fx", program: "fx", module: "go.uber.org/fx"},
	{name: "fx, preStop sleep", program: "fx", module: "go.uber.org/fx", prestop: true},
	{name: "dskit", program: "dskit", module: "github.com/grafana/dskit", heavy: true},
	{name: "dskit, preStop sleep", program: "dskit", module: "github.com/grafana/dskit", heavy: true, prestop: true},
	{name: "kratos", program: "kratos", module: "github.com/go-kratos/kratos/v2", heavy: true},
	{name: "kratos, preStop sleep", program: "kratos", module: "github.com/go-kratos/kratos/v2", heavy: true, prestop: true},
	{name: "Caddy", program: caddy, heavy: true},
	{name: "Caddy, its shutdown_delay", program: caddy, heavy: true, env: []string{"SHUTDOWN_DELAY=" + sleep}},
}

func floor(d string) []string {
	return []string{"SHUTDOWN_DELAY=" + d, "GRACE_PERIOD=30s"}
}

// A shop builds the programs, each once, into its directory.
type shop struct {
	peers string // the directory of the module
	dir   string
	built map[string]error
}

func newShop(root, dir string) *shop {
	return &shop{peers: filepath.Join(root, "internal/bench/peers"), dir: dir, built: make(map[string]error)}
}

// command returns what runs a service.
func (s *shop) command(ctx context.Context, v service) ([]string, error) {
	if err := s.build(ctx, v.program); err != nil {
		return nil, err
	}
	command := []string{filepath.Join(s.dir, v.program)}
	if v.program == caddy {
		command = append(command, "run", "--config", filepath.Join(s.peers, caddy, "Caddyfile"))
	}
	if v.prestop {
		if err := s.build(ctx, "prestop"); err != nil {
			return nil, err
		}
		command = append([]string{filepath.Join(s.dir, "prestop"), sleep}, command...)
	}
	return command, nil
}

func (s *shop) build(ctx context.Context, program string) error {
	err, done := s.built[program]
	if done {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-C", s.peers, "-o", filepath.Join(s.dir, program), "./"+program)
	if program == caddy {
		cmd = exec.CommandContext(ctx, "go", "install", caddyModule+"/cmd/caddy@"+caddyVersion)
		cmd.Env = append(os.Environ(), "GOBIN="+s.dir, "GOFLAGS=")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		last := out[strings.LastIndexByte(strings.TrimSpace(string(out)), '\n')+1:]
		s.built[program] = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(last)))
		return s.built[program]
	}
	s.built[program] = nil
	return nil
}

// version returns that of the library of a service, or nothing if it has none of its own.
func (s *shop) version(ctx context.Context, v service) (string, error) {
	switch {
	case v.program == caddy:
		return caddyVersion, nil
	case v.module == "":
		return "", nil
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-C", s.peers, "-m", "-f", "{{.Version}}", v.module).Output()
	return strings.TrimSpace(string(out)), err
}

// lines returns how long a program is: the lines of its functions, blank ones not
// counted, or those of a configuration without its comments.
func (s *shop) lines(v service) (int, error) {
	name := filepath.Join(s.peers, v.program, "main.go")
	if v.program == caddy {
		name = filepath.Join(s.peers, caddy, "Caddyfile")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	if v.program == caddy {
		return count(string(text), "#"), nil
	}
	return functionLines(string(text))
}

func functionLines(text string) (int, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", text, parser.SkipObjectResolution)
	if err != nil {
		return 0, err
	}
	lines := 0
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			lines += count(text[set.Position(f.Pos()).Offset:set.Position(f.End()).Offset], "//")
		}
	}
	if lines == 0 {
		return 0, errors.New("no function")
	}
	return lines, nil
}

// count counts the lines that are neither blank nor only a comment.
func count(text, comment string) int {
	n := 0
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, comment) {
			n++
		}
	}
	return n
}
