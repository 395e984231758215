package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// releaseTimeout bounds a release. A lease that is not released runs out.
const releaseTimeout = 2 * time.Second

// Lease takes the right to discover a domain, for at most ttl, so that of many
// nodes one fetches a policy and the others wait for its entry. held is false if
// another has it. The release gives it back early and waits for the server at most
// two seconds; it may be called more than once, and never ends a lease of another's.
//
// A lease keeps nobody from writing: that is what versions are for. If Redis loses
// one, a policy is fetched once more.
func (s *Store) Lease(ctx context.Context, domain string, ttl time.Duration) (release func(), held bool, err error) {
	nothing := func() {}
	if err := checkDomain(domain); err != nil {
		return nothing, false, err
	}
	if ttl < time.Millisecond {
		return nothing, false, fail("lease", domain, fmt.Errorf("%v is shorter than a millisecond", ttl))
	}
	key, token := s.leaseKey(domain), rand.Text()
	held, err = s.run(ctx, leaseScript, []string{key}, token, ttl.Milliseconds())
	if err != nil {
		return nothing, false, fail("lease", domain, err)
	}
	if !held {
		return nothing, false, nil
	}
	return sync.OnceFunc(func() {
		// The lease is given back though what it was for was given up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		_, _ = s.run(ctx, releaseScript, []string{key}, token) // if it fails, the lease runs out
	}), true, nil
}
