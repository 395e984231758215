// Package redisstore keeps what mtasts.Clients know in Redis, so that a fleet of mail
// servers shares one memory: a policy that one node has fetched is obeyed by all of
// them, and outlives them all.
//
//	server := redis.NewClient(&redis.Options{Addr: "redis.internal:6380", Username: "mta", Password: secret, TLSConfig: config})
//	store, err := redisstore.New(server, redisstore.Options{})
//	client := &mtasts.Client{Store: store}
//
// Any redis.UniversalClient does: one server, Sentinel, Cluster, Ring. The tests run
// against the redis-server of Debian, 7.0. Valkey has the same commands, but Debian 12
// has no package of it, so it has not been tried.
//
// # What is in Redis
//
// The entry of a domain is one string, the text of an mtasts.Entry, under the key
//
//	mtasts:{partner.example}
//
// which redis-cli can read. It is written by compare-and-swap, so that no node
// overwrites what another has learned, and expires a day after the policy and the
// waits in it have ended. An entry that fails its checksum, or is of another domain
// than its key says, is renamed to mtasts:{partner.example}:corrupt for a week and
// read as absent. An entry of another release of this package is left alone.
//
// mtasts:{partner.example}:lease says that one of the nodes is fetching the policy
// of the domain at this moment ([Store.Lease]).
//
// # When Redis is away
//
// Every failure is an error and none is an absent entry. A Client goes on with what
// it has in memory, tells the failure as an event, and writes with its next
// observation.
//
// # Duties of the operator
//
// Whoever can write to these keys decides over the policies, and can switch the
// protection of every domain off. So let nobody but the mail servers reach them:
// TLS with verification (redis.Options.TLSConfig), and a user of their own with
// this ACL, which is all that the package needs:
//
//	ACL SETUSER mta on >secret ~mtasts:{* -@all +hello +getrange +get +set +del +rename +pexpire +scan +eval +evalsha
//
// A Cluster wants +cluster|slots besides. With redis.Options.DisableIdentity the
// client does not try to tell its name first, which this ACL forbids.
//
// What Redis forgets can be forged away at the next discovery. So let it keep its
// data on disk (appendonly yes) and forbid it to evict (maxmemory-policy
// noeviction). Clients look for all entries every hour with SCAN, which passes over
// every key of the database: give the entries a database that is not used for much
// else.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/mtasts"
)

const (
	// maxEntry bounds what is read of a value: a policy of 64 KiB and a header.
	maxEntry = 128 << 10
	// asideFor is how long a damaged entry is kept for somebody to look at.
	asideFor = 7 * 24 * time.Hour
	// leastKept is how long an entry is kept whose time is over by the clock of
	// this node: that of another may be slow.
	leastKept = time.Hour
	// tries bounds how often a call starts again because the value has changed
	// under it or was put aside.
	tries = 3
)

// Options change a Store. The zero value has a default for every field.
type Options struct {
	// Prefix begins every key; empty: "mtasts:". It must not have braces, which
	// say where the keys of a domain live in a Cluster.
	Prefix string
	// Now is the time from which expiry counts; nil: time.Now. It should agree
	// with the Clock of the Clients.
	Now func() time.Time
}

// Store is an mtasts.Store and mtasts.Leaser in Redis. It is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	prefix string
	now    func() time.Time
}

var (
	_ mtasts.Store  = (*Store)(nil)
	_ mtasts.Leaser = (*Store)(nil)
)

