package mtasts

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEvictionOfEnforceIsAnEvent(t *testing.T) {
	w := newWorld()
	w.Limits.MaxPolicies = 1
	w.lookup(t)
	w.dns.set("other.example", "v=STSv1; id=1;")
	w.clock.add(time.Minute)
	_, err := w.Lookup(t.Context(), "other.example")
	require.NoError(t, err)
	require.Contains(t, w.events(), EventEvicted)
}

func TestLoggerAndAsyncOS(t *testing.T) {
	var b bytes.Buffer
	w := newWorld()
	w.Trace = nil
	w.Logger = slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	w.lookup(t)
	require.Equal(t, `level=DEBUG msg="DNS query: Q(_mta-sts.example.com, 'TXT')" mtasts.kind=dns-query mtasts.domain=example.com
level=INFO msg="Successfully fetched MTA-STS TXT record for domain(example.com)" mtasts.kind=record-found mtasts.domain=example.com mtasts.id=1
level=DEBUG msg="Fetch MTA-STS policy for the domain(example.com)" mtasts.kind=fetch-start mtasts.domain=example.com mtasts.id=1 mtasts.host=mta-sts.example.com
level=INFO msg="Successfully fetched MTA-STS policy for the domain(example.com)" mtasts.kind=fetch-done mtasts.domain=example.com mtasts.id=1 mtasts.host=mta-sts.example.com mtasts.new_mode=enforce
level=DEBUG msg="MTA-STS Cache entry added for the domain (example.com)." mtasts.kind=cache-stored mtasts.domain=example.com mtasts.id=1 mtasts.host=mta-sts.example.com mtasts.new_mode=enforce
`, b.String())
	for kind, want := range map[EventKind]string{
		EventRecordAbsent:  "MTA-STS record Error (Invalid MTA-STS TXT records found) for domain(d.example)",
		EventRecordInvalid: "MTA-STS record Error (Invalid MTA-STS TXT records found) for domain(d.example)",
		EventFetchFailed:   "Failure encountered while fetching MTA-STS policy for the domain(d.example)",
		EventBackoffDay:    "Failures encountered while fetching STS policy, successive request is skipped for a day.",
		EventDNSFailed:     "Temporary DNS failure while looking up the MTA-STS TXT record for domain(d.example)",
		EventPolicyExpired: "MTA-STS policy-expired for domain(d.example)",
	} {
		require.Equal(t, want, Event{Kind: kind, Domain: "d.example"}.AsyncOS())
	}
	require.Equal(t, "MTA-STS refresh-failed (timeout) for domain(d.example)", Event{Kind: EventRefreshFailed, Domain: "d.example", Reason: ReasonTimeout}.AsyncOS())
	e := Event{Kind: EventFetchFailed, Domain: "d.example", Reason: ReasonStatus, Err: errors.New("status 404"), Attempts: 2, Next: epoch, Old: enforcePolicy(0)}
	require.Equal(t, "[kind=fetch-failed domain=d.example reason=status error=status 404 attempts=2 next=2030-01-01 00:00:00 +0000 UTC old_mode=enforce]", e.LogValue().String())
}

func TestNames(t *testing.T) {
	require.Equal(t, "no-record", OutcomeNoRecord.String())
	require.Equal(t, "backoff", OutcomeBackoff.String())
	require.Equal(t, "Outcome(99)", Outcome(99).String())
	require.Equal(t, "stale", SourceStale.String())
	require.Equal(t, "Source(99)", Source(99).String())
	require.Equal(t, "bom", WarnBOM.String())
	require.Equal(t, "line-separator", WarnLineSeparator.String())
	require.Equal(t, "WarningCode(0)", WarningCode(0).String())
	require.Equal(t, "ErrorCode(0)", ErrorCode(0).String())
	require.Equal(t, "unknown", ModeUnknown.String())
	require.Equal(t, "strict tolerant", Strict.String()+" "+Tolerant.String())
	require.Equal(t, `line 3 column 5: pattern-dot: mx "a."`, Warning{WarnPatternDot, 3, 5, "mx", "a."}.String())
	require.Equal(t, `policy line 2 column 7: mode is not enforce, testing or none: "x"`, (&SyntaxError{PolicyModeValue, 2, 7, "x"}).Error())
	require.Equal(t, `record line 1 column 1: no id: "id"`, (&SyntaxError{RecordMissingID, 1, 1, "id"}).Error())
	require.Equal(t, `mtasts: fetch "example.com" from mta-sts.example.com: status: 404`, (&Error{Op: opFetch, Domain: "example.com", Host: "mta-sts.example.com", Reason: ReasonStatus, Err: errors.New("404")}).Error())
	require.NotErrorIs(t, &Error{Op: opLookup}, ErrFetch)
	require.ErrorIs(t, &Error{Op: opFetch, Reason: ReasonTooLarge}, ErrTooLarge)
}
