//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMessage(t *testing.T) {
	s, dir := newSpool(t)
	at := time.Date(2026, 11, 24, 9, 15, 0, 0, time.UTC)
	s.now = func() time.Time { return at }
	w, err := s.Create(1000)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(w.ID(), "20261124-091500-"), w.ID())
	_, err = s.Get(w.ID())
	require.ErrorIs(t, err, ErrBusy, "not committed")
	_, err = io.Copy(w, strings.NewReader(sampleBody))
	require.NoError(t, err)
	require.EqualValues(t, len(sampleBody), w.Size())
	ids, problems := all(s)
	require.Empty(t, ids, "what is not committed is not there")
	require.Empty(t, problems)
	e := &Envelope{Sender: "a@example.org", Recipients: to("b@example.com")}
	require.NoError(t, w.Commit(e))
	require.ErrorIs(t, w.Commit(e), errEnded)
	w.Abort()
	_, err = w.Write([]byte("x"))
	require.ErrorIs(t, err, errEnded)
	require.Equal(t, []Recipient{{Address: "b@example.com", State: Queued, NextAttempt: at}}, e.Recipients)
	require.Equal(t, at, e.Received)
	require.EqualValues(t, len(sampleBody), e.Size)

	got, body, err := content(s, w.ID())
	require.NoError(t, err)
	require.Equal(t, *e, got)
	require.Equal(t, sampleBody, body)
	for range 2 { // also after the restart
		ids, problems = all(s)
		require.Equal(t, []string{w.ID()}, ids)
		require.Empty(t, problems)
		require.NoError(t, s.Close())
		s = openSpool(t, dir, Options{Report: func(err error) { t.Error(err) }})
	}

	m, err := s.Get(w.ID())
	require.NoError(t, err)
	require.NoError(t, m.Update(func(e *Envelope) error {
		e.Recipients[0].Attempts++
		e.Recipients[0].LastError = "451 later\r\n"
		return nil
	}))
	require.Equal(t, "451 later  ", m.Envelope().Recipients[0].LastError)
	m.Close()
	m.Close()
	got, _, err = content(s, w.ID())
	require.NoError(t, err)
	require.Equal(t, 1, got.Recipients[0].Attempts)

	require.NoError(t, s.Remove(w.ID()))
	require.ErrorIs(t, s.Remove(w.ID()), ErrNotFound)
	_, err = s.Get(w.ID())
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, files(t, dir))
}

func TestUpdateKeepsWhatMustStay(t *testing.T) {
	s, _ := newSpool(t)
	m, err := s.Get(mustAdd(t, s))
	require.NoError(t, err)
	defer m.Close()
	before := m.Envelope()
	for why, f := range map[string]func(*Envelope) error{
		"an error of f":           func(e *Envelope) error { e.Recipients[0].State = Delivered; return errInjected },
		"other id":                func(e *Envelope) error { e.ID = sampleID; return nil },
		"other size":              func(e *Envelope) error { e.Size++; return nil },
		"other body":              func(e *Envelope) error { e.SHA256 = strings.Repeat("0", 64); return nil },
		"recipient forgotten":     func(e *Envelope) error { e.Recipients = e.Recipients[1:]; return nil },
		"recipient exchanged":     func(e *Envelope) error { e.Recipients[0].Address = "x@example.com"; return nil },
		"state that is none":      func(e *Envelope) error { e.Recipients[0].State = "lost"; return nil },
		"NOTIFY that is none":     func(e *Envelope) error { e.Recipients[0].Notify = 99; return nil },
		"year that JSON has not":  func(e *Envelope) error { e.Recipients[0].NextAttempt = time.Unix(1<<60, 0); return nil },
		"recipients all replaced": func(e *Envelope) error { *e = *fullEnvelope(); return nil },
	} {
		require.Error(t, m.Update(f), why)
		require.Equal(t, before, m.Envelope(), why)
		on, err := s.read(before.ID)
		require.NoError(t, err, why)
		require.Equal(t, before, *on, why)
	}
	require.NoError(t, m.Remove())
	require.ErrorIs(t, m.Update(func(*Envelope) error { return nil }), ErrNotFound, "an update does not bring it back")
	require.ErrorIs(t, m.Quarantine(errInjected), ErrNotFound)
	_, err = s.Get(before.ID)
	require.ErrorIs(t, err, ErrNotFound, "also while it is open")
}

