package dnssec

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

func servers(list ...string) []netip.AddrPort {
	addrs := []netip.AddrPort{}
	for _, s := range list {
		addrs = append(addrs, netip.MustParseAddrPort(s))
	}
	return addrs
}

// Verdicts written down by hand from the RFCs; the tree is not asked.
func TestValidatorByHand(t *testing.T) {
	tree, _ := sampleTree(t)
	v := newTestValidator(t, tree, nil, serve(t, tree, dnstest.PassThrough).Addr())
	for _, tt := range []struct {
		name      string
		typ       Type
		want      string // security, or the Kind
		outcome   Outcome
		canonical string // "" = name
		optOut    bool
		why       string
	}{
		{"mx.nsec.com.", TypeA, "secure", Found, "", false, "signed data"},
		{"_25._tcp.mx.nsec3.com.", TypeTLSA, "secure", Found, "", false, "signed data"},
		{"mx.nsec.com.", TypeTLSA, "secure", NoData, "", false, "RFC 4035 section 5.4"},
		{"absent.nsec.com.", TypeTLSA, "secure", NXDomain, "", false, "RFC 4035 section 5.4"},
		{"absent.nsec3.com.", TypeTLSA, "secure", NXDomain, "", false, "RFC 5155 section 8.4"},
		{"ent.nsec.com.", TypeA, "secure", NoData, "", false, "an empty non-terminal"},
		{"ent.nsec3.com.", TypeA, "secure", NoData, "", false, "an empty non-terminal"},
		{"a.b.w.nsec.com.", TypeA, "secure", Found, "", false, "a wildcard, RFC 4035 section 5.3.4"},
		{"a.b.w.nsec3.com.", TypeTLSA, "secure", NoData, "", false, "a wildcard without the type, RFC 5155 section 8.7"},
		{"mx.unsigned.com.", TypeA, "insecure", Found, "", false, "no DS, RFC 4035 section 5.2"},
		{"absent.unsigned.com.", TypeA, "insecure", NXDomain, "", false, "no DS"},
		{"mx.unsigned.net.", TypeTLSA, "insecure", NoData, "", false, "no DS, proven with NSEC3"},
		{"mx.unsigned.org.", TypeA, "insecure", Found, "", false, "below an opt-out span, RFC 5155 section 8.9"},
		{"mx.island.com.", TypeA, "insecure", Found, "", false, "signed, but no DS"},
		{"mx.child.unsigned.com.", TypeA, "insecure", Found, "", false, "nothing below an insecure zone is secure"},
		{"absent.org.", TypeA, "insecure", NXDomain, "", true, "an opt-out span, RFC 5155 section 9.2"},
		{"host.org.", TypeTLSA, "secure", NoData, "", false, "a record that matches, its opt-out flag means nothing"},
		{"mx.nsec.org.", TypeA, "secure", Found, "", false, "a signed delegation in a zone with opt-out"},
		{"mx.alg253.com.", TypeA, "insecure", Found, "", false, "an algorithm that nobody knows, RFC 4035 section 5.2"},
		{"mx.alg16.com.", TypeA, "insecure", Found, "", false, "Ed448"},
		{"mx.alg7.com.", TypeA, "insecure", Found, "", false, "SHA-1"},
		{"mx.digest99.com.", TypeA, "insecure", Found, "", false, "a digest that nobody knows"},
		{"mx.digests.com.", TypeA, "secure", Found, "", false, "one known digest is enough"},
		{"absent.iter100.com.", TypeA, "secure", NXDomain, "", false, "RFC 9276 section 3.2"},
		{"absent.iter400.com.", TypeA, "insecure", NXDomain, "", false, "RFC 9276 section 3.2"},
		{"absent.iter501.com.", TypeA, bogusly, 0, "", false, "RFC 9276 section 3.2"},
		{"mx.iter501.com.", TypeA, "secure", Found, "", false, "data needs no hash"},
		{"mx.expired.com.", TypeA, bogusly, 0, "", false, "RFC 4035 section 5.3.1"},
		{"mx.notyet.com.", TypeA, bogusly, 0, "", false, "RFC 4035 section 5.3.1"},
		{"mx.badsig.com.", TypeA, bogusly, 0, "", false, "RFC 4035 section 5.3.3"},
		{"mx.nosig.com.", TypeA, bogusly, 0, "", false, "a DS, but no signature"},
		{"mx.wrongds.com.", TypeA, bogusly, 0, "", false, "a DS, but no such key"},
		{"mx.nokeys.com.", TypeA, bogusly, 0, "", false, "a DS, but no key"},
		{"mx.nodenial.com.", TypeTLSA, bogusly, 0, "", false, "no proof"},
		{"mx.nodenial.com.", TypeA, "secure", Found, "", false, "data needs no proof"},
		{"alias2.nsec.com.", TypeA, "secure", Found, "mx.nsec.com.", false, "two aliases"},
		{"toabsent.nsec.com.", TypeA, "secure", NXDomain, "absent.nsec.com.", false, "RFC 6604 section 3"},
		{"x.dn.nsec3.com.", TypeA, "secure", Found, "x.ent2.nsec3.com.", false, "RFC 6672 section 5.3.1"},
		{"any.cw.nsec.com.", TypeA, "secure", Found, "mx.nsec.com.", false, "an alias from a wildcard"},
		{"i.alias.com.", TypeA, "insecure", Found, "mx.unsigned.com.", false, "secure alias, insecure target"},
		{"s.ualias.com.", TypeA, "insecure", Found, "mx.nsec.com.", false, "insecure alias, secure target"},
		{"b.ualias.com.", TypeA, bogusly, 0, "", false, "insecure alias, bogus target: nothing is excused"},
		{"b.alias.com.", TypeA, bogusly, 0, "", false, "secure alias, bogus target"},
		{"i.balias.com.", TypeA, bogusly, 0, "", false, "bogus alias, insecure target"},
		{"u-s.hops.net.", TypeA, "insecure", Found, "mx.nsec.com.", false, "secure, insecure, secure"},
		{"loop1.nsec.com.", TypeA, "alias loop", 0, "", false, ""},
		{".", TypeDNSKEY, "secure", Found, "", false, "the anchor"},
		{".", TypeDS, "secure", NoData, "", false, "the root has no DS"},
		{"nsec.com.", TypeDS, "secure", Found, "", false, "signed by the parent"},
		{"unsigned.com.", TypeDS, "secure", NoData, "", false, "the proof of the insecure delegation is itself secure"},
		{"expired.com.", TypeDS, "secure", Found, "", false, "the parent is in order"},
	} {
		a, err := ask(v, tt.name, tt.typ)
		require.Equal(t, tt.want, judged(a, err), "%s %s: %s (%v)", tt.name, tt.typ, tt.why, err)
		if err != nil {
			continue
		}
		require.Equal(t, tt.outcome, a.Outcome, "%s %s: %s", tt.name, tt.typ, tt.why)
		require.Equal(t, tt.optOut, a.OptOut, "%s %s: %s", tt.name, tt.typ, tt.why)
		if tt.canonical == "" {
			tt.canonical = tt.name
		}
		require.Equal(t, tt.canonical, a.Canonical, "%s %s: %s", tt.name, tt.typ, tt.why)
		require.Equal(t, SourceValidated, a.Source)
		require.Equal(t, a.Outcome == Found, len(a.Records) > 0)
	}
	a, err := ask(v, "i.alias.com.", TypeA)
	require.NoError(t, err)
	require.Equal(t, Secure, a.Chain[0].Security, "each step by itself, RFC 7672 section 2.2.2")
	require.Equal(t, Insecure, a.Final)
	a, err = ask(v, "s.ualias.com.", TypeA)
	require.NoError(t, err)
	require.Equal(t, Insecure, a.Chain[0].Security)
	require.Equal(t, Secure, a.Final)
	_, err = ask(v, "a..b", TypeA)
	require.ErrorIs(t, err, KindBadName)
}

