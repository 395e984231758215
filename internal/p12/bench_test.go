package p12_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/p12"
)

// BenchmarkDecode reads OpenSSL's default file: 2,048 iterations three times,
// one key, three certificates.
func BenchmarkDecode(b *testing.B) {
	in, err := os.ReadFile("testdata/openssl-default.p12")
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		c, err := p12.Decode(in, []byte(testPass), p12.Options{})
		if err != nil {
			b.Fatal(err)
		}
		c.Zero()
	}
}

// BenchmarkMillion derives the key of a MAC with 1,000,000 iterations.
func BenchmarkMillion(b *testing.B) {
	in := pfxMAC(safes(), utf16Of(b, testPass), []byte("salt"), 1_000_000)
	for b.Loop() {
		if _, err := p12.Decode(in, []byte(testPass), p12.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMACIterations is the check before a passphrase is asked for.
func BenchmarkMACIterations(b *testing.B) {
	in, err := os.ReadFile("testdata/openssl-default.p12")
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p12.MACIterations(in); err != nil {
			b.Fatal(err)
		}
	}
}
