package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// blocks returns the README's blocks of these kinds, in order, as one script.
func blocks(t *testing.T, kinds ...string) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	script, inside := "", false
	for line := range strings.Lines(string(text)) {
		kind, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case !fence && inside:
			script += line
		case fence && kind == "":
			inside = false
		case fence:
			for _, k := range kinds {
				inside = inside || k == kind
			}
		}
	}
	require.NotEmpty(t, script)
	return script
}

// sh runs a script in the folder of the clone, and returns what it prints and the
// folder in which it works.
func sh(t *testing.T, script string) (out, work string) {
	t.Helper()
	temp := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", script)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "GOPROXY=off", "LC_ALL=C", "PWD=")
	data, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", data)
	made, err := filepath.Glob(filepath.Join(temp, "tmp.*", "certs"))
	require.NoError(t, err)
	require.Len(t, made, 1, "all that is written is in $work")
	return string(data), filepath.Dir(made[0])
}

// The commands of the README run as they stand.
func TestREADME(t *testing.T) {
	out, work := sh(t, blocks(t, "sh"))
	require.NotContains(t, out, "panic")
	require.Contains(t, out, "refused, as it should be")
	require.Equal(t, 1, strings.Count(out, "certs: "), "the only refusal is the one that is shown\n%s", out)
	require.Contains(t, out, "list: system, disabled")
	last := out[strings.LastIndex(out, "the former key is gone"):]
	require.Equal(t, 1, strings.Count(last, "_25._tcp.mx.example.org. 3600 IN TLSA 3 1 1 "), "one record is left")
	for _, made := range []string{"mx.p12", "mx.pem", "mozilla.txt"} {
		info, err := os.Stat(filepath.Join(work, made))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), made)
	}
	for _, store := range []string{"store", "other", "third"} {
		info, err := os.Stat(filepath.Join(work, store))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), store)
	}
}