func TestAllowSHA1(t *testing.T) {
	tree, _ := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	v := newTestValidator(t, tree, func(o *ValidatorOptions) { o.AllowSHA1 = true }, server.Addr())
	for _, name := range []string{"mx.alg7.com.", "mx.digest1.com.", "absent.alg7.com."} {
		a, err := ask(v, name, TypeA)
		require.NoError(t, err)
		require.Equal(t, Secure, a.Security, name)
	}
}

// A digest made with SHA-1 does not count where there is a better one (RFC 4509 section 3).
func TestSHA1DigestBesideSHA2(t *testing.T) {
	key := newKeyPair(t, "zone.com.", 13, dnstest.FlagZone|dnstest.FlagSEP, 0)
	tree := dnstest.NewTree(dnstest.Options{})
	com := tree.Zone("com.", dnstest.ZoneOptions{})
	tree.Zone("zone.com.", dnstest.ZoneOptions{Keys: []*dnstest.Key{key}}, "mx A 127.0.0.1")
	stale := newKeyPair(t, "zone.com.", 13, dnstest.FlagZone|dnstest.FlagSEP, 0)
	com.AddRR(key.DS(dns.SHA1), stale.DS(dns.SHA256))
	require.NoError(t, tree.Sign())
	v := newTestValidator(t, tree, func(o *ValidatorOptions) { o.AllowSHA1 = true }, serve(t, tree, dnstest.PassThrough).Addr())
	_, err := ask(v, "mx.zone.com.", TypeA)
	require.ErrorIs(t, err, KindBogus)
}

