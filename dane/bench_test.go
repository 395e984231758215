package dane

import (
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// The benchmarks of one table are compared within one run: the bare work of
// crypto/sha256 and crypto/x509 on the same octets stands beside ours.

type benchmarkPKI struct {
	chain []*x509.Certificate // leaf, intermediate, root
	ids   RefIDs
	now   time.Time
	roots *x509.CertPool
}

func newBenchmarkPKI(t testing.TB) benchmarkPKI {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf := inter.Leaf([]string{"mx.example.com"})
	return benchmarkPKI{leaf.ChainWithRoot(), refIDs(t, testHost, "example.com"), now, testpki.Pool(root)}
}

func damaged(r Record) Record {
	r.Data = append([]byte(nil), r.Data...)
	r.Data[0] ^= 1
	return r
}

func BenchmarkVerify(b *testing.B) {
	p := newBenchmarkPKI(b)
	other := testpki.SelfSigned([]string{"other.example"}).Cert
	leaf, issuer, root := p.chain[0], p.chain[1], p.chain[2]
	ee := record(b, UsageDANEEE, SelectorSPKI, MatchingSHA256, leaf)
	ta := record(b, UsageDANETA, SelectorSPKI, MatchingSHA256, root)
	many := []Record{ee}
	for i := range 63 {
		r := damaged(ee)
		r.Data[1] = byte(i)
		many = append(many, r)
	}
	verify := func(name string, want Status, o Options, records ...Record) {
		v := verifier(b, o, records...)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r := v.Verify(p.chain, p.ids, p.now); r.Status != want {
					b.Fatal(r)
				}
			}
		})
	}
	b.Run("311/base-sha256-of-key", func(b *testing.B) {
		for b.Loop() {
			sink32 = sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		}
	})
	verify("311/match", Matched, Options{}, ee)
	verify("311/mismatch", Mismatched, Options{}, damaged(ee))
	verify("311/second-of-two", Matched, Options{}, damaged(ee), ee)
	verify("311/64-records", Matched, Options{}, many...)
	verify("310/match", Matched, Options{}, record(b, UsageDANEEE, SelectorSPKI, MatchingFull, leaf))
	b.Run("211/base-sha256-of-two-keys", func(b *testing.B) {
		for b.Loop() {
			sink32 = sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
			sink32 = sha256.Sum256(root.RawSubjectPublicKeyInfo)
		}
	})
	verify("211/nothing-matches", Mismatched, Options{}, record(b, UsageDANETA, SelectorSPKI, MatchingSHA256, other))
	b.Run("211/base-x509-path", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			roots, links := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(root)
			links.AddCert(issuer)
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: links, CurrentTime: p.now}); err != nil {
				b.Fatal(err)
			}
		}
	})
	verify("211/first", Matched, Options{}, ta)
	b.Run("211/base-sha256-of-chain", func(b *testing.B) {
		for b.Loop() {
			sink32 = wholeChain(p.chain)
		}
	})
	verify("211/again", Matched, Options{Cache: NewChainCache(0, 0)}, ta)
}

var sink32 [32]byte // keeps the compiler from leaving the work out

// wholeChain hashes the octets of a chain.
func wholeChain(chain []*x509.Certificate) (sum [32]byte) {
	h := sha256.New()
	for _, c := range chain {
		h.Write(c.Raw)
	}
	h.Sum(sum[:0])
	return sum
}

func BenchmarkParse(b *testing.B) {
	p := newBenchmarkPKI(b)
	made := ee311(b, p.chain[0])
	text, wire := []byte(made.String()), made.AppendWire(nil)
	var r Record
	b.Run("text", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := r.UnmarshalText(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("wire", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := r.UnmarshalBinary(wire); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r.Check(ProfileSMTP) != ReasonNone {
				b.Fatal(r)
			}
		}
	})
	b.Run("names", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if matchName(p.chain[0], p.ids, true) == "" {
				b.Fatal(p.ids)
			}
		}
	})
}
