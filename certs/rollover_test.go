package certs

import (
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestRollover(t *testing.T) {
	root := testpki.NewRoot("Root")
	const ttl = time.Hour
	overBackings(t, func(t *testing.T, storage Storage) {
		clock := newStoreClock()
		open := func() *Store { return openStore(t, StoreOptions{Storage: storage, Now: clock.Now}) }
		s := open()
		created(t, s, "mx.example.com")
		infos := func() [][]byte {
			t.Helper()
			list, err := s.PublicKeyInfos("mx.example.com")
			require.NoError(t, err)
			return list
		}
		before := detail(t, s, "mx.example.com")
		require.Equal(t, [][]byte{before.Chain[0].RawSubjectPublicKeyInfo}, infos())
		_, err := s.Promote("mx.example.com", true)
		require.ErrorIs(t, err, ErrNotFound)
		require.ErrorIs(t, s.ConfirmPublished("mx.example.com", ttl), ErrNotFound)
		require.ErrorIs(t, s.Abandon("mx.example.com"), ErrNotFound)
		_, err = s.InstallNext("mx.example.com", storedPEM(root.Cert), InstallOptions{})
		require.ErrorIs(t, err, ErrNotFound)

		next, err := s.PrepareNext("mx.example.com", NextOptions{})
		require.NoError(t, err)
		csr := parseRequest(t, next.Request)
		require.Equal(t, before.DNSNames, csr.DNSNames)
		require.Equal(t, next.PublicKeyInfo, csr.RawSubjectPublicKeyInfo)
		require.Equal(t, [][]byte{before.Chain[0].RawSubjectPublicKeyInfo, next.PublicKeyInfo}, infos())
		require.Equal(t, before.SHA256, detail(t, s, "mx.example.com").SHA256, "nothing else is served")
		s = open()
		again, err := s.PrepareNext("mx.example.com", NextOptions{})
		require.NoError(t, err)
		require.Equal(t, next, again, "no second key")
		present, err := s.CSR("mx.example.com")
		require.NoError(t, err)
		require.Equal(t, before.Chain[0].RawSubjectPublicKeyInfo, parseRequest(t, present).RawSubjectPublicKeyInfo)
		again, err = s.PrepareNext("mx.example.com", NextOptions{})
		require.NoError(t, err)
		require.Equal(t, next, again, "the request for the present key is not kept in its place")

		_, err = s.Promote("mx.example.com", true)
		require.ErrorIs(t, err, ErrNoCertificate, "not signed yet")
		_, err = s.InstallNext("mx.example.com", storedPEM(before.Chain[0]), InstallOptions{})
		require.ErrorIs(t, err, ErrKeyMismatch, "the present certificate is not the next one's")
		signed := signRequest(t, root, next.Request)
		r, err := s.InstallNext("mx.example.com", storedPEM(signed), InstallOptions{})
		require.NoError(t, err)
		require.Equal(t, Digests{true, true, true}, r.Changed)
		require.Equal(t, []*x509.Certificate{signed}, detail(t, s, "mx.example.com").Next)

		var early *TooEarlyError
		_, err = s.Promote("mx.example.com", false)
		require.ErrorAs(t, err, &early)
		require.Zero(t, early.Until, "not confirmed")
		require.ErrorContains(t, err, "confirmed")
		require.NoError(t, s.ConfirmPublished("mx.example.com", ttl))
		s = open()
		clock.advance(2*ttl - time.Second)
		_, err = s.Promote("mx.example.com", false)
		require.ErrorAs(t, err, &early)
		require.True(t, early.Until.Equal(clock.Now().Add(time.Second)), "two TTLs")
		clock.advance(time.Second)
		r, err = s.Promote("mx.example.com", false)
		require.NoError(t, err)
		require.True(t, r.Changed.Key)
		d := detail(t, s, "mx.example.com")
		require.Equal(t, signed, d.Chain[0])
		require.False(t, d.HasNext)
		require.Equal(t, [][]byte{next.PublicKeyInfo, before.Chain[0].RawSubjectPublicKeyInfo}, infos(), "the former key until Retire")

		s = open()
		require.ErrorAs(t, s.Retire("mx.example.com", false), &early)
		clock.advance(2*ttl - time.Second)
		require.ErrorAs(t, s.Retire("mx.example.com", false), &early)
		clock.advance(time.Second)
		require.NoError(t, s.Retire("mx.example.com", false))
		require.Equal(t, [][]byte{next.PublicKeyInfo}, infos())
		require.ErrorIs(t, s.Retire("mx.example.com", false), ErrNotFound)
	})
}

// The way back from a promotion, and what lost notes mean for the waits.
func TestRolloverBackAndLostNotes(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		clock := newStoreClock()
		s := openStore(t, StoreOptions{Storage: storage, Now: clock.Now})
		created(t, s, "a.example")
		root := testpki.NewRoot("Root")
		former := detail(t, s, "a.example").SHA256
		next, err := s.PrepareNext("a.example", NextOptions{})
		require.NoError(t, err)
		_, err = s.InstallNext("a.example", storedPEM(signRequest(t, root, next.Request)), InstallOptions{})
		require.NoError(t, err)
		require.NoError(t, s.ConfirmPublished("a.example", time.Hour))
		require.NoError(t, storage.Remove("entries/a.example/meta.json"))
		clock.advance(9 * time.Hour)
		s = openStore(t, StoreOptions{Storage: storage, Now: clock.Now})
		var early *TooEarlyError
		_, err = s.Promote("a.example", false)
		require.ErrorAs(t, err, &early, "what is not known to be published is not")
		_, err = s.Promote("a.example", true)
		require.NoError(t, err)
		require.ErrorAs(t, s.Retire("a.example", false), &early)
		_, err = s.Rollback("a.example")
		require.NoError(t, err)
		require.Equal(t, former, detail(t, s, "a.example").SHA256)
		require.ErrorAs(t, s.Retire("a.example", false), &early)
		require.NoError(t, s.Retire("a.example", true))
		_, err = s.Rollback("a.example")
		require.ErrorIs(t, err, ErrNotFound)
		// A former certificate of the same key can go at once.
		request, err := s.CSR("a.example")
		require.NoError(t, err)
		_, err = s.Install("a.example", storedPEM(signRequest(t, root, request)), InstallOptions{})
		require.NoError(t, err)
		require.NoError(t, s.Retire("a.example", false))
		// A confirmation does not count for another key.
		_, err = s.PrepareNext("a.example", NextOptions{})
		require.NoError(t, err)
		require.NoError(t, s.ConfirmPublished("a.example", time.Hour))
		clock.advance(9 * time.Hour)
		require.NoError(t, s.Abandon("a.example"))
		next, err = s.PrepareNext("a.example", NextOptions{})
		require.NoError(t, err)
		_, err = s.InstallNext("a.example", storedPEM(signRequest(t, root, next.Request)), InstallOptions{})
		require.NoError(t, err)
		_, err = s.Promote("a.example", false)
		require.ErrorAs(t, err, &early)
		var field *FieldError
		for _, ttl := range []time.Duration{0, -time.Hour, time.Millisecond, maxTTL + 1} {
			require.ErrorAs(t, s.ConfirmPublished("a.example", ttl), &field)
		}
	})
}

