// Package soak holds tests of the relay as a program: built, started as a child process, killed, starved of disk, and
// then asked to account for every message that it has acknowledged. They have the build tag interop and want root:
//
//	go test -tags interop -count=1 -v ./examples/relay/soak
//	SMTPSEC_SOAK=full go test -tags interop -count=1 -v -timeout 2h -run TestSoak ./examples/relay/soak
//
// Each test runs once more inside a network and mount namespace of its own. There the documentation addresses of
// the laboratory (internal/lab) are real ones, with mail hosts on port 25 of each, so that the relay under test
// is configured as it would be on the Internet, except for its root key, name server and certificate authority; and
// a spool can lie on a file system that is small.
package soak
