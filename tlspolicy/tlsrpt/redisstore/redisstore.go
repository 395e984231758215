// Package redisstore keeps what TLS reports are made of in Redis or Valkey, so that
// a fleet of mail servers makes one report for each domain and day.
//
//	server := redis.NewClient(&redis.Options{Addr: "redis.internal:6380", Username: "mta", Password: secret, TLSConfig: config})
//	store, err := redisstore.New(server, redisstore.Options{})
//	aggregator, err := tlsrpt.NewAggregator(store, tlsrpt.AggregatorOptions{})
//
// Any redis.UniversalClient does: one server, Sentinel, Cluster, Ring. The tests run
// against each of them, with the redis-server of Debian. Replication is asynchronous:
// what a master has acknowledged and not yet passed on is lost when Sentinel or a
// Cluster puts a replica in its place.
//
// # What is in Redis
//
// The counts of a domain and day are a hash with a field for each writer, a run of
// one process, whose value is the text of a tlsrpt.Snapshot:
//
//	tlsrpt:{2026-03-01:receiver.example}
//
// A writer's text is replaced by one with more counts alone, so a flush that is
// sent again after its answer was lost counts once, and late answers change
// nothing. A text that fails its checksum is moved to the key with :corrupt at its
// end and told. Beside it, :progress says how far the report has come and :lease
// which node sends it. The domains of a day are the set tlsrpt:{2026-03-01}, the
// days are tlsrpt:{days}. Everything expires eight days after its day.
//
// # Duties of the operator
//
// That an acknowledged flush survives a crash of the server, Redis must promise:
// appendonly yes, and appendfsync always if not even the last second may be lost.
// Forbid it to evict (maxmemory-policy noeviction). Let nobody but the mail servers
// reach the keys: TLS with verification, and a user of their own with this ACL,
// which is all that the package needs:
//
//	ACL SETUSER mta on >secret ~tlsrpt:{* -@all +hello +hgetall +get +set +del +sadd +srem +smembers +sscan +eval +hget +hset +hdel +pexpire
//
// A Cluster wants +cluster|slots besides. With redis.Options.DisableIdentity the
// client does not try to tell its name first, which this ACL forbids.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

const (
	// keptFor is how long after its day something is kept.
	keptFor = 8 * 24 * time.Hour
	// leastKept is how long what is older is kept: the clocks of a fleet differ.
	leastKept = 24 * time.Hour
	// scanCount is how many domains come with one answer.
	scanCount = 1000
)

// Options change a Store. The zero value has a default for every field.
type Options struct {
	// Prefix begins every key; empty: "tlsrpt:". It must not have braces, which
	// say where the keys of a domain live in a Cluster.
	Prefix string
	// Now is the clock from which expiry counts; nil: time.Now.
	Now func() time.Time
}

// Store is a tlsrpt.Store in Redis. It is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	prefix string
	now    func() time.Time
}

var _ tlsrpt.Store = (*Store)(nil)

// New returns a Store over a client. It connects to nothing, and the client stays
// the caller's to close. The error is about the arguments.
func New(client redis.UniversalClient, o Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("redisstore: no client")
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		return nil, fmt.Errorf("redisstore: prefix %q has braces", o.Prefix)
	}
	if o.Prefix == "" {
		o.Prefix = "tlsrpt:"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{client: client, prefix: o.Prefix, now: o.Now}, nil
}

func (s *Store) daysKey() string { return s.prefix + "{days}" }

func (s *Store) dayKey(day tlsrpt.Day) string { return s.prefix + "{" + day.String() + "}" }

func (s *Store) key(day tlsrpt.Day, domain string) string {
	return s.prefix + "{" + day.String() + ":" + domain + "}"
}

// lifetime is for how long what is of a day is kept from now, in milliseconds.
func (s *Store) lifetime(day tlsrpt.Day) int64 {
	return max(leastKept, day.End().Add(keptFor).Sub(s.now())).Milliseconds()
}

// call runs f, and returns when ctx ends even if f does not: a client without
// ContextTimeoutEnabled waits for a server that hangs for as long as its own
// timeouts say. What f brings then is dropped.
func call[T any](ctx context.Context, what string, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("redisstore: %s: %w", what, err)
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return none, fmt.Errorf("redisstore: %s: %w", what, r.err)
		}
		return r.value, nil
	case <-ctx.Done():
		return none, fmt.Errorf("redisstore: %s: %w", what, ctx.Err())
	}
}