// New returns a Store over a client. It connects to nothing, and the client stays
// the caller's to close. The error is about the arguments.
func New(client redis.UniversalClient, o Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("redisstore: no client")
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		return nil, fmt.Errorf("redisstore: prefix %q has braces", o.Prefix)
	}
	s := &Store{client: client, prefix: o.Prefix, now: o.Now}
	if s.prefix == "" {
		s.prefix = "mtasts:"
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// fail says what failed, and for which domain.
func fail(doing, domain string, err error) error {
	return fmt.Errorf("redisstore: %s %s: %w", doing, domain, err)
}

// Get returns the entry of a domain. The error matches mtasts.ErrNotFound if there
// is none that this release can read, and mtasts.ErrCorrupt if it was damaged and
// has been put aside. Every other error says nothing about the entry.
func (s *Store) Get(ctx context.Context, domain string) (*mtasts.Entry, error) {
	if err := checkDomain(domain); err != nil {
		return nil, err
	}
	var corrupt error
	for range tries {
		text, err := s.read(ctx, domain)
		if err != nil {
			return nil, fail("get", domain, err)
		}
		e, err := decode(text, domain)
		if !errors.Is(err, mtasts.ErrCorrupt) {
			return e, err
		}
		corrupt = err
		gone, err := s.setAside(ctx, domain, text)
		if err != nil {
			return nil, fail("put aside", domain, errors.Join(err, corrupt))
		}
		if gone {
			break
		}
		// Somebody has written since: look again.
	}
	return nil, corrupt
}

// read returns the value of a domain, and of one that is too large the beginning.
// It is empty if there is none.
func (s *Store) read(ctx context.Context, domain string) (string, error) {
	return call(ctx, func(ctx context.Context) (string, error) {
		return s.client.GetRange(ctx, s.key(domain), 0, maxEntry).Result()
	})
}

// decode reads the value of a domain.
func decode(text, domain string) (*mtasts.Entry, error) {
	if text == "" {
		return nil, mtasts.ErrNotFound
	}
	if len(text) > maxEntry {
		return nil, fmt.Errorf("redisstore: %w: entry of %s exceeds %d octets", mtasts.ErrCorrupt, domain, maxEntry)
	}
	e := new(mtasts.Entry)
	err := e.UnmarshalText([]byte(text))
	switch {
	case errors.Is(err, mtasts.ErrSchema):
		return nil, fmt.Errorf("%w: %w", mtasts.ErrNotFound, err)
	case err != nil:
		return nil, fail("read", domain, err)
	case e.Domain() != domain:
		return nil, fmt.Errorf("redisstore: %w: entry of %s is that of %q", mtasts.ErrCorrupt, domain, e.Domain())
	}
	return e, nil
}

// setAside moves a damaged value out of the way, if it still is what was read.
func (s *Store) setAside(ctx context.Context, domain, text string) (bool, error) {
	return s.run(ctx, asideScript, []string{s.key(domain), s.asideKey(domain)}, maxEntry, text, asideFor.Milliseconds())
}

// Put writes an entry over the version old, and returns the version that it has
// then. If the version is another the error matches mtasts.ErrStoreConflict; if an
// entry of another release is there, mtasts.ErrSchema. After any other error the
// entry may have been written or not.
func (s *Store) Put(ctx context.Context, e *mtasts.Entry, old mtasts.Version) (mtasts.Version, error) {
	domain := e.Domain()
	if err := checkDomain(domain); err != nil {
		return 0, err
	}
	now := s.now()
	version := old + 1
	if old == 0 {
		// Not 1: an entry that was deleted and made again would pass for the
		// one that another node remembers.
		version = mtasts.Version(max(1, time.Now().UnixNano()))
	}
	text, err := e.WithVersion(version).MarshalText()
	if err != nil {
		return 0, fail("put", domain, err)
	}
	if len(text) > maxEntry {
		return 0, fail("put", domain, fmt.Errorf("entry exceeds %d octets", maxEntry))
	}
	err = s.change(ctx, "put", domain, old, func() (bool, error) {
		return s.run(ctx, putScript, []string{s.key(domain)}, schema, decimal(old), text, lifetime(e, now).Milliseconds())
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// lifetime is how long an entry is kept from now.
func lifetime(e *mtasts.Entry, now time.Time) time.Duration {
	return max(leastKept, e.KeepUntil().Sub(now))
}

// Delete removes an entry of the version old. If the version is another the error
// matches mtasts.ErrStoreConflict; if an entry of another release is there,
// mtasts.ErrSchema.
func (s *Store) Delete(ctx context.Context, domain string, old mtasts.Version) error {
	if err := checkDomain(domain); err != nil {
		return err
	}
	return s.change(ctx, "delete", domain, old, func() (bool, error) {
		return s.run(ctx, deleteScript, []string{s.key(domain)}, schema, decimal(old))
	})
}

// change compares and swaps. If the value is not what was expected, it finds out
// whether it is an entry at all, and puts aside what is none.
func (s *Store) change(ctx context.Context, doing, domain string, old mtasts.Version, swap func() (bool, error)) error {
	for range tries {
		done, err := swap()
		if err != nil {
			return fail(doing, domain, err)
		}
		if done {
			return nil
		}
		_, err = s.Get(ctx, domain)
		switch {
		case errors.Is(err, mtasts.ErrCorrupt):
			continue // nothing is there now
		case errors.Is(err, mtasts.ErrSchema):
			return fail(doing, domain, mtasts.ErrSchema)
		case err != nil && !errors.Is(err, mtasts.ErrNotFound):
			return err
		}
		break
	}
	return fail(doing, domain, fmt.Errorf("%w than %d", mtasts.ErrStoreConflict, old))
}

func decimal(v mtasts.Version) string { return strconv.FormatUint(uint64(v), 10) }
