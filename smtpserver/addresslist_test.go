package smtpserver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAddressList(t *testing.T) {
	l, err := NewAddressList("Boss@Example.com", "root@", "@bank.example", "@.gov.example", "@[192.0.2.1]", "@[IPv6:2001:db8::1]", "@bücher.example", `"a b"@example.com`)
	require.NoError(t, err)
	for sender, want := range map[string]bool{
		"Boss@example.com":             true,
		"Boss@EXAMPLE.COM.":            true,
		`"Boss"@example.com`:           true, // the same mailbox (RFC 5321 section 4.1.2)
		`"B\oss"@example.com`:          true,
		`"a b"@example.com`:            true,
		"boss@example.com":             false, // local parts are compared exactly
		"root":                         true,
		"root@anywhere.example":        true,
		"root@[192.0.2.9]":             true,
		"Root@anywhere.example":        false,
		"x@bank.example":               true,
		"x@sub.bank.example":           false,
		"x@tax.gov.example":            true,
		"x@a.b.gov.example":            true,
		"x@gov.example":                false,
		"x@evilgov.example":            false,
		"x@[192.0.2.1]":                true,
		"x@[IPv6:::ffff:192.0.2.1]":    true,
		"x@[IPv6:2001:DB8:0::1]":       true,
		"x@[192.0.2.2]":                false,
		"x@xn--bcher-kva.example":      true,
		"x@BÜCHER.example":             true,
		`"@bank.example"@evil.example`: false,
		"":                             false,
		"@":                            false,
		"@bank.example":                true,
	} {
		require.Equal(t, want, l.Contains(sender), sender)
	}
	require.False(t, (*AddressList)(nil).Contains("root@example.com"))

	_, err = NewAddressList("no-at", "@", "user@.example.com", "user@exa mple", "@[300.1.1.1]", "ok@example.com")
	for _, part := range []string{`entry 0 ("no-at")`, `entry 1 ("@")`, "entry 2", "entry 3", "entry 4"} {
		require.ErrorContains(t, err, part)
	}
	require.NotContains(t, err.Error(), "entry 5")
}
