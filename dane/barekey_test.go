package dane

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// RFC 7671 section 5.2.3.
func TestBareKey(t *testing.T) {
	root := testpki.NewRoot("Root")
	upper := root.Intermediate("Upper")
	lower := upper.Intermediate("Lower")
	leaf := newLeaf(lower)
	chain := leaf.Chain() // leaf, lower, upper
	bare := func(c *x509.Certificate) []Record { return []Record{record(t, 2, 1, 0, c)} }

	matched(t, judge(t, Options{}, bare(root.Cert), chain), 0, 2, "the depth is that of the signed certificate")
	matched(t, judge(t, Options{}, bare(upper.Cert), chain), 0, 2, "sent, so it is an ordinary anchor")
	matched(t, judge(t, Options{}, bare(upper.Cert), chain[:2]), 0, 1, "not sent, so it is bare")
	matched(t, judge(t, Options{}, bare(lower.Cert), chain[:1]), 0, 0, "it signed the leaf")
	mismatched(t, judge(t, Options{}, bare(testpki.NewRoot("Root").Cert), chain), ReasonNoMatch, "another key with the right name")

	// A key has no name: the issuer name on the signed certificate may be any.
	renamed := testpki.NewRoot("Other name", testpki.Key(root.Key))
	matched(t, judge(t, Options{}, bare(renamed.Cert), chain), 0, 2, "name of the key is not known")

	two := []Record{record(t, 2, 1, 0, root.Cert), record(t, 2, 1, 0, lower.Cert)}
	matched(t, judge(t, Options{}, two, serial(leaf.Cert, upper.Cert)), 1, 0, "the nearest one, though the other signed something too")
}

// What a bare key signed is checked like everything else on the path, and so is
// what lies below.
func TestBareKeyDefects(t *testing.T) {
	key := testpki.NewRoot("Key")
	mod := testpki.Template
	for _, tc := range []struct {
		why         string
		inter, leaf func(*x509.Certificate)
		reason      Reason
	}{
		{"in order", nil, nil, ReasonNone},
		{"signed certificate expired", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour) }, nil, ReasonExpired},
		{"leaf expired", nil, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour) }, ReasonExpired},
		{"signed certificate is no CA", func(c *x509.Certificate) { c.IsCA = false }, nil, ReasonNoMatch},
		{"signed certificate may not sign", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }, nil, ReasonKeyUsage},
		{"name constraint", func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"example.com"} }, nil, ReasonNameConstraint},
		{"leaf for clients", nil, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, ReasonExtKeyUsage},
	} {
		var above, below []testpki.Mod
		if tc.inter != nil {
			above = append(above, mod(tc.inter))
		}
		if tc.leaf != nil {
			below = append(below, mod(tc.leaf))
		}
		leaf := newLeaf(key.Intermediate("Intermediate", above...), below...)
		r := judge(t, Options{}, []Record{record(t, 2, 1, 0, key.Cert)}, leaf.Chain())
		require.Equal(t, tc.reason.String(), r.Reason.String(), tc.why)
	}
	// The leaf itself, signed by the bare key: no link in between, but the same checks.
	for _, tc := range []struct {
		why    string
		change func(*x509.Certificate)
		reason Reason
	}{
		{"in order", func(*x509.Certificate) {}, ReasonNone},
		{"expired", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour) }, ReasonExpired},
		{"for clients", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, ReasonExtKeyUsage},
		{"other name", func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} }, ReasonName},
		{"may only sign certificates", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }, ReasonKeyUsage},
	} {
		leaf := newLeaf(key, mod(tc.change))
		r := judge(t, Options{}, []Record{record(t, 2, 1, 0, key.Cert)}, serial(leaf.Cert))
		require.Equal(t, tc.reason.String(), r.Reason.String(), tc.why)
	}
}

// Junk that has nothing to do with the leaf costs no signature check, so it
// cannot use up the limit.
func TestBareKeyLimit(t *testing.T) {
	key := testpki.NewRoot("Key")
	leaf := newLeaf(key.Intermediate("Intermediate"))
	shared := testpki.Key(key.Key)
	var junk, crowd []*x509.Certificate
	for range maxBareChecks + 8 {
		junk = append(junk, testpki.NewRoot("Junk", shared).Cert)
		crowd = append(crowd, testpki.NewRoot("Intermediate").Cert) // any of these might be the issuer
	}
	records := []Record{record(t, 2, 1, 0, key.Cert)}
	chain := append(append(serial(leaf.Cert), junk...), leaf.Chain()[1:]...)
	require.Equal(t, Matched, judge(t, Options{}, records, chain).Status)

	records = []Record{record(t, 2, 1, 0, testpki.NewRoot("Other").Cert)}
	mismatched(t, judge(t, Options{}, records, append(serial(leaf.Cert), crowd...)), ReasonLimit, "a crowd of issuers")
	mismatched(t, judge(t, Options{}, records, append(serial(leaf.Cert), crowd[:maxBareChecks-1]...)), ReasonNoMatch, "one check less than the limit")
}
