package pbe

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRC2 runs the eight vectors of RFC 2268 section 5.
func TestRC2(t *testing.T) {
	for _, tc := range []struct {
		bits               int
		key, plain, cipher string
	}{
		{63, "0000000000000000", "0000000000000000", "ebb773f993278eff"},
		{64, "ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"},
		{64, "3000000000000000", "1000000000000001", "30649edf9be7d2c2"},
		{64, "88", "0000000000000000", "61a8a244adacccf0"},
		{64, "88bca90e90875a", "0000000000000000", "6ccf4308974c267f"},
		{64, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "1a807d272bbe5db1"},
		{128, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"},
		{129, "88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e", "0000000000000000", "5b78d3a43dfff1f1"},
	} {
		t.Run(tc.cipher, func(t *testing.T) {
			key, err := hex.DecodeString(tc.key)
			require.NoError(t, err)
			plain, err := hex.DecodeString(tc.plain)
			require.NoError(t, err)
			c := newRC2(key, tc.bits)
			got := make([]byte, c.BlockSize())
			c.Encrypt(got, plain)
			require.Equal(t, tc.cipher, hex.EncodeToString(got))
			c.Decrypt(got, got)
			require.Equal(t, tc.plain, hex.EncodeToString(got))
		})
	}
}