func TestSizeLimit(t *testing.T) {
	s, dir := newSpool(t)
	for _, limit := range []int64{0, -1} {
		_, err := s.Create(limit)
		require.Error(t, err)
	}
	w, err := s.Create(10)
	require.NoError(t, err)
	_, err = io.WriteString(w, "0123456789")
	require.NoError(t, err, "the limit is allowed")
	_, err = io.WriteString(w, "x")
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorIs(t, w.Commit(&Envelope{Recipients: to("a@example.com")}), ErrTooLarge, "a cut message is none")
	require.Empty(t, files(t, dir))

	w, err = s.Create(10)
	require.NoError(t, err)
	w.Abort()
	w.Abort()
	require.ErrorIs(t, w.Commit(&Envelope{Recipients: to("a@example.com")}), errEnded)
	_, err = add(s, "x", &Envelope{Recipients: to("a@example.com\n")})
	require.Error(t, err)
	require.Empty(t, files(t, dir))
	_, err = add(s, "", &Envelope{Recipients: to("a@example.com")})
	require.NoError(t, err, "an empty message is one")
}

func TestMinFree(t *testing.T) {
	s := openSpool(t, t.TempDir(), Options{MinFree: 1 << 62})
	_, err := s.Create(10)
	require.ErrorIs(t, err, syscall.ENOSPC)
	s = openSpool(t, t.TempDir(), Options{MinFree: 1})
	mustAdd(t, s)
}

func TestModes(t *testing.T) {
	s, dir := newSpool(t)
	mustAdd(t, s)
	require.NoError(t, s.Wake(""))
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		require.Equal(t, want, info.Mode().Perm(), path)
		return nil
	}))
}

func TestBadIDs(t *testing.T) {
	s, _ := newSpool(t)
	for _, id := range []string{"", ".", "..", "../lock", "/etc/passwd", sampleID + "x", strings.ToUpper(sampleID[:27]) + "A", "20000101-000000-00000000000g", "2000010a-000000-000000000000", "20000101_000000-000000000000", sampleID[:27] + "\x00"} {
		_, err := s.Get(id)
		require.ErrorIs(t, err, ErrNotFound, id)
		if id != "" {
			require.ErrorIs(t, s.Wake(id), ErrNotFound, id)
		}
	}
	require.True(t, validID(sampleID))
	require.Len(t, newID(time.Now()), idLen)
	require.True(t, validID(newID(time.Now())))
}

// TestConfined: links that somebody has put into the spool lead nowhere else.
func TestConfined(t *testing.T) {
	s, dir := newSpool(t)
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte(sampleBody), 0o600))

	id := mustAdd(t, s)
	body := filepath.Join(dir, bodyName(id))
	require.NoError(t, os.Remove(body))
	require.NoError(t, os.Symlink(secret, body))
	_, err := s.Get(id)
	require.Error(t, err)
	require.NoError(t, os.Remove(body))

	// The directories themselves.
	require.NoError(t, os.RemoveAll(filepath.Join(dir, queueDir)))
	outside := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, queueDir)))
	_, err = s.Create(10)
	require.Error(t, err)
	_, problems := all(s)
	require.Len(t, problems, 1)
	require.Empty(t, files(t, outside))
}