func TestNextKeyIsLikeThePresent(t *testing.T) {
	s := openStore(t, StoreOptions{})
	for _, tc := range []struct {
		name    string
		key     testpki.Mod
		options NextOptions
		want    string
	}{
		{"p256", testpki.Key(testpki.NewECDSA(elliptic.P256())), NextOptions{}, "ECDSA P-256"},
		{"p384", testpki.Key(testpki.NewECDSA(elliptic.P384())), NextOptions{}, "ECDSA P-384"},
		{"p521", testpki.Key(testpki.NewECDSA(elliptic.P521())), NextOptions{}, "ECDSA P-384"},
		{"ed25519", testpki.Key(testpki.NewEd25519()), NextOptions{}, "ECDSA P-256"},
		{"rsa", testpki.Key(testpki.NewRSA(2048)), NextOptions{}, "RSA-2048"},
		{"to ecdsa", testpki.Key(testpki.NewRSA(2048)), NextOptions{Algorithm: ECDSAWithSHA384}, "ECDSA P-384"},
	} {
		_, err := s.ImportPEM(tc.name, storePair(t, testpki.SelfSigned([]string{"a.example"}, tc.key)), ImportOptions{})
		require.NoError(t, err)
		next, err := s.PrepareNext(tc.name, tc.options)
		require.NoError(t, err, tc.name)
		csr := parseRequest(t, next.Request)
		require.Equal(t, tc.want, keyKind(csr.PublicKey), tc.name)
		require.NotEqual(t, detail(t, s, tc.name).KeySHA256, sha256.Sum256(next.PublicKeyInfo), tc.name)
	}
	_, err := s.ImportPEM("bad", storePair(t, testpki.SelfSigned([]string{"a.example"})), ImportOptions{})
	require.NoError(t, err)
	var field *FieldError
	_, err = s.PrepareNext("bad", NextOptions{Algorithm: "sha1WithRSA"})
	require.ErrorAs(t, err, &field)
	_, err = s.PrepareNext("bad", NextOptions{Algorithm: SHA256WithRSA, KeySize: 1024})
	require.ErrorAs(t, err, &field)
}
