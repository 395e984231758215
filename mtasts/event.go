package mtasts

import (
	"fmt"
	"log/slog"
	"time"
)

// EventKind names what happened. The names are stable.
type EventKind string

const (
	EventDNSQuery      EventKind = "dns-query"      // a TXT query starts
	EventDNSFailed     EventKind = "dns-failed"     // it failed; not the same as absence
	EventRecordAbsent  EventKind = "record-absent"  // no TXT record
	EventRecordInvalid EventKind = "record-invalid" // several (Reason "multiple") or malformed ("syntax")
	EventRecordFound   EventKind = "record-found"   // a valid TXT record

	EventFetchStart     EventKind = "fetch-start"     // a GET starts
	EventFetchDone      EventKind = "fetch-done"      // it brought a valid policy
	EventFetchFailed    EventKind = "fetch-failed"    // it did not
	EventRefreshFailed  EventKind = "refresh-failed"  // nor did the renewal of a held enforce or testing policy
	EventBlockedAddress EventKind = "blocked-address" // the policy host has no address that may be asked
	EventBackoffDay     EventKind = "backoff-day"     // from now on one attempt a day

	EventCacheStored   EventKind = "cache-stored"   // a policy entered the cache
	EventPolicyExpired EventKind = "policy-expired" // a policy ran out without renewal
	EventEvicted       EventKind = "evicted"        // a valid enforce policy that no Store holds was pushed out of memory
	EventStoreError    EventKind = "store-error"    // the Store failed; the memory goes on
	EventEntryCorrupt  EventKind = "entry-corrupt"  // a stored entry cannot be used and is read as absent

	EventRecheckChanged EventKind = "recheck-changed" // Recheck brought another policy
	EventPinApplied     EventKind = "pin-applied"     // a pin had a say in a result: Reason is its kind, Old what discovery has, New the pin's policy

	EventDowngradeMode     EventKind = "downgrade-mode"     // enforce to testing or none, testing to none
	EventDowngradeMaxAge   EventKind = "downgrade-max-age"  // max_age cut to under a day, or under a tenth
	EventDowngradePatterns EventKind = "downgrade-patterns" // no pattern in common with the policy before
	EventBodyChanged       EventKind = "body-changed"       // another file under the same id
	EventRecordGone        EventKind = "record-gone"        // the TXT record vanished while enforce is held
	EventManyIDs           EventKind = "many-ids"           // more than three ids within an hour
)

// Event is something that happened in discovery, for logs, metrics and alarms.
type Event struct {
	Kind     EventKind
	Level    slog.Level
	Time     time.Time
	Domain   string
	ID       string    // id of the TXT record in question
	Host     string    // policy host, for GETs
	Reason   string    // one of the Reason texts; "multiple" or "syntax" for record-invalid, the kind for pin-applied
	Err      error     // the failure itself
	Attempts int       // failures in a row, for GETs
	Next     time.Time // when the next attempt may be made, if it is put off
	Old, New *Policy   // the policy before and after, where one changed; read-only
}

// LogValue returns the event as attributes, without those that are empty.
func (e Event) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 10)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	add("kind", string(e.Kind))
	add("domain", e.Domain)
	add("id", e.ID)
	add("host", e.Host)
	add("reason", e.Reason)
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	if e.Attempts > 0 {
		attrs = append(attrs, slog.Int("attempts", e.Attempts))
	}
	if !e.Next.IsZero() {
		attrs = append(attrs, slog.Time("next", e.Next))
	}
	if e.Old != nil {
		attrs = append(attrs, slog.String("old_mode", e.Old.Mode.String()))
	}
	if e.New != nil {
		attrs = append(attrs, slog.String("new_mode", e.New.Mode.String()))
	}
	return slog.GroupValue(attrs...)
}

// AsyncOS returns the line that the AsyncOS chapter on encrypting communication
// with other MTAs shows for the event, and for events that the chapter does not
// know a line of the same manner.
func (e Event) AsyncOS() string {
	switch e.Kind {
	case EventDNSQuery:
		return fmt.Sprintf("DNS query: Q(_mta-sts.%s, 'TXT')", e.Domain)
	case EventRecordAbsent, EventRecordInvalid:
		return fmt.Sprintf("MTA-STS record Error (Invalid MTA-STS TXT records found) for domain(%s)", e.Domain)
	case EventRecordFound:
		return fmt.Sprintf("Successfully fetched MTA-STS TXT record for domain(%s)", e.Domain)
	case EventDNSFailed:
		return fmt.Sprintf("Temporary DNS failure while looking up the MTA-STS TXT record for domain(%s)", e.Domain)
	case EventFetchStart:
		return fmt.Sprintf("Fetch MTA-STS policy for the domain(%s)", e.Domain)
	case EventFetchDone:
		return fmt.Sprintf("Successfully fetched MTA-STS policy for the domain(%s)", e.Domain)
	case EventFetchFailed:
		return fmt.Sprintf("Failure encountered while fetching MTA-STS policy for the domain(%s)", e.Domain)
	case EventBackoffDay:
		return "Failures encountered while fetching STS policy, successive request is skipped for a day."
	case EventCacheStored:
		return fmt.Sprintf("MTA-STS Cache entry added for the domain (%s).", e.Domain)
	}
	if e.Reason != "" {
		return fmt.Sprintf("MTA-STS %s (%s) for domain(%s)", e.Kind, e.Reason, e.Domain)
	}
	return fmt.Sprintf("MTA-STS %s for domain(%s)", e.Kind, e.Domain)
}
