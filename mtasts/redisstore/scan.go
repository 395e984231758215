package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/mtasts"
)

const (
	// scanCount is how many keys the server looks at for one SCAN, during which
	// it does nothing else.
	scanCount = 500
	// batch is how many entries are fetched at once: with the largest policies
	// that is 8 MiB.
	batch = 64
)

// scanner is what SCAN is sent to: one server.
type scanner interface {
	Scan(ctx context.Context, cursor uint64, match string, count int64) *redis.ScanCmd
}

// All yields every entry, and an error for each that could not be read; it leaves
// out entries of other releases. It goes through the keys in small steps, between
// which the servers do other work; an entry that is written or removed meanwhile may
// be missing. After an error of a whole server it goes on with the next.
func (s *Store) All(ctx context.Context) iter.Seq2[*mtasts.Entry, error] {
	return func(yield func(*mtasts.Entry, error) bool) {
		servers, err := s.servers(ctx)
		if err != nil {
			yield(nil, fmt.Errorf("redisstore: list servers: %w", err))
			return
		}
		seen := make(map[string]struct{}) // SCAN may tell a key twice
		for _, server := range servers {
			if !s.scan(ctx, server, seen, yield) {
				return
			}
		}
	}
}

// servers returns the servers that have the keys between them.
func (s *Store) servers(ctx context.Context) ([]scanner, error) {
	var each func(context.Context, func(context.Context, *redis.Client) error) error
	switch c := s.client.(type) {
	case interface {
		ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error
	}: // a Cluster
		each = c.ForEachMaster
	case interface {
		ForEachShard(context.Context, func(context.Context, *redis.Client) error) error
	}: // a Ring
		each = c.ForEachShard
	default:
		return []scanner{s.client}, nil
	}
	return call(ctx, func(ctx context.Context) ([]scanner, error) {
		var mu sync.Mutex
		var servers []scanner
		err := each(ctx, func(_ context.Context, server *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			servers = append(servers, server)
			return nil
		})
		return servers, err
	})
}

// scan yields the entries of one server. It returns false when All is over.
func (s *Store) scan(ctx context.Context, server scanner, seen map[string]struct{}, yield func(*mtasts.Entry, error) bool) bool {
	type page struct {
		keys []string
		next uint64
	}
	for cursor := uint64(0); ; {
		p, err := call(ctx, func(ctx context.Context) (p page, err error) {
			p.keys, p.next, err = server.Scan(ctx, cursor, s.pattern(), scanCount).Result()
			return p, err
		})
		if err != nil {
			return yield(nil, fmt.Errorf("redisstore: scan: %w", err)) && ctx.Err() == nil
		}
		var domains []string
		for _, key := range p.keys {
			if _, twice := seen[key]; twice {
				continue
			}
			seen[key] = struct{}{}
			domain, err := s.domain(key)
			if err == nil {
				domains = append(domains, domain)
			} else if !yield(nil, err) {
				return false
			}
		}
		for some := range slices.Chunk(domains, batch) {
			if !s.yieldEntries(ctx, some, yield) {
				return false
			}
		}
		if cursor = p.next; cursor == 0 {
			return true
		}
	}
}

// yieldEntries fetches some entries at once and yields them. It returns false when
// All is over.
func (s *Store) yieldEntries(ctx context.Context, domains []string, yield func(*mtasts.Entry, error) bool) bool {
	values, err := call(ctx, func(ctx context.Context) ([]*redis.StringCmd, error) {
		values := make([]*redis.StringCmd, len(domains))
		_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, domain := range domains {
				values[i] = p.GetRange(ctx, s.key(domain), 0, maxEntry)
			}
			return nil
		})
		return values, nil // each has its own error
	})
	if err != nil {
		return yield(nil, fmt.Errorf("redisstore: get %d entries: %w", len(domains), err)) && ctx.Err() == nil
	}
	for i, domain := range domains {
		text, err := values[i].Result()
		var e *mtasts.Entry
		if err != nil {
			err = fail("get", domain, err)
		} else if e, err = decode(text, domain); errors.Is(err, mtasts.ErrCorrupt) {
			e, err = s.Get(ctx, domain) // which puts it aside
		}
		if errors.Is(err, mtasts.ErrNotFound) {
			continue // gone meanwhile, or of another release
		}
		if !yield(e, err) {
			return false
		}
	}
	return true
}
