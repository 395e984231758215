package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// watched starts Watch in a bubble and returns a function that waits for a number
// of polls.
func watched(t *testing.T, s *Store) (polls func(int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Watch(ctx, time.Second) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return func(n int) {
		for range n {
			time.Sleep(time.Second) // of the bubble's clock
			synctest.Wait()
		}
	}
}

// A reader sees what the writer of its storage does: changes, new and removed entries,
// roles, and the custom list.
func TestWatchStorage(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		synctest.Test(t, func(t *testing.T) {
			writer := openStore(t, StoreOptions{Storage: storage})
			created(t, writer, "a.example")
			_, err := writer.Assign("https", "a.example")
			require.NoError(t, err)
			trust, err := NewTrustStore(TrustOptions{Storage: Lists(storage)})
			require.NoError(t, err)
			events := &storeEvents{}
			reader := openStore(t, StoreOptions{Storage: storage, Events: events.add, Trust: trust, ExpiryDays: []int{}})
			polls := watched(t, reader)
			polls(3)
			require.Empty(t, events.take())

			root := testpki.NewRoot("Root")
			request, err := writer.CSR("a.example")
			require.NoError(t, err)
			signed := signRequest(t, root, request)
			_, err = writer.Install("a.example", storedPEM(signed), InstallOptions{})
			require.NoError(t, err)
			polls(1)
			require.Empty(t, events.take(), "seen once is not enough: somebody may be writing")
			polls(1)
			require.Equal(t, []EventKind{EventReloaded}, events.kinds())
			cert, err := reader.Source("https").GetCertificate(helloFor("a.example"))
			require.NoError(t, err)
			require.Equal(t, signed, cert.Leaf)
			polls(3)
			require.Empty(t, events.take())

			created(t, writer, "b.example")
			_, err = writer.Assign("https", "b.example")
			require.NoError(t, err)
			polls(2)
			require.Equal(t, []EventKind{EventReloaded, EventReloaded}, events.kinds())
			cert, err = reader.Source("https").GetCertificate(helloFor("b.example"))
			require.NoError(t, err)
			require.Equal(t, "b.example", cert.Leaf.Subject.CommonName)

			other, err := NewTrustStore(TrustOptions{Storage: Lists(storage)})
			require.NoError(t, err)
			_, err = other.AddCertificates(root.Cert)
			require.NoError(t, err)
			require.False(t, trust.Anchored(root.Cert))
			polls(2)
			require.True(t, trust.Anchored(root.Cert))
			require.Equal(t, []EventKind{EventReloaded}, events.kinds())

			require.NoError(t, writer.Rename("b.example", "c.example"))
			require.NoError(t, writer.Remove("a.example", false))
			polls(3)
			events.take()
			list, err := reader.List()
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, "c.example", list[0].Name)
			require.Equal(t, []string{"https"}, list[0].Roles)
		})
	})
}

// The writer's own changes are no news to it.
func TestWatchOwnChanges(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		synctest.Test(t, func(t *testing.T) {
			events := &storeEvents{}
			s := openStore(t, StoreOptions{Storage: storage, Events: events.add, ExpiryDays: []int{}})
			polls := watched(t, s)
			created(t, s, "a.example")
			_, err := s.Assign("https", "a.example")
			require.NoError(t, err)
			_, err = s.PrepareNext("a.example", NextOptions{})
			require.NoError(t, err)
			require.NoError(t, s.Accept("a.example", FindingSelfSigned))
			polls(4)
			require.Equal(t, []EventKind{EventChanged}, events.kinds())
		})
	})
}

