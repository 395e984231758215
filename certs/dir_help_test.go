//go:build unix

package certs

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func init() {
	storeBackings["directory"] = func(t testing.TB) Storage {
		return openDirectory(t, filepath.Join(t.TempDir(), "store"), DirectoryOptions{})
	}
}

func openDirectory(t testing.TB, path string, o DirectoryOptions) *Directory {
	t.Helper()
	d, err := OpenDirectory(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}
