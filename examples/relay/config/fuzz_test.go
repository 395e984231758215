package config

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/stretchr/testify/require"
)

// FuzzParse: the tree is the one that go-toml makes of the same octets, and a file
// without mistakes in its form for go-toml is one here, but for our own bounds.
func FuzzParse(f *testing.F) {
	f.Add("a = 1\nb.c = true\n[x.\"y z\"]\nd = [1, \"two\", {e = 0x5, f = []}]\n[[q]]\ng = 'lit'\n[[q]]\n[q.r]\n")
	f.Add("a = [[[{b.c = 1}]]]\r\n[a]\n[[a.b]]\n\"\\u0000\" = '''\n")
	f.Add("a.b = 1\n[a]\nc = 2\n[a.d]\n")
	f.Add("x = \"\"\"\n[y]\nz = 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := newLoader("fuzz.toml")
		root := l.parse([]byte(text))
		for _, p := range l.problems {
			require.LessOrEqual(t, 1, p.Line)
			require.LessOrEqual(t, p.Line, 1+strings.Count(text, "\n"), "%v", p)
		}
		var all map[string]any
		err := toml.Unmarshal([]byte(strings.TrimPrefix(text, "\xef\xbb\xbf")), &all)
		if !l.failed() {
			require.NoError(t, err)
			same(t, root, all)
			return
		}
		for _, own := range []string{"a key has at most", "in one another", "NUL octet"} {
			if strings.Contains(l.problems[0].Text, own) {
				return
			}
		}
		require.Error(t, err, "%v", l.problems)
	})
}

// same compares a tree with what go-toml made.
func same(t *testing.T, n *node, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		require.Equal(t, kindTable, n.kind)
		require.Len(t, n.keys, len(v))
		for key, below := range v {
			require.Contains(t, n.table, key)
			same(t, n.table[key], below)
		}
	case []any:
		require.Equal(t, kindArray, n.kind)
		require.Len(t, n.items, len(v))
		for i := range v {
			same(t, n.items[i], v[i])
		}
	case string:
		require.Equal(t, kindText, n.kind)
		require.Equal(t, v, n.text)
	case bool:
		require.Equal(t, kindBool, n.kind)
		require.Equal(t, v, n.text == "true")
	case int64:
		require.Equal(t, kindInteger, n.kind)
		got, err := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 64)
		require.NoError(t, err)
		require.Equal(t, v, got)
	default:
		require.Equal(t, kindOther, n.kind)
	}
}

// FuzzLoad: of any octets there is either a Config or an error, and everything that is
// said has a place in the file. What go-toml does not take is never a Config.
func FuzzLoad(f *testing.F) {
	demo, err := os.ReadFile("../demo.toml")
	require.NoError(f, err)
	mistakes, err := os.ReadFile("testdata/mistakes.toml")
	require.NoError(f, err)
	f.Add([]byte(strings.Replace(string(demo), `"mozilla"`, `"none"`, 1))) // its roots take their time
	f.Add(mistakes)
	f.Add([]byte(minimal + "[trust]\nsystem = \"none\"\n"))
	f.Add([]byte("a = [[[{b.c = 1}]]]\r\n[a]\n[[a.b]]\n\"\\u0000\" = '''\n"))
	f.Add([]byte("\xef\xbb\xbf[listener]\n[[listener]]\nx = 1e3"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		l := newLoader(dir + "/fuzz.toml")
		c, err := l.load(data)
		if err == nil {
			require.NotNil(t, c)
			var all map[string]any
			require.NoError(t, toml.Unmarshal([]byte(strings.TrimPrefix(string(data), "\xef\xbb\xbf")), &all))
			require.NoError(t, c.Dialer().Validate())
			require.NotEmpty(t, c.Listeners)
			require.NotEmpty(t, c.Spool.Dir)
			for _, l := range c.Listeners {
				require.NotNil(t, l.Options.Table)
			}
			require.Empty(t, c.RestartNeeded(c))
			return
		}
		require.Nil(t, c)
		bad := (*Error)(nil)
		require.True(t, errors.As(err, &bad))
		inside(t, string(data), bad.Problems)
	})
}
