//go:build interop

package p12_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPrograms makes the files of testdata anew, with new keys and with the
// programs installed here, and reads them.
func TestPrograms(t *testing.T) {
	script, err := filepath.Abs("testdata/make.sh")
	require.NoError(t, err)
	dir := t.TempDir()
	for _, p := range []struct{ name, needs string }{{"openssl", "openssl"}, {"keytool", "keytool"}, {"certtool", "certtool"}, {"nss", "pk12util"}} {
		t.Run(p.name, func(t *testing.T) {
			if _, err := exec.LookPath(p.needs); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal(err)
				}
				t.Skipf("%s is not installed", p.needs)
			}
			cmd := exec.Command(script, dir, p.name)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			for _, f := range files[p.name] {
				t.Run(f.name+"/"+f.why, func(t *testing.T) { f.check(t, dir) })
			}
		})
	}
}