// What cannot be used stays out of service, and is reported once; what is good
// again heals.
func TestWatchBrokenFiles(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		synctest.Test(t, func(t *testing.T) {
			events := &storeEvents{}
			s := openStore(t, StoreOptions{Storage: storage, Events: events.add, ExpiryDays: []int{}})
			created(t, s, "a.example")
			_, err := s.Assign("https", "a.example")
			require.NoError(t, err)
			good, err := storage.ReadFile("entries/a.example/current.pem")
			require.NoError(t, err)
			events.take()
			polls := watched(t, s)
			serving := func() {
				t.Helper()
				require.NoError(t, s.Source("https").Ready())
			}
			for why, broken := range map[string][]byte{
				"cut off": good[:len(good)/2], "empty": {}, "key alone": good[:bytes.Index(good, []byte("-----BEGIN CERT"))],
				"key of another": append(bytes.Clone(storePair(t, testpki.SelfSigned(nil))[:241]), good[bytes.Index(good, []byte("-----BEGIN CERT")):]...),
			} {
				require.NoError(t, storage.WriteFile("entries/a.example/current.pem", broken))
				polls(3)
				require.Empty(t, events.take(), why)
				polls(1)
				list := events.take()
				require.Len(t, list, 1, why)
				require.Equal(t, EventReloadFailed, list[0].Kind)
				require.Equal(t, "a.example", list[0].Name)
				require.Error(t, list[0].Err)
				polls(5)
				require.Empty(t, events.take(), "once")
				serving()
				require.NoError(t, storage.WriteFile("entries/a.example/current.pem", good))
				polls(2)
				serving()
				require.Empty(t, events.take(), "the same certificate as before is no news")
			}
			require.NoError(t, storage.Remove("entries/a.example/current.pem"))
			polls(4)
			list := events.take()
			require.Len(t, list, 1)
			require.ErrorIs(t, list[0].Err, ErrNotFound)
			serving()
			require.NoError(t, storage.WriteFile("entries/a.example/current.pem", good))
			require.NoError(t, storage.WriteFile("roles.json", []byte("{")))
			polls(4)
			list = events.take()
			require.Len(t, list, 1)
			require.ErrorIs(t, list[0].Err, ErrMalformed)
			serving()
		})
	})
}

// Two files of another program: first the one, then the other is renamed into place.
func TestChapterFollowFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem")
		put := func(path string, data []byte) {
			require.NoError(t, os.WriteFile(path+".new", data, 0o600))
			require.NoError(t, os.Rename(path+".new", path))
		}
		root := testpki.NewRoot("Root").Intermediate("Intermediate")
		split := func(leaf *testpki.Leaf) (certs, key []byte) {
			pair := storePair(t, leaf)
			at := bytes.Index(pair, []byte("-----BEGIN CERT"))
			return pair[at:], pair[:at]
		}
		events := &storeEvents{}
		s := openStore(t, StoreOptions{Events: events.add, ExpiryDays: []int{}})
		_, err := s.Follow("mx", cert, key)
		require.ErrorIs(t, err, os.ErrNotExist)
		one, two := root.Leaf([]string{"mx.example.com"}), root.Leaf([]string{"mx.example.com"})
		oneCerts, oneKey := split(one)
		twoCerts, twoKey := split(two)
		put(cert, oneCerts)
		put(key, oneKey)
		r, err := s.Follow("mx", cert, key)
		require.NoError(t, err)
		require.Empty(t, r.Findings)
		_, err = s.Assign("https", "mx")
		require.NoError(t, err)
		require.Equal(t, OriginImported, detail(t, s, "mx").Origin)
		require.Equal(t, one.Chain(), detail(t, s, "mx").Chain)
		polls := watched(t, s)
		require.Equal(t, []EventKind{EventChanged}, events.kinds())

		put(key, twoKey) // caught between two renames
		polls(2)
		require.Equal(t, one.Cert, detail(t, s, "mx").Chain[0])
		put(cert, twoCerts)
		polls(2)
		require.Equal(t, two.Cert, detail(t, s, "mx").Chain[0])
		require.Equal(t, []EventKind{EventReloaded}, events.kinds(), "and no failure")

		put(cert, oneCerts) // for good: that is a failure
		polls(4)
		list := events.take()
		require.Len(t, list, 1)
		require.Equal(t, EventReloadFailed, list[0].Kind)
		require.ErrorIs(t, list[0].Err, ErrKeyMismatch)
		require.Equal(t, two.Cert, detail(t, s, "mx").Chain[0])

		// What would write it is refused, and the storage has nothing of it.
		for _, err := range []error{s.Rename("mx", "x"), s.Accept("mx"), s.SetLevel("mx", LevelMachine), s.Retire("mx", true), s.Abandon("mx")} {
			require.ErrorIs(t, err, ErrFollowed)
		}
		_, err = s.Install("mx", twoCerts, InstallOptions{})
		require.ErrorIs(t, err, ErrFollowed)
		_, err = s.CSR("mx")
		require.NoError(t, err)
		_, err = s.Follow("mx", cert, "")
		require.ErrorIs(t, err, ErrExists)
		_, err = s.CreateSelfSigned("MX", Form{CommonName: "mx.example.com", Days: 1})
		require.ErrorIs(t, err, ErrExists)
		again := openStore(t, StoreOptions{Storage: s.options.Storage})
		list2, err := again.List()
		require.NoError(t, err)
		require.Empty(t, list2)
		require.ErrorIs(t, again.Source("https").Ready(), ErrRoleUnassigned)
		put(cert, twoCerts)
		_, err = again.Follow("mx", cert, key)
		require.NoError(t, err)
		require.NoError(t, again.Source("https").Ready(), "the role waited for it")
		require.ErrorIs(t, again.Remove("mx", false), ErrInUse)
		require.NoError(t, again.Remove("mx", true))
		require.FileExists(t, key)
	})
}

