package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/chainpath"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// trustChainVerifier is the interface that package tlspolicy asks for, as it is
// declared there.
type trustChainVerifier interface {
	VerifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage) (path []*x509.Certificate, err error)
}

type trustGenerations interface{ Generation() uint64 }

var (
	_ trustChainVerifier = (*TrustStore)(nil)
	_ trustChainVerifier = (*Snapshot)(nil)
	_ trustGenerations   = (*TrustStore)(nil)
	_ trustGenerations   = (*Snapshot)(nil)
)

func TestVerifyChainOfAPeer(t *testing.T) {
	root, other := trustRoot("Root"), trustRoot("Other")
	inner := root.Intermediate("Inner", trustValid(-500, 500))
	deep := inner.Intermediate("Deep", trustValid(-400, 400))
	leaf := deep.Leaf([]string{"example.com"}, trustValid(-10, 10))
	good := leaf.Chain()
	constrained := root.Intermediate("Constrained", trustValid(-500, 500), testpki.Template(func(c *x509.Certificate) {
		c.PermittedDNSDomains = []string{"example.net"}
	}))
	usage := func(usages ...x509.ExtKeyUsage) testpki.Mod {
		return testpki.Template(func(c *x509.Certificate) { c.ExtKeyUsage = usages })
	}
	repeated := func(n int) []*x509.Certificate {
		chain := good
		for len(chain) < n {
			chain = append(chain[:len(chain):len(chain)], other.Cert)
		}
		return chain
	}
	store := openTrust(t, TrustOptions{System: trustSourceOf(root)})
	for _, tc := range []struct {
		why   string
		chain []*x509.Certificate
		ok    bool
		is    error
	}{
		{"in order", good, true, nil},
		{"intermediates in reverse", []*x509.Certificate{good[0], good[2], good[1]}, true, nil},
		{"with root and strangers", append(leaf.ChainWithRoot(), other.Cert), true, nil},
		{"as many as are looked at", repeated(MaxPeerCertificates), true, nil},
		{"one more", repeated(MaxPeerCertificates + 1), false, ErrTooLarge},
		{"an intermediate missing", good[:2], false, nil},
		{"somebody else's leaf first", []*x509.Certificate{other.Cert, good[0], good[1], good[2]}, false, nil},
		{"none", nil, false, ErrNoCertificate},
		{"nil", []*x509.Certificate{good[0], nil}, false, ErrMalformed},
		{"not parsed", []*x509.Certificate{{}}, false, ErrMalformed},
		{"a self-made root of the same name", trustRoot("Root").Leaf([]string{"example.com"}, trustValid(-1, 1)).ChainWithRoot(), false, nil},
		{"for clients only", root.Leaf([]string{"example.com"}, trustValid(-1, 1), usage(x509.ExtKeyUsageClientAuth)).Chain(), false, nil},
		{"for any use", root.Leaf([]string{"example.com"}, trustValid(-1, 1), usage(x509.ExtKeyUsageAny)).Chain(), true, nil},
		{"outside of the name constraints", constrained.Leaf([]string{"example.com"}, trustValid(-1, 1)).Chain(), false, nil},
		{"inside of the name constraints", constrained.Leaf([]string{"example.net"}, trustValid(-1, 1)).Chain(), true, nil},
		{"a leaf that signs", (&testpki.Authority{Cert: leaf.Cert, Key: leaf.Key, Issuer: deep}).Leaf([]string{"a.example"}, trustValid(-1, 1)).Chain(), false, nil},
	} {
		for range 2 { // the second time from the cache, if it was good
			path, err := store.VerifyChain(tc.chain, trustServer)
			require.Equal(t, tc.ok, err == nil, "%s: %v", tc.why, err)
			if tc.ok {
				require.Equal(t, tc.chain[0], path[0], tc.why)
				require.Equal(t, root.Cert, path[len(path)-1], tc.why)
			}
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is, tc.why)
			}
		}
	}
	_, err := store.VerifyChain(good, x509.ExtKeyUsageClientAuth)
	require.Error(t, err, "a hit for one usage is none for another")
	path, err := store.VerifyChain(good, x509.ExtKeyUsageAny)
	require.NoError(t, err)
	require.Equal(t, leaf.ChainWithRoot(), path)
}

