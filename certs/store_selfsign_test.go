package certs

import (
	"crypto/elliptic"
	"crypto/x509"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// A self-signed certificate is renewed with its key, and is what it was but for its
// dates.
func TestSelfSignRenews(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		clock := newStoreClock()
		s := openStore(t, StoreOptions{Storage: storage, Now: clock.Now})
		_, err := s.CreateSelfSigned("mx", Form{CommonName: "mx.example.com", DNSNames: []string{"*.example.com"}, Organization: "Bücher", Country: "DE",
			Algorithm: SHA384WithRSA, Days: 30})
		require.NoError(t, err)
		before := detail(t, s, "mx")
		clock.advance(29 * day)
		r, err := s.SelfSign("MX", 60)
		require.NoError(t, err)
		require.Equal(t, Digests{Certificate: true}, r.Changed)
		after := detail(t, openStore(t, StoreOptions{Storage: storage, Now: clock.Now}), "mx")
		leaf, former := after.Chain[0], before.Chain[0]
		require.Equal(t, former.RawSubject, leaf.RawSubject)
		require.Equal(t, former.RawIssuer, leaf.RawIssuer)
		require.Equal(t, former.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo)
		require.Equal(t, former.DNSNames, leaf.DNSNames)
		require.Equal(t, former.SignatureAlgorithm, leaf.SignatureAlgorithm)
		require.Equal(t, former.KeyUsage, leaf.KeyUsage)
		require.Equal(t, former.ExtKeyUsage, leaf.ExtKeyUsage)
		require.Equal(t, former.SubjectKeyId, leaf.SubjectKeyId)
		require.NotEqual(t, former.SerialNumber, leaf.SerialNumber)
		require.True(t, leaf.NotAfter.Equal(clock.Now().AddDate(0, 0, 60)))
		require.Equal(t, OriginSelfSigned, after.Origin)
		require.Equal(t, former, after.Previous[0], "Rollback brings it back")

		var field *FieldError
		for _, days := range []int{0, -1, 4_000_000} {
			_, err = s.SelfSign("mx", days)
			require.ErrorAs(t, err, &field, "%d", days)
		}
		_, err = s.SelfSign("absent", 1)
		require.ErrorIs(t, err, ErrNotFound)
		require.Equal(t, leaf, detail(t, s, "mx").Chain[0])
		_, err = (&Store{}).SelfSign("mx", 1)
		require.ErrorIs(t, err, ErrNotOpen)
	})
}

// The other names of an imported certificate stay: it is not only host names that
// a certificate has.
func TestSelfSignKeepsAllNames(t *testing.T) {
	leaf := testpki.NewRoot("r").Leaf([]string{"mx.example.com"}, testpki.Template(func(c *x509.Certificate) { c.EmailAddresses = []string{"postmaster@example.com"} }))
	s := openStore(t, StoreOptions{})
	_, err := s.ImportPEM("mx", storePair(t, leaf), ImportOptions{})
	require.NoError(t, err)
	_, err = s.SelfSign("mx", 1)
	require.NoError(t, err)
	d := detail(t, s, "mx")
	require.Equal(t, []string{"postmaster@example.com"}, d.Chain[0].EmailAddresses)
	require.Equal(t, []string{"mx.example.com"}, d.DNSNames)
	require.Len(t, d.Chain, 1)
	require.Equal(t, OriginSelfSigned, d.Origin)
}

// A rollover without any authority, which is that of most hosts with TLSA records 3 1 1,
// and the times that an operator asks for meanwhile.
func TestSelfSignNext(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		clock := newStoreClock()
		s := openStore(t, StoreOptions{Storage: storage, Now: clock.Now})
		created(t, s, "a.example")
		_, err := s.SelfSignNext("a.example", 90)
		require.ErrorIs(t, err, ErrNotFound, "no next key")
		next, err := s.PrepareNext("a.example", NextOptions{Algorithm: ECDSAWithSHA384})
		require.NoError(t, err)
		var field *FieldError
		_, err = s.SelfSignNext("a.example", 0)
		require.ErrorAs(t, err, &field)
		r, err := s.SelfSignNext("a.example", 90)
		require.NoError(t, err)
		require.True(t, r.Changed.Key)
		d := detail(t, s, "a.example")
		require.Equal(t, "ECDSA P-256", d.KeyKind, "nothing else is served yet")
		require.Equal(t, next.PublicKeyInfo, d.Next[0].RawSubjectPublicKeyInfo)
		require.Equal(t, x509.ECDSAWithSHA384, d.Next[0].SignatureAlgorithm)
		require.Equal(t, d.DNSNames, d.Next[0].DNSNames)
		require.Zero(t, d.PromoteFrom)
		require.Zero(t, d.RetireFrom)

		require.NoError(t, s.ConfirmPublished("a.example", time.Hour))
		d = detail(t, s, "a.example")
		require.True(t, d.PromoteFrom.Equal(clock.Now().Add(2*time.Hour)))
		clock.advance(2 * time.Hour)
		_, err = s.Promote("a.example", false)
		require.NoError(t, err)
		d = detail(t, openStore(t, StoreOptions{Storage: storage, Now: clock.Now}), "a.example")
		require.Equal(t, elliptic.P384().Params().Name, d.KeyKind[len("ECDSA "):])
		require.Zero(t, d.PromoteFrom)
		require.True(t, d.RetireFrom.Equal(clock.Now().Add(2*time.Hour)))
		clock.advance(2 * time.Hour)
		require.NoError(t, s.Retire("a.example", false))
		require.Zero(t, detail(t, s, "a.example").RetireFrom)
	})
}