// One file with key and chain, behind a symbolic link that switches whole directories.
func TestFollowSymbolicLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		root := testpki.NewRoot("Root")
		var leaves []*testpki.Leaf
		for _, name := range []string{"1", "2"} {
			leaf := root.Leaf([]string{"mx.example.com"})
			leaves = append(leaves, leaf)
			require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name, "pair.pem"), storePair(t, leaf), 0o600))
		}
		link := filepath.Join(dir, "live")
		require.NoError(t, os.Symlink("1", link))
		s := openStore(t, StoreOptions{})
		_, err := s.Follow("mx", filepath.Join(link, "pair.pem"), "")
		require.NoError(t, err)
		polls := watched(t, s)
		require.NoError(t, os.Symlink("2", link+".new"))
		require.NoError(t, os.Rename(link+".new", link))
		polls(2)
		require.Equal(t, leaves[1].Cert, detail(t, s, "mx").Chain[0])
	})
}

func TestFollowRefuses(t *testing.T) {
	dir := t.TempDir()
	leaf := testpki.SelfSigned([]string{"a.example"})
	pair := storePair(t, leaf)
	at := bytes.Index(pair, []byte("-----BEGIN CERT"))
	path := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, data, 0o600))
		return p
	}
	certs, key, both := path("certs", pair[at:]), path("key", pair[:at]), path("both", pair)
	other := path("other", storePair(t, testpki.SelfSigned([]string{"b.example"})))
	s := openStore(t, StoreOptions{})
	for _, tc := range []struct {
		why, cert, key string
		want           error
	}{
		{"no key", certs, "", ErrNoKey},
		{"no certificate", key, "", ErrNoCertificate},
		{"certificate file as key file", certs, certs, ErrNoKey},
		{"two keys", both, other, ErrManyKeys},
		{"absent", both, filepath.Join(dir, "absent"), os.ErrNotExist},
	} {
		_, err := s.Follow("x", tc.cert, tc.key)
		require.ErrorIs(t, err, tc.want, tc.why)
	}
	for _, pair := range [][2]string{{both, key}, {both, both}, {certs, both}} {
		_, err := s.Follow("x", pair[0], pair[1])
		require.NoError(t, err, "a key may stand in both")
		require.NoError(t, s.Remove("x", false))
	}
	_, err := s.Follow("", both, "")
	var field *FieldError
	require.ErrorAs(t, err, &field)
	require.NoError(t, os.Chmod(both, 0o644))
	r, err := s.Follow("x", both, "")
	require.NoError(t, err)
	require.Contains(t, codes(r.Findings), FindingKeyPermissions)
	_, err = openStore(t, StoreOptions{StrictPermissions: true}).Follow("x", both, "")
	require.ErrorIs(t, err, ErrExposed)
}

func TestExpiryEvents(t *testing.T) {
	clock := newStoreClock()
	start := clock.Now()
	root := testpki.NewRoot("Root", testpki.Valid(start, start.Add(900*day)))
	intermediate := root.Intermediate("Intermediate", testpki.Valid(start, start.Add(70*day)))
	custom := testpki.NewRoot("Custom", testpki.Valid(start, start.Add(45*day)))
	trust, err := NewTrustStore(TrustOptions{Now: clock.Now})
	require.NoError(t, err)
	_, err = trust.AddCertificates(custom.Cert, root.Cert)
	require.NoError(t, err)
	events := &storeEvents{}
	s := openStore(t, StoreOptions{Now: clock.Now, Events: events.add, Trust: trust})
	leaf := intermediate.Leaf([]string{"mx.example.com"}, testpki.Valid(start, start.Add(60*day)))
	_, err = s.ImportPEM("mx", storePair(t, leaf), ImportOptions{})
	require.NoError(t, err)
	next, err := s.PrepareNext("mx", NextOptions{})
	require.NoError(t, err)
	_, err = s.InstallNext("mx", storedPEM(signRequest(t, root, next.Request, testpki.Valid(start, start.Add(50*day)))), InstallOptions{})
	require.NoError(t, err)
	events.take()
	got := map[string][]int{} // subject and place to the days after the start
	for hour := range 75 * 24 {
		list, err := s.CheckExpiry()
		require.NoError(t, err)
		require.Equal(t, list, append([]Event(nil), events.take()...))
		for _, e := range list {
			key := e.Place + " " + string(e.Kind)
			got[key] = append(got[key], hour/24)
		}
		clock.advance(time.Hour)
	}
	after := func(end, until int) (days []int) {
		for d := end; d < until; d++ {
			days = append(days, d)
		}
		return days
	}
	require.Equal(t, map[string][]int{
		"current expiring": {30, 46, 53, 57, 59}, "current expired": after(60, 75),
		"next expiring": {20, 36, 43, 47, 49}, "next expired": after(50, 75),
		"issuer expiring": {40, 56, 63, 67, 69}, "issuer expired": after(70, 75),
		"custom list expiring": {15, 31, 38, 42, 44}, "custom list expired": after(45, 75),
	}, got)
	require.Contains(t, codes(detail(t, s, "mx").All), FindingExpired)
	_, err = s.Assign("https", "mx")
	require.NoError(t, err)
	require.NoError(t, s.Source("https").Ready(), "an expired certificate is still served")
}

