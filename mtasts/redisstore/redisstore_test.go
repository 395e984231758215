package redisstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/stretchr/testify/require"
)

const policyText = "version: STSv1\nmode: enforce\nmx: *.partner.example\nmax_age: 604800\n"

// entry makes an entry with a policy that expires at a time.
func entry(domain string, expires time.Time) *mtasts.Entry {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	fetched := expires.Add(-7 * 24 * time.Hour)
	header := fmt.Sprintf("mtasts-entry 1\ndomain %s\nversion 0\napplied-id 1\nfetched %s\nexpires %s\nseen-id 1\nseen %s\nnext-check %s\nbody %d\n",
		domain, at(fetched), at(expires), at(fetched), at(fetched.Add(10*time.Minute)), len(policyText))
	sum := sha256.Sum256([]byte(header + policyText))
	e := new(mtasts.Entry)
	if err := e.UnmarshalText(fmt.Appendf(nil, "%ssha256 %x\n\n%s", header, sum, policyText)); err != nil {
		panic(err)
	}
	return e
}

// over is a Store over the server at an address, which may be none.
func over(t *testing.T, address string, o Options) *Store {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: address, MaxRetries: -1, DialerRetries: 1, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	t.Cleanup(func() { client.Close() })
	s, err := New(client, o)
	require.NoError(t, err)
	return s
}

func TestNew(t *testing.T) {
	_, err := New(nil, Options{})
	require.Error(t, err)
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	for _, prefix := range []string{"{mta}:", "a{", "}", "a{}b"} {
		_, err := New(client, Options{Prefix: prefix})
		require.Error(t, err, prefix)
	}
	s, err := New(client, Options{})
	require.NoError(t, err)
	require.Equal(t, "mtasts:", s.prefix)
	require.WithinDuration(t, time.Now(), s.now(), time.Minute)
}

func TestKeys(t *testing.T) {
	s := &Store{prefix: `mta*s[1]^?\:`}
	require.Equal(t, `mta*s[1]^?\:{partner.example}`, s.key("partner.example"))
	require.Equal(t, `mta*s[1]^?\:{partner.example}:lease`, s.leaseKey("partner.example"))
	require.Equal(t, `mta*s[1]^?\:{partner.example}:corrupt`, s.asideKey("partner.example"))
	require.Equal(t, `mta\*s\[1\]\^\?\\:{*}`, s.pattern())
	domain, err := s.domain(s.key("partner.example"))
	require.NoError(t, err)
	require.Equal(t, "partner.example", domain)
	for _, key := range []string{
		"", "partner.example", "{partner.example}", s.leaseKey("a.example"), s.asideKey("a.example"), s.key(""), s.key("A.example"),
		s.key("a{b}"), s.key("a_b"), "x" + s.key("a.example"), s.prefix + "{",
	} {
		_, err := s.domain(key)
		require.Error(t, err, key)
	}
}

func TestCheckDomain(t *testing.T) {
	for _, good := range []string{"a", "a.example", "xn--bcher-kva.example", "1.2.example", strings.Repeat("x", maxDomain)} {
		require.NoError(t, checkDomain(good))
	}
	for _, bad := range []string{"", ".a", "A.example", "a b", "a\x00", "a{b", "a}", "a*", "ä.example", "a_b", "a/b", strings.Repeat("x", maxDomain+1)} {
		require.ErrorIs(t, checkDomain(bad), mtasts.ErrDomain, bad)
	}
}

// TestBadDomainsAskNobody: there is no server to ask, and no error about that.
func TestBadDomainsAskNobody(t *testing.T) {
	s := over(t, "127.0.0.1:1", Options{})
	_, err := s.Get(t.Context(), "a}b")
	require.ErrorIs(t, err, mtasts.ErrDomain)
	require.ErrorIs(t, s.Delete(t.Context(), "a}b", 1), mtasts.ErrDomain)
	_, err = s.Put(t.Context(), new(mtasts.Entry), 0)
	require.ErrorIs(t, err, mtasts.ErrDomain)
	release, held, err := s.Lease(t.Context(), "a}b", time.Minute)
	require.ErrorIs(t, err, mtasts.ErrDomain)
	require.False(t, held)
	release()
	_, _, err = s.Lease(t.Context(), "a.example", time.Microsecond)
	require.ErrorContains(t, err, "millisecond")
}

func TestSchema(t *testing.T) {
	require.Equal(t, "mtasts-entry 1\n", schema)
	text, err := entry("a.example", time.Now()).MarshalText()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), schema))
	// What the scripts rely on.
	header, _, _ := strings.Cut(string(text), "\n\n")
	require.Equal(t, 1, strings.Count(header, "\nversion 0\n"))
}

