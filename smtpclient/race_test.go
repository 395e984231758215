package smtpclient

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// track is a race over scripted addresses: each connects or fails after a time,
// or never.
type track struct {
	race
	begin   time.Time
	started []string // "address at"
	reports []string
	lates   int
	budget  int
	conns   []*counted
	now     int // connects in flight
	most    int
}

type leg struct {
	after time.Duration // negative: not before its context ends
	fails bool
	deaf  bool // does not notice that its context ended
}

func newTrack(legs map[string]leg, todo ...string) *track {
	tr := &track{begin: time.Now(), budget: 100}
	done := make(chan struct{}, 1) // a lock that synctest sees through
	tr.race = race{
		stagger: time.Second, timeout: 30 * time.Second, budget: &tr.budget,
		late:   func() { tr.lates++ },
		failed: func(d dialed) { tr.reports = append(tr.reports, d.addr.String()+" "+d.err.Error()) },
		connect: func(ctx context.Context, a netip.Addr) (net.Conn, error) {
			done <- struct{}{}
			tr.started = append(tr.started, a.String()+" "+time.Since(tr.begin).String())
			tr.now++
			tr.most = max(tr.most, tr.now)
			<-done
			defer func() {
				done <- struct{}{}
				tr.now--
				<-done
			}()
			l := legs[a.String()]
			if l.after < 0 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			timer := time.NewTimer(l.after)
			defer timer.Stop()
			if l.deaf {
				<-timer.C
			} else {
				select {
				case <-timer.C:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			if l.fails {
				return nil, errors.New("refused")
			}
			near, far := net.Pipe()
			far.Close()
			c := &counted{Conn: near, gone: make(chan struct{})}
			done <- struct{}{}
			tr.conns = append(tr.conns, c)
			<-done
			return c, nil
		},
	}
	for _, a := range todo {
		tr.todo = append(tr.todo, netip.MustParseAddr(a))
	}
	return tr
}

// all takes until nothing is left, and closes what it gets.
func (tr *track) all(ctx context.Context) (won []string) {
	for {
		d, ok := tr.take(ctx)
		if !ok {
			return won
		}
		won = append(won, d.addr.String()+" "+time.Since(tr.begin).String())
		d.conn.Close()
	}
}

func TestRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrack(map[string]leg{"192.0.2.1": {after: 999 * time.Millisecond}}, "192.0.2.1", "192.0.2.2")
		d, ok := tr.take(t.Context())
		require.True(t, ok)
		d.conn.Close()
		require.Equal(t, "192.0.2.1", d.addr.String())
		require.Equal(t, 999*time.Millisecond, d.elapsed)
		require.Equal(t, []string{"192.0.2.1 0s"}, tr.started, "in time: no second connect")
		require.Zero(t, tr.lates)
	})
	synctest.Test(t, func(t *testing.T) {
		tr := newTrack(map[string]leg{"192.0.2.1": {after: -1}, "192.0.2.2": {after: time.Second}},
			"192.0.2.1", "192.0.2.2", "192.0.2.3")
		d, ok := tr.take(t.Context())
		require.True(t, ok)
		d.conn.Close()
		require.Equal(t, "192.0.2.2", d.addr.String())
		// At the second tick two are in flight, so the third has to wait.
		require.Equal(t, []string{"192.0.2.1 0s", "192.0.2.2 1s"}, tr.started)
		require.Equal(t, 2*time.Second, time.Since(tr.begin))
		require.Empty(t, tr.reports, "a loser has not failed")
		require.NotZero(t, tr.lates)
		require.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.3")}, tr.todo,
			"the loser keeps its turn")
	})
	synctest.Test(t, func(t *testing.T) {
		// Both connect at the same moment, or the loser after all: it is closed.
		tr := newTrack(map[string]leg{"192.0.2.1": {after: 3 * time.Second, deaf: true}, "192.0.2.2": {after: time.Second}},
			"192.0.2.1", "192.0.2.2")
		d, ok := tr.take(t.Context())
		require.True(t, ok)
		require.Equal(t, "192.0.2.2", d.addr.String())
		require.Len(t, tr.conns, 2)
		d.conn.Close()
		for _, c := range tr.conns {
			require.Equal(t, int32(1), c.closed.Load())
			require.Zero(t, c.written.Load()+c.read.Load(), "no byte on it")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		tr := newTrack(map[string]leg{"192.0.2.1": {fails: true}, "192.0.2.2": {after: -1}, "192.0.2.3": {}},
			"192.0.2.1", "192.0.2.2", "192.0.2.3")
		require.Equal(t, []string{"192.0.2.3 1s"}, tr.all(t.Context())[:1], "a failure starts the next at once, the tick the third")
	})
	synctest.Test(t, func(t *testing.T) {
		legs := map[string]leg{"192.0.2.1": {after: -1}, "192.0.2.2": {after: -1}, "192.0.2.3": {after: -1}, "192.0.2.4": {after: -1}}
		tr := newTrack(legs, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
		require.Empty(t, tr.all(t.Context()))
		require.Equal(t, []string{"192.0.2.1 0s", "192.0.2.2 1s", "192.0.2.3 30s", "192.0.2.4 31s"}, tr.started)
		require.Equal(t, 61*time.Second, time.Since(tr.begin))
		require.Len(t, tr.reports, 4)
		require.Equal(t, 2, tr.most)
	})
	synctest.Test(t, func(t *testing.T) {
		tr := newTrack(map[string]leg{"192.0.2.1": {after: -1}, "192.0.2.2": {}}, "192.0.2.1", "192.0.2.2")
		tr.stagger = -1
		require.Equal(t, []string{"192.0.2.2 30s"}, tr.all(t.Context()), "strictly one after the other")
		require.Equal(t, 1, tr.most)
	})
	synctest.Test(t, func(t *testing.T) {
		tr := newTrack(map[string]leg{"192.0.2.1": {fails: true}, "192.0.2.2": {fails: true}, "192.0.2.3": {}},
			"192.0.2.1", "192.0.2.2", "192.0.2.3")
		tr.budget = 2
		require.Empty(t, tr.all(t.Context()))
		require.Len(t, tr.started, 2)
		require.Len(t, tr.todo, 1, "what was not tried shows why it ended")
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		tr := newTrack(map[string]leg{"192.0.2.1": {after: -1}, "192.0.2.2": {after: 10 * time.Second, deaf: true}, "192.0.2.3": {}},
			"192.0.2.1", "192.0.2.2", "192.0.2.3")
		require.Empty(t, tr.all(ctx))
		require.Len(t, tr.started, 2, "nothing is started once ctx has ended")
		require.Empty(t, tr.reports, "and nothing has failed")
		require.Len(t, tr.conns, 1)
		require.Equal(t, int32(1), tr.conns[0].closed.Load())
	})
}

// TestRaceKeepsTurns: whatever connects when, each address is taken or reported
// exactly once, unless it lost, and then later.
func TestRaceKeepsTurns(t *testing.T) {
	legs := []leg{{}, {after: 1500 * time.Millisecond}, {after: -1}, {fails: true}, {fails: true, after: 2 * time.Second}}
	addrs := []string{"192.0.2.1", "192.0.2.2", "2001:db8::3"}
	for a := range legs {
		for b := range legs {
			for c := range legs {
				synctest.Test(t, func(t *testing.T) {
					tr := newTrack(map[string]leg{addrs[0]: legs[a], addrs[1]: legs[b], addrs[2]: legs[c]}, addrs...)
					won := tr.all(t.Context())
					require.Len(t, append(won, tr.reports...), len(addrs))
					require.LessOrEqual(t, tr.most, inFlight)
					for _, addr := range addrs {
						require.True(t, slices.ContainsFunc(append(won, tr.reports...), func(s string) bool {
							return len(s) > len(addr) && s[:len(addr)+1] == addr+" "
						}), addr)
					}
					for _, conn := range tr.conns {
						require.Equal(t, int32(1), conn.closed.Load())
					}
				})
			}
		}
	}
}

// lateContext has passed its deadline and does not know it yet.
type lateContext struct {
	context.Context
	end time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.end, true }

// TestConnectEndsBeforeContext: package net gives a connect the deadline of its
// context, and may end it a moment before the context has an error. That is no fault of
// the address.
func TestConnectEndsBeforeContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, cancel := context.WithCancel(t.Context())
		ctx := lateContext{inner, time.Now()}
		r := race{timeout: time.Minute, connect: func(context.Context, netip.Addr) (net.Conn, error) {
			time.AfterFunc(time.Millisecond, cancel)
			return nil, context.DeadlineExceeded
		}}
		require.Error(t, r.dial(ctx, netip.MustParseAddr("192.0.2.1")).err)
		require.Error(t, ctx.Err(), "it is over when dial returns")
	})
}
