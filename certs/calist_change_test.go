package certs

import (
	"crypto/x509"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// An update that limits a root, or lifts a limit, is told, though no certificate
// comes or goes; so is an edit by hand.
func TestChangedDistrustIsReported(t *testing.T) {
	one, two := trustRoot("One"), trustRoot("Two")
	limited := fmt.Sprintf("# Distrust-After: 2026-01-01T00:00:00Z %x\n", trustSum(one.Cert)) + trustPEM(one.Cert, two.Cert)
	storage := NewMemory()
	trust := openTrust(t, TrustOptions{Storage: Lists(storage)})
	require.Empty(t, trustImport(t, trust, trustPEM(one.Cert, two.Cert)).Changed)
	require.Equal(t, []*x509.Certificate{one.Cert}, trustImport(t, trust, limited).Changed)
	require.Empty(t, trustImport(t, trust, limited).Changed)
	r := trustImport(t, trust, trustPEM(one.Cert))
	require.Equal(t, []*x509.Certificate{one.Cert}, r.Changed)
	require.Equal(t, []*x509.Certificate{two.Cert}, r.Removed)

	list := func(date time.Time) trustSource {
		return trustSource{list: RootList{Source: "test", Roots: []Root{{one.Cert, date}, {two.Cert, time.Time{}}}}}
	}
	trust = openTrust(t, TrustOptions{System: list(time.Time{})})
	report, err := trust.ReplaceSystem(list(time.Unix(1767225600, 0)), ReplaceOptions{})
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{one.Cert}, report.Changed)
	report, err = trust.RestoreSystem()
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{one.Cert}, report.Changed)

	synctest.Test(t, func(t *testing.T) {
		storage := NewMemory()
		trust := openTrust(t, TrustOptions{Storage: Lists(storage)})
		trustImport(t, trust, trustPEM(one.Cert, two.Cert))
		events := &storeEvents{}
		polls := watched(t, openStore(t, StoreOptions{Storage: storage, Trust: trust, Events: events.add, ExpiryDays: []int{}}))
		polls(2)
		events.take()
		require.NoError(t, storage.WriteFile("ca/custom.txt", []byte(limited)))
		polls(3)
		require.Equal(t, []EventKind{EventReloaded}, events.kinds())
	})
}
