package dane

import (
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// web returns certificates of n authorities for each other, each signed by every
// other one: a net in which there are more ways than anybody could follow. The
// leaf is below the first.
func web(t testing.TB, n int) []*x509.Certificate {
	var all []*testpki.Authority
	for i := range n {
		all = append(all, testpki.NewRoot(fmt.Sprint("CA ", i)))
	}
	chain := serial(newLeaf(all[0]).Cert)
	for _, subject := range all {
		for _, issuer := range all {
			if subject != issuer {
				chain = append(chain, reissued(t, subject.Cert.Subject.CommonName, subject.Key.Public(), issuer))
			}
		}
	}
	return chain
}

// A hostile chain ends in bounded work, and the bound is told.
func TestHostileChain(t *testing.T) {
	chain := web(t, 11) // 110 cross-certificates
	root := testpki.NewRoot("CA 0")
	for _, r := range []Record{
		ta211(t, root.Cert),
		record(t, 2, 0, 0, root.Cert),
		record(t, 2, 1, 0, root.Cert),
		record(t, 2, 1, 0, testpki.NewRoot("Elsewhere").Cert),
	} {
		mismatched(t, judge(t, Options{}, []Record{r}, append(chain, root.Cert)), ReasonLimit, r.String()[:5])
	}
	o := Options{Profile: ProfileGeneric, Roots: testpki.Pool(root)}
	mismatched(t, judge(t, o, []Record{record(t, 1, 1, 1, chain[0])}, chain), ReasonLimit, "usage 1")
	// An anchor in the net is found before that.
	require.Equal(t, Matched, judge(t, Options{}, []Record{ta211(t, chain[1])}, chain).Status)
}

func TestLongChain(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	junk := make([]*x509.Certificate, 0, maxChain)
	one := testpki.NewRoot("Junk").Cert
	for range maxChain {
		junk = append(junk, one)
	}
	records := []Record{ta211(t, root.Cert)}
	inside := append(append(serial(leaf.Cert), junk[:maxChain-2]...), root.Cert)
	require.Len(t, inside, maxChain)
	matched(t, judge(t, Options{}, records, inside), 0, 1, "the last one that counts")
	outside := append(append(serial(leaf.Cert), junk[:maxChain-1]...), root.Cert)
	mismatched(t, judge(t, Options{}, records, outside), ReasonLimit, "one more")
	matched(t, judge(t, Options{}, append(records, ee311(t, leaf.Cert)), outside), 1, 0, "usage 3 has no limit")
	matched(t, judge(t, Options{}, records, append(inside, junk...)), 0, 1, "found before the cut")
}

// A set of thousands of records is compiled and compared with one hash per
// certificate and digest.
func TestHugeSet(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	var records []Record
	for i := range 4000 {
		for _, r := range []Record{ee311(t, leaf.Cert), ta211(t, root.Cert)} {
			r.Data[0], r.Data[1] = r.Data[0]^1, r.Data[1]^byte(i)
			r.Data[2] ^= byte(i >> 8)
			records = append(records, r)
		}
	}
	mismatched(t, judge(t, Options{}, records, leaf.ChainWithRoot()), ReasonNoMatch, "none")
	matched(t, judge(t, Options{}, append(records, ta211(t, root.Cert)), leaf.ChainWithRoot()), 8000, 1, "the last")
}

func TestExplain(t *testing.T) {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf := newLeaf(inter)
	expired := reissued(t, "Intermediate", inter.Key.Public(), root, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	forged := testpki.NewRoot("Intermediate")
	chain := append(leaf.ChainWithRoot(), expired, forged.Cert)
	records := []Record{
		ee311(t, leaf.Cert),
		damaged(ee311(t, leaf.Cert)),
		ta211(t, root.Cert),
		record(t, 2, 0, 1, expired),
		record(t, 2, 0, 1, forged.Cert),
		ta211(t, testpki.NewRoot("Absent").Cert),
		record(t, 2, 1, 0, root.Cert),
		record(t, 1, 1, 1, leaf.Cert),
		{3, 1, 2, nil},
		record(t, 3, 0, 1, leaf.Cert),
		record(t, 3, 0, 2, leaf.Cert),
		ta211(t, root.Cert),
		{2, 0, 1, ta211(t, leaf.Cert).Data},
	}
	want := []Reason{
		ReasonNone, ReasonNoMatch, ReasonNone, ReasonExpired, ReasonBadSignature, ReasonNoMatch, ReasonNone,
		ReasonPKIXUsage, ReasonEmptyData, ReasonSuppressed, ReasonNone, ReasonNone, ReasonNoMatch,
	}
	v := verifier(t, Options{}, records...)
	require.Equal(t, want, reasons(v.Explain(chain, refIDs(t, testHost), now)))

	for i, r := range want { // with another name nothing but usage 3 is satisfied
		if r == ReasonNone && records[i].Usage != UsageDANEEE {
			want[i] = ReasonName
		}
	}
	require.Equal(t, want, reasons(v.Explain(chain, refIDs(t, "other.example"), now)))
	require.Equal(t, ReasonNoCertificate, verifier(t, Options{}, records[0]).Explain(nil, RefIDs{}, now)[0].Reason)
}

// What an explanation costs is bounded too.
func TestExplainLimit(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	chain := serial(leaf.Cert)
	var records []Record
	for range maxExplained + 4 {
		other := testpki.NewRoot("Root")
		chain = append(chain, other.Cert)
		records = append(records, ta211(t, other.Cert))
	}
	v := verifier(t, Options{}, records...)
	r := v.Verify(chain, refIDs(t, testHost), now)
	mismatched(t, r, ReasonBadSignature, "none of them signed")
	counts := map[Reason]int{}
	for _, status := range v.Explain(chain, refIDs(t, testHost), now) {
		counts[status.Reason]++
	}
	require.Equal(t, map[Reason]int{ReasonBadSignature: maxExplained, ReasonLimit: 4}, counts)
	consistent(t, v, r, chain, refIDs(t, testHost), now)
	matched(t, judge(t, Options{}, append(records, ta211(t, root.Cert)), append(chain, root.Cert)), maxExplained+4, 1, "a match is told all the same")
}
