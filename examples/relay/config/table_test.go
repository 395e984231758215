package config

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDurations(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration // -1: refused
	}{
		{"90s", 90 * time.Second}, {"5d", 120 * time.Hour}, {"1d12h", 36 * time.Hour}, {"1h30m", 90 * time.Minute},
		{"0s", 0}, {"250ms", 250 * time.Millisecond}, {"0d", 0},
		{"", -1}, {"5", -1}, {"-1h", -1}, {"-1d", -1}, {"1d-1h", -1}, {"+1h", -1}, {"1d+1h", -1}, {"d", -1}, {"5 d", -1},
		{"1h5d", -1}, {"70000d", -1}, {"9999999h", -1}, {"1e3s", -1}, {"five days", -1}, {"65535d2562047h", -1},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := parseDuration(c.text)
			if c.want < 0 {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			again, err := parseDuration(showDuration(got))
			require.NoError(t, err)
			require.Equal(t, got, again)
		})
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64 // -1: refused
	}{
		{"25 MiB", 25 << 20}, {"25MiB", 25 << 20}, {"64 KiB", 65536}, {"1 kB", 1000}, {"2 GB", 2e9}, {"1 TiB", 1 << 40},
		{"65536", 65536}, {"65_536", 65536}, {"12 B", 12}, {"0", 0},
		{"", -1}, {"MiB", -1}, {"25 Mib", -1}, {"2.5 MiB", -1}, {"-1", -1}, {"9223372036854775808", -1},
		{"9007199254740992 KiB", -1}, {"25 MiB MiB", -1},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := parseSize(c.text)
			if c.want < 0 {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			again, err := parseSize(showSize(got))
			require.NoError(t, err)
			require.Equal(t, got, again)
		})
	}
	got, err := parseSize("9223372036854775807")
	require.NoError(t, err)
	require.Equal(t, int64(math.MaxInt64), got)
}

func TestNearest(t *testing.T) {
	words := []string{"address", "certificate", "implicit-tls", "name", "mode", "none"}
	for _, c := range []struct{ why, text, want string }{
		{"a letter that is missing", "adress", "address"},
		{"two that are swapped", "cretificate", "certificate"},
		{"an underscore", "implicit_tls", "implicit-tls"},
		{"letter case", "Name", "name"},
		{"nothing like it", "banana", ""},
		{"too short to tell", "x", ""},
		{"a number is never meant to be another", "1.4", ""},
		{"of two as near the first in the alphabet", "nome", "name"},
	} {
		t.Run(c.why, func(t *testing.T) { require.Equal(t, c.want, nearest(c.text, words)) })
	}
	require.Empty(t, nearest("", words))
}
