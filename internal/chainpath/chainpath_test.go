package chainpath

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func days(from, to int) testpki.Mod {
	return testpki.Valid(noon.AddDate(0, 0, from), noon.AddDate(0, 0, to))
}

func pool(roots ...*testpki.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	for _, r := range roots {
		p.AddCert(r.Cert)
	}
	return p
}

func TestExpiredStandsAlone(t *testing.T) {
	root := testpki.NewRoot("Root", days(-1000, 1000))
	other := testpki.NewRoot("Other", days(-1000, 1000))
	old := root.Intermediate("Old", days(-100, -5))
	refused := errors.New("refused")
	for _, c := range []struct {
		why    string
		leaf   *testpki.Leaf
		accept func([]*x509.Certificate) error
		alone  bool
		is     error
	}{
		{why: "expired", leaf: root.Leaf(nil, days(-20, -10)), alone: true},
		{why: "not yet valid", leaf: root.Leaf(nil, days(10, 20)), alone: true},
		{why: "expired, and nobody knows the authority", leaf: other.Leaf(nil, days(-20, -10))},
		{why: "expired, and its issuer too", leaf: old.Leaf(nil, days(-20, -10))},
		{why: "only the issuer is expired", leaf: old.Leaf(nil, days(-20, 20))},
		{why: "ends before it begins", leaf: root.Leaf(nil, days(10, -10)), is: ErrNeverValid},
		{why: "expired, and the path is refused", leaf: root.Leaf(nil, days(-20, -10)), accept: func([]*x509.Certificate) error { return refused }, is: refused},
	} {
		path, err := Verify(c.leaf.Chain(), Options{Roots: pool(root), Usage: x509.ExtKeyUsageServerAuth, Now: noon, Accept: c.accept})
		require.Error(t, err, c.why)
		require.Nil(t, path, c.why)
		require.Equal(t, c.alone, LeafExpired(err, c.leaf.Cert), "%s: %v", c.why, err)
		if c.is != nil {
			require.ErrorIs(t, err, c.is, c.why)
		}
	}
	// A fraction of a second belongs to the second in which the validity ends.
	leaf := root.Leaf(nil, days(-1, 0))
	_, err := Verify(leaf.Chain(), Options{Roots: pool(root), Usage: x509.ExtKeyUsageServerAuth, Now: noon.Add(time.Second - 1)})
	require.NoError(t, err)
}

// TestExpiredIssuerCalledLeaf: the verifier of macOS names the leaf whichever
// certificate it means.
func TestExpiredIssuerCalledLeaf(t *testing.T) {
	leaf := testpki.NewRoot("Root", days(-1000, 1000)).Leaf(nil, days(-1, 1))
	said := x509.CertificateInvalidError{Cert: leaf.Cert, Reason: x509.Expired}
	err := (&Options{}).besidesDates(leaf.Cert, x509.VerifyOptions{CurrentTime: noon}, said)
	require.Error(t, err)
	require.False(t, LeafExpired(err, leaf.Cert))
}

func TestPreference(t *testing.T) {
	near, far, narrow := testpki.NewRoot("Near", days(-1000, 1000)), testpki.NewRoot("Far", days(-1000, 1000)), testpki.NewRoot("Narrow", days(-1000, 1000))
	inner := near.Intermediate("Inner", days(-500, 500))
	leaf := inner.Leaf([]string{"a.example"}, days(-1, 1))
	sameKey := testpki.Key(inner.Key)
	middle := far.Intermediate("Middle", days(-500, 500))
	long := middle.Intermediate("Inner", sameKey, days(-500, 500))
	constrained := narrow.Intermediate("Inner", sameKey, days(-500, 500), testpki.Template(func(c *x509.Certificate) {
		c.PermittedDNSDomains = []string{"a.example"}
	}))
	notFar := func(path []*x509.Certificate) error {
		if path[len(path)-1].Equal(far.Cert) {
			return errors.New("not that one")
		}
		return nil
	}
	for _, c := range []struct {
		why    string
		sent   []*x509.Certificate
		roots  []*testpki.Authority
		accept func([]*x509.Certificate) error
		want   *x509.Certificate
	}{
		{"the shortest", []*x509.Certificate{inner.Cert, long.Cert, middle.Cert}, []*testpki.Authority{near, far}, nil, near.Cert},
		{"longer, but without constraints", []*x509.Certificate{constrained.Cert, long.Cert, middle.Cert}, []*testpki.Authority{narrow, far}, nil, far.Cert},
		{"with constraints if the other is refused", []*x509.Certificate{constrained.Cert, long.Cert, middle.Cert}, []*testpki.Authority{narrow, far}, notFar, narrow.Cert},
	} {
		for range 2 {
			chain := append([]*x509.Certificate{leaf.Cert}, c.sent...)
			path, err := Verify(chain, Options{Roots: pool(c.roots...), Usage: x509.ExtKeyUsageServerAuth, Now: noon, Accept: c.accept})
			require.NoError(t, err, c.why)
			require.Equal(t, c.want, path[len(path)-1], c.why)
			require.Equal(t, leaf.Cert, path[0])
			slices.Reverse(c.sent)
			slices.Reverse(c.roots)
		}
	}
}

func TestValidity(t *testing.T) {
	root := testpki.NewRoot("Root", days(-1000, 1000))
	inner := root.Intermediate("Inner", days(-5, 50))
	from, to := Validity(append(inner.Leaf(nil, days(-9, 90)).Chain(), root.Cert))
	require.Equal(t, inner.Cert.NotBefore, from)
	require.Equal(t, inner.Cert.NotAfter, to)
}

func ExampleVerify() {
	root := testpki.NewRoot("Example CA")
	leaf := root.Leaf([]string{"mx.example.com"})
	path, err := Verify(leaf.Chain(), Options{Roots: pool(root), Usage: x509.ExtKeyUsageServerAuth, Now: time.Now()})
	fmt.Println(len(path), err)
	// Output: 2 <nil>
}
