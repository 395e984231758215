package dane

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestPKIXUsages(t *testing.T) {
	root := testpki.NewRoot("Public root")
	inter := root.Intermediate("Intermediate")
	leaf := newLeaf(inter)
	private := testpki.NewRoot("Private root")
	alien := newLeaf(private)
	unrelated := root.Intermediate("Unrelated")
	expired := newLeaf(inter, testpki.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour)))
	o := Options{Profile: ProfileGeneric, Roots: testpki.Pool(root)}
	noRoots := Options{Profile: ProfileGeneric}

	for _, tc := range []struct {
		why    string
		o      Options
		record Record
		chain  []*x509.Certificate
		depth  int // of the match
		reason Reason
	}{
		{"1 of the leaf", o, record(t, 1, 1, 1, leaf.Cert), leaf.Chain(), 0, ReasonNone},
		{"1 of the leaf, whole", o, record(t, 1, 0, 0, leaf.Cert), leaf.Chain(), 0, ReasonNone},
		{"1 of the issuer", o, record(t, 1, 1, 1, inter.Cert), leaf.Chain(), -1, ReasonNoMatch},
		{"1 without roots: those of the system take no part", noRoots, record(t, 1, 1, 1, leaf.Cert), leaf.Chain(), -1, ReasonNoRoots},
		{"1 with another root", o, record(t, 1, 1, 1, alien.Cert), alien.ChainWithRoot(), -1, ReasonUntrustedRoot},
		{"1 without the intermediate", o, record(t, 1, 1, 1, leaf.Cert), serial(leaf.Cert), -1, ReasonUntrustedRoot},
		{"1 expired", o, record(t, 1, 1, 1, expired.Cert), expired.Chain(), -1, ReasonExpired},
		{"0 of the issuer", o, record(t, 0, 1, 1, inter.Cert), leaf.Chain(), 1, ReasonNone},
		{"0 of the root, not sent: it is in the pool", o, record(t, 0, 1, 1, root.Cert), leaf.Chain(), 2, ReasonNone},
		{"0 of the root, sent", o, record(t, 0, 0, 2, root.Cert), leaf.ChainWithRoot(), 2, ReasonNone},
		{"0 of the leaf", o, record(t, 0, 1, 1, leaf.Cert), leaf.Chain(), -1, ReasonNoMatch},
		{"0 of what was sent and is on no path", o, record(t, 0, 1, 1, unrelated.Cert), append(leaf.Chain(), unrelated.Cert), -1, ReasonNoMatch},
		{"0 without roots", noRoots, record(t, 0, 1, 1, inter.Cert), leaf.Chain(), -1, ReasonNoRoots},
		{"0 below a private root", o, record(t, 0, 1, 1, private.Cert), alien.ChainWithRoot(), -1, ReasonUntrustedRoot},
		{"0 0 0 serves as intermediate", o, record(t, 0, 0, 0, inter.Cert), serial(leaf.Cert), 1, ReasonNone},
		{"0 1 0 does not", o, record(t, 0, 1, 0, inter.Cert), serial(leaf.Cert), -1, ReasonUntrustedRoot},
	} {
		r := judge(t, tc.o, []Record{tc.record}, tc.chain)
		require.Equal(t, tc.reason.String(), r.Reason.String(), tc.why)
		require.Equal(t, tc.depth, r.Depth, tc.why)
	}

	for _, tc := range []struct {
		why    string
		change func(*x509.Certificate)
		reason Reason
	}{
		{"for clients", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, ReasonExtKeyUsage},
		{"may only sign certificates", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }, ReasonKeyUsage},
		{"other name", func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} }, ReasonName},
		{"common name", func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, testHost }, ReasonName},
	} {
		bad := newLeaf(inter, testpki.Template(tc.change))
		for _, r := range []Record{record(t, 1, 1, 1, bad.Cert), record(t, 0, 1, 1, inter.Cert)} {
			mismatched(t, judge(t, o, []Record{r}, bad.Chain()), tc.reason, tc.why)
		}
	}

	// Either kind may satisfy the set.
	matched(t, judge(t, o, []Record{record(t, 1, 1, 1, leaf.Cert), ta211(t, private.Cert)}, leaf.Chain()), 0, 0, "PKIX beside DANE that fails")
	matched(t, judge(t, o, []Record{record(t, 1, 1, 1, leaf.Cert), ta211(t, private.Cert)}, alien.ChainWithRoot()), 1, 1, "DANE beside PKIX that fails")
	// A trusted leaf is a path of one: usage 1 has its leaf, usage 0 has no issuer.
	self := testpki.SelfSigned([]string{testHost})
	trusted := x509.NewCertPool()
	trusted.AddCert(self.Cert)
	own := Options{Profile: ProfileGeneric, Roots: trusted}
	matched(t, judge(t, own, []Record{record(t, 1, 1, 1, self.Cert)}, serial(self.Cert)), 0, 0, "usage 1")
	mismatched(t, judge(t, own, []Record{record(t, 0, 1, 1, self.Cert)}, serial(self.Cert)), ReasonNoMatch, "usage 0")
}

// Usage 2 takes no part of its path from the public roots.
func TestPublicRootsAreNotForUsage2(t *testing.T) {
	root := testpki.NewRoot("Public root")
	leaf := newLeaf(root.Intermediate("Intermediate"))
	o := Options{Profile: ProfileGeneric, Roots: testpki.Pool(root)}
	mismatched(t, judge(t, o, []Record{ta211(t, root.Cert)}, leaf.Chain()), ReasonNoMatch, "the root is in the pool and was not sent")
	mismatched(t, judge(t, o, []Record{ta211(t, testpki.NewRoot("Other").Cert)}, leaf.ChainWithRoot()), ReasonNoMatch, "valid to a public root")
}
