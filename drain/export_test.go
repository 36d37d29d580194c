// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

var mechanisms = map[string]mechanism{
	"close header": closeHeader,
	"accept queue": emptyQueue,
	"SYN filter":   synFilter,
	"byte check":   byteCheck,
	"linger":       lingerOn,
	"staged close": stagedClose,
	"two steps":    twoSteps,
}

// SwitchOff switches off the mechanism of a name. It is for black-box tests, and to
// be called before Serve.
func (s *Server) SwitchOff(name string) {
	m, ok := mechanisms[name]
	if !ok {
		panic("drain: no such mechanism: " + name)
	}
	s.off |= m
}

// Leaving reports whether Drain has begun.
func (s *Server) Leaving() bool { return s.in() != serving }

// Closing reports whether the accept window has ended.
func (s *Server) Closing() bool { return s.in() >= closing }

// What tests count with. The connections of the network in memory cannot say whether
// bytes wait, and so are read once more.
const (
	CutMargin = cutMargin
	LookWait  = lookWait
)
