package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// naive is a second, simple implementation of usages 2 and 3 in SMTP, without
// bounds, caches, groups or crypto/x509's path building. It tries every way. It
// returns the status, and for a match the usage and the least depth.
func naive(records []Record, chain []*x509.Certificate, host string, at time.Time) (Status, Usage, int) {
	var usable []Record
	for _, r := range records {
		known := (r.Usage == 2 || r.Usage == 3) && r.Selector <= 1 && r.MatchingType <= 2
		length := map[MatchingType]int{1: 32, 2: 64}[r.MatchingType]
		if known && len(r.Data) > 0 && (length == 0 && r.Check(ProfileSMTP) == ReasonNone || length == len(r.Data)) {
			usable = append(usable, r)
		}
	}
	if len(usable) == 0 {
		return Unusable, 0, -1
	}
	var active []Record
	for _, r := range usable {
		if r.MatchingType == 1 && slices.ContainsFunc(usable, func(o Record) bool {
			return o.Usage == r.Usage && o.Selector == r.Selector && o.MatchingType == 2
		}) {
			continue
		}
		active = append(active, r)
	}
	names := func(cert *x509.Certificate, usage Usage) bool {
		return slices.ContainsFunc(active, func(r Record) bool {
			part := cert.Raw
			if r.Selector == 1 {
				part = cert.RawSubjectPublicKeyInfo
			}
			s256, s512 := sha256.Sum256(part), sha512.Sum512(part)
			return r.Usage == usage && bytes.Equal(r.Data, [][]byte{part, s256[:], s512[:]}[r.MatchingType])
		})
	}
	if len(chain) == 0 {
		return Mismatched, 0, -1
	}
	leaf := chain[0]
	if names(leaf, 3) {
		return Matched, 3, 0
	}
	uses := x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
	hasUse := slices.ContainsFunc(leaf.Extensions, func(e pkix.Extension) bool { return e.Id.String() == "2.5.29.15" })
	named := leaf.VerifyHostname(host) == nil || len(leaf.DNSNames) == 0 && leaf.Subject.CommonName == host
	if !named || hasUse && leaf.KeyUsage&uses == 0 {
		return Mismatched, 0, -1
	}
	pool := slices.Clone(chain[1:])
	for _, r := range active {
		if r.Usage == 2 && r.Selector == 0 && r.MatchingType == 0 {
			if cert, err := x509.ParseCertificate(r.Data); err == nil {
				pool = append(pool, cert)
			}
		}
	}
	pool = slices.DeleteFunc(pool, func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, leaf.Raw) })
	inTime := func(c *x509.Certificate) bool { return !at.Before(c.NotBefore) && !at.After(c.NotAfter) }
	forServers := func(c *x509.Certificate) bool {
		return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
			slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
	}
	anchor, bare := -1, -1
	var climb func(way []*x509.Certificate)
	climb = func(way []*x509.Certificate) {
		top, depth := way[len(way)-1], len(way)-1
		if len(top.UnhandledCriticalExtensions) > 0 || !inTime(top) || !forServers(top) || depth > 0 && (!top.IsCA || depth-1 > top.MaxPathLen && top.MaxPathLen >= 0) {
			return
		}
		if depth > 0 && names(top, 2) && (anchor < 0 || depth < anchor) {
			anchor = depth
		}
		for _, r := range active {
			if r.Usage == 2 && r.Selector == 1 && r.MatchingType == 0 {
				key, _ := x509.ParsePKIXPublicKey(r.Data)
				signer := x509.Certificate{PublicKey: key}
				if signer.CheckSignature(top.SignatureAlgorithm, top.RawTBSCertificate, top.Signature) == nil && (bare < 0 || depth < bare) {
					bare = depth
				}
			}
		}
		for _, next := range pool {
			again := slices.ContainsFunc(way, func(c *x509.Certificate) bool {
				return bytes.Equal(c.RawSubject, next.RawSubject) && bytes.Equal(c.RawSubjectPublicKeyInfo, next.RawSubjectPublicKeyInfo)
			})
			if !again && bytes.Equal(next.RawSubject, top.RawIssuer) && top.CheckSignatureFrom(next) == nil {
				climb(append(slices.Clone(way), next))
			}
		}
	}
	climb(serial(leaf))
	switch {
	case anchor >= 0:
		return Matched, 2, anchor
	case bare >= 0:
		return Matched, 2, bare
	}
	return Mismatched, 0, -1
}