// Found late, a certificate is told of once, and not once for each day that was missed.
func TestExpiryFoundLate(t *testing.T) {
	clock := newStoreClock()
	s := openStore(t, StoreOptions{Now: clock.Now})
	_, err := s.ImportPEM("mx", storePair(t, testpki.SelfSigned([]string{"a.example"}, testpki.Valid(clock.Now().Add(-day), clock.Now().Add(2*day)))), ImportOptions{})
	require.NoError(t, err)
	require.Contains(t, codes(detail(t, s, "mx").All), FindingExpiring)
	list, err := s.CheckExpiry()
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, EventExpiring, list[0].Kind)
	list, err = s.CheckExpiry()
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestWatchEnds(t *testing.T) {
	s := openStore(t, StoreOptions{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	require.ErrorIs(t, s.Watch(ctx, 0), context.Canceled)
}

func TestChapterDemonstration(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		clock, events := newStoreClock(), &storeEvents{}
		open := func() *Store {
			return openStore(t, StoreOptions{Storage: storage, Now: clock.Now, Events: events.add})
		}
		s := open()
		created(t, s, "a.example")
		_, err := s.Assign("ldap", "a.example")
		require.NoError(t, err)
		events.take()
		r, err := s.Demonstration()
		require.NoError(t, err)
		require.Equal(t, DemonstrationName, r.Name)
		require.Contains(t, codes(r.Findings), FindingDemonstration)
		d := detail(t, s, r.Name)
		require.Equal(t, OriginDemonstration, d.Origin)
		require.WithinDuration(t, clock.Now().Add(30*day), d.NotAfter, time.Hour)
		require.Equal(t, []EventKind{EventChanged}, events.kinds())
		for _, role := range []string{"https", "listener:Inboundmail"} {
			require.False(t, s.Source(role).Demonstration(), "only where the caller asks for it")
			findings, err := s.Assign(role, r.Name)
			require.NoError(t, err)
			require.Contains(t, codes(findings), FindingDemonstration)
			list := events.take()
			require.Len(t, list, 1)
			require.Equal(t, EventDemonstration, list[0].Kind)
			require.Equal(t, role, list[0].Role)
			require.Contains(t, list[0].String(), "not secure, not for general use")
			require.True(t, s.Source(role).Demonstration())
		}
		require.False(t, s.Source("ldap").Demonstration())
		s = open()
		require.Equal(t, []EventKind{EventDemonstration, EventDemonstration}, events.kinds(), "at every load, for each role")
		again, err := s.Demonstration()
		require.NoError(t, err)
		require.Equal(t, d.SHA256, detail(t, s, again.Name).SHA256, "made once for each store")
		clock.advance(31 * day)
		_, err = s.Demonstration()
		require.NoError(t, err)
		require.NotEqual(t, d.KeySHA256, detail(t, s, again.Name).KeySHA256, "anew after its end")
		other := openStore(t, StoreOptions{})
		_, err = other.Demonstration()
		require.NoError(t, err)
		require.NotEqual(t, d.KeySHA256, detail(t, other, DemonstrationName).KeySHA256, "no key is shared")
	})
	require.True(t, isDemonstration(&x509.Certificate{Subject: testpki.SelfSigned([]string{DemonstrationName}).Cert.Subject}))
}
