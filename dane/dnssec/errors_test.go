package dnssec

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestError(t *testing.T) {
	e := &Error{
		Kind: KindBogus, Name: "www.example.", Type: TypeTLSA, At: "mx.example.", Reason: "the resolver says so",
		EDE: 7, Server: netip.MustParseAddrPort("127.0.0.1:53"), Err: io.EOF,
	}
	require.EqualError(t, e, "dnssec: www.example. TLSA: validation failed: the resolver says so, at mx.example., "+
		"server 127.0.0.1:53, EDE 7 (signature expired): EOF")
	require.ErrorIs(t, e, KindBogus)
	require.NotErrorIs(t, e, KindServFail)
	require.ErrorIs(t, e, io.EOF)
	require.EqualError(t, &Error{Kind: KindUnusable, EDE: noEDE}, "dnssec: resolver not usable")
	require.EqualError(t, KindLoop, "dnssec: alias loop")
	_, err := Static{}.Lookup(context.Background(), "a\nb", TypeMX)
	require.EqualError(t, err, `dnssec: "a\nb" MX: bad question: the name has a character that must be escaped`)
}

func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for k := KindBogus; k <= KindCanceled; k++ {
		e := &Error{Kind: k, EDE: noEDE}
		require.False(t, seen[k.String()], "each kind has words of its own")
		seen[k.String()] = true
		require.Equal(t, k != KindBadName, e.Temporary(), k.String())
		require.Equal(t, k == KindTimeout, e.Timeout(), k.String())
		require.NotZero(t, telling[k], k.String())
	}
	require.Equal(t, "Kind(0)", Kind(0).String())
	require.Equal(t, "Kind(99)", Kind(99).String())
	require.True(t, (&Error{Kind: KindCanceled, Err: context.DeadlineExceeded}).Timeout())
	require.False(t, (&Error{Kind: KindCanceled, Err: context.Canceled}).Timeout())
}

func TestMoreTelling(t *testing.T) {
	timeout, bogus := &Error{Kind: KindTimeout}, &Error{Kind: KindBogus}
	require.Same(t, bogus, moreTelling(timeout, bogus))
	require.Same(t, bogus, moreTelling(bogus, timeout))
	require.Same(t, bogus, moreTelling(bogus, nil))
	require.Same(t, bogus, moreTelling(nil, bogus))
	require.Nil(t, moreTelling(nil, nil))
	require.Same(t, bogus, moreTelling(bogus, &Error{Kind: KindBogus}), "the first of equals")
}

func TestEDE(t *testing.T) {
	for code := -1; code < 30; code++ {
		require.Equal(t, code >= 6 && code <= 12, edeBogus(code), "RFC 8914: 6 DNSSEC bogus to 12 NSEC missing")
		require.Equal(t, edeBogus(code), edeText(code) != "")
	}
}

func TestStrings(t *testing.T) {
	for want, got := range map[string]interface{ String() string }{
		"A": TypeA, "NS": TypeNS, "CNAME": TypeCNAME, "SOA": TypeSOA, "PTR": TypePTR, "MX": TypeMX, "TXT": TypeTXT,
		"AAAA": TypeAAAA, "DNAME": TypeDNAME, "DS": TypeDS, "DNSKEY": TypeDNSKEY, "TLSA": TypeTLSA, "TYPE99": Type(99),
		"indeterminate": Indeterminate, "insecure": Insecure, "secure": Secure, "Security(9)": Security(9),
		"found": Found, "nodata": NoData, "nxdomain": NXDomain, "Outcome(0)": Outcome(0),
		"static": SourceStatic, "ad": SourceAD, "validated": SourceValidated, "Source(0)": Source(0),
	} {
		require.Equal(t, want, got.String())
	}
	require.True(t, Indeterminate < Insecure && Insecure < Secure, "the least of the parts is taken with min")
	require.False(t, errors.Is(KindBogus, KindLoop))
}
