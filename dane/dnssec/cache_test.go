package dnssec

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testCache(change func(*CacheConfig)) *cache {
	c := Common{}
	c.setDefaults()
	if change != nil {
		change(&c.Cache)
	}
	return newCache(c.Cache)
}

func TestCacheBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	c := testCache(func(conf *CacheConfig) { conf.Entries = 3 })
	q := func(i int) Question { return Question{fmt.Sprintf("h%d.example.", i), TypeA} }
	has := func(i int) bool { a, _ := c.get(q(i), now); return a != nil }
	for i := range 3 {
		c.put(q(i), &Answer{Outcome: Found, Expires: now.Add(time.Minute)}, nil, now, 0)
	}
	require.True(t, has(0))
	c.put(q(3), &Answer{Outcome: Found, Expires: now.Add(time.Minute)}, nil, now, 0)
	require.True(t, has(0), "used a moment ago")
	require.False(t, has(1), "not used for the longest time")
	require.True(t, has(2))
	c.put(q(2), &Answer{Outcome: Found, Expires: now.Add(time.Minute)}, nil, now, 0)
	require.True(t, has(0), "to replace an entry costs no other")
	for i := range 1000 {
		c.put(q(i), &Answer{Outcome: Found, Expires: now.Add(time.Minute)}, nil, now, 0)
		require.LessOrEqual(t, len(c.entries), 3)
	}
	c.purge()
	require.Empty(t, c.entries)
	require.Same(t, &c.ring, c.ring.next)
}

func TestCacheExpiry(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	big := make([]byte, 60<<10)
	for _, c := range []struct {
		name   string
		answer *Answer
		failed *Error
		want   time.Duration
	}{
		{"as the answer says", &Answer{Outcome: Found, Expires: now.Add(time.Minute)}, nil, time.Minute},
		{"TTL 0", &Answer{Outcome: Found, Expires: now}, nil, 0},
		{"MaxTTL", &Answer{Outcome: Found, Expires: now.Add(time.Hour * 24)}, nil, time.Hour},
		{"MaxNegTTL", &Answer{Outcome: NoData, Expires: now.Add(time.Hour * 24)}, nil, 15 * time.Minute},
		{"short denial", &Answer{Outcome: NXDomain, Expires: now.Add(time.Second)}, nil, time.Second},
		{"too large to keep", &Answer{Outcome: Found, Expires: now.Add(time.Minute), Records: []Record{{Data: big}}}, nil, 0},
		{"bogus", nil, &Error{Kind: KindBogus}, 5 * time.Second},
		{"timeout", nil, &Error{Kind: KindTimeout}, 5 * time.Second},
		{"canceled", nil, &Error{Kind: KindCanceled}, 0},
		{"unusable", nil, &Error{Kind: KindUnusable}, 0},
	} {
		cache := testCache(nil)
		q := Question{"host.example.", TypeA}
		cache.put(q, c.answer, c.failed, now, 0)
		if c.want > 0 {
			answer, failed := cache.get(q, now.Add(c.want-1))
			require.Equal(t, c.answer, answer, c.name)
			require.Equal(t, c.failed, failed, c.name)
		}
		answer, failed := cache.get(q, now.Add(c.want))
		require.Nil(t, answer, c.name)
		require.Nil(t, failed, c.name)
		require.Empty(t, cache.entries, c.name)
	}
	short := testCache(func(conf *CacheConfig) { conf.MaxTTL = time.Second })
	require.Equal(t, now.Add(time.Second), short.expiry(&Answer{Outcome: NoData, Expires: now.Add(time.Hour)}, nil, now), "MaxTTL is for denials too")
}
