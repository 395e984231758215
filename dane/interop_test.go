//go:build interop

package dane

import (
	"bufio"
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// These tests ask OpenSSL and GnuTLS for their opinion. They need cc, libssl-dev,
// openssl and gnutls-bin:
//
//	go test -tags interop ./dane/
//
// testdata/openssl/differences.md lists where the opinions differ, and why.

// oracle is libssl's DANE engine behind a small C program.
type oracle struct {
	in  io.Writer
	out *bufio.Scanner
}

func newOracle(t *testing.T) *oracle {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "harness")
	text, err := exec.Command("cc", "-O1", "-Wall", "-o", binary, "testdata/openssl/harness.c", "-lssl", "-lcrypto").CombinedOutput()
	require.NoError(t, err, "building the harness needs cc and libssl-dev: %s", text)
	run := exec.Command(binary)
	in, err := run.StdinPipe()
	require.NoError(t, err)
	out, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	t.Cleanup(func() {
		in.Close()
		_ = run.Wait()
	})
	return &oracle{in, bufio.NewScanner(out)}
}

// opinion is what libssl says.
type opinion struct {
	usable int
	status Status
	usage  Usage
	depth  int
	words  string // of a mismatch
}

func (o *oracle) ask(t *testing.T, records []Record, chain []*x509.Certificate, ids RefIDs, at time.Time) opinion {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "time %d\n", at.Unix())
	for _, name := range ids.names {
		fmt.Fprintf(&b, "name %s\n", name)
	}
	for _, r := range records {
		data := hex.EncodeToString(r.Data)
		if data == "" {
			data = "-"
		}
		fmt.Fprintf(&b, "tlsa %d %d %d %s\n", r.Usage, r.Selector, r.MatchingType, data)
	}
	for _, cert := range chain {
		fmt.Fprintf(&b, "cert %x\n", cert.Raw)
	}
	b.WriteString("end\n")
	_, err := o.in.Write(b.Bytes())
	require.NoError(t, err)
	require.True(t, o.out.Scan(), "the harness has ended")
	usable, rest, _ := strings.Cut(o.out.Text(), " ")
	p := opinion{depth: -1}
	_, err = fmt.Sscan(usable, &p.usable)
	require.NoError(t, err, o.out.Text())
	switch word, rest, _ := strings.Cut(rest, " "); word {
	case "unusable":
		p.status = Unusable
	case "mismatch":
		p.words = rest
	case "match":
		p.status = Matched
		_, err = fmt.Sscan(rest, &p.usage, &p.depth)
		require.NoError(t, err)
	default:
		require.FailNow(t, o.out.Text())
	}
	return p
}

// agrees reports whether a Result is the same as OpenSSL's opinion. Which of
// several anchors on one path is named, does not matter to the message.
func (p opinion) agrees(r Result) bool {
	return p.status == r.Status && (r.Status != Matched || p.usage == r.Record.Usage && p.depth == r.Depth)
}

// interopWorld is a PKI with all kinds of certificates, good and bad.
func interopWorld(t *testing.T) (leaves, issuers []*x509.Certificate) {
	change := testpki.Template
	past := testpki.Valid(now.Add(-48*time.Hour), now.Add(-time.Hour))
	future := testpki.Valid(now.Add(time.Hour), now.Add(48*time.Hour))
	old, root := testpki.NewRoot("Old"), testpki.NewRoot("Root", testpki.Key(testpki.NewRSA(2048)))
	inter := root.Intermediate("Intermediate", testpki.Key(testpki.NewECDSA(elliptic.P384())))
	lower := inter.Intermediate("Lower", testpki.Key(testpki.NewEd25519()))
	tight := root.Intermediate("Tight", change(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }))
	belowTight := tight.Intermediate("Below tight")
	noCA := root.Intermediate("No CA", change(func(c *x509.Certificate) { c.IsCA = false }))
	noBC := root.Intermediate("No constraints", change(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false }))
	noSign := root.Intermediate("No certSign", change(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }))
	clients := root.Intermediate("Clients", change(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))
	named := root.Intermediate("Named", change(func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.com"}, true
	}))
	elsewhere := root.Intermediate("Elsewhere", change(func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.org"}, true
	}))
	cas := []*testpki.Authority{old, root, inter, lower, tight, belowTight, noCA, noBC, noSign, clients, named, elsewhere,
		testpki.NewRoot("Root"), root.Intermediate("Past", past), root.Intermediate("Future", future)}
	for _, ca := range cas {
		issuers = append(issuers, ca.Cert)
		leaves = append(leaves, newLeaf(ca).Cert)
	}
	issuers = append(issuers,
		reissued(t, "Root", root.Key.Public(), old), reissued(t, "Old", old.Key.Public(), root),
		reissued(t, "Intermediate", inter.Key.Public(), old),
		reissued(t, "Intermediate", inter.Key.Public(), root, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }),
		resigned(t, old.Cert, old.Key, ecdsaWithSHA256, true),
		resigned(t, reissued(t, "Old", old.Key.Public(), old), old.Key, ecdsaWithSHA1, false),
	)
	ku := func(u x509.KeyUsage) testpki.Mod { return change(func(c *x509.Certificate) { c.KeyUsage = u }) }
	eku := func(u ...x509.ExtKeyUsage) testpki.Mod {
		return change(func(c *x509.Certificate) { c.ExtKeyUsage = u })
	}
	for _, mods := range [][]testpki.Mod{
		{past}, {future}, {ku(x509.KeyUsageCertSign)}, {ku(x509.KeyUsageKeyAgreement)}, {ku(0)},
		{eku(x509.ExtKeyUsageClientAuth)}, {eku()}, {eku(x509.ExtKeyUsageAny)},
		{change(func(c *x509.Certificate) { c.DNSNames = []string{"*.example.com"} })},
		{change(func(c *x509.Certificate) { c.DNSNames = []string{"m*.example.com", "*.com"} })},
		{change(func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} })},
		{change(func(c *x509.Certificate) { c.DNSNames = []string{"other.example", "MX.EXAMPLE.COM"} })},
		{change(func(c *x509.Certificate) { c.DNSNames = nil })},
		{change(func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} })},
	} {
		leaves = append(leaves, newLeaf(inter, mods...).Cert)
	}
	leaves = append(leaves,
		named.Leaf(nil, testpki.CommonName(testHost)).Cert, root.Leaf([]string{"mx.example.org"}).Cert,
		testpki.SelfSigned([]string{testHost}).Cert, resigned(t, newLeaf(old).Cert, old.Key, ecdsaWithSHA1, false))
	return leaves, issuers
}