// TestPreferredPath of several: without name constraints, then the shortest,
// whatever the order in which the peer sends.
func TestPreferredPath(t *testing.T) {
	near, far, narrow := trustRoot("Near"), trustRoot("Far"), trustRoot("Narrow")
	inner := near.Intermediate("Inner", trustValid(-500, 500))
	leaf := inner.Leaf([]string{"a.example"}, trustValid(-1, 1))
	sameKey := testpki.Key(inner.Key)
	middle := far.Intermediate("Middle", trustValid(-500, 500))
	long := middle.Intermediate("Inner", sameKey, trustValid(-500, 500))
	constrained := narrow.Intermediate("Inner", sameKey, trustValid(-500, 500), testpki.Template(func(c *x509.Certificate) {
		c.PermittedDNSDomains = []string{"a.example"}
	}))
	for _, tc := range []struct {
		why   string
		sent  []*x509.Certificate
		roots []*testpki.Authority
		want  *x509.Certificate
	}{
		{"the shortest", []*x509.Certificate{inner.Cert, long.Cert, middle.Cert}, []*testpki.Authority{near, far}, near.Cert},
		{"longer, but without constraints", []*x509.Certificate{constrained.Cert, long.Cert, middle.Cert}, []*testpki.Authority{narrow, far}, far.Cert},
		{"with constraints if there is no other", []*x509.Certificate{constrained.Cert, long.Cert, middle.Cert}, []*testpki.Authority{narrow}, narrow.Cert},
	} {
		for range 2 {
			store := openTrust(t, TrustOptions{System: trustSourceOf(tc.roots...)})
			path, err := store.VerifyChain(append([]*x509.Certificate{leaf.Cert}, tc.sent...), trustServer)
			require.NoError(t, err, tc.why)
			require.Equal(t, tc.want, path[len(path)-1], tc.why)
			slices.Reverse(tc.sent)
			slices.Reverse(tc.roots)
		}
	}
}

// TestExpiredIsReportedAlone: only when the leaf's dates are the sole defect.
func TestExpiredIsReportedAlone(t *testing.T) {
	root, other := trustRoot("Root"), trustRoot("Other")
	old := root.Intermediate("Old", trustValid(-100, -5))
	limited := trustRoot("Limited")
	source := trustSourceOf(root, limited)
	source.list.Roots[1].DistrustAfter = trustDays(-50)
	store := openTrust(t, TrustOptions{System: source})
	for _, tc := range []struct {
		why     string
		leaf    *testpki.Leaf
		expired bool
	}{
		{"expired", root.Leaf(nil, trustValid(-20, -10)), true},
		{"not yet valid", root.Leaf(nil, trustValid(10, 20)), true},
		{"expired and unknown", other.Leaf(nil, trustValid(-20, -10)), false},
		{"expired, and its issuer too", old.Leaf(nil, trustValid(-20, -10)), false},
		{"expired, for clients", root.Leaf(nil, trustValid(-20, -10), testpki.Template(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		})), false},
		{"only the issuer is expired", old.Leaf(nil, trustValid(-20, 20)), false},
		{"ends before it begins", root.Leaf(nil, testpki.Template(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = trustDays(10), trustDays(-10)
		})), false},
		{"expired, and the root was distrusted when it was issued", limited.Leaf(nil, trustValid(-20, -10)), false},
		{"expired, issued before the root was distrusted", limited.Leaf(nil, trustValid(-60, -10)), true},
	} {
		_, err := store.VerifyChain(tc.leaf.Chain(), trustServer)
		require.Error(t, err, tc.why)
		require.Equal(t, tc.expired, chainpath.LeafExpired(err, tc.leaf.Cert), "%s: %v", tc.why, err)
	}
}

