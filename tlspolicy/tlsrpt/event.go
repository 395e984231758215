package tlsrpt

import (
	"log/slog"
	"time"
)

// EventKind names what happened. The names are stable.
type EventKind string

const (
	EventLate        EventKind = "late"         // a session of a day that is closed, or far in the future: not counted; once a day
	EventDomainsFull EventKind = "domains-full" // more report domains in a day than are counted; once a day
	EventFlushFailed EventKind = "flush-failed" // the store did not take counts; they are written with the next flush
	EventLost        EventKind = "lost"         // counts that the store did not take for two days were dropped
	EventNoRecord    EventKind = "no-record"    // the domain wants no reports; its counts are discarded

	EventSent         EventKind = "sent"          // a target took a report
	EventSendFailed   EventKind = "send-failed"   // a target did not take it
	EventUnverified   EventKind = "unverified"    // it goes to an https target whose certificate is not valid (RFC 8460 section 3)
	EventGivenUp      EventKind = "given-up"      // no target took it, and none is tried again
	EventDuplicate    EventKind = "duplicate"     // the report of a TLSA base domain whose recipient domains report to the same targets is not sent
	EventDeliverError EventKind = "deliver-error" // the delivery could not be tried or recorded
)

// Event is something that happened to counts and reports, for logs and alarms.
type Event struct {
	Kind   EventKind
	Level  slog.Level
	Time   time.Time
	Day    Day
	Domain string // report domain, if it is about one
	Target string // URI, for reports
	Err    error
}

// LogValue returns the event as attributes, without those that are empty.
func (e Event) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 5)
	attrs = append(attrs, slog.String("kind", string(e.Kind)), slog.String("day", e.Day.String()))
	if e.Domain != "" {
		attrs = append(attrs, slog.String("domain", e.Domain))
	}
	if e.Target != "" {
		attrs = append(attrs, slog.String("target", e.Target))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}
