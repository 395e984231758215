package mtasts

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// randomEntry is an entry that a client could have, with few different values so
// that entries have much in common.
func randomEntry(random *rand.Rand) *Entry {
	at := func() time.Time { return epoch.Add(time.Duration(random.IntN(4)) * time.Hour) }
	e := entry{Domain: "example.com", SeenAt: at(), NextCheck: at(), LastGET: at(), LastUsed: at(), Version: Version(random.IntN(3))}
	fail := func() failure {
		if random.IntN(2) == 0 {
			return fetchFailure(e.Domain, OutcomeFetchError+Outcome(random.IntN(3)), ReasonStatus, nil)
		}
		return fetchFailure(e.Domain, OutcomeFetchError, ReasonConnect, nil)
	}
	switch random.IntN(3) {
	case 0:
		e.Check = recordFailure(e.Domain, OutcomeNoRecord+Outcome(random.IntN(4)), ReasonRecordAbsent, nil)
	case 1:
		e.Check = fail()
	}
	if random.IntN(3) > 0 {
		e.SeenID = fmt.Sprint(random.IntN(3))
	}
	if random.IntN(4) > 0 {
		e.FetchedAt = at()
		if random.IntN(4) > 0 {
			e.AppliedID = fmt.Sprint(random.IntN(2))
			e.Expires = e.FetchedAt.Add(time.Duration(random.IntN(3)) * time.Hour)
			e.Body = []byte(fmt.Sprintf("version: STSv1\nmode: none\nmax_age: %d\n", 1+random.IntN(3)))
			e.Policy, e.Warnings, _ = readPolicy(Tolerant, e.Body)
		}
	}
	for _, i := range random.Perm(6)[:random.IntN(5)] {
		if a := at(); !a.Before(e.FetchedAt) {
			e.Backoff = append(e.Backoff, attempt{ID: fmt.Sprint(i), Failures: 1 + random.IntN(3), At: a, Until: a.Add(time.Hour), Last: fail()})
		}
	}
	for _, i := range random.Perm(6)[:random.IntN(5)] {
		e.IDs = append(e.IDs, idAt{fmt.Sprint(i), at()})
	}
	return Merge(&Entry{e}, &Entry{e}) // in the order in which lists are kept
}

func text(t *testing.T, e *Entry) string {
	t.Helper()
	b, err := e.MarshalText()
	require.NoError(t, err)
	return string(b)
}

// TestMerge: commutative, associative, idempotent.
func TestMerge(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		a, b, c := randomEntry(random), randomEntry(random), randomEntry(random)
		require.Equal(t, text(t, a), text(t, Merge(a, a)), "idempotent")
		require.Equal(t, text(t, Merge(a, b)), text(t, Merge(b, a)), "commutative")
		require.Equal(t, text(t, Merge(Merge(a, b), c)), text(t, Merge(a, Merge(b, c))), "associative")
	}
}

func TestMergeParts(t *testing.T) {
	later := epoch.Add(time.Hour)
	policy := func(at time.Time, body string) entry {
		p, _, err := readPolicy(Tolerant, []byte(body))
		require.NoError(t, err)
		return entry{Domain: "d.example", Policy: p, Body: []byte(body), AppliedID: "1", FetchedAt: at, Expires: at.Add(time.Hour), SeenAt: at}
	}
	const none, enforce = "version:STSv1\nmode:none\nmax_age:3600", "version:STSv1\nmode:enforce\nmx:a\nmax_age:3600"
	strict, lax := policy(epoch, enforce), policy(later, none)
	got := mergeEntries(strict, lax)
	require.Equal(t, ModeNone, got.Policy.Mode, "the policy fetched later, not the stricter one")
	dropped := strict
	dropped.FetchedAt = later
	dropped.dropPolicy()
	require.Nil(t, mergeEntries(strict, dropped).Policy, "a policy that was replaced by one that is not kept does not come back")
	failing := strict
	failing.Backoff = []attempt{{ID: "1", Failures: 3, At: epoch.Add(time.Minute), Until: later}}
	require.Len(t, mergeEntries(strict, failing).Backoff, 1)
	require.Empty(t, mergeEntries(failing, lax).Backoff, "the later success has cleared it")
	checked := strict
	checked.SeenAt, checked.SeenID, checked.LastUsed = later, "9", later
	got = mergeEntries(checked, strict)
	require.Equal(t, "9", got.SeenID)
	require.Equal(t, later, got.LastUsed)
}

func TestDocument(t *testing.T) {
	e := &Entry{entry{
		Domain: "example.com", Version: 7, AppliedID: "a1", FetchedAt: epoch, Expires: epoch.Add(time.Hour), SeenID: "b2", SeenAt: epoch, NextCheck: epoch.Add(time.Minute),
		Check: fetchFailure("example.com", OutcomeWebPKI, ReasonCert, nil), LastGET: epoch, LastUsed: epoch, Body: []byte(goodBody),
		Backoff: []attempt{{ID: "b2", Failures: 2, At: epoch, Until: epoch.Add(10 * time.Minute), Last: fetchFailure("example.com", OutcomeWebPKI, ReasonCert, nil)}},
		IDs:     []idAt{{"b2", epoch}},
	}}
	e.entry.Policy, e.entry.Warnings, _ = readPolicy(Tolerant, e.entry.Body)
	const want = `mtasts-entry 1
domain example.com
version 7
applied-id a1
fetched 2030-01-01T00:00:00Z
expires 2030-01-01T01:00:00Z
seen-id b2
seen 2030-01-01T00:00:00Z
next-check 2030-01-01T00:01:00Z
check webpki cert
last-get 2030-01-01T00:00:00Z
last-used 2030-01-01T00:00:00Z
backoff b2 2 2030-01-01T00:00:00Z 2030-01-01T00:10:00Z webpki cert
id b2 2030-01-01T00:00:00Z
body 63
`
	got := text(t, e)
	require.True(t, strings.HasPrefix(got, want+"sha256 "), got)
	require.True(t, strings.HasSuffix(got, "\n\n"+goodBody), got)
	var again Entry
	require.NoError(t, again.UnmarshalText([]byte(got)))
	require.Equal(t, e, &again)
	require.Equal(t, "example.com", again.Domain())
	require.Equal(t, Version(7), again.Version())
	require.Equal(t, Version(8), again.WithVersion(8).Version())
	require.Equal(t, Version(7), again.Version())
	require.Equal(t, epoch.Add(25*time.Hour), again.KeepUntil())
	require.ErrorIs(t, again.entry.Check.Err, ErrWebPKI)
	require.ErrorIs(t, again.entry.Check.Later, ErrBackoff)
}