// fuzzPKI is a small world with everything that can go wrong in it.
var fuzzPKI = sync.OnceValue(func() []*x509.Certificate {
	t := &panicking{}
	old, root := testpki.NewRoot("Old"), testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	lower := inter.Intermediate("Lower", testpki.Template(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }))
	tight := root.Intermediate("Tight", testpki.Template(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }))
	belowTight := tight.Intermediate("Below tight")
	noCA := root.Intermediate("No CA", testpki.Template(func(c *x509.Certificate) { c.IsCA = false }))
	clients := root.Intermediate("Clients", testpki.Template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))
	past := testpki.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour))
	selfSigned := testpki.SelfSigned([]string{testHost})
	certs := serial(
		// The first eight can be leaves.
		newLeaf(inter).Cert, newLeaf(lower).Cert, newLeaf(root, past).Cert, selfSigned.Cert, newLeaf(belowTight).Cert,
		newLeaf(noCA).Cert, newLeaf(clients).Cert, root.Leaf([]string{"other.example"}).Cert,
		root.Cert, old.Cert, inter.Cert, lower.Cert, tight.Cert, belowTight.Cert, noCA.Cert, clients.Cert,
		reissued(t, "Root", root.Key.Public(), old), reissued(t, "Old", old.Key.Public(), root),
		reissued(t, "Intermediate", inter.Key.Public(), root, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }),
		reissued(t, "Intermediate", inter.Key.Public(), old), testpki.NewRoot("Intermediate").Cert, testpki.NewRoot("Root").Cert,
	)
	return certs
})

// panicking is a testing.TB for what is made once for all runs.
type panicking struct{ testing.TB }

func (*panicking) Helper()                        {}
func (*panicking) Errorf(format string, _ ...any) { panic(format) }
func (*panicking) FailNow()                       { panic("fuzzPKI") }

const fuzzLeaves = 8

