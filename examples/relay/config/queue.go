package config

import (
	"os"
	"path/filepath"
	"time"

	"github.com/smtpsec/smtpsec/examples/relay/dsn"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

// Defaults of the queue that package spool does not have. AsyncOS allows 500 connections
// and 50 messages on each; a relay of this size does with fewer connections.
const (
	defaultPerDomain    = 10
	defaultTotal        = 200
	defaultConnMessages = 50
	defaultConnIdle     = 5 * time.Second
	defaultMaxReturned  = 64 << 10
	defaultMinFree      = 64 << 20
)

// spool reads where messages wait.
func (l *loader) spool(root *table) {
	t := root.sub("spool")
	dir, n := t.text("directory")
	switch {
	case t == nil:
		root.missing("spool", "[spool] and directory = \"...\" below it")
	case n == nil:
		t.missing("directory", "a directory of its own on a local file system")
	default:
		l.c.Spool.Dir = l.directory(n, dir)
	}
	l.c.Spool.Options.MinFree = t.size("min-free", defaultMinFree, 0, 1<<50)
	t.done()
}

// isDirectory tells of something else that stands where a directory will be made, or
// in the way to it.
func (l *loader) isDirectory(n *node, path string) {
	for {
		info, err := os.Stat(path)
		if err == nil {
			if !info.IsDir() {
				n.fail(l, "%s is a file: choose another directory", show(path))
			}
			return
		}
		up := filepath.Dir(path)
		if up == path {
			return
		}
		path = up
	}
}

// queue reads the schedule of attempts and the limits of deliveries.
func (l *loader) queue(t *table) {
	q := &l.c.Queue
	q.Retry = spool.Retry{
		First:      t.duration("first-retry", spool.DefaultFirst, time.Second, maxTime),
		Longest:    t.duration("longest-retry", spool.DefaultLongest, time.Second, maxTime),
		Lifetime:   t.duration("lifetime", spool.DefaultLifetime, time.Second, maxTime),
		DelayAfter: spool.DefaultDelayAfter,
	}
	r := &q.Retry
	if d := t.timeoutUpTo("delay-warning", maxTime); d < 0 {
		r.DelayAfter = r.Lifetime // from there on: never
	} else if d > 0 {
		r.DelayAfter = d
		if d >= r.Lifetime {
			t.n.table["delay-warning"].warn(l, "comes no sooner than the end of the lifetime, %s: nobody is ever told that mail is late", showDuration(r.Lifetime))
		}
	}
	l.increasing(t, "longest-retry", r.Longest, "first-retry", r.First)
	l.increasing(t, "lifetime", r.Lifetime, "first-retry", r.First)
	q.PerDomain = int(t.number("per-domain", defaultPerDomain, 1, 10000))
	q.Total = int(t.number("total", defaultTotal, 1, 10000))
	if q.PerDomain > q.Total {
		if n := t.n.table["per-domain"]; n != nil {
			n.fail(l, "%d is more than total, %d: make it smaller, or total larger", q.PerDomain, q.Total)
		} else {
			q.PerDomain = q.Total
		}
	}
	q.ConnMessages = int(t.number("messages-per-connection", defaultConnMessages, 1, maxLimit))
	switch d := t.timeout("idle-connection", true); {
	case d == 0:
		q.ConnIdle = defaultConnIdle
	case d > 0:
		q.ConnIdle = d
	}
	q.MaxReturned = t.size("max-returned", defaultMaxReturned, 0, dsn.MaxReturned)
	t.done()
}

// increasing tells of a time that is shorter than the one that comes before it.
func (l *loader) increasing(t *table, key string, v time.Duration, before string, least time.Duration) {
	if v >= least {
		return
	}
	n := t.n.table[key]
	if n == nil {
		n = t.n.table[before]
	}
	n.fail(l, "%s is %s, and %s is %s: the times of the queue must not decrease", key, showDuration(v), before, showDuration(least))
}

// timeoutUpTo is timeout with "none", for longer times.
func (t *table) timeoutUpTo(key string, high time.Duration) time.Duration {
	if t != nil {
		if n := t.n.table[key]; n != nil && n.kind == kindText && n.text == "none" {
			t.text(key)
			return -1
		}
	}
	return t.duration(key, 0, time.Second, high)
}
