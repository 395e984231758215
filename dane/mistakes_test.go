package dane

import (
	"context"
	"crypto/x509"
	"testing"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// Each test is a mistake that an implementation of DANE in use has made, or that
// is easily made.

func TestMistakeEmptyNameSkipsCheck(t *testing.T) {
	root := testpki.NewRoot("Root")
	r := judgeNames(t, Options{}, []Record{ta211(t, root.Cert)}, newLeaf(root).ChainWithRoot(), RefIDs{}, now)
	mismatched(t, r, ReasonNoReferenceID, "x509.VerifyOptions takes an empty DNSName for no check")
	_, err := NewRefIDs("")
	require.ErrorIs(t, err, ErrReferenceID)
}

func TestMistakeFailedLookupIsInsecure(t *testing.T) {
	for _, kind := range []dnssec.Kind{dnssec.KindServFail, dnssec.KindTimeout, dnssec.KindRefused, dnssec.KindNetwork,
		dnssec.KindMalformed, dnssec.KindLoop, dnssec.KindLimit, dnssec.KindUnusable, dnssec.KindBogus} {
		z := newZone()
		z.addr("mx.example.", secure)
		z.fail("_25._tcp.mx.example.", dnssec.TypeTLSA, kind)
		outcome := z.discover(SMTPQuery{Host: "mx.example"}).Outcome
		if kind == dnssec.KindBogus {
			require.Equal(t, OutcomeBogus, outcome)
		} else {
			require.Equal(t, OutcomeLookupError, outcome, "dropped packets must not switch DANE off: %s", kind)
		}
	}
}

func TestMistakeUnusableIsNoDANE(t *testing.T) {
	cert := testpki.SelfSigned([]string{testHost}).Cert
	v := verifier(t, Options{}, record(t, 1, 1, 1, cert))
	r := v.Verify(serial(cert), refIDs(t, testHost), now)
	require.Equal(t, Unusable, r.Status, "neither a failure nor nothing")
	require.ErrorIs(t, r.Err(), ErrUnusable)
	for _, none := range [][]Record{nil, {}} {
		_, err := NewVerifier(none, Options{})
		require.ErrorIs(t, err, ErrNoRecords, "and no records are something else again")
	}
}

func TestMistakeNoDigestAgility(t *testing.T) {
	cert, other := testpki.SelfSigned([]string{testHost}).Cert, testpki.SelfSigned([]string{testHost}).Cert
	strong := record(t, 3, 1, 2, other)
	mismatched(t, judge(t, Options{}, []Record{ee311(t, cert), strong}, serial(cert)), ReasonNoMatch, "the weaker digest was accepted")
	strong.Data = strong.Data[:63]
	matched(t, judge(t, Options{}, []Record{ee311(t, cert), strong}, serial(cert)), 0, 0, "an unusable record suppressed the weaker digest")
}

func TestMistakeLastCertificateIsTheAnchor(t *testing.T) {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf := newLeaf(inter)
	junk := testpki.NewRoot("Junk").Cert
	for _, chain := range [][]*x509.Certificate{
		serial(leaf.Cert, inter.Cert, root.Cert, junk), // not the last
		serial(leaf.Cert, root.Cert, inter.Cert),       // not in order
		serial(leaf.Cert, junk, root.Cert, inter.Cert), // junk first
	} {
		matched(t, judge(t, Options{}, []Record{ta211(t, root.Cert)}, chain), 0, 2, "trusted the order on the wire")
	}
}

func TestMistakeStopAtFirstMatch(t *testing.T) {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf := newLeaf(inter)
	// The first certificate with the published key leads nowhere, the second does.
	decoy := reissued(t, "Decoy", root.Key.Public(), testpki.NewRoot("Elsewhere"))
	matched(t, judge(t, Options{}, []Record{ta211(t, root.Cert)}, serial(leaf.Cert, decoy, inter.Cert, root.Cert)), 0, 2, "dropped what follows the first match")
}

func TestMistakeNoAnchorFromDNS(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 0, root.Cert)}, serial(leaf.Cert)), 0, 1, "2 0 0")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, root.Cert)}, serial(leaf.Cert)), 0, 0, "2 1 0")
}