func TestOpenSSL(t *testing.T) {
	libssl := newOracle(t)
	leaves, issuers := interopWorld(t)
	sets := []RefIDs{refIDs(t, testHost), refIDs(t, testHost, "example.com"), refIDs(t, "other.example")}
	random := rand.New(rand.NewPCG(7, 7671))
	pick := func(n int) int { return random.IntN(n) }
	seen := map[string]int{}
	const cases = 8000
	for range cases {
		leaf := leaves[pick(len(leaves))]
		chain := serial(leaf)
		// Mostly the real issuers, so that most paths get somewhere.
		for at := leaf; pick(8) > 0; {
			var above []*x509.Certificate
			for _, c := range issuers {
				if bytes.Equal(c.RawSubject, at.RawIssuer) {
					above = append(above, c)
				}
			}
			if len(above) == 0 || len(chain) > 6 {
				break
			}
			at = above[pick(len(above))]
			chain = append(chain, at)
		}
		for range pick(4) {
			chain = append(chain, issuers[pick(len(issuers))])
		}
		random.Shuffle(len(chain)-1, func(i, j int) { chain[i+1], chain[j+1] = chain[j+1], chain[i+1] })
		var records []Record
		for range 1 + pick(3) {
			cert := chain[pick(len(chain))]
			if pick(4) == 0 {
				cert = issuers[pick(len(issuers))]
			}
			r := record(t, [...]Usage{2, 2, 2, 3, 1, 0}[pick(6)], Selector(pick(2)), MatchingType(pick(3)), cert)
			switch pick(16) {
			case 0:
				r.Data = r.Data[:len(r.Data)-1]
			case 1:
				r.Usage = 4
			case 2:
				r.MatchingType = 3
			}
			records = append(records, r)
		}
		ids := sets[pick(len(sets))]
		v := verifier(t, Options{}, records...)
		ours := v.Verify(chain, ids, now)
		theirs := libssl.ask(t, records, chain, ids, now)
		if theirs.agrees(ours) {
			continue
		}
		why := libssl.difference(t, v, chain, ids, ours, theirs)
		if why == "" {
			var b strings.Builder
			for _, r := range records {
				fmt.Fprintf(&b, "\n%.60s", r)
			}
			for i, c := range chain {
				fmt.Fprintf(&b, "\n%d %s <- %s", i, c.Subject, c.Issuer)
			}
			seen["unexplained"]++
			if seen["unexplained"] < 12 {
				t.Errorf("ours %v %s usage %v depth %d %q, theirs %+v; %v%s", ours.Status, ours.Reason, ours.Record.Usage, ours.Depth, ours.Name, theirs, ids.names, b.String())
			}
			continue
		}
		seen[why]++
	}
	t.Log(seen)
}

// The differences that testdata/openssl/differences.md explains. Each has a case
// of its own in TestOpenSSLDifferences.
const (
	diffBacktracking = "backtracking"
	diffAnchorDates  = "dates of an intermediate anchor"
	diffNotAfter     = "the last second"
	diffAnyEKU       = "anyExtendedKeyUsage"
	diffConstraints  = "no basicConstraints"
	diffCommonName   = "common name below name constraints"
	diffBareKey      = "bare key beside a certificate with it"
)

