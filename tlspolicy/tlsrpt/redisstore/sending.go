package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// releaseTime bounds how long giving a lease back may take.
const releaseTime = 2 * time.Second

// Each script returns 1 if it has done what it is for, otherwise 0.
const (
	// saveScript: key; writer, text, lifetime in milliseconds. Weights are compared as texts: Lua
	// has no integers of 64 bits.
	saveScript = `
local function weight(text)
  return text and string.match(text, '^[^\n]*\n%S+ %S+ %S+ (%d+)\n') or ''
end
local old, new = weight(redis.call('HGET', KEYS[1], ARGV[1])), weight(ARGV[2])
if #old > #new or #old == #new and old > new then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`

	// asideScript: key, key aside; writer, damaged text, lifetime in milliseconds.
	asideScript = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1`

	// leaseScript: key; token, lifetime in milliseconds. A call that was sent
	// again because its answer was lost finds its own token.
	leaseScript = `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
return 0`

	// releaseScript: key; token.
	releaseScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1`
)

// eval runs a script and reports whether it returned 1.
func (s *Store) eval(ctx context.Context, what, script string, keys []string, args ...any) (bool, error) {
	return call(ctx, what, func() (bool, error) {
		n, err := s.client.Eval(ctx, script, keys, args...).Int()
		return n == 1, err
	})
}

// Progress returns how far a report has come. The error matches tlsrpt.ErrCorrupt
// if the note of it is damaged.
func (s *Store) Progress(ctx context.Context, day tlsrpt.Day, domain string) (p tlsrpt.Progress, err error) {
	text, err := call(ctx, "progress of "+domain, func() (string, error) {
		text, err := s.client.Get(ctx, s.key(day, domain)+":progress").Result()
		if errors.Is(err, redis.Nil) {
			return "", nil
		}
		return text, err
	})
	if err != nil || text == "" {
		return p, err
	}
	if err := p.UnmarshalText([]byte(text)); err != nil {
		return p, fmt.Errorf("redisstore: progress of %s: %w", domain, err)
	}
	return p, nil
}

// SetProgress notes how far a report has come.
func (s *Store) SetProgress(ctx context.Context, day tlsrpt.Day, domain string, p tlsrpt.Progress) error {
	text, err := p.MarshalText()
	if err != nil {
		return err
	}
	key := s.key(day, domain) + ":progress"
	_, err = call(ctx, "progress of "+domain, func() (string, error) {
		return s.client.Set(ctx, key, text, time.Duration(s.lifetime(day))*time.Millisecond).Result()
	})
	return err
}

// Lease takes the right to send a report.
func (s *Store) Lease(ctx context.Context, day tlsrpt.Day, domain string, ttl time.Duration) (release func(), held bool, err error) {
	key, token := []string{s.key(day, domain) + ":lease"}, rand.Text()
	held, err = s.eval(ctx, "lease of "+domain, leaseScript, key, token, max(1, ttl.Milliseconds()))
	if err != nil || !held {
		return func() {}, false, err
	}
	return sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		_, _ = s.eval(ctx, "release of "+domain, releaseScript, key, token) // its time ends anyway
	}), true, nil
}
