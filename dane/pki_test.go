package dane

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

const testHost = "mx.example.com"

// now is the time at which tests judge. testpki makes certificates that are
// valid an hour before and thirty days after they were made.
var now = time.Now()

func record(t testing.TB, u Usage, s Selector, m MatchingType, cert *x509.Certificate) Record {
	t.Helper()
	r, err := NewRecord(u, s, m, cert)
	require.NoError(t, err)
	return r
}

// Short forms of what appears most.
func ee311(t testing.TB, cert *x509.Certificate) Record { return record(t, 3, 1, 1, cert) }
func ta211(t testing.TB, cert *x509.Certificate) Record { return record(t, 2, 1, 1, cert) }

func refIDs(t testing.TB, base string, more ...string) RefIDs {
	t.Helper()
	ids, err := NewRefIDs(base, more...)
	require.NoError(t, err)
	return ids
}

func verifier(t testing.TB, o Options, records ...Record) *Verifier {
	t.Helper()
	v, err := NewVerifier(records, o)
	require.NoError(t, err)
	return v
}

// judge verifies for testHost with a fresh Verifier, and demands that Explain,
// Err and a cache agree with Verify.
func judge(t testing.TB, o Options, records []Record, chain []*x509.Certificate) Result {
	t.Helper()
	return judgeNames(t, o, records, chain, refIDs(t, testHost), now)
}

func judgeNames(t testing.TB, o Options, records []Record, chain []*x509.Certificate, ids RefIDs, now time.Time) Result {
	t.Helper()
	v := verifier(t, o, records...)
	r := v.Verify(chain, ids, now)
	consistent(t, v, r, chain, ids, now)

	o.Cache = NewChainCache(0, 0)
	cached := verifier(t, o, records...)
	sameResult(t, r, cached.Verify(chain, ids, now), "with an empty cache")
	sameResult(t, r, cached.Verify(chain, ids, now), "with a warm cache")
	return r
}

// sameResult compares all that a caller sees.
func sameResult(t testing.TB, want, got Result, why string) {
	t.Helper()
	want.verifier, got.verifier, want.failure, got.failure = nil, nil, nil, nil
	require.Equal(t, want, got, why)
}

// consistent demands what holds for every Result.
func consistent(t testing.TB, v *Verifier, r Result, chain []*x509.Certificate, ids RefIDs, now time.Time) {
	t.Helper()
	explained := v.Explain(chain, ids, now)
	require.Len(t, explained, len(v.input))
	satisfied := false
	for i, status := range explained {
		require.True(t, status.Record.Equal(v.input[i].Record))
		satisfied = satisfied || status.Reason == ReasonNone
	}
	require.Equal(t, r.Status == Matched, satisfied, "Explain and Verify: %v %v", r, explained)
	err := r.Err()
	if r.Status == Matched {
		require.NoError(t, err)
		require.Equal(t, ReasonNone, r.Reason)
		require.True(t, r.Record.Equal(v.input[r.Index].Record))
		require.Equal(t, ReasonNone, explained[r.Index].Reason)
		require.GreaterOrEqual(t, r.Depth, 0)
		require.Equal(t, r.Record.Usage == UsageDANEEE, r.Name == "")
		return
	}
	require.Equal(t, -1, r.Index)
	require.Equal(t, -1, r.Depth)
	require.Equal(t, Record{}, r.Record)
	require.Empty(t, r.Name)
	require.NotEqual(t, ReasonNone, r.Reason)
	var failed *VerifyError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, r.Status, failed.Status)
	require.Equal(t, r.Reason, failed.Reason)
	require.Equal(t, explained, failed.Records)
	require.True(t, failed.Temporary())
	if r.Status == Unusable {
		require.ErrorIs(t, err, ErrUnusable)
		require.NotErrorIs(t, err, ErrMismatch)
	} else {
		require.ErrorIs(t, err, ErrMismatch)
		require.NotErrorIs(t, err, ErrUnusable)
	}
}

// matched demands a match by the record of this index at this depth.
func matched(t testing.TB, r Result, index, depth int, why string) {
	t.Helper()
	require.Equal(t, Matched, r.Status, "%s: %s", why, r.Reason)
	require.Equal(t, index, r.Index, why)
	require.Equal(t, depth, r.Depth, why)
}

func mismatched(t testing.TB, r Result, reason Reason, why string) {
	t.Helper()
	require.Equal(t, Mismatched, r.Status, why)
	require.Equal(t, reason.String(), r.Reason.String(), why)
}

func serial(certs ...*x509.Certificate) []*x509.Certificate { return certs }

func newLeaf(a *testpki.Authority, mods ...testpki.Mod) *testpki.Leaf {
	return a.Leaf([]string{testHost}, mods...)
}
