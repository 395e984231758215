//go:build unix

package spool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The children of the tests are this program with these set.
const (
	childJob = "SPOOL_TEST_CHILD"
	childDir = "SPOOL_TEST_CHILD_DIR"
	childArg = "SPOOL_TEST_CHILD_ARG"
)

var childJobs = map[string]func(dir, arg string) error{}

func TestMain(m *testing.M) {
	if job := os.Getenv(childJob); job != "" {
		if err := childJobs[job](os.Getenv(childDir), os.Getenv(childArg)); err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child prepares this program as another process.
func child(job, dir, arg string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childJob+"="+job, childDir+"="+dir, childArg+"="+arg)
	cmd.Stderr = os.Stderr
	return cmd
}

// start starts a child and returns the lines that it prints.
func start(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return bufio.NewScanner(out)
}

// killSelf ends this process as kill -9 does.
func killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func openSpool(t *testing.T, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// newSpool opens a new spool that must report nothing.
func newSpool(t *testing.T) (*Spool, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spool")
	return openSpool(t, dir, Options{Report: func(err error) { t.Error(err) }}), dir
}

func to(addresses ...string) []Recipient {
	var list []Recipient
	for _, a := range addresses {
		list = append(list, Recipient{Address: a})
	}
	return list
}

func add(s *Spool, body string, e *Envelope) (string, error) {
	w, err := s.Create(int64(max(1, len(body))))
	if err != nil {
		return "", err
	}
	defer w.Abort()
	if _, err := io.WriteString(w, body); err != nil {
		return "", err
	}
	if err := w.Commit(e); err != nil {
		return "", err
	}
	return w.ID(), nil
}

const sampleBody = "Subject: hello\r\n\r\nWorld\r\n"

func mustAdd(t *testing.T, s *Spool) string {
	t.Helper()
	id, err := add(s, sampleBody, &Envelope{Sender: "a@example.org", Recipients: to("b@example.com", "c@example.net")})
	require.NoError(t, err)
	return id
}

// content reads a message whole.
func content(s *Spool, id string) (Envelope, string, error) {
	m, err := s.Get(id)
	if err != nil {
		return Envelope{}, "", err
	}
	defer m.Close()
	body, err := io.ReadAll(m.Body())
	return m.Envelope(), string(body), err
}

// all returns the ids of All in their order, and its errors.
func all(s *Spool) (ids []string, problems []error) {
	for e, err := range s.All() {
		if err != nil {
			problems = append(problems, err)
			continue
		}
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	return ids, problems
}

// files returns the names below the spool, without lock and directories.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != lockName {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	}))
	return names
}

// fullEnvelope has something in every field.
func fullEnvelope() *Envelope {
	at := time.Date(2026, 11, 24, 9, 15, 0, 123456789, time.UTC)
	return &Envelope{
		ID: "20261124-091500-6b1f0c2d9e8a", Received: at,
		Client: Client{Address: netip.MustParseAddr("2001:db8::1"), Helo: "mx.example.org"},
		Sender: "sänder@example.org",
		Recipients: []Recipient{
			{Address: "b@example.com", State: Queued, Attempts: 2, NextAttempt: at.Add(time.Hour), LastAttempt: at.Add(time.Minute),
				LastError: `451 4.7.1 <greylisted> & "come back"`, DelayTold: true, Notify: NotifyFailure | NotifyDelay, OriginalRecipient: "rfc822;b+x@example.com"},
			{Address: "c@example.com", State: Delivered, Attempts: 1, Notify: NotifyNever},
			{Address: `"d d"@example.com`, State: Bounced, Attempts: 1},
			{Address: "é@example.com", State: Held},
		},
		RequireTLS: true, TLSOptional: true, BodyType: "8BITMIME", SMTPUTF8: true, Return: "HDRS", EnvelopeID: "QQ314159",
		Size: 5, SHA256: strings.Repeat("0123456789abcdef", 4),
	}
}

var errInjected = errors.New("injected")