// TestDocumentDamage: no octet can be lost or changed unnoticed.
func TestDocumentDamage(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		whole := text(t, randomEntry(random))
		for n := range len(whole) {
			require.ErrorIs(t, new(Entry).UnmarshalText([]byte(whole[:n])), ErrCorrupt, "cut at %d", n)
			changed := []byte(whole)
			changed[n] ^= 1
			err := new(Entry).UnmarshalText(changed)
			require.Error(t, err, "changed at %d", n)
			if n > len(entrySchema) {
				require.ErrorIs(t, err, ErrCorrupt, "changed at %d", n)
			}
		}
		require.ErrorIs(t, new(Entry).UnmarshalText([]byte(whole+"x")), ErrCorrupt)
	}
	require.ErrorIs(t, new(Entry).UnmarshalText([]byte("mtasts-entry 2\nanything")), ErrSchema)
}

// sealed puts the right checksum behind header lines of the test's choice.
func sealed(header, body string) []byte {
	return []byte(header + "sha256 " + checksum([]byte(header), []byte(body)) + "\n\n" + body)
}

func TestDocumentRefuses(t *testing.T) {
	const head = "mtasts-entry 1\ndomain d.example\nversion 1\n"
	const policy = "applied-id 1\nfetched 2030-01-01T00:00:00Z\nexpires 2030-01-01T00:00:01Z\n"
	require.NoError(t, new(Entry).UnmarshalText(sealed(head+"body 0\n", "")))
	require.NoError(t, new(Entry).UnmarshalText(sealed(head+policy+"body 63\n", goodBody)))
	for _, tc := range []struct{ why, header, body string }{
		{"unknown line", head + "colour red\nbody 0\n", ""},
		{"word too many", head + "seen-id 1 2\nbody 0\n", ""},
		{"word missing", head + "seen-id\nbody 0\n", ""},
		{"no length", head, ""},
		{"wrong length", head + "body 1\n", ""},
		{"domain that is none", "mtasts-entry 1\ndomain ../../etc\nversion 1\nbody 0\n", ""},
		{"domain not normal", "mtasts-entry 1\ndomain D.example\nversion 1\nbody 0\n", ""},
		{"no domain", "mtasts-entry 1\nversion 1\nbody 0\n", ""},
		{"negative version", "mtasts-entry 1\ndomain d.example\nversion -1\nbody 0\n", ""},
		{"time that is none", head + "seen yesterday\nbody 0\n", ""},
		{"time not in UTC", head + "seen 2030-01-01T00:00:00+01:00\nbody 0\n", ""},
		{"failure that is none", head + "check enforce x\nbody 0\n", ""},
		{"body without policy", head + "body 63\n", goodBody},
		{"policy without body", head + policy + "body 0\n", ""},
		{"body that is no policy", head + policy + "body 5\n", "hello"},
		{"policy without dates", head + "applied-id 1\nbody 63\n", goodBody},
		{"validity of two years", head + "applied-id 1\nfetched 2030-01-01T00:00:00Z\nexpires 2032-01-01T00:00:01Z\nbody 63\n", goodBody},
		{"five back-offs", head + strings.Repeat("backoff x 1 2030-01-01T00:00:00Z 2030-01-01T00:00:00Z webpki cert\n", 5) + "body 0\n", ""},
	} {
		require.ErrorIs(t, new(Entry).UnmarshalText(sealed(tc.header, tc.body)), ErrCorrupt, tc.why)
	}
}

// FuzzEntry: what reads as an entry is written again octet for octet. The input
// is sealed first, so that the fuzzer gets past the checksum.
func FuzzEntry(f *testing.F) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 10 {
		b, _ := randomEntry(random).MarshalText()
		header, body, _ := strings.Cut(string(b), "\n\n")
		f.Add(header[:strings.LastIndexByte(header, '\n')+1], body)
	}
	f.Fuzz(func(t *testing.T, header, body string) {
		_ = new(Entry).UnmarshalText([]byte(header))
		in := sealed(header, body)
		var e Entry
		if e.UnmarshalText(in) != nil {
			return
		}
		out, err := e.MarshalText()
		require.NoError(t, err)
		var again Entry
		require.NoError(t, again.UnmarshalText(out))
		require.Equal(t, e, again)
		require.Equal(t, text(t, Merge(&e, &e)), text(t, Merge(&again, &e)))
	})
}

// A version counts nanoseconds and more, whatever the size of an int.
func TestEntryVersions(t *testing.T) {
	for _, version := range []Version{0, 1, 1 << 32, 1<<63 - 1, 1<<64 - 1} {
		text, err := (&Entry{entry: entry{Domain: "example.com", SeenAt: epoch}}).WithVersion(version).MarshalText()
		require.NoError(t, err)
		read := new(Entry)
		require.NoError(t, read.UnmarshalText(text))
		require.Equal(t, version, read.Version())
	}
}
