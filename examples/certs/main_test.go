package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bench is a program with a store of its own, whose clock and terminal a test holds.
type bench struct {
	t        *testing.T
	dir      string // for files
	store    string
	now      time.Time
	env      map[string]string
	terminal []string // what is typed
	prompts  []string // what was asked
	stdin    string
}

func newBench(t *testing.T) *bench {
	dir := t.TempDir()
	return &bench{t: t, dir: dir, store: filepath.Join(dir, "store"), now: time.Now().Truncate(time.Second), env: map[string]string{}}
}

// run runs the program.
func (b *bench) run(args ...string) (status int, stdout, stderr string) {
	b.t.Helper()
	var out, errs bytes.Buffer
	p := &program{stdin: strings.NewReader(b.stdin), stdout: &out, stderr: &errs, dir: b.store,
		now:    func() time.Time { return b.now },
		getenv: func(name string) (string, bool) { v, ok := b.env[name]; return v, ok },
		terminal: func(prompt string) ([]byte, error) {
			b.prompts = append(b.prompts, prompt)
			if len(b.terminal) == 0 {
				return nil, errNoTerminal
			}
			typed := b.terminal[0]
			b.terminal = b.terminal[1:]
			return []byte(typed), nil
		}}
	status = p.run(args)
	return status, out.String(), errs.String()
}

// must runs what has to succeed, and returns its output.
func (b *bench) must(args ...string) string {
	b.t.Helper()
	status, out, errs := b.run(args...)
	require.Equal(b.t, exitDone, status, "%q: %s", args, errs)
	require.NotContains(b.t, errs, "certs: ")
	return out
}

// fails runs what has to fail, and returns its one line about it.
func (b *bench) fails(want int, args ...string) string {
	b.t.Helper()
	status, out, errs := b.run(args...)
	require.Equal(b.t, want, status, "%q: %s", args, errs)
	require.Empty(b.t, out, "%q", args)
	lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
	last := lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		require.NotContains(b.t, line, "certs: ", "%q", args)
	}
	message, ok := strings.CutPrefix(last, "certs: ")
	require.True(b.t, ok, "%q: %q", args, errs)
	require.NotContains(b.t, message, "certs: ", "%q", args)
	return message
}

// file makes a file and returns its path.
func (b *bench) file(name string, content []byte) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	require.NoError(b.t, os.WriteFile(path, content, 0o600))
	return path
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func TestUsage(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		args []string
		says string
	}{
		{nil, "no command"},
		{[]string{"frobnicate"}, `no command "frobnicate"`},
		{[]string{"ca", "frobnicate"}, `no command "ca frobnicate"`},
		{[]string{"rollover"}, `no command "rollover"`},
		{[]string{"-nosuch", "list"}, "-nosuch"},
		{[]string{"list", "-nosuch"}, "list: flag provided but not defined: -nosuch"},
		{[]string{"list", "superfluous"}, "list has 1 arguments"},
		{[]string{"self-signed"}, "self-signed HOST"},
		{[]string{"install", "mx.example.org"}, "install NAME FILE"},
		{[]string{"self-signed", "a.example", "-days", "many"}, "-days"},
		{[]string{"tlsa"}, "-cert FILE"},
		{[]string{"tlsa", "mx.example.org", "-cert", "x"}, "-cert FILE"},
		{[]string{"export", "mx.example.org"}, "-o FILE"},
		{[]string{"export", "mx.example.org", "-pem", "-legacy"}, "-pem"},
		{[]string{"export", "mx.example.org", "-o", "x", "-password-env", "A", "-password-file", "b"}, "both"},
		{[]string{"rollover", "published", "mx.example.org"}, "-ttl"},
		{[]string{"rollover", "install", "mx.example.org"}, "-self-signed"},
		{[]string{"ca", "list", "-list", "all"}, "system or custom"},
		{[]string{"ca", "enable", "all"}, "system or custom"},
		{[]string{"ca", "list", "-system", "/nonexistent"}, "-system"},
	} {
		require.Contains(t, b.fails(exitUsage, tc.args...), tc.says, "%q", tc.args)
	}
	b.store = ""
	require.Contains(t, b.fails(exitUsage, "list"), dirVariable)
	b.env[dirVariable] = b.path("by environment")
	b.must("self-signed", "a.example")
	require.DirExists(t, b.path("by environment"))
	for _, dir := range []string{"other", "by environment"} {
		_, err := os.Stat(b.path(dir))
		b.must("-dir", b.path(dir), "self-signed", "b.example", "-name", dir, "-days", "3")
		require.Equal(t, dir == "other", errors.Is(err, os.ErrNotExist))
	}
}

func TestHelp(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{{"help"}, {"-h"}, {"-help"}} {
		out := b.must(args...)
		for _, c := range commands() {
			require.Contains(t, out, c.name)
			require.Contains(t, b.must(append(strings.Fields(c.name), "-h")...), "-dir", c.name)
		}
	}
}

// A mistyped directory does not become a store, nor does somebody else's.
func TestDirectory(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{{"list"}, {"csr", "x"}, {"renew", "x"}, {"remove", "x"}, {"tlsa", "x"}, {"ca", "list"}, {"ca", "disable", "system"}, {"rollover", "start", "x"}} {
		require.Contains(t, b.fails(exitFailed, args...), "there is no store in")
		require.NoDirExists(t, b.store)
	}
	b.store = b.dir
	b.file("important", nil)
	require.Contains(t, b.fails(exitFailed, "self-signed", "a.example"), "not a store")
	b.store = b.path("no/parent")
	b.fails(exitFailed, "self-signed", "a.example")
}

// Text of others stays on its line, and does not command the terminal.
func TestPlain(t *testing.T) {
	require.Equal(t, "a?[31mb?c?d ø ?", plain("a\x1b[31mb\nc\u202ed ø \u00a0"))
	require.Equal(t, "one; two", oneLine(errors.Join(errors.New("certs: one"), errors.New("certs: two"))))
}

// Commands that write take turns; those that read do not mind.
func TestTwoProcesses(t *testing.T) {
	b := newBench(t)
	b.must("self-signed", "mx.example.org")
	p := &program{dir: b.store, now: time.Now, getenv: os.LookupEnv}
	d, err := p.directory(toWrite)
	require.NoError(t, err)
	require.Contains(t, b.fails(exitFailed, "self-signed", "other.example"), "another process")
	require.Contains(t, b.must("list"), "mx.example.org")
	require.NoError(t, d.Close())
	b.must("self-signed", "other.example")
}