func TestMistakeLeafIsItsOwnAnchor(t *testing.T) {
	leaf := testpki.SelfSigned([]string{testHost})
	for _, s := range []Selector{SelectorCert, SelectorSPKI} {
		mismatched(t, judge(t, Options{}, []Record{record(t, 2, s, 1, leaf.Cert)}, serial(leaf.Cert, leaf.Cert)), ReasonNoMatch, "put into the roots")
	}
	mismatched(t, judge(t, Options{}, []Record{record(t, 2, 0, 0, leaf.Cert)}, serial(leaf.Cert)), ReasonNoMatch, "put into the roots from DNS")
}

func TestMistakeNoBacktracking(t *testing.T) {
	old, root := testpki.NewRoot("Old"), testpki.NewRoot("Root")
	leaf := newLeaf(root)
	cross := reissued(t, "Root", root.Key.Public(), old)
	for _, chain := range [][]*x509.Certificate{serial(leaf.Cert, root.Cert, cross, old.Cert), serial(leaf.Cert, cross, root.Cert, old.Cert)} {
		matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 1, old.Cert)}, chain), 0, 2, "took the self-signed form and gave up")
	}
}

func TestMistakePublicRootsForDANE(t *testing.T) {
	root := testpki.NewRoot("Public")
	leaf := newLeaf(root)
	o := Options{Profile: ProfileGeneric, Roots: testpki.Pool(root)}
	mismatched(t, judge(t, o, []Record{ta211(t, testpki.NewRoot("Other").Cert)}, leaf.ChainWithRoot()), ReasonNoMatch, "usage 2 chained to the web PKI")
	smtp := Options{Roots: testpki.Pool(root)}
	require.Equal(t, Unusable, judge(t, smtp, []Record{record(t, 0, 1, 1, root.Cert)}, leaf.ChainWithRoot()).Status, "usage 0 honoured in SMTP")
	swapped := ee311(t, leaf.Cert)
	swapped.Selector = SelectorCert
	mismatched(t, judge(t, Options{}, []Record{swapped}, leaf.Chain()), ReasonNoMatch, "the selector was not looked at")
}

func TestMistakeNamesAndDatesForUsage3(t *testing.T) {
	expired := testpki.SelfSigned([]string{"other.example"}, testpki.Valid(now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0)),
		testpki.Template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))
	matched(t, judge(t, Options{}, []Record{ee311(t, expired.Cert)}, serial(expired.Cert)), 0, 0, "RFC 7671 section 5.1")
}

func TestMistakeLooseNames(t *testing.T) {
	root := testpki.NewRoot("Root")
	partial := root.Leaf([]string{"m*.example.com"})
	mismatched(t, judge(t, Options{}, []Record{ta211(t, root.Cert)}, partial.ChainWithRoot()), ReasonName, "partial wildcard")
	_, err := NewRefIDs(".example.com")
	require.ErrorIs(t, err, ErrReferenceID, "leading dot: any host below")
}

func TestMistakeInsecureMX(t *testing.T) {
	z := newZone()
	z.addr("mx.evil.example.", secure)
	z.tlsa("mx.evil.example.", secure, usableRDATA)
	host := z.discover(SMTPQuery{Host: "mx.evil.example", MX: mx("example.com.", insecure)})
	require.Equal(t, OutcomeInsecure, host.Outcome, "a forged MX host with DANE of its own must not take MTA-STS's place")
	require.Nil(t, host.Verifier)
}

