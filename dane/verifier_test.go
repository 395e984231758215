package dane

import (
	"crypto/x509"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestNewVerifier(t *testing.T) {
	for _, none := range [][]Record{nil, {}} {
		v, err := NewVerifier(none, Options{})
		require.ErrorIs(t, err, ErrNoRecords, "nil and empty mean the same")
		require.Nil(t, v)
	}
	cert := testpki.SelfSigned([]string{testHost}).Cert
	records := []Record{ee311(t, cert), {9, 9, 9, nil}, ee311(t, cert)}
	before := make([]Record, len(records))
	for i, r := range records {
		before[i] = Record{r.Usage, r.Selector, r.MatchingType, slices.Clone(r.Data)}
	}
	v := verifier(t, Options{}, records...)
	require.Equal(t, before, records, "not sorted or filtered in place: a resolver shares it")
	require.Equal(t, 2, v.Usable())
	require.Equal(t, []Reason{ReasonNone, ReasonUnknownUsage, ReasonNone}, reasons(v.Records()))

	records[0].Data[0] ^= 1
	matched(t, v.Verify(serial(cert), RefIDs{}, now), 0, 0, "the Verifier has its own copy")
	list := v.Records()
	list[0].Reason = ReasonBadData
	require.Equal(t, ReasonNone, v.Records()[0].Reason)
}

func reasons(list []RecordStatus) []Reason {
	var out []Reason
	for _, s := range list {
		out = append(out, s.Reason)
	}
	return out
}

func TestCheck(t *testing.T) {
	cert := testpki.SelfSigned([]string{testHost}).Cert
	curve := unknownCurveSPKI()
	for _, tc := range []struct {
		why           string
		record        Record
		smtp, generic Reason
	}{
		{"DANE-EE", record(t, 3, 1, 1, cert), ReasonNone, ReasonNone},
		{"DANE-TA", record(t, 2, 0, 2, cert), ReasonNone, ReasonNone},
		{"PKIX-EE", record(t, 1, 1, 1, cert), ReasonPKIXUsage, ReasonNone}, // RFC 7672 section 3.1.3
		{"PKIX-TA", record(t, 0, 1, 1, cert), ReasonPKIXUsage, ReasonNone},
		{"usage 4", Record{4, 1, 1, make([]byte, 32)}, ReasonUnknownUsage, ReasonUnknownUsage},
		{"PrivCert", Record{255, 1, 1, make([]byte, 32)}, ReasonUnknownUsage, ReasonUnknownUsage},
		{"selector 2", Record{3, 2, 1, make([]byte, 32)}, ReasonUnknownSelector, ReasonUnknownSelector},
		{"PrivSel", Record{3, 255, 1, make([]byte, 32)}, ReasonUnknownSelector, ReasonUnknownSelector},
		{"matching type 3", Record{3, 1, 3, make([]byte, 32)}, ReasonUnknownMatchingType, ReasonUnknownMatchingType},
		{"PrivMatch", Record{3, 1, 255, make([]byte, 32)}, ReasonUnknownMatchingType, ReasonUnknownMatchingType},
		{"empty digest", Record{3, 1, 1, nil}, ReasonEmptyData, ReasonEmptyData},
		{"empty Full", Record{3, 1, 0, []byte{}}, ReasonEmptyData, ReasonEmptyData},
		{"SHA2-256 of 31 octets", Record{3, 1, 1, make([]byte, 31)}, ReasonBadLength, ReasonBadLength},
		{"SHA2-256 of 64 octets", Record{3, 1, 1, make([]byte, 64)}, ReasonBadLength, ReasonBadLength},
		{"SHA2-512 of 32 octets", Record{3, 1, 2, make([]byte, 32)}, ReasonBadLength, ReasonBadLength},
		{"right length, wrong content", Record{3, 1, 1, []byte("9f86d081884c7d659a2feaa0c55ad015")}, ReasonNone, ReasonNone},
		{"Full certificate", record(t, 3, 0, 0, cert), ReasonNone, ReasonNone},
		{"Full key", record(t, 2, 1, 0, cert), ReasonNone, ReasonNone},
		{"Full certificate and an octet", Record{3, 0, 0, append(slices.Clone(cert.Raw), 0)}, ReasonBadData, ReasonBadData},
		{"Full key and an octet", Record{2, 1, 0, append(slices.Clone(cert.RawSubjectPublicKeyInfo), 0)}, ReasonBadData, ReasonBadData},
		{"Full certificate, cut", Record{3, 0, 0, cert.Raw[:len(cert.Raw)-1]}, ReasonBadData, ReasonBadData},
		{"key where the certificate should be", Record{3, 0, 0, cert.RawSubjectPublicKeyInfo}, ReasonBadData, ReasonBadData},
		{"certificate where the key should be", Record{3, 1, 0, cert.Raw}, ReasonBadData, ReasonBadData},
		{"key on a curve unknown to Go", Record{2, 1, 0, curve}, ReasonBadData, ReasonBadData},
		{"PKIX usage with bad data", Record{1, 1, 1, nil}, ReasonPKIXUsage, ReasonEmptyData},
	} {
		require.Equal(t, tc.smtp.String(), tc.record.Check(ProfileSMTP).String(), tc.why)
		require.Equal(t, tc.generic.String(), tc.record.Check(ProfileGeneric).String(), tc.why)
		require.Equal(t, tc.smtp, tc.record.Check(Profile(7)), "an unknown profile is the strict one: %s", tc.why)
	}
}

// unknownCurveSPKI is a key on secp256k1.
func unknownCurveSPKI() []byte {
	head := []byte{0x30, 0x56, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
		0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a, 0x03, 0x42, 0x00, 0x04}
	return append(head, make([]byte, 64)...)
}

func TestStatus(t *testing.T) {
	cert := testpki.SelfSigned([]string{testHost}).Cert
	other := testpki.SelfSigned([]string{testHost}).Cert
	unknown := Record{4, 1, 1, make([]byte, 32)}
	short := Record{3, 1, 1, make([]byte, 31)}
	good, wrong := ee311(t, cert), ee311(t, other)
	for _, tc := range []struct {
		why     string
		records []Record
		chain   []*x509.Certificate
		status  Status
		reason  Reason
	}{
		{"match", []Record{good}, serial(cert), Matched, ReasonNone},
		{"no match", []Record{wrong}, serial(cert), Mismatched, ReasonNoMatch},
		{"match beside an unusable record", []Record{short, good}, serial(cert), Matched, ReasonNone},
		{"no match beside an unusable record", []Record{short, wrong}, serial(cert), Mismatched, ReasonNoMatch},
		{"nothing usable", []Record{unknown, short}, serial(cert), Unusable, ReasonBadLength},
		{"nothing usable and no certificate", []Record{unknown}, nil, Unusable, ReasonUnknownUsage},
		{"PKIX usages alone, RFC 7672 section 3.1.3", []Record{record(t, 1, 1, 1, cert), record(t, 0, 1, 1, cert)}, serial(cert), Unusable, ReasonPKIXUsage},
		{"PKIX usages rescue nothing", []Record{record(t, 1, 1, 1, cert), wrong}, serial(cert), Mismatched, ReasonNoMatch},
		{"no certificate", []Record{good}, nil, Mismatched, ReasonNoCertificate},
		{"empty chain", []Record{good}, serial(), Mismatched, ReasonNoCertificate},
		{"nil certificate", []Record{good}, serial(nil, cert), Mismatched, ReasonNoCertificate},
		{"certificate that was not parsed", []Record{good}, serial(&x509.Certificate{}, cert), Mismatched, ReasonNoCertificate},
		{"second certificate does not count for usage 3", []Record{good}, serial(other, cert), Mismatched, ReasonNoMatch},
	} {
		r := judge(t, Options{}, tc.records, tc.chain)
		require.Equal(t, tc.status, r.Status, tc.why)
		require.Equal(t, tc.reason.String(), r.Reason.String(), tc.why)
	}
}

func TestZeroValues(t *testing.T) {
	require.Equal(t, Mismatched, Result{}.Status)
	require.ErrorIs(t, Result{}.Err(), ErrMismatch)
	require.Equal(t, OutcomeLookupError, SMTPHost{}.Outcome)
	cert := testpki.SelfSigned([]string{testHost}).Cert
	for _, v := range []*Verifier{nil, {}} {
		r := v.Verify(serial(cert), refIDs(t, testHost), now)
		require.Equal(t, Mismatched, r.Status, "nothing was compiled: not Unusable, which lets mail go on")
		require.ErrorIs(t, r.Err(), ErrMismatch)
		require.Empty(t, v.Explain(serial(cert), RefIDs{}, now))
	}
}

// RFC 7671 section 9.
func TestDigestAgility(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	chain := leaf.ChainWithRoot()
	other := testpki.SelfSigned([]string{testHost}).Cert
	for _, tc := range []struct {
		why     string
		records []Record
		status  Status
		static  []Reason
	}{
		{"a matching weaker digest is not looked at", []Record{record(t, 3, 1, 1, leaf.Cert), record(t, 3, 1, 2, other)},
			Mismatched, []Reason{ReasonSuppressed, ReasonNone}},
		{"the stronger one decides", []Record{record(t, 3, 1, 1, other), record(t, 3, 1, 2, leaf.Cert)},
			Matched, []Reason{ReasonSuppressed, ReasonNone}},
		{"selectors are apart", []Record{record(t, 3, 1, 1, leaf.Cert), record(t, 3, 0, 2, other)},
			Matched, []Reason{ReasonNone, ReasonNone}},
		{"usages are apart", []Record{record(t, 3, 1, 1, leaf.Cert), record(t, 2, 1, 2, other)},
			Matched, []Reason{ReasonNone, ReasonNone}},
		{"Full is never suppressed", []Record{record(t, 3, 1, 0, leaf.Cert), record(t, 3, 1, 2, other)},
			Matched, []Reason{ReasonNone, ReasonNone}},
		{"Full suppresses nothing", []Record{record(t, 3, 1, 0, other), record(t, 3, 1, 1, leaf.Cert)},
			Matched, []Reason{ReasonNone, ReasonNone}},
		{"a malformed record suppresses nothing", []Record{record(t, 3, 1, 1, leaf.Cert), {3, 1, 2, make([]byte, 63)}},
			Matched, []Reason{ReasonNone, ReasonBadLength}},
		{"an unknown digest suppresses nothing", []Record{record(t, 3, 1, 1, leaf.Cert), {3, 1, 3, make([]byte, 99)}},
			Matched, []Reason{ReasonNone, ReasonUnknownMatchingType}},
		{"depth plays no part", []Record{record(t, 2, 1, 1, root.Cert), record(t, 2, 1, 2, leaf.Cert)},
			Mismatched, []Reason{ReasonSuppressed, ReasonNone}},
		{"two strong ones", []Record{record(t, 3, 1, 2, other), record(t, 3, 1, 1, leaf.Cert), record(t, 3, 1, 2, leaf.Cert)},
			Matched, []Reason{ReasonNone, ReasonSuppressed, ReasonNone}},
	} {
		r := judge(t, Options{}, tc.records, chain)
		require.Equal(t, tc.status, r.Status, tc.why)
		require.Equal(t, tc.static, reasons(verifier(t, Options{}, tc.records...).Records()), tc.why)
	}
	generic := []Record{record(t, 1, 1, 1, leaf.Cert), record(t, 1, 1, 2, other)}
	require.Equal(t, Mismatched, judge(t, Options{Profile: ProfileGeneric, Roots: testpki.Pool(root)}, generic, chain).Status)
}

func TestEvaluationOrder(t *testing.T) {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf := newLeaf(inter)
	chain := leaf.ChainWithRoot()
	o := Options{Profile: ProfileGeneric, Roots: testpki.Pool(root)}
	for _, tc := range []struct {
		why   string
		first Record
		rest  []Record
		depth int
	}{
		{"usage 3 before all", record(t, 3, 0, 0, leaf.Cert),
			[]Record{record(t, 2, 1, 2, inter.Cert), record(t, 1, 1, 2, leaf.Cert), record(t, 0, 1, 2, inter.Cert)}, 0},
		{"usage 2 before 1", record(t, 2, 0, 0, root.Cert), []Record{record(t, 1, 1, 2, leaf.Cert), record(t, 0, 1, 2, inter.Cert)}, 2},
		{"usage 1 before 0", record(t, 1, 0, 0, leaf.Cert), []Record{record(t, 0, 1, 2, inter.Cert)}, 0},
		{"stronger digest first", record(t, 3, 1, 2, leaf.Cert), []Record{record(t, 3, 0, 1, leaf.Cert), record(t, 3, 0, 0, leaf.Cert)}, 0},
		{"Full last", record(t, 3, 1, 1, leaf.Cert), []Record{record(t, 3, 0, 0, leaf.Cert)}, 0},
		{"then by Compare", record(t, 3, 0, 1, leaf.Cert), []Record{record(t, 3, 1, 1, leaf.Cert)}, 0},
		{"the nearest anchor before the stronger digest", record(t, 2, 1, 0, inter.Cert), []Record{record(t, 2, 0, 2, root.Cert)}, 1},
		{"the nearest issuer of usage 0", record(t, 0, 1, 0, inter.Cert), []Record{record(t, 0, 0, 2, root.Cert)}, 1},
		{"of one anchor the stronger digest", record(t, 2, 1, 2, inter.Cert), []Record{record(t, 2, 0, 1, inter.Cert), record(t, 2, 0, 0, inter.Cert)}, 1},
	} {
		records := append(tc.rest, tc.first)
		for range 6 {
			r := judge(t, o, records, chain)
			require.Equal(t, Matched, r.Status, tc.why)
			require.True(t, tc.first.Equal(r.Record), "%s: %s", tc.why, r.Record)
			require.Equal(t, tc.depth, r.Depth, tc.why)
			rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		}
	}
}

func TestDuplicateRecords(t *testing.T) {
	cert := testpki.SelfSigned([]string{testHost}).Cert
	good := ee311(t, cert)
	r := judge(t, Options{}, []Record{damaged(good), good, good}, serial(cert))
	matched(t, r, 1, 0, "Index names the first")
	require.Equal(t, []Reason{ReasonNoMatch, ReasonNone, ReasonNone},
		reasons(verifier(t, Options{}, damaged(good), good, good).Explain(serial(cert), RefIDs{}, now)))
}

func TestClock(t *testing.T) {
	root := testpki.NewRoot("Root", testpki.Valid(now.AddDate(-10, 0, 0), now.AddDate(10, 0, 0)))
	leaf := newLeaf(root)
	asked := 0
	o := Options{Now: func() time.Time { asked++; return now.AddDate(1, 0, 0) }}
	v := verifier(t, o, ee311(t, leaf.Cert))
	require.Equal(t, Matched, v.Verify(leaf.ChainWithRoot(), RefIDs{}, time.Time{}).Status, "expired, but dates do not count")
	require.Zero(t, asked, "usage 3 has no clock")
	v = verifier(t, o, ta211(t, root.Cert))
	mismatched(t, v.Verify(leaf.ChainWithRoot(), refIDs(t, testHost), time.Time{}), ReasonExpired, "the clock of the options")
	require.Equal(t, Matched, v.Verify(leaf.ChainWithRoot(), refIDs(t, testHost), now).Status, "the time of the call")
	require.Equal(t, 1, asked)
	require.Equal(t, Matched, verifier(t, Options{}, ta211(t, root.Cert)).Verify(leaf.ChainWithRoot(), refIDs(t, testHost), time.Time{}).Status)
}

func TestPartition(t *testing.T) {
	a, b := testpki.SelfSigned([]string{testHost}).Cert, testpki.SelfSigned([]string{testHost}).Cert
	base := verifier(t, Options{}, ee311(t, a), ee311(t, b)).Partition()
	same := map[string]*Verifier{
		"order":              verifier(t, Options{}, ee311(t, b), ee311(t, a)),
		"duplicates":         verifier(t, Options{}, ee311(t, b), ee311(t, a), ee311(t, a)),
		"unusable records":   verifier(t, Options{}, ee311(t, b), Record{7, 7, 7, nil}, ee311(t, a)),
		"suppressed records": verifier(t, Options{}, ee311(t, b), ee311(t, a), record(t, 1, 1, 1, a)),
	}
	for why, v := range same {
		require.Equal(t, base, v.Partition(), why)
	}
	differ := map[string]*Verifier{
		"fewer records": verifier(t, Options{}, ee311(t, a)),
		"other usage":   verifier(t, Options{}, ee311(t, a), ta211(t, b)),
		"other profile": verifier(t, Options{Profile: ProfileGeneric}, ee311(t, a), ee311(t, b)),
	}
	for why, v := range differ {
		require.NotEqual(t, base, v.Partition(), why)
	}
}
