package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/mistakes.golden anew")

// TestMistakes has a file with a mistake in every section, and all that is said of it.
func TestMistakes(t *testing.T) {
	dir := directory(t)
	text, err := os.ReadFile("testdata/mistakes.toml")
	require.NoError(t, err)
	path := filepath.Join(dir, "mistakes.toml")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	_, err = Load(path)
	require.Error(t, err)
	inside(t, string(text), err.(*Error).Problems)
	got := strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
	if *update {
		require.NoError(t, os.WriteFile("testdata/mistakes.golden", []byte(got), 0o644))
	}
	want, err := os.ReadFile("testdata/mistakes.golden")
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// TestDemo loads the file that the README tells people to begin with.
func TestDemo(t *testing.T) {
	c, err := Load("../demo.toml")
	require.NoError(t, err)
	require.Empty(t, c.Warnings)
	require.Equal(t, ResolverLab, c.Resolver.Kind)
	require.Len(t, c.Listeners, 2)
	require.NoError(t, c.Dialer().Validate())
}

// TestDemoNamesEveryKey takes the hashes away from the examples in the demonstration
// file: whatever is wrong with them then, none is an unknown key.
func TestDemoNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../demo.toml")
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, "#"); ok && rest != "" && (rest[0] >= 'a' && rest[0] <= 'z' || rest[0] == '[') {
			lines[i] = rest
		}
	}
	_, problems := loadText(t, t.TempDir(), strings.Join(lines, "\n"))
	asked := map[string]bool{}
	for _, p := range problems {
		require.NotContains(t, p.Text, "unknown key")
		require.NotContains(t, p.Text, "syntax")
		asked[p.Key] = true
	}
	require.True(t, asked["certificate.main.file"], "the examples are in force: %v", problems)
}