func TestMistakeTLSABelowInsecureAddresses(t *testing.T) {
	z := newZone()
	z.addr("mx.example.", insecure)
	z.fail("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.KindServFail)
	require.Equal(t, OutcomeInsecure, z.discover(SMTPQuery{Host: "mx.example"}).Outcome, "a broken server in an unsigned zone blocked mail")
	require.Empty(t, z.tlsaAsked())

	z = newZone()
	z.addr("mx.example.", secure)
	z.fail("mx.example.", dnssec.TypeAAAA, dnssec.KindServFail)
	require.Equal(t, OutcomeNoTLSA, z.discover(SMTPQuery{Host: "mx.example"}).Outcome, "one failed address family failed the host")

	require.Equal(t, OutcomeNoAddress, newZone().discover(SMTPQuery{Host: "gone.example"}).Outcome, "a host without address deferred the domain")
}

func TestMistakeBaseIsNoReferenceName(t *testing.T) {
	z := newZone()
	z.addr("mx.example.", insecure, alias("mx.example.", "hop.example.", secure), alias("hop.example.", "end.example.", insecure))
	z.tlsa("mx.example.", secure, usableRDATA)
	host := z.discover(SMTPQuery{Host: "mx.example", MX: mx("example.com.", secure)})
	require.Equal(t, []string{"mx.example", "example.com"}, host.RefIDs.Names(), "lost with a secure-insecure-secure chain")
}

func TestMistakeFixedPort(t *testing.T) {
	z := newZone()
	z.addr("mx.example.", secure)
	z.tlsa("mx.example.", secure, usableRDATA)
	require.Equal(t, OutcomeNoTLSA, z.discover(SMTPQuery{Host: "mx.example", Port: 2525}).Outcome, "records of port 25 for port 2525")
	_, err := OwnerName(25, "tcp4", "mx.example")
	require.Error(t, err)
}

func TestMistakeSortingInPlace(t *testing.T) {
	cert := testpki.SelfSigned([]string{testHost}).Cert
	records := []Record{ee311(t, cert), {9, 9, 9, nil}, ta211(t, cert)}
	want := []Record{records[0], records[1], records[2]}
	_ = verifier(t, Options{}, records...)
	_ = Union(records)
	_ = Advise(records, serial(cert))
	require.Equal(t, want, records, "others share what a resolver returned")
}

func TestMistakeLostCauses(t *testing.T) {
	z := newZone()
	z.addr("mx.example.", secure)
	z.fail("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.KindTimeout)
	err := z.discover(SMTPQuery{Host: "mx.example"}).Err
	var cause *dnssec.Error
	require.ErrorAs(t, err, &cause)
	require.Equal(t, dnssec.KindTimeout, cause.Kind)
	require.ErrorIs(t, err, dnssec.KindTimeout)
}

func TestMistakePanics(t *testing.T) {
	ids := refIDs(t, testHost)
	cert := testpki.SelfSigned([]string{testHost}).Cert
	var records []Record
	for v := range 256 {
		for _, data := range [][]byte{nil, {1}, make([]byte, 32), make([]byte, 64), cert.Raw, cert.RawSubjectPublicKeyInfo} {
			records = append(records, Record{Usage(v), Selector(v), MatchingType(v), data}, Record{Usage(v % 4), Selector(v % 3), MatchingType(v / 64), data})
		}
	}
	o := Options{Profile: ProfileGeneric, Roots: x509.NewCertPool(), Cache: NewChainCache(0, 0)}
	v := verifier(t, o, records...)
	for _, chain := range [][]*x509.Certificate{nil, {}, {nil}, {cert}, {cert, nil}, {{Raw: []byte{1}}}, {cert, {Raw: []byte{1}}}, {{}, cert}} {
		r := v.Verify(chain, ids, now)
		require.Len(t, v.Explain(chain, ids, now), len(records))
		_ = r.Err()
		_ = Advise(records, chain)
	}
}

func TestMistakeNilRoots(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	o := Options{Profile: ProfileGeneric}
	mismatched(t, judge(t, o, []Record{record(t, 1, 1, 1, leaf.Cert)}, leaf.ChainWithRoot()), ReasonNoRoots, "nil means the roots of the system to crypto/x509")
	require.NotEqual(t, Matched, Result{}.Status)
	require.NotEqual(t, OutcomeUsable, SMTPHost{}.Outcome)
	require.NotEqual(t, OutcomeInsecure, SMTPHost{}.Outcome)
}

func TestMistakeUntrustedAD(t *testing.T) {
	z := newZone()
	z.addr("mx.example.", untrusted)
	z.tlsa("mx.example.", untrusted, usableRDATA)
	host := DiscoverHost(context.Background(), z, SMTPQuery{Host: "mx.example"})
	require.Equal(t, OutcomeInsecure, host.Outcome)
	require.Equal(t, ReasonResolverUntrusted, host.Reason, "and its operator is told")
}
