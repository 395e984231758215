package tlsrpt

import (
	"context"
	"maps"
	"time"
)

// busyError tells that the host of a target has other reports to take, or rests.
type busyError struct{ until time.Time }

func (e *busyError) Error() string {
	return "host of the target is busy until " + e.until.Format(time.RFC3339)
}

// sweepHosts is from how many hosts on those that have rested are looked for.
const sweepHosts = 256

// hostLock lets one delivery at a time to a host, and none after a slow one for some
// time. All but the token is guarded by the mutex of the Reporter.
type hostLock struct {
	token chan struct{}
	users int
	rests time.Time // until when
}

// lockHost waits until nothing goes to a host, but not for long.
func (r *Reporter) lockHost(ctx context.Context, host string) (unlock func(), err error) {
	lock, rests := r.host(host)
	if lock == nil {
		return nil, &busyError{rests}
	}
	patience := time.NewTimer(hostPatience)
	defer patience.Stop()
	select {
	case lock.token <- struct{}{}:
	case <-patience.C:
		r.leaveHost(host, lock)
		return nil, &busyError{r.now()}
	case <-ctx.Done():
		r.leaveHost(host, lock)
		return nil, ctx.Err()
	}
	began := r.now()
	r.mu.Lock()
	rests = lock.rests
	r.mu.Unlock()
	if began.Before(rests) { // since this delivery has waited
		<-lock.token
		r.leaveHost(host, lock)
		return nil, &busyError{rests}
	}
	return func() {
		now := r.now()
		if took := now.Sub(began); took > slowSend {
			r.mu.Lock()
			lock.rests = now.Add(min(restFactor*took, longestRest))
			r.mu.Unlock()
		}
		<-lock.token
		r.leaveHost(host, lock)
	}, nil
}

// host returns the lock of a host with one user more; nil if the host rests, and until
// when.
func (r *Reporter) host(host string) (lock *hostLock, rests time.Time) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	lock = r.hosts[host]
	if lock == nil {
		if r.hosts == nil {
			r.hosts = make(map[string]*hostLock)
		}
		if len(r.hosts) >= sweepHosts {
			maps.DeleteFunc(r.hosts, func(_ string, l *hostLock) bool { return l.users == 0 && !now.Before(l.rests) })
		}
		lock = &hostLock{token: make(chan struct{}, 1)}
		r.hosts[host] = lock
	}
	if now.Before(lock.rests) {
		return nil, lock.rests
	}
	lock.users++
	return lock, time.Time{}
}

// leaveHost forgets a host that nobody uses and that does not rest.
func (r *Reporter) leaveHost(host string, lock *hostLock) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if lock.users--; lock.users == 0 && !now.Before(lock.rests) {
		delete(r.hosts, host)
	}
}