// TestNotAFile: a pipe or a directory in the place of a file makes nobody wait.
func TestNotAFile(t *testing.T) {
	for _, name := range []func(string) string{bodyName, envelopeName} {
		for why, put := range map[string]func(string) error{
			"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
			"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		} {
			s, dir := newSpool(t)
			id := mustAdd(t, s)
			path := filepath.Join(dir, name(id))
			require.NoError(t, os.Remove(path))
			require.NoError(t, put(path))
			_, problems := all(s)
			require.Len(t, problems, 1, why)
			damage := (*CorruptError)(nil)
			require.ErrorAs(t, problems[0], &damage, why)
			require.Equal(t, "corrupt/"+id, damage.Aside, why)
		}
	}
}

// TestShared: attempts of one process on one message share it.
func TestShared(t *testing.T) {
	s, _ := newSpool(t)
	recipients := []string{"a@a.example", "b@b.example", "c@c.example", "d@d.example"}
	id, err := add(s, sampleBody, &Envelope{Recipients: to(recipients...)})
	require.NoError(t, err)
	var domains sync.WaitGroup
	for i := range recipients {
		domains.Go(func() {
			m, err := s.Get(id)
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Close()
			body, err := io.ReadAll(m.Body())
			if err != nil || string(body) != sampleBody {
				t.Error(err, string(body))
			}
			for n := range 5 {
				if err := m.Update(func(e *Envelope) error { e.Recipients[i].Attempts = n + 1; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	domains.Wait()
	e, _, err := content(s, id)
	require.NoError(t, err)
	for _, r := range e.Recipients {
		require.Equal(t, 5, r.Attempts, "no update was lost")
	}
	require.Empty(t, s.open)
}

// TestConcurrent is for the race detector: everything at once.
func TestConcurrent(t *testing.T) {
	s, dir := newSpool(t)
	var workers sync.WaitGroup
	for n := range 8 {
		workers.Go(func() {
			for i := range 8 {
				body := fmt.Sprintf("%d %d", n, i)
				id, err := add(s, body, &Envelope{Recipients: to("a@example.com")})
				if err == nil {
					err = s.Hold(id)
				}
				if err == nil {
					err = s.Release(id)
				}
				if err == nil {
					_, got, bad := content(s, id)
					if err = bad; got != body {
						t.Errorf("%q is %q", body, got)
					}
				}
				if err == nil && i%2 == 0 {
					err = s.Remove(id)
				}
				if err != nil {
					t.Error(err)
				}
				for e, err := range s.All() {
					if err != nil {
						t.Error(err)
						continue
					}
					m, err := s.Get(e.ID)
					if err == nil {
						m.Close()
					} else if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrBusy) {
						t.Error(err)
					}
				}
			}
		})
	}
	workers.Wait()
	ids, problems := all(s)
	require.Empty(t, problems)
	require.Len(t, ids, 8*4)
	require.Len(t, files(t, filepath.Join(dir, queueDir)), 2*8*4)
}

func TestBodyReader(t *testing.T) {
	s, dir := newSpool(t)
	id := mustAdd(t, s)
	m, err := s.Get(id)
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, iotest.TestReader(m.Body(), []byte(sampleBody)))
	path := filepath.Join(dir, bodyName(id))
	for why, text := range map[string]string{
		"one octet differs": "subject" + sampleBody[7:],
		"longer":            sampleBody + "x",
		"shorter":           sampleBody[1:],
		"empty":             "",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		for _, read := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
			_, err := io.ReadAll(read(m.Body()))
			damage := (*CorruptError)(nil)
			require.ErrorAs(t, err, &damage, why)
			require.Equal(t, id, damage.ID, why)
		}
	}
	err = m.Quarantine(&CorruptError{ID: id, Err: errInjected})
	require.EqualError(t, err, "spool: message "+id+" is corrupt and was moved to corrupt/"+id+": injected")
	require.Equal(t, []string{"corrupt/" + id + "/" + id + ".eml", "corrupt/" + id + "/" + id + ".json"}, files(t, dir))
}
