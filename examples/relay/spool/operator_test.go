//go:build unix

package spool

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func init() {
	// run: becomes the runner, says so, and stays until its input ends.
	childJobs["run"] = func(dir, _ string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		fmt.Println("running")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return s.Close()
	}
	// keep: gets a message, says so, and keeps it until its input ends.
	childJobs["keep"] = func(dir, id string) error {
		s, err := Attach(dir)
		if err != nil {
			return err
		}
		m, err := s.Get(id)
		if err != nil {
			return err
		}
		fmt.Println("kept")
		_, _ = io.Copy(io.Discard, os.Stdin)
		m.Close()
		return s.Close()
	}
}

// TestSecondRunner: one runner at a time, whoever it is and however it ends.
func TestSecondRunner(t *testing.T) {
	dir := t.TempDir()
	cmd := child("run", dir, "")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	lines := start(t, cmd)
	require.True(t, lines.Scan())
	require.Equal(t, "running", lines.Text())
	_, err = Open(dir, Options{Report: func(err error) { t.Error(err) }})
	require.ErrorIs(t, err, ErrLocked)
	require.EqualError(t, err, "spool: another process runs this spool: process "+strconv.Itoa(cmd.Process.Pid)+" ("+dir+")")
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())

	s, err := Open(dir, Options{})
	require.NoError(t, err)
	_, err = Open(dir, Options{})
	require.ErrorIs(t, err, ErrLocked, "nor twice in one process")
	require.NoError(t, s.Close())

	cmd = child("run", dir, "")
	_, err = cmd.StdinPipe()
	require.NoError(t, err)
	require.True(t, start(t, cmd).Scan())
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	s, err = Open(dir, Options{})
	require.NoError(t, err, "a killed runner is none")
	require.NoError(t, s.Close())
}

// TestTwoHands: what one process has its hands on, another cannot change.
func TestTwoHands(t *testing.T) {
	s, dir := newSpool(t)
	id := mustAdd(t, s)
	cmd := child("keep", dir, id)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	lines := start(t, cmd)
	require.True(t, lines.Scan())
	require.Equal(t, "kept", lines.Text())
	for _, f := range []func(string) error{s.Hold, s.Release, s.Remove, func(id string) error { _, err := s.Get(id); return err }} {
		require.ErrorIs(t, f(id), ErrBusy)
	}
	ids, problems := all(s)
	require.Equal(t, []string{id}, ids, "it can be looked at")
	require.Empty(t, problems)
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())
	require.NoError(t, s.Remove(id))
}

// TestRestartBesideOperator: a runner that starts does not take the temporary file
// of an update that an operator's process is about to rename.
func TestRestartBesideOperator(t *testing.T) {
	s, dir := newSpool(t)
	id := mustAdd(t, s)
	require.NoError(t, s.Close())
	operator, err := Attach(dir)
	require.NoError(t, err)
	defer operator.Close()
	operator.disk.before = func(op, _ string) error {
		if op == "rename" {
			openSpool(t, dir, Options{Report: func(err error) { t.Error(err) }})
		}
		return nil
	}
	require.NoError(t, operator.Hold(id))
}

func TestAttached(t *testing.T) {
	s, dir := newSpool(t)
	id := mustAdd(t, s)
	operator, err := Attach(dir)
	require.NoError(t, err)
	defer operator.Close()
	_, err = operator.Create(10)
	require.ErrorIs(t, err, ErrAttached)
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	operator.now = func() time.Time { return at }

	m, err := s.Get(id)
	require.NoError(t, err)
	require.ErrorIs(t, operator.Hold(id), ErrBusy, "an attempt is made")
	require.NoError(t, m.Update(func(e *Envelope) error { e.Recipients[0].State = Delivered; return nil }))
	m.Close()
	require.NoError(t, operator.Hold(id))
	states := func() []State {
		e, _, err := content(s, id)
		require.NoError(t, err)
		return []State{e.Recipients[0].State, e.Recipients[1].State}
	}
	require.Equal(t, []State{Delivered, Held}, states(), "what is delivered stays so")
	woken, every, err := s.Woken()
	require.NoError(t, err)
	require.Empty(t, woken)
	require.False(t, every)

	require.NoError(t, operator.Release(id))
	require.Equal(t, []State{Delivered, Queued}, states())
	e, _, err := content(s, id)
	require.NoError(t, err)
	require.Equal(t, at, e.Recipients[1].NextAttempt)
	require.NoError(t, operator.Wake(""))
	require.NoError(t, operator.Wake(""))
	require.NoError(t, os.WriteFile(filepath.Join(dir, wakeDir, "junk"), nil, 0o600))
	woken, every, err = s.Woken()
	require.NoError(t, err)
	require.Equal(t, []string{id}, woken)
	require.True(t, every)
	woken, every, err = s.Woken()
	require.NoError(t, err)
	require.Empty(t, woken, "once")
	require.False(t, every)
	require.NoError(t, operator.Remove(id))
	require.Empty(t, files(t, dir))

	_, err = Attach(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(file, Options{})
	require.Error(t, err)
	_, err = Open(filepath.Join(file, "below"), Options{})
	require.Error(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, queueDir), nil, 0o600))
	_, err = Open(dir, Options{})
	require.Error(t, err, "a file in the place of queue")
}