// TestConstrainedRoot: before and after its date, alone and with a copy in the
// custom list, in our verification and in the pool that is handed out.
func TestConstrainedRoot(t *testing.T) {
	root := trustRoot("Limited")
	cutoff := trustDays(-30).Add(time.Second / 2) // the fraction does not matter
	source := trustSourceOf(root)
	source.list.Roots[0].DistrustAfter = cutoff
	young := root.Intermediate("Young", trustValid(-29, 500))
	leaves := []struct {
		why  string
		leaf *testpki.Leaf
		old  bool
	}{
		{"issued before the date", root.Leaf([]string{"a.example"}, trustValid(-31, 10)), true},
		{"issued at the date", root.Leaf([]string{"a.example"}, trustValid(-30, 10)), true},
		{"issued a second later", root.Leaf([]string{"a.example"}, testpki.Valid(trustDays(-30).Add(time.Second), trustDays(10))), false},
		{"below an intermediate issued later", young.Leaf([]string{"a.example"}, trustValid(-31, 10)), false},
	}
	for _, tc := range []struct {
		why    string
		custom string
		lifts  bool
	}{
		{"alone", "", false},
		{"with a custom copy", trustPEM(root.Cert), true},
		{"with a copy that keeps the date", distrustLine(root.Cert, cutoff) + trustPEM(root.Cert), false},
		{"with a copy that has a later date", distrustLine(root.Cert, trustDays(-1)) + trustPEM(root.Cert), true},
	} {
		store := openTrust(t, TrustOptions{System: source})
		if tc.custom != "" {
			report := trustImport(t, store, tc.custom)
			require.Equal(t, tc.lifts, slices.Contains(trustCodes(report.Findings, root.Cert), FindingLiftsConstraint), tc.why)
			authorities, err := store.Authorities(CustomCAs)
			require.NoError(t, err)
			require.Equal(t, tc.lifts, slices.Contains(trustCodes(authorities[0].Findings, root.Cert), FindingLiftsConstraint), tc.why)
		}
		authorities, err := store.Authorities(SystemCAs)
		require.NoError(t, err)
		require.Equal(t, trustDays(-30), authorities[0].DistrustAfter)
		for _, l := range leaves {
			ok := l.old || tc.lifts
			_, err := store.VerifyChain(l.leaf.Chain(), trustServer)
			require.Equal(t, ok, err == nil, "%s, %s", tc.why, l.why)
			if !ok {
				var constraint *ConstraintError
				require.ErrorAs(t, err, &constraint, "%s, %s", tc.why, l.why)
				require.Equal(t, root.Cert, constraint.Root)
				require.Equal(t, trustDays(-30), constraint.Cutoff)
				var unknown x509.UnknownAuthorityError
				require.ErrorAs(t, err, &unknown, "%s, %s", tc.why, l.why)
			}
			inner := x509.NewCertPool()
			for _, cert := range l.leaf.Chain()[1:] {
				inner.AddCert(cert)
			}
			_, err = l.leaf.Cert.Verify(x509.VerifyOptions{Roots: store.Snapshot().Pool(), Intermediates: inner, CurrentTime: trustNoon})
			require.Equal(t, ok, err == nil, "in the pool: %s, %s", tc.why, l.why)
			if len(l.leaf.Chain()) == 1 {
				require.Equal(t, ok, store.Anchored(l.leaf.Cert), "anchored: %s, %s", tc.why, l.why)
			}
		}
		// The custom copy counts only while its list does.
		require.NoError(t, store.Enable(CustomCAs, false))
		_, err = store.VerifyChain(leaves[2].leaf.Chain(), trustServer)
		var constraint *ConstraintError
		require.ErrorAs(t, err, &constraint, tc.why)
		require.NoError(t, store.Enable(CustomCAs, true))
		require.NoError(t, store.Enable(SystemCAs, false))
		_, err = store.VerifyChain(leaves[0].leaf.Chain(), trustServer)
		require.Equal(t, tc.custom != "", err == nil, tc.why)
	}
	// A path around the constrained root is taken.
	cross := trustRoot("Cross")
	bridge := cross.Intermediate("Limited", testpki.Key(root.Key), trustValid(-20, 500))
	source.list.Roots = append(source.list.Roots, Root{Certificate: cross.Cert})
	store := openTrust(t, TrustOptions{System: source})
	path, err := store.VerifyChain(append(leaves[2].leaf.Chain(), bridge.Cert), trustServer)
	require.NoError(t, err)
	require.Equal(t, cross.Cert, path[len(path)-1])
	// An update of the system list that brings a constraint which the custom
	// list lifts is reported.
	store = openTrust(t, TrustOptions{System: trustSourceOf(root)})
	trustImport(t, store, trustPEM(root.Cert))
	report, err := store.ReplaceSystem(source, ReplaceOptions{})
	require.NoError(t, err)
	require.Contains(t, trustCodes(report.Findings, root.Cert), FindingLiftsConstraint)
}

