package smtpserver

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Stats is a snapshot of a listener's counters. All but Active only grow.
type Stats struct {
	Active      int               // connections now, refused ones included
	BadCommands uint64            // refused by the filter
	Recipients  uint64            // reported by an adapter
	Kinds       map[Kind]uint64   // events; kinds that have not happened are absent
	Reasons     map[Reason]uint64 // events by reason, KindClosed aside
	Groups      map[string]uint64 // connections by sender group, refused ones included
}

// counters are what Stats is made of.
type counters struct {
	badCommands atomic.Uint64
	recipients  atomic.Uint64
	kinds       [kinds]atomic.Uint64
	reasons     [reasons]atomic.Uint64
	groups      sync.Map // name to *atomic.Uint64; names come from tables only
}

// group counts a connection of a group.
func (s *counters) group(name string) {
	n, ok := s.groups.Load(name)
	if !ok {
		n, _ = s.groups.LoadOrStore(name, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1)
}

// Stats returns the counters of the listener.
func (l *Listener) Stats() Stats {
	s := Stats{
		Active:      l.active(),
		BadCommands: l.stats.badCommands.Load(),
		Recipients:  l.stats.recipients.Load(),
		Kinds:       map[Kind]uint64{},
		Reasons:     map[Reason]uint64{},
		Groups:      map[string]uint64{},
	}
	for k := range l.stats.kinds {
		if n := l.stats.kinds[k].Load(); n > 0 {
			s.Kinds[Kind(k)] = n
		}
	}
	for r := range l.stats.reasons {
		if n := l.stats.reasons[r].Load(); n > 0 {
			s.Reasons[Reason(r)] = n
		}
	}
	l.stats.groups.Range(func(name, n any) bool {
		s.Groups[name.(string)] = n.(*atomic.Uint64).Load()
		return true
	})
	return s
}

// tell counts an event and hands it to the hook and to the logger.
func (l *Listener) tell(e Event) {
	l.stats.kinds[e.Kind].Add(1)
	if e.Reason != ReasonNone && e.Kind != KindClosed { // most often it has been counted
		l.stats.reasons[e.Reason].Add(1)
	}
	logger := l.options.Logger
	level := e.Level()
	logs := logger != nil && logger.Enabled(context.Background(), level)
	if !logs && l.options.Events == nil {
		return
	}
	e.Time = time.Now()
	or(&e.Code, e.Reply.Code())
	e.Listener, e.Local = l.name, l.local
	if l.options.Events != nil {
		l.options.Events(e)
	}
	if logs {
		logger.LogAttrs(context.Background(), level, "smtpserver", slog.Any("event", e))
	}
}

// Summary is a listener in short, as in the listener overview of AsyncOS.
type Summary struct {
	Name        string
	Network     string
	Address     string
	ImplicitTLS bool
	// TLS is the setting of the last sender group, which is the one for everybody
	// else; the zero value without groups.
	TLS TLS
	// Certificate says whether the listener's own certificate can be used: "none",
	// "ready", "demonstration", or why it is not ready.
	Certificate string
	Groups      int
	MaxConns    int // 0: no limit
	Timeouts    Timeouts
}

// Timeouts are those in force on a listener; 0 is none.
type Timeouts struct {
	Command, Handshake, Data, Write, Idle, Age time.Duration
}

// Summary describes the listener with the table that is in force.
func (l *Listener) Summary() Summary {
	o, groups := &l.options, l.bound.Load().table.Groups()
	s := Summary{
		Name: l.name, Network: l.Addr().Network(), Address: l.Addr().String(), ImplicitTLS: o.ImplicitTLS,
		Groups: len(groups), MaxConns: max(o.MaxConns, 0), Certificate: describeSource(l.source()),
		Timeouts: Timeouts{max(o.CommandTimeout, 0), max(o.HandshakeTimeout, 0), max(o.DataTimeout, 0),
			max(o.WriteTimeout, 0), max(o.IdleTimeout, 0), max(o.MaxConnAge, 0)},
	}
	if len(groups) > 0 {
		s.TLS = groups[len(groups)-1].Policy.TLS
	}
	return s
}
