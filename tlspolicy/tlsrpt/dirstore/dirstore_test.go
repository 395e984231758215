//go:build unix

package dirstore

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/tlsrpttest"
	"github.com/stretchr/testify/require"
)

const day = tlsrpt.Day(20513) // 2026-03-01

// childDir is set in a child process: it writes there until it is killed.
const childDir = "DIRSTORE_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir, os.Getenv("DIRSTORE_TEST_WRITER"))
		return
	}
	os.Exit(m.Run())
}

// child saves growing snapshots of some domains and says after each round how far
// it has come.
func child(dir, writer string) {
	s, err := Open(dir, Options{})
	for n := uint64(1); err == nil; n++ {
		snapshots := make([]*tlsrpt.Snapshot, 3)
		for i := range snapshots {
			snapshots[i] = tlsrpttest.Snapshot(day, fmt.Sprintf("r%d.example", i), writer, n)
		}
		if err = s.Save(context.Background(), snapshots); err == nil {
			fmt.Println(n)
		}
	}
	fmt.Println("child:", err)
}

func open(t testing.TB, dir string) (*Store, *[]string) {
	t.Helper()
	reported := new([]string)
	s, err := Open(dir, Options{Report: func(path string, err error) { *reported = append(*reported, path+": "+err.Error()) }})
	require.NoError(t, err)
	return s, reported
}

func TestConformance(t *testing.T) {
	tlsrpttest.TestStore(t, func(t testing.TB) tlsrpttest.Backend {
		dir := filepath.Join(t.TempDir(), "a*[b]", "store")
		return tlsrpttest.Backend{
			Open: func() tlsrpt.Store { s, _ := open(t, dir); return s },
			Damage: func(snapshot *tlsrpt.Snapshot) error {
				s, _ := open(t, dir)
				path := s.path(snapshot.Day, snapshot.Writer, snapshot.Domain)
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				return os.WriteFile(path, bytes.Replace(text, []byte(`"successes":1`), []byte(`"successes":9`), 1), 0o600)
			},
		}
	})
}

// TestFiles: what is on disk is readable, for nobody else, and nothing is left over.
func TestFiles(t *testing.T) {
	s, reported := open(t, t.TempDir())
	require.NoError(t, s.Save(t.Context(), []*tlsrpt.Snapshot{tlsrpttest.Snapshot(day, "r.example", "w1", 7)}))
	path := s.path(day, "w1", "r.example")
	require.Equal(t, filepath.Join(s.dir, "2026-03-01", "w1", filepath.Base(filepath.Dir(path)), "r.example"), path)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(text), "tlsrpt snapshot 1\nr.example 2026-03-01 w1 14\nsha256 ")
	require.Contains(t, string(text), `"lines":["version: STSv1"`)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)

	// Files that are not where they belong, of another release, and too large.
	other := s.path(day, "w2", "r.example")
	require.NoError(t, os.MkdirAll(filepath.Dir(other), 0o700))
	require.NoError(t, os.WriteFile(other, text, 0o600))
	_, err = s.Load(t.Context(), day, "r.example")
	require.ErrorIs(t, err, tlsrpt.ErrCorrupt)
	require.Len(t, *reported, 1)
	require.FileExists(t, filepath.Join(filepath.Dir(other), corruptPrefix+"r.example"))
	require.NoError(t, os.WriteFile(other, bytes.Replace(text, []byte("snapshot 1"), []byte("snapshot 2"), 1), 0o600))
	_, err = s.Load(t.Context(), day, "r.example")
	require.ErrorIs(t, err, tlsrpt.ErrSchema)
	require.FileExists(t, other, "left alone")
	require.NoError(t, os.WriteFile(other, make([]byte, maxFile+1), 0o600))
	_, err = s.Load(t.Context(), day, "r.example")
	require.ErrorIs(t, err, tlsrpt.ErrCorrupt)
}

// TestDamagedProgress: a note that is damaged is told, and put aside.
func TestDamagedProgress(t *testing.T) {
	s, reported := open(t, t.TempDir())
	require.NoError(t, s.SetProgress(t.Context(), day, "r.example", tlsrpt.Progress{Done: true}))
	path := s.path(day, progressDir, "r.example")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, bytes.Replace(text, []byte("true"), []byte("fals"), 1), 0o600))
	_, err = s.Progress(t.Context(), day, "r.example")
	require.ErrorIs(t, err, tlsrpt.ErrCorrupt)
	require.Len(t, *reported, 1)
	p, err := s.Progress(t.Context(), day, "r.example")
	require.NoError(t, err)
	require.False(t, p.Done)
}

// startChild starts a process that writes.
func startChild(t testing.TB, dir, writer string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, "DIRSTORE_TEST_WRITER="+writer)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}

// TestKill kills a writing process again and again: what it was told is stored is
// there, whole, and what it had not yet been told is there or not.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 9))
	var want [3]uint64 // over all writers, at least
	var most uint64
	for round := range killRounds {
		writer := fmt.Sprintf("w%d", round)
		cmd, lines := startChild(t, dir, writer)
		acknowledged := uint64(0)
		for range 1 + random.IntN(3) {
			require.True(t, lines.Scan(), "round %d", round)
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			require.NoError(t, err, lines.Text())
			acknowledged = n
		}
		for range random.IntN(3000) {
			runtime.Gosched()
		}
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() { // what it had said before it died
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err == nil {
				acknowledged = n
			}
		}
		_ = cmd.Wait() // killed
		s, reported := open(t, dir)
		for i := range want {
			snapshot, err := read(s.path(day, writer, fmt.Sprintf("r%d.example", i)))
			require.NoError(t, err, "round %d", round)
			n := snapshot.Policies[0].Successes
			require.GreaterOrEqual(t, n, acknowledged, "round %d", round)
			require.LessOrEqual(t, n, acknowledged+1, "at most the round under way")
			text, err := snapshot.MarshalText()
			require.NoError(t, err)
			whole, err := tlsrpttest.Snapshot(day, snapshot.Domain, writer, n).MarshalText()
			require.NoError(t, err)
			require.Equal(t, string(whole), string(text))
			want[i] += n
			most = max(most, n)
		}
		require.Empty(t, *reported)
	}
	s, _ := open(t, dir)
	for i := range want {
		tally, err := s.Load(t.Context(), day, fmt.Sprintf("r%d.example", i))
		require.NoError(t, err)
		require.Len(t, tally.Snapshots(), killRounds)
		require.Equal(t, want[i], tally.Policies()[0].Successes, "nothing lost, nothing twice")
	}
	require.NotZero(t, most)
}

func BenchmarkSave(b *testing.B) {
	s, _ := open(b, b.TempDir())
	snapshots := make([]*tlsrpt.Snapshot, 256)
	n := uint64(0)
	for b.Loop() {
		n++
		for i := range snapshots {
			snapshots[i] = tlsrpttest.Snapshot(day, fmt.Sprintf("r%d.example", i), "w1", n)
		}
		require.NoError(b, s.Save(b.Context(), snapshots))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/domain")
}