// TestPinnedPeerWithDistrust: a self-signed peer below its own date.
func TestPinnedPeerWithDistrust(t *testing.T) {
	peer := testpki.SelfSigned([]string{"mx.example"}, trustValid(-1, 1))
	store := openTrust(t, TrustOptions{})
	trustImport(t, store, distrustLine(peer.Cert, trustDays(-2))+trustPEM(peer.Cert))
	_, err := store.VerifyChain([]*x509.Certificate{peer.Cert}, trustServer)
	var constraint *ConstraintError
	require.ErrorAs(t, err, &constraint)
}

// TestVerifiedChainCache: what is remembered, and until when.
func TestVerifiedChainCache(t *testing.T) {
	root := trustRoot("Root")
	inner := root.Intermediate("Inner", trustValid(-500, 2))
	leaf := inner.Leaf([]string{"a.example"}, trustValid(-10, 10))
	clock := newTrustClock(trustNoon)
	store := openTrust(t, TrustOptions{System: trustSourceOf(root), Now: clock.now})
	hits := func() int { return store.Snapshot().cache.Len() }

	first, err := store.VerifyChain(leaf.Chain(), trustServer)
	require.NoError(t, err)
	require.Equal(t, 1, hits())
	second, err := store.VerifyChain(leaf.Chain(), trustServer)
	require.NoError(t, err)
	require.Same(t, &first[0], &second[0], "a hit returns the path of the miss")
	_, err = store.VerifyChain(leaf.Chain()[:1], trustServer)
	require.Error(t, err)
	require.Equal(t, 1, hits(), "failures are not kept")

	clock.set(trustDays(1.9))
	again, err := store.VerifyChain(leaf.Chain(), trustServer)
	require.NoError(t, err)
	require.NotSame(t, &first[0], &again[0], "too old: verified anew")
	clock.set(trustDays(2).Add(999 * time.Millisecond))
	_, err = store.VerifyChain(leaf.Chain(), trustServer)
	require.NoError(t, err, "the last second of the intermediate")
	clock.set(trustDays(2).Add(time.Second))
	_, err = store.VerifyChain(leaf.Chain(), trustServer)
	require.Error(t, err, "an entry ends with the earliest certificate of its path")
	clock.set(trustDays(-11))
	_, err = store.VerifyChain(leaf.Chain(), trustServer)
	require.True(t, chainpath.LeafExpired(err, leaf.Cert), "a clock that steps back is honoured: %v", err)

	for entries, want := range map[int]int{-1: 0, 0: 3, 2: 2, 1 << 30: 3} {
		store := openTrust(t, TrustOptions{System: trustSourceOf(root), CacheEntries: entries})
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageAny, trustServer} {
			_, err := store.VerifyChain(leaf.Chain(), usage)
			require.NoError(t, err)
		}
		_, err := store.VerifyChain(leaf.ChainWithRoot(), trustServer)
		require.NoError(t, err)
		require.Equal(t, want, store.Snapshot().cache.Len(), "%d entries", entries)
	}
}

