package config

import (
	"errors"
	"fmt"
	"strings"
)

// ErrLab says that the resolver is the lab, which the caller has to start.
var ErrLab = errors.New("config: the lab is to be started by the program")

// Problem is one thing that is wrong in a file, or unwise.
type Problem struct {
	File string
	Line int    // counted from 1
	Key  string // dotted path, such as "policy.inbound.tls"; "" if it is about no key
	Text string // what is wrong, and what to do
	// Warning: the relay runs all the same.
	Warning bool
}

// String returns the problem as one line: file:line: key: text.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key)
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Error is a file that cannot be used.
type Error struct {
	// Problems are in the order of the lines, warnings among them, and at least one
	// is no warning.
	Problems []Problem
}

// Error returns all problems, a line each.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