func TestDecode(t *testing.T) {
	want := entry("a.example", time.Now()).WithVersion(7)
	text, err := want.MarshalText()
	require.NoError(t, err)
	got, err := decode(string(text), "a.example")
	require.NoError(t, err)
	require.Equal(t, want.Version(), got.Version())
	again, err := got.MarshalText()
	require.NoError(t, err)
	require.Equal(t, string(text), string(again))

	for _, tc := range []struct {
		why, text string
		want      error
		not       error
	}{
		{"nothing there", "", mtasts.ErrNotFound, mtasts.ErrCorrupt},
		{"value of something else", "hello", mtasts.ErrCorrupt, mtasts.ErrNotFound},
		{"cut", string(text[:len(text)-1]), mtasts.ErrCorrupt, mtasts.ErrNotFound},
		{"too large", string(text) + strings.Repeat("x", maxEntry), mtasts.ErrCorrupt, mtasts.ErrNotFound},
		{"another release", "mtasts-entry 2\nx\n", mtasts.ErrSchema, mtasts.ErrCorrupt},
		{"another release is absent", "mtasts-entry 2\nx\n", mtasts.ErrNotFound, mtasts.ErrCorrupt},
	} {
		e, err := decode(tc.text, "a.example")
		require.ErrorIs(t, err, tc.want, tc.why)
		require.NotErrorIs(t, err, tc.not, tc.why)
		require.Nil(t, e, tc.why)
	}
	_, err = decode(string(text), "b.example")
	require.ErrorIs(t, err, mtasts.ErrCorrupt, "entry of another domain")
}

// FuzzDecode: whatever Redis holds, what is read as an entry is of the domain that
// was asked for, and is written as it was read.
func FuzzDecode(f *testing.F) {
	whole, _ := entry("a.example", time.Date(2030, 1, 8, 0, 0, 0, 0, time.UTC)).MarshalText()
	for _, text := range []string{"", "x", "mtasts-entry 1\n", "mtasts-entry 2\nversion 1\n", string(whole), string(whole[:len(whole)-1])} {
		f.Add(text, "a.example")
	}
	f.Add(string(whole), "b.example")
	f.Fuzz(func(t *testing.T, text, domain string) {
		e, err := decode(text, domain)
		if err != nil {
			known := errors.Is(err, mtasts.ErrNotFound) || errors.Is(err, mtasts.ErrCorrupt)
			require.True(t, known, "%v", err)
			require.Nil(t, e)
			return
		}
		require.Equal(t, domain, e.Domain())
		again, err := e.MarshalText()
		require.NoError(t, err)
		second, err := decode(string(again), domain)
		require.NoError(t, err)
		require.Equal(t, e.Version(), second.Version())
	})
}

func TestLifetime(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	require.Equal(t, 8*day, lifetime(entry("a.example", now.Add(7*day)), now), "validity and a day")
	require.Equal(t, day-time.Hour, lifetime(entry("a.example", now.Add(-time.Hour)), now), "over since an hour")
	require.Equal(t, leastKept, lifetime(entry("a.example", now.Add(-30*day)), now), "long over")
	require.Equal(t, leastKept, lifetime(new(mtasts.Entry), now), "without times")
	far := lifetime(entry("a.example", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)), now)
	require.Positive(t, far.Milliseconds())
}

// TestNoServer: that Redis cannot be reached is an error of its own kind, with its
// cause, and never an absent entry.
func TestNoServer(t *testing.T) {
	s := over(t, "127.0.0.1:1", Options{})
	everyCall(t, t.Context(), s, func(err error) {
		var op *net.OpError
		require.ErrorAs(t, err, &op)
	})
}

// everyCall makes each call to a Store that cannot answer, and checks the errors.
func everyCall(t *testing.T, ctx context.Context, s *Store, check func(error)) {
	t.Helper()
	wrong := func(err error) {
		require.Error(t, err)
		for _, not := range []error{mtasts.ErrNotFound, mtasts.ErrCorrupt, mtasts.ErrSchema, mtasts.ErrStoreConflict} {
			require.NotErrorIs(t, err, not)
		}
		require.ErrorContains(t, err, "redisstore: ")
		check(err)
	}
	e := entry("a.example", time.Now().Add(time.Hour))
	_, err := s.Get(ctx, "a.example")
	wrong(err)
	_, err = s.Put(ctx, e, 0)
	wrong(err)
	wrong(s.Delete(ctx, "a.example", 1))
	release, held, err := s.Lease(ctx, "a.example", time.Minute)
	wrong(err)
	require.False(t, held)
	release()
	yielded := 0
	for e, err := range s.All(ctx) {
		yielded++
		require.Nil(t, e)
		wrong(err)
	}
	require.Equal(t, 1, yielded)
}

// TestContextEnds: a server that takes the connection and says nothing holds no
// caller for longer than its context, though the client itself would wait.
func TestContextEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close() // and with it the connections, which nobody accepts
	s := over(t, listener.Addr().String(), Options{})
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if end == context.DeadlineExceeded {
			ended, cancel = context.WithDeadline(t.Context(), time.Now())
			defer cancel()
		}
		everyCall(t, ended, s, func(err error) { require.ErrorIs(t, err, end) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Get(ctx, "a.example") // the client waits for a minute
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, mtasts.ErrNotFound)
}