// difference returns which of them explains that OpenSSL disagrees; "" if none.
func (o *oracle) difference(t *testing.T, v *Verifier, chain []*x509.Certificate, ids RefIDs, ours Result, theirs opinion) string {
	s := sent{leaf: chain[0], rest: chain[1:], now: now.Truncate(time.Second)}
	var named []*x509.Certificate // what usage 2 names
	for _, cert := range chain[1:] {
		if s.counts(cert) && match(v.groups[UsageDANETA], cert) >= 0 {
			named = append(named, cert)
		}
	}
	for i := range v.entries {
		if v.entries[i].cert != nil {
			named = append(named, v.entries[i].cert)
		}
	}
	namesOne := func(f func(*x509.Certificate) bool) bool { return slices.ContainsFunc(named, f) }
	if ours.Status == Matched {
		p, ok := v.findPath(chain, s.now, &attempt{})
		require.True(t, ok)
		if v.entries[p.rank].key != nil && match(v.groups[UsageDANETA], p.certs[len(p.certs)-1]) != p.rank &&
			namesOne(func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubjectPublicKeyInfo, ours.Record.Data) }) {
			return diffBareKey
		}
		// Our path and record alone, with nothing to choose from.
		again := o.ask(t, []Record{ours.Record}, p.certs, ids, now)
		switch leaf := chain[0]; {
		case again.agrees(ours):
			return diffBacktracking
		case slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) && again.words == "unsuitable certificate purpose":
			return diffAnyEKU
		}
		return ""
	}
	if theirs.status != Matched || theirs.usage != UsageDANETA {
		return ""
	}
	switch {
	case (ours.Reason == ReasonExpired || ours.Reason == ReasonNotYetValid) &&
		namesOne(func(c *x509.Certificate) bool { return dateReason(c, s.now) != ReasonNone }):
		return diffAnchorDates
	case ours.Reason == ReasonNotCA &&
		namesOne(func(c *x509.Certificate) bool { return c.Version == 3 && !c.BasicConstraintsValid }):
		return diffConstraints
	case ours.Reason == ReasonName && len(chain[0].DNSNames) == 0 && !unconstrained(append(named, chain...)):
		return diffCommonName
	}
	return ""
}

// Each known difference by itself, so that a change of either side is noticed.
func TestOpenSSLDifferences(t *testing.T) {
	libssl := newOracle(t)
	change := testpki.Template
	root, old := testpki.NewRoot("Root"), testpki.NewRoot("Old")
	inter := root.Intermediate("Intermediate")
	past := root.Intermediate("Past", testpki.Valid(now.Add(-48*time.Hour), now.Add(-time.Hour)))
	bare := root.Intermediate("No constraints", change(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false }))
	named := root.Intermediate("Named", change(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} }))
	clients := root.Intermediate("Clients", change(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))
	leaf := newLeaf(inter)
	anyEKU := newLeaf(inter, change(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }))
	end := now.Truncate(time.Second)
	ending := newLeaf(inter, testpki.Valid(end.Add(-time.Hour), end))
	for _, tc := range []struct {
		what   string
		record Record
		chain  []*x509.Certificate
		at     time.Time
		ours   Status
		theirs Status
		words  string
	}{
		{diffBacktracking, record(t, 2, 0, 1, old.Cert), serial(leaf.Cert, inter.Cert, root.Cert, reissued(t, "Root", root.Key.Public(), old), old.Cert), now,
			Matched, Mismatched, "no matching DANE TLSA records"},
		{diffAnchorDates, ta211(t, past.Cert), newLeaf(past).Chain(), now, Mismatched, Matched, ""},
		{diffNotAfter, ta211(t, inter.Cert), ending.Chain(), end, Matched, Mismatched, "certificate has expired"},
		{diffAnyEKU, ta211(t, inter.Cert), anyEKU.Chain(), now, Matched, Mismatched, "unsuitable certificate purpose"},
		{diffConstraints, ta211(t, bare.Cert), newLeaf(bare).Chain(), now, Mismatched, Matched, ""},
		{diffCommonName, ta211(t, named.Cert), named.Leaf(nil, testpki.CommonName(testHost)).Chain(), now, Mismatched, Matched, ""},
		{diffBareKey, record(t, 2, 1, 0, clients.Cert), newLeaf(clients).Chain(), now, Matched, Mismatched, "unsuitable certificate purpose"},
	} {
		ids := refIDs(t, testHost)
		require.Equal(t, tc.ours, verifier(t, Options{}, tc.record).Verify(tc.chain, ids, tc.at).Status, tc.what)
		theirs := libssl.ask(t, []Record{tc.record}, tc.chain, ids, tc.at)
		require.Equal(t, tc.theirs, theirs.status, tc.what)
		require.Equal(t, tc.words, theirs.words, tc.what)
	}
}
