package dane

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"slices"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestNewRecord(t *testing.T) {
	cert := testpki.SelfSigned([]string{testHost}).Cert
	for u := range Usage(4) {
		for s, part := range [][]byte{cert.Raw, cert.RawSubjectPublicKeyInfo} {
			sum256, sum512 := sha256.Sum256(part), sha512.Sum512(part)
			for m, data := range [][]byte{part, sum256[:], sum512[:]} {
				want := Record{u, Selector(s), MatchingType(m), data}
				got, err := NewRecord(u, Selector(s), MatchingType(m), cert)
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.Equal(t, ReasonNone, got.Check(ProfileGeneric))
				if Selector(s) == SelectorSPKI {
					got, err = NewRecordSPKI(u, MatchingType(m), part)
					require.NoError(t, err)
					require.Equal(t, want, got)
				}
			}
		}
	}
	full, err := NewRecord(3, 0, 0, cert)
	require.NoError(t, err)
	full.Data[0]++
	require.NotEqual(t, full.Data[0], cert.Raw[0], "a copy")

	for why, make := range map[string]func() (Record, error){
		"no certificate":         func() (Record, error) { return NewRecord(3, 1, 1, nil) },
		"certificate not parsed": func() (Record, error) { return NewRecord(3, 1, 1, &x509.Certificate{}) },
		"usage without meaning":  func() (Record, error) { return NewRecord(4, 1, 1, cert) },
		"selector":               func() (Record, error) { return NewRecord(3, 2, 1, cert) },
		"private matching type":  func() (Record, error) { return NewRecord(3, 1, 255, cert) },
		"no key":                 func() (Record, error) { return NewRecordSPKI(3, 1, nil) },
		"a certificate as key":   func() (Record, error) { return NewRecordSPKI(3, 1, cert.Raw) },
		"key with trailing octet": func() (Record, error) {
			return NewRecordSPKI(3, 1, append(slices.Clone(cert.RawSubjectPublicKeyInfo), 0))
		},
		"key, usage":         func() (Record, error) { return NewRecordSPKI(9, 1, cert.RawSubjectPublicKeyInfo) },
		"key, matching type": func() (Record, error) { return NewRecordSPKI(3, 3, cert.RawSubjectPublicKeyInfo) },
	} {
		r, err := make()
		require.ErrorContains(t, err, "dane: ", why)
		require.Equal(t, Record{}, r, why)
	}
}

func TestNewRecordFromRequest(t *testing.T) {
	key := testpki.NewECDSA(elliptic.P256())
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	request, err := x509.ParseCertificateRequest(der)
	require.NoError(t, err)
	early, err := NewRecordSPKI(UsageDANEEE, MatchingSHA256, request.RawSubjectPublicKeyInfo)
	require.NoError(t, err)
	cert := testpki.SelfSigned([]string{testHost}, testpki.Key(key)).Cert
	require.Equal(t, ee311(t, cert), early, "the certificate that comes later has the same key")
}

func TestRolloverSet(t *testing.T) {
	old, next := testpki.SelfSigned([]string{testHost}), testpki.SelfSigned([]string{testHost})
	params := []Params{{3, 1, 1}, {3, 1, 2}}
	set, err := RolloverSet(params, Key{Cert: old.Cert}, Key{SPKI: next.Cert.RawSubjectPublicKeyInfo})
	require.NoError(t, err)
	require.Len(t, set, 4)
	require.True(t, slices.IsSortedFunc(set, Record.Compare))
	for _, cert := range serial(old.Cert, next.Cert) {
		require.Equal(t, Matched, judge(t, Options{}, set, serial(cert)).Status, "both keys are visible, with whatever digest")
	}
	// What goes wrong without it: the stronger digest hides the new key.
	naive := []Record{record(t, 3, 1, 2, old.Cert), record(t, 3, 1, 1, next.Cert)}
	mismatched(t, judge(t, Options{}, naive, serial(next.Cert)), ReasonNoMatch, "RFC 7671 section 9")

	set, err = RolloverSet(params, Key{Cert: old.Cert}, Key{Cert: old.Cert})
	require.NoError(t, err)
	require.Len(t, set, 2, "no duplicates")
	for why, make := range map[string]func() ([]Record, error){
		"no key":     func() ([]Record, error) { return RolloverSet(params) },
		"no params":  func() ([]Record, error) { return RolloverSet(nil, Key{Cert: old.Cert}) },
		"empty key":  func() ([]Record, error) { return RolloverSet(params, Key{Cert: old.Cert}, Key{}) },
		"both forms": func() ([]Record, error) { return RolloverSet(params, Key{old.Cert, old.Cert.RawSubjectPublicKeyInfo}) },
		"certificate from key": func() ([]Record, error) {
			return RolloverSet([]Params{{3, 0, 1}}, Key{SPKI: old.Cert.RawSubjectPublicKeyInfo})
		},
		"damaged key":               func() ([]Record, error) { return RolloverSet(params, Key{SPKI: []byte{1}}) },
		"numbers without a meaning": func() ([]Record, error) { return RolloverSet([]Params{{3, 1, 9}}, Key{Cert: old.Cert}) },
	} {
		_, err := make()
		require.Error(t, err, why)
	}
}

