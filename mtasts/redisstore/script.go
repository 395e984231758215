package redisstore

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/mtasts"
)

// schema is the first line of the entries that this release writes.
var schema = func() string {
	text, _ := new(mtasts.Entry).MarshalText() // the error is always nil
	line, _, _ := strings.Cut(string(text), "\n")
	return line + "\n"
}()

// storedVersion is a Lua function: "0" if nothing is stored, "?" if what is stored
// is no entry of this release. The version is a line of the header, which is far
// shorter than what is looked at and comes before anything that the domain's owner
// has written.
const storedVersion = `
local function stored(key, schema)
  local head = redis.call('GETRANGE', key, 0, 8191)
  if head == '' then return '0' end
  if string.sub(head, 1, #schema) ~= schema then return '?' end
  return string.match(head, '\nversion (%d+)\n') or '?'
end
`

// Each script returns 1 if it has done what it is for, otherwise 0.
var (
	// putScript: key; schema, old version, new text, lifetime in milliseconds.
	putScript = redis.NewScript(storedVersion + `
if stored(KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1`)

	// deleteScript: key; schema, old version. Nothing is deleted at once.
	deleteScript = redis.NewScript(storedVersion + `
local version = stored(KEYS[1], ARGV[1])
if version ~= '0' and version ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
return 1`)

	// asideScript: key, key aside; bound, damaged text, lifetime aside in
	// milliseconds.
	asideScript = redis.NewScript(`
if redis.call('GETRANGE', KEYS[1], 0, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1`)

	// leaseScript: key; token, lifetime in milliseconds. A call that was sent
	// again because its answer was lost finds its own token.
	leaseScript = redis.NewScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
return 0`)

	// releaseScript: key; token.
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1`)
)

// run runs a script and reports whether it returned 1.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) (bool, error) {
	return call(ctx, func(ctx context.Context) (bool, error) {
		n, err := script.Run(ctx, s.client, keys, args...).Int()
		return n == 1, err
	})
}

// call runs f, and returns when ctx ends even if f does not: a client without
// ContextTimeoutEnabled waits for a server that hangs for as long as its own
// timeouts say, and tries again. What f brings then is dropped.
func call[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	done := make(chan result, 1)
	go func() {
		value, err := f(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
