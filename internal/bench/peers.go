package main

import (
	"io"
	_ "unsafe" // for go:linkname

	gomtasts "github.com/foxcpp/go-mtasts"
)

// The names of the peers in the table; the versions are those of go.mod, and
// the head of the table states them.
const (
	mox      = "mox"
	goMTASTS = "go-mtasts"
	miekg    = "miekg/dns"
)

// go-mtasts exports its parsers only as parts of a fetch over DNS and HTTPS.
// Linking to them by name measures the parsing alone, as for everyone else.

//go:linkname readDNSRecord github.com/foxcpp/go-mtasts.readDNSRecord
func readDNSRecord(raw string) (id string, err error)

//go:linkname readPolicy github.com/foxcpp/go-mtasts.readPolicy
func readPolicy(contents io.Reader) (*gomtasts.Policy, error)