// Save stores snapshots.
func (s *Store) Save(ctx context.Context, snapshots []*tlsrpt.Snapshot) error {
	if len(snapshots) == 0 {
		return ctx.Err()
	}
	domains := make(map[tlsrpt.Day][]any)
	texts := make([]string, len(snapshots))
	for i, snapshot := range snapshots {
		if err := tlsrpt.CheckKey(snapshot.Domain, snapshot.Writer); err != nil {
			return err
		}
		text, err := snapshot.MarshalText()
		if err != nil {
			return err
		}
		texts[i] = string(text)
		domains[snapshot.Day] = append(domains[snapshot.Day], snapshot.Domain)
	}
	// First where to find it, then what it is: a crash between the two leaves a
	// domain without counts, which is no report.
	_, err := call(ctx, "index", func() ([]redis.Cmder, error) {
		return s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for day, names := range domains {
				p.SAdd(ctx, s.daysKey(), day.String())
				p.SAdd(ctx, s.dayKey(day), names...)
				p.Do(ctx, "PEXPIRE", s.dayKey(day), s.lifetime(day))
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	_, err = call(ctx, "save", func() ([]redis.Cmder, error) {
		return s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, snapshot := range snapshots {
				p.Eval(ctx, saveScript, []string{s.key(snapshot.Day, snapshot.Domain)}, snapshot.Writer, texts[i], s.lifetime(snapshot.Day))
			}
			return nil
		})
	})
	return err
}

// Load returns the snapshots of all writers. A damaged one is put aside; the error
// then matches tlsrpt.ErrCorrupt and the Tally has the others.
func (s *Store) Load(ctx context.Context, day tlsrpt.Day, domain string) (*tlsrpt.Tally, error) {
	key := s.key(day, domain)
	fields, err := call(ctx, "load "+domain, func() (map[string]string, error) { return s.client.HGetAll(ctx, key).Result() })
	if err != nil {
		return nil, err
	}
	tally := new(tlsrpt.Tally)
	var corrupt error
	for writer, text := range fields {
		snapshot := new(tlsrpt.Snapshot)
		err := snapshot.UnmarshalText([]byte(text))
		if err == nil && (snapshot.Day != day || snapshot.Domain != domain || snapshot.Writer != writer) {
			err = fmt.Errorf("%w: it is of %s, %s, %s", tlsrpt.ErrCorrupt, snapshot.Domain, snapshot.Day, snapshot.Writer)
		}
		switch {
		case errors.Is(err, tlsrpt.ErrCorrupt):
			corrupt = errors.Join(corrupt, fmt.Errorf("redisstore: %s of %s: %w", writer, key, err))
			if _, err := s.eval(ctx, "put aside", asideScript, []string{key, key + ":corrupt"}, writer, text, s.lifetime(day)); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, fmt.Errorf("redisstore: %s of %s: %w", writer, key, err)
		}
		if err := tally.Add(snapshot); err != nil {
			return nil, err
		}
	}
	return tally, corrupt
}

// Days returns the days of which there is something.
func (s *Store) Days(ctx context.Context) ([]tlsrpt.Day, error) {
	names, err := call(ctx, "days", func() ([]string, error) { return s.client.SMembers(ctx, s.daysKey()).Result() })
	if err != nil {
		return nil, err
	}
	var days []tlsrpt.Day
	for _, name := range names {
		if day, err := tlsrpt.ParseDay(name); err == nil {
			days = append(days, day)
		}
	}
	slices.Sort(days)
	return days, nil
}

// Domains yields the report domains of a day.
func (s *Store) Domains(ctx context.Context, day tlsrpt.Day) iter.Seq2[string, error] {
	type page struct {
		names []string
		next  uint64
	}
	return func(yield func(string, error) bool) {
		seen := make(map[string]struct{}) // SSCAN may tell a member twice
		for cursor := uint64(0); ; {
			p, err := call(ctx, "domains of "+day.String(), func() (page, error) {
				names, next, err := s.client.SScan(ctx, s.dayKey(day), cursor, "", scanCount).Result()
				return page{names, next}, err
			})
			if err != nil {
				yield("", err)
				return
			}
			for _, name := range p.names {
				if _, twice := seen[name]; twice {
					continue
				}
				seen[name] = struct{}{}
				if !yield(name, nil) {
					return
				}
			}
			if cursor = p.next; cursor == 0 {
				return
			}
		}
	}
}

// Prune removes the days before day, which expire by themselves otherwise.
func (s *Store) Prune(ctx context.Context, day tlsrpt.Day) error {
	days, err := s.Days(ctx)
	if err != nil {
		return err
	}
	for _, d := range days {
		if d >= day {
			break
		}
		for domain, err := range s.Domains(ctx, d) {
			if err != nil {
				return err
			}
			key := s.key(d, domain)
			if _, err := call(ctx, "prune", func() (int64, error) {
				return s.client.Del(ctx, key, key+":progress", key+":corrupt", key+":lease").Result()
			}); err != nil {
				return err
			}
		}
		if _, err := call(ctx, "prune", func() (int64, error) { return s.client.Del(ctx, s.dayKey(d)).Result() }); err != nil {
			return err
		}
		if _, err := call(ctx, "prune", func() (int64, error) { return s.client.SRem(ctx, s.daysKey(), d.String()).Result() }); err != nil {
			return err
		}
	}
	return nil
}