func TestAnchorsOfOtherZones(t *testing.T) {
	tree, _ := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	file := filepath.Join(t.TempDir(), "anchors")
	require.NoError(t, os.WriteFile(file, []byte("; private\n"+tree.Anchor("nsec.com.")), 0o600))
	only := newTestValidator(t, tree, func(o *ValidatorOptions) { o.Anchors, o.AnchorFile = nil, file }, server.Addr())
	require.NoError(t, only.Check(t0))
	for name, want := range map[string]string{
		"mx.nsec.com.": "secure", "absent.nsec.com.": "secure", "mx.child.nsec.com.": "secure",
		"mx.nsec3.com.": "indeterminate", "absent.com.": "indeterminate", "nsec.com.": "secure", "s.alias.com.": "indeterminate",
	} {
		a, err := ask(only, name, TypeA)
		require.Equal(t, want, judged(a, err), "%s: %v", name, err)
	}
	a, err := ask(only, "nsec.com.", TypeDS)
	require.Equal(t, "indeterminate", judged(a, err), "DS records are the parent's")

	anchors := RootAnchors() // none that fits
	wrong := newTestValidator(t, tree, func(o *ValidatorOptions) { o.Anchors = anchors }, server.Addr())
	_, err = ask(wrong, "mx.unsigned.com.", TypeA)
	require.ErrorIs(t, err, KindBogus)
	require.ErrorIs(t, wrong.Check(t0), KindBogus)

	stale := newTestValidator(t, tree, func(o *ValidatorOptions) { o.Anchors = append(RootAnchors(), o.Anchors...) }, server.Addr())
	a, err = ask(stale, "mx.nsec.com.", TypeA)
	require.Equal(t, "secure", judged(a, err), "one anchor that fits is enough")
}

func TestInsecureZones(t *testing.T) {
	tree, _ := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	v := newTestValidator(t, tree, func(o *ValidatorOptions) { o.InsecureZones = []string{"Expired.com", "private."} }, server.Addr())
	for _, tt := range []struct {
		name string
		typ  Type
		want string
	}{
		{"mx.expired.com.", TypeA, "insecure"},
		{"absent.expired.com.", TypeA, "insecure"},
		{"mx.child.expired.com.", TypeA, "insecure"},
		{"host.private.", TypeA, "insecure"},
		{"expired.com.", TypeDS, "secure"},
		{"mx.nsec.com.", TypeA, "secure"},
		{"mx.notyet.com.", TypeA, bogusly},
		{"b.alias.com.", TypeA, "insecure"},
	} {
		a, err := ask(v, tt.name, tt.typ)
		require.Equal(t, tt.want, judged(a, err), "%s: %v", tt.name, err)
	}
}

// Each limit that is set lower is hit by a lookup that is otherwise fine, and the error says so.
func TestLimits(t *testing.T) {
	tree, _ := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	for _, tt := range []struct {
		l    Limits
		name string
		typ  Type
		want Kind
	}{
		{Limits{Aliases: 1}, "alias2.nsec.com.", TypeA, KindLoop},
		{Limits{Queries: 3}, "mx.nsec.com.", TypeA, KindLimit},
		{Limits{DSSteps: 1}, "mx.nsec.com.", TypeA, KindLimit},
		{Limits{Verifications: 3}, "mx.nsec.com.", TypeA, KindLimit},
		{Limits{Hashes: 2}, "absent.nsec3.com.", TypeA, KindLimit},
		{Limits{MessageHashes: 2}, "absent.nsec3.com.", TypeA, KindLimit},
		{Limits{NSEC3Records: 1}, "absent.nsec3.com.", TypeA, KindLimit},
		{Limits{DNSKEYs: 1}, "mx.split.com.", TypeA, KindLimit},
		{Limits{DSRecords: 1}, "mx.digests.com.", TypeA, KindLimit},
		{Limits{FailedVerifications: 1, Verifications: 100}, "mx.badsig.com.", TypeA, KindBogus},
	} {
		v := newTestValidator(t, tree, func(o *ValidatorOptions) { o.Limits = tt.l }, server.Addr())
		_, err := ask(v, tt.name, tt.typ)
		require.ErrorIs(t, err, tt.want, "%+v", tt.l)
	}
}