// TestReadersDuringSwaps: a hundred readers see one whole list or the other while
// a thousand changes happen. Run it with the race detector.
func TestReadersDuringSwaps(t *testing.T) {
	const readers, swaps = 100, 1000
	type side struct {
		text string
		leaf *testpki.Leaf
		cert *x509.Certificate
	}
	var sides [2]side
	for i := range sides {
		root := trustRoot([]string{"Even", "Odd"}[i])
		sides[i] = side{trustPEM(root.Cert), root.Leaf([]string{"a.example"}, trustValid(-1, 1)), root.Cert}
	}
	store := openTrust(t, TrustOptions{Storage: &trustMemory{}})
	trustImport(t, store, sides[0].text)
	// Readers are woken by a swap and read while the next ones happen, so that
	// they do not take all of the processor from the writer.
	var swapped atomic.Pointer[chan struct{}]
	first := make(chan struct{})
	swapped.Store(&first)
	var done atomic.Bool
	var wg sync.WaitGroup
	started := make(chan struct{}, readers)
	for range readers {
		wg.Go(func() {
			started <- struct{}{}
			last := uint64(0)
			for !done.Load() {
				next := *swapped.Load()
				s := store.Snapshot()
				_, err0 := s.VerifyChain(sides[0].leaf.Chain(), trustServer)
				_, err1 := s.VerifyChain(sides[1].leaf.Chain(), trustServer)
				if (err0 == nil) == (err1 == nil) {
					t.Errorf("a blend: %v, %v", err0, err1)
				}
				text, err := s.PEM(trustSum(sides[0].cert))
				if (err == nil) != (err0 == nil) || err == nil && string(text) != sides[0].text {
					t.Errorf("the view differs from the trust: %v", err)
				}
				if g := s.Generation(); g < last {
					t.Errorf("generation %d after %d", g, last)
				} else {
					last = g
				}
				<-next
			}
		})
	}
	for range readers {
		<-started
	}
	for i := range swaps {
		trustImport(t, store, sides[(i+1)%2].text)
		done.Store(i == swaps-1)
		next := make(chan struct{})
		close(*swapped.Swap(&next))
	}
	close(*swapped.Load()) // for readers that came after the last swap
	wg.Wait()
	require.Equal(t, uint64(swaps+2), store.Generation())
	requireTrusted(t, store, sides[0].leaf, "the last of an even number of swaps")
	requireUntrusted(t, store, sides[1].leaf, "the last of an even number of swaps")
}

// TestInAHandshake: the store decides about a TLS server.
func TestInAHandshake(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := root.Intermediate("Inner").Leaf([]string{"mx.example"})
	store := openTrust(t, TrustOptions{System: trustSourceOf(root), Now: time.Now})
	dial := func() error {
		client, server := net.Pipe()
		defer client.Close()
		served := make(chan error, 1)
		go func() {
			defer server.Close()
			served <- tls.Server(server, &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}}).Handshake()
		}()
		err := tls.Client(client, &tls.Config{
			InsecureSkipVerify: true,
			VerifyConnection: func(cs tls.ConnectionState) error {
				_, err := store.VerifyChain(cs.PeerCertificates, trustServer)
				return err
			},
		}).Handshake()
		client.Close()
		<-served
		return err
	}
	require.NoError(t, dial())
	require.NoError(t, dial())
	require.NoError(t, store.Enable(SystemCAs, false))
	var unknown x509.UnknownAuthorityError
	require.True(t, errors.As(dial(), &unknown))
}