func TestUnion(t *testing.T) {
	a, b, c := Record{3, 1, 1, []byte{1}}, Record{3, 1, 1, []byte{2}}, Record{2, 1, 1, []byte{9}}
	first, second := []Record{b, a}, []Record{a, c}
	require.Equal(t, []Record{c, a, b}, Union(first, nil, second))
	require.Equal(t, []Record{b, a}, first, "the sets stay as they are")
	require.Empty(t, Union())
}

func TestAdvise(t *testing.T) {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf, next := newLeaf(inter), newLeaf(inter)
	chain := leaf.Chain()
	kinds := func(records []Record, chain []*x509.Certificate) []AdviceKind {
		list := []AdviceKind{}
		for _, a := range Advise(records, chain) {
			require.True(t, a.Record.Equal(records[a.Index]))
			require.Contains(t, a.String(), "record ")
			require.Equal(t, a.Kind == AdviceUnusable, a.Reason != ReasonNone)
			list = append(list, a.Kind)
		}
		return list
	}
	for _, tc := range []struct {
		why     string
		records []Record
		chain   []*x509.Certificate
		want    []AdviceKind
	}{
		{"recommended", []Record{ee311(t, leaf.Cert)}, chain, []AdviceKind{}},
		{"recommended, with an issuer", []Record{ee311(t, leaf.Cert), ta211(t, inter.Cert)}, chain, []AdviceKind{}},
		{"a key to come", []Record{ee311(t, leaf.Cert), ee311(t, next.Cert)}, chain, []AdviceKind{}},
		{"usage 1", []Record{record(t, 1, 1, 1, leaf.Cert)}, chain, []AdviceKind{AdvicePKIXUsage}},
		{"usage 0", []Record{record(t, 0, 1, 1, inter.Cert)}, nil, []AdviceKind{AdvicePKIXUsage}},
		{"bad length", []Record{{3, 1, 1, make([]byte, 20)}}, chain, []AdviceKind{AdviceUnusable}},
		{"whole certificate", []Record{record(t, 3, 0, 0, leaf.Cert)}, chain, []AdviceKind{AdviceFullData}},
		{"whole anchor, not sent", []Record{record(t, 2, 0, 0, root.Cert)}, chain, []AdviceKind{AdviceFullData}},
		{"anchor digest, not sent", []Record{ta211(t, root.Cert)}, chain, []AdviceKind{AdviceAnchorNotServed}},
		{"without chain it cannot be told", []Record{ta211(t, root.Cert)}, nil, []AdviceKind{}},
		{"usage 2 of the leaf", []Record{ta211(t, leaf.Cert)}, chain, []AdviceKind{AdviceLeafOnly}},
		{"digests of two keys", []Record{ee311(t, leaf.Cert), record(t, 3, 1, 2, next.Cert)}, chain, []AdviceKind{AdviceDigestAsymmetry}},
		{"both digests", []Record{ee311(t, leaf.Cert), record(t, 3, 1, 2, leaf.Cert)}, chain, []AdviceKind{}},
		{"selectors are apart", []Record{ee311(t, leaf.Cert), record(t, 3, 0, 2, next.Cert)}, chain, []AdviceKind{}},
		{"several", []Record{{9, 1, 1, nil}, record(t, 1, 1, 1, leaf.Cert), ta211(t, root.Cert)}, chain,
			[]AdviceKind{AdviceUnusable, AdvicePKIXUsage, AdviceAnchorNotServed}},
		{"certificates that are none", []Record{ta211(t, root.Cert)}, serial(nil, nil, &x509.Certificate{}), []AdviceKind{AdviceAnchorNotServed}},
	} {
		require.Equal(t, tc.want, kinds(tc.records, tc.chain), tc.why)
	}
	require.Equal(t, "record 0 (3 1 1 0102): no sender can use this record: bad digest length", Advise([]Record{{3, 1, 1, []byte{1, 2}}}, nil)[0].String())
}
