//go:build unix

package dirstore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/ststest"
	"github.com/stretchr/testify/require"
)

func TestConformance(t *testing.T) {
	ststest.TestStore(t, func(t testing.TB) ststest.Backend {
		dir := t.TempDir()
		return ststest.Backend{
			Open: func() mtasts.Store {
				s, err := Open(dir, Options{})
				require.NoError(t, err)
				return s
			},
			Plant: func(domain string, text []byte) error {
				path, err := (&Store{dir: dir}).path(domain)
				if err != nil {
					return err
				}
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					return err
				}
				return os.WriteFile(path, text, 0o600)
			},
		}
	})
}
