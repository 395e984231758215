package certs

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"
)

// EventKind says what happened.
type EventKind string

const (
	EventChanged       EventKind = "changed"       // an entry has another certificate, or is new
	EventRemoved       EventKind = "removed"       // an entry is gone
	EventReloaded      EventKind = "reloaded"      // somebody else changed a file, and what it says now is in service
	EventReloadFailed  EventKind = "reload-failed" // somebody else changed a file to what cannot be used; the former state is in service
	EventExpiring      EventKind = "expiring"      // the end of a validity is near
	EventExpired       EventKind = "expired"       // it is over; the certificate is served all the same
	EventDemonstration EventKind = "demonstration" // a role uses the demonstration certificate: not secure, not for general use
)

// Event tells of something that a Store did or saw. No field holds any part of a
// key or a passphrase.
type Event struct {
	Kind EventKind
	Time time.Time
	Name string // the entry; "" if it is about none
	Role string // of a demonstration event

	// Of the certificate that the event is about; zero without one.
	Cert     [sha256.Size]byte // its SHA-256
	Subject  string
	NotAfter time.Time
	Place    string // "current", "next", "issuer", "custom list" or "roles"

	Err error // why a reload failed
}

// String returns the event as a line for people.
func (e Event) String() string {
	s := string(e.Kind)
	if e.Name != "" {
		s += fmt.Sprintf(" entry %q", clip(e.Name))
	}
	if e.Role != "" {
		s += fmt.Sprintf(" role %q", clip(e.Role))
	}
	if !e.NotAfter.IsZero() {
		s += fmt.Sprintf(": %s certificate %q, valid until %s", e.Place, clip(e.Subject), moment(e.NotAfter))
	}
	if e.Kind == EventDemonstration {
		s += ": not secure, not for general use"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// level is how loud the event is in a log.
func (e Event) level() slog.Level {
	switch e.Kind {
	case EventReloadFailed, EventExpired:
		return slog.LevelError
	case EventExpiring, EventDemonstration:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (e Event) attributes() (list []slog.Attr) {
	for _, a := range []struct{ key, value string }{
		{"entry", e.Name}, {"role", e.Role}, {"place", e.Place}, {"subject", clip(e.Subject)},
	} {
		if a.value != "" {
			list = append(list, slog.String(a.key, a.value))
		}
	}
	if e.Cert != ([sha256.Size]byte{}) {
		list = append(list, slog.String("sha256", fmt.Sprintf("%x", e.Cert)))
	}
	if !e.NotAfter.IsZero() {
		list = append(list, slog.Time("not_after", e.NotAfter))
	}
	if e.Err != nil {
		list = append(list, slog.Any("error", e.Err))
	}
	return list
}

// tell hands an event to the hook and the logger. No lock is held.
func (o *StoreOptions) tell(e Event) {
	if o.Logger != nil {
		o.Logger.LogAttrs(context.Background(), e.level(), "certs: "+string(e.Kind), e.attributes()...)
	}
	if o.Events != nil {
		o.Events(e)
	}
}
