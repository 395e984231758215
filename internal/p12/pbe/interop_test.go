//go:build interop

package pbe_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOpenSSL makes the files of testdata anew, with a new key.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("openssl is not installed")
	}
	script, err := filepath.Abs("testdata/make.sh")
	require.NoError(t, err)
	dir := t.TempDir()
	cmd := exec.Command(script, dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, f := range files {
		t.Run(f.name+"/"+f.why, func(t *testing.T) { f.check(t, dir) })
	}
}