// fuzzCase turns octets into records and a chain. The first counts.
func fuzzCase(t testing.TB, choices []byte) (records []Record, chain []*x509.Certificate) {
	certs := fuzzPKI()
	next := func(n int) int {
		if len(choices) == 0 {
			return 0
		}
		c := int(choices[0]) % n
		choices = choices[1:]
		return c
	}
	nRecords, nCerts := 1+next(5), next(8)
	for range nRecords {
		cert := certs[next(len(certs))]
		usage := [...]Usage{2, 3, 2, 2, 0, 1, 4, 255}[next(8)]
		r := record(t, usage%4, Selector(next(2)), MatchingType(next(3)), cert)
		r.Usage = usage
		switch next(16) {
		case 1:
			r.Data = r.Data[:len(r.Data)-1]
		case 2:
			r.Data[next(len(r.Data))] ^= 1 << next(8)
		case 3:
			r.MatchingType = MatchingType(next(256))
		case 4:
			r.Selector = Selector(next(256))
		}
		records = append(records, r)
	}
	chain = append(chain, certs[next(fuzzLeaves)])
	for range nCerts {
		chain = append(chain, certs[next(len(certs))])
	}
	for range next(4) { // a bit of one certificate turned over, if it still is one then
		i := next(len(chain))
		raw := bytes.Clone(chain[i].Raw)
		raw[(next(256)<<8|next(256))%len(raw)] ^= 1 << next(8)
		if cert, err := x509.ParseCertificate(raw); err == nil {
			chain[i] = cert
		}
	}
	return records, chain
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte{0, 2, 8, 0, 1, 1, 0, 0, 10, 8})
	f.Add([]byte{1, 3, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 11, 10})
	f.Add([]byte{4, 7, 9, 0, 0, 0, 0, 17, 2, 1, 2, 0, 1, 1, 1, 1, 2, 10, 16, 17, 18, 19, 20})
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		b := make([]byte, 48)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		records, chain := fuzzCase(t, choices)
		ids := refIDs(t, testHost)
		got := judge(t, Options{}, records, chain)

		status, usage, depth := naive(records, chain, testHost, now)
		require.Equal(t, status, got.Status, "%v", records)
		require.Equal(t, depth, got.Depth, "%v", records)
		if status == Matched {
			require.Equal(t, usage, got.Record.Usage)
		}

		// The order of records, and of certificates behind the first, means nothing.
		shuffledRecords, shuffledChain := slices.Clone(records), slices.Clone(chain)
		rand.Shuffle(len(records), func(i, j int) {
			shuffledRecords[i], shuffledRecords[j] = shuffledRecords[j], shuffledRecords[i]
		})
		rand.Shuffle(len(chain)-1, func(i, j int) {
			shuffledChain[i+1], shuffledChain[j+1] = shuffledChain[j+1], shuffledChain[i+1]
		})
		shuffled := verifier(t, Options{}, shuffledRecords...).Verify(shuffledChain, ids, now)
		require.Equal(t, got.Status, shuffled.Status)
		require.Equal(t, got.Depth, shuffled.Depth)
		require.True(t, got.Record.Equal(shuffled.Record))

		// A record that cannot be used changes nothing.
		more := append(slices.Clone(records), Record{7, 1, 1, make([]byte, 32)}, Record{3, 1, 2, make([]byte, 63)})
		sameVerdict(t, got, verifier(t, Options{}, more...).Verify(chain, ids, now))
		// Nor do certificates that have nothing to do with the leaf.
		sameVerdict(t, got, verifier(t, Options{}, records...).Verify(append(slices.Clone(chain), nil, junkCert(), &x509.Certificate{}), ids, now))
		// Fewer names never make a match of a mismatch, other names neither.
		if r := verifier(t, Options{}, records...).Verify(chain, RefIDs{}, now); r.Status == Matched {
			require.Equal(t, UsageDANEEE, r.Record.Usage)
			sameResult(t, got, r, "usage 3 knows no names")
		}

		if got.Status == Matched && got.Record.Usage == UsageDANEEE {
			// Any change of the compared octets undoes the match.
			only := verifier(t, Options{}, got.Record)
			changed := *chain[0]
			changed.Raw, changed.RawSubjectPublicKeyInfo = bytes.Clone(changed.Raw), bytes.Clone(changed.RawSubjectPublicKeyInfo)
			part := changed.Raw
			if got.Record.Selector == SelectorSPKI {
				part = changed.RawSubjectPublicKeyInfo
			}
			part[rand.IntN(len(part))] ^= 1 << rand.IntN(8)
			require.Equal(t, Mismatched, only.Verify(serial(&changed), ids, now).Status)
		}
		var pkix []Record
		for _, r := range records {
			r.Usage %= 2
			pkix = append(pkix, r)
		}
		require.Equal(t, Unusable, verifier(t, Options{}, pkix...).Verify(chain, ids, now).Status)
	})
}

func sameVerdict(t testing.TB, want, got Result) {
	t.Helper()
	require.Equal(t, want.Status, got.Status)
	require.Equal(t, want.Depth, got.Depth)
	require.Equal(t, want.Index, got.Index)
	require.Equal(t, want.Name, got.Name)
}

var junkCert = sync.OnceValue(func() *x509.Certificate { return testpki.NewRoot("Junk").Cert })
