//go:build unix

package outbound

import (
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/smtpclient"
)

// maxDead bounds the targets that are remembered.
const maxDead = 10_000

// deadTargets remembers for a moment where no session could be opened.
type deadTargets struct {
	mu sync.Mutex
	m  map[smtpclient.Target]deadTarget
}

type deadTarget struct {
	err   error
	until time.Time
}

func (d *deadTargets) get(t smtpclient.Target) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dead, ok := d.m[t]; ok && time.Now().Before(dead.until) {
		return dead.err
	}
	delete(d.m, t)
	return nil
}

func (d *deadTargets) put(t smtpclient.Target, err error, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.m == nil || len(d.m) >= maxDead {
		d.m = map[smtpclient.Target]deadTarget{}
	}
	d.m[t] = deadTarget{err, time.Now().Add(wait)}
}

func (d *deadTargets) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.m = nil
}
