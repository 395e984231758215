package tlspolicy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	. "github.com/smtpsec/smtpsec/tlspolicy"
)

// event is one of each kind with all that it may have.
func event(kind EventKind) Event {
	return Event{
		Kind: kind, Time: time.Unix(1_700_000_000, 0), ConnID: 2361, Domain: "example.com", Host: "mx1.example.net",
		Addr: netip.MustParseAddrPort("192.0.2.1:25"), Local: netip.MustParseAddr("::ffff:198.51.100.7"),
		Decision: Plan(Settings{Mode: PreferredVerify, DANE: DANENone, MTASTS: Off, Fallback: FallbackAfter220}, 0, 0).
			Decide(Outcome{TLS: TLSEstablished, Chain: ChainUntrusted}),
		Version: tls.VersionTLS13, Suite: tls.TLS_AES_128_GCM_SHA256, Detail: "454 4.7.0 TLS not available",
	}
}

// eventLines has every kind with its name, level and line. The names and the
// lines of the chapter do not change; kinds are appended.
var eventLines = []struct {
	kind  EventKind
	name  string
	level slog.Level
	line  string
}{
	{EventNone, "none", slog.LevelInfo, "TLS event none"},
	{EventConnect, "connect", slog.LevelInfo, "New SMTP DCID 2361 interface 198.51.100.7 address 192.0.2.1 port 25"},
	{EventSTARTTLSAbsent, "starttls-absent", slog.LevelInfo, "DCID 2361 STARTTLS command not supported"},
	{EventNoESMTP, "no-esmtp", slog.LevelInfo, `DCID 2361 EHLO command not supported: "454 4.7.0 TLS not available"`},
	{EventSTARTTLSRefused, "starttls-refused", slog.LevelInfo, `DCID 2361 STARTTLS command refused: "454 4.7.0 TLS not available"`},
	{EventTLSRequiredUnavailable, "tls-required-unavailable", slog.LevelInfo, "DCID 2361 TLS failed: TLS required, STARTTLS unavailable, destination is TLS disabled"},
	{EventTLSRequiredFailed, "tls-required-failed", slog.LevelInfo, "DCID 2361 TLS was required but could not be successfully negotiated"},
	{EventSTSApply, "sts-apply", slog.LevelInfo, "Applying MTA-STS policy for the domain (example.com)."},
	{EventSTSEnforce, "sts-enforce", slog.LevelInfo, "Enforcing TLS for MTA-STS Policy"},
	{EventSTSSuccess, "sts-success", slog.LevelInfo, "MTA-STS policy for the domain (example.com) Successful."},
	{EventSTSFailed, "sts-failed", slog.LevelInfo, "Applying MTA-STS policy for the domain (example.com) Failed."},
	{EventSTSConnectionFailed, "sts-connection-failed", slog.LevelInfo, "Connection for the domain (example.com) failed when MTA-STS Policy was enforced."},
	{EventSTSSkippedDANE, "sts-skipped-dane", slog.LevelInfo, "MTA-STS policy will be skipped for the (example.com) due to DANE being enforced."},
	{EventTLSEstablished, "tls-established", slog.LevelInfo, "DCID 2361 TLS success protocol TLS 1.3 cipher TLS_AES_128_GCM_SHA256"},
	{EventDecision, "decision", slog.LevelDebug, `DCID 2361 TLS decision deliver-tls-unverified for the host (mx1.example.net): tls-unauthenticated, chain-untrusted: "454 4.7.0 TLS not available"`},
	{EventDANEUnavailable, "dane-unavailable", slog.LevelWarn, `DANE is not available for the domain (example.com): "454 4.7.0 TLS not available"`},
}

func TestEventLines(t *testing.T) {
	for i, c := range eventLines {
		require.Equal(t, EventKind(i), c.kind, "every kind has a line, in the order of their numbers")
		e := event(c.kind)
		require.Equal(t, c.name, c.kind.String())
		text, err := c.kind.MarshalText()
		require.NoError(t, err)
		require.Equal(t, c.name, string(text))
		require.Equal(t, c.level, c.kind.Level(), c.name)
		require.Equal(t, c.line, e.AsyncOS(), c.name)
		require.Equal(t, "x"+c.line, string(e.AppendAsyncOS([]byte("x"))))
	}
	beyond := EventKind(len(eventLines))
	_, err := beyond.MarshalText()
	require.Error(t, err, "every kind is in the list")
	require.Equal(t, "TLS event EventKind(16)", event(beyond).AsyncOS())
}

func TestEventLinesWithLess(t *testing.T) {
	skipped, _ := Plan(Recommended(), DANEBogus, STSNoPolicy).Skip()
	for _, c := range []struct {
		why   string
		event Event
		want  string
	}{
		{"no detail", Event{Kind: EventSTARTTLSRefused, ConnID: 7}, "DCID 7 STARTTLS command refused"},
		{"no recipient domain", Event{Kind: EventSTSApply, Host: "relay.example.org"}, "Applying MTA-STS policy for the domain (relay.example.org)."},
		{"no addresses", Event{Kind: EventConnect}, "New SMTP DCID 0 interface - address - port 0"},
		{"IPv6, without zone", Event{Kind: EventConnect, ConnID: 1, Addr: netip.AddrPortFrom(netip.MustParseAddr("fe80::1%a\nb"), 587), Local: netip.MustParseAddr("2001:db8::1")},
			"New SMTP DCID 1 interface 2001:db8::1 address fe80::1 port 587"},
		{"skipped before connecting", Event{Kind: EventDecision, Domain: "example.com", Host: "mx1.example.net", Decision: skipped},
			"TLS decision next-mx-then-defer for the host (mx1.example.net): dane-bogus, 4.7.5"},
		{"the whole domain", Event{Kind: EventDecision, Domain: "example.com", Decision: skipped}, "TLS decision next-mx-then-defer: dane-bogus, 4.7.5"},
		{"TLS of the future", Event{Kind: EventTLSEstablished, ConnID: 1, Version: 0x0305, Suite: 0xfafa}, "DCID 1 TLS success protocol 0x0305 cipher 0xFAFA"},
	} {
		require.Equal(t, c.want, c.event.AsyncOS(), c.why)
	}
}

// hostileTexts try to end a line, to forge one, to leave the parentheses or the
// quotes, to move a terminal's cursor, and to fill the disk.
var hostileTexts = []string{
	"a\nNew SMTP DCID 1", "a\r\n", "a\x00b", "a\x1b[2J", "a\u2028b\u202eb\u0085", "\xff\xfe", "example.com) Successful.", `" : "`, `\`,
	strings.Repeat("x", 1<<20), strings.Repeat("ü\n", 1<<16), "%s%n", "{domain}",
}

func TestEventTextOfOthers(t *testing.T) {
	for _, text := range hostileTexts {
		for _, c := range eventLines {
			e := event(c.kind)
			e.Domain, e.Host, e.Detail = text, text, text
			checkLine(t, e)
		}
	}
	e := event(EventSTSFailed)
	e.Domain = "good.example) Successful.\n"
	require.Equal(t, "Applying MTA-STS policy for the domain (good.example??Successful.?) Failed.", e.AsyncOS())
	e = event(EventSTARTTLSRefused)
	e.Detail = "454 \"no\"\r\nNew SMTP DCID 1"
	require.Equal(t, `DCID 2361 STARTTLS command refused: "454 \"no\"\r\nNew SMTP DCID 1"`, e.AsyncOS())
}

// checkLine asserts that whatever the texts are, the line is one, printable and
// short, and no longer in its structure than the kind's own.
func checkLine(t *testing.T, e Event) {
	t.Helper()
	line := e.AsyncOS()
	require.Less(t, len(line), 3000, "%v", e.Kind)
	for i := range len(line) {
		if line[i] < ' ' || line[i] > '~' {
			t.Fatalf("%v: octet %#x in %q", e.Kind, line[i], line)
		}
	}
	plain := event(e.Kind)
	if e.Host == "" {
		plain.Host = "" // a line says nothing of a host that it does not have
	}
	if e.Domain == "" {
		plain.Domain = ""
	}
	require.Equal(t, strings.Count(plain.AsyncOS(), ")"), strings.Count(unquoted(line), ")"), "%q", line)
	for _, attr := range e.LogValue().Group() {
		text := attr.Value.String()
		require.True(t, utf8.ValidString(text), "%s", attr.Key)
		require.NotContains(t, text, "\n", "%s", attr.Key)
		require.Less(t, len(text), 1200, "%s", attr.Key)
	}
}

// unquoted returns what stands in front of a quoted detail.
func unquoted(line string) string {
	before, _, _ := strings.Cut(line, `: "`)
	return before
}

func TestEventLogValue(t *testing.T) {
	text := func(v slog.LogValuer) string {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		log.LogAttrs(context.Background(), slog.LevelInfo, "tls", slog.Any("e", v))
		return out.String()
	}
	require.Equal(t, `level=INFO msg=tls e.kind=decision e.conn=2361 e.domain=example.com e.host=mx1.example.net e.addr=192.0.2.1:25 `+
		`e.local=::ffff:198.51.100.7 e.action=deliver-tls-unverified e.reason=tls-unauthenticated e.cause=chain-untrusted `+
		`e.tls="TLS 1.3" e.cipher=TLS_AES_128_GCM_SHA256 e.detail="454 4.7.0 TLS not available"`+"\n", text(event(EventDecision)))
	require.Equal(t, "level=INFO msg=tls e.kind=sts-enforce\n", text(Event{Kind: EventSTSEnforce}))
	e := Event{Kind: EventDecision, Decision: Plan(Recommended().For(Message{TLSOptional: true}), DANENoTLSA, STSEnforceMatch).Decide(Outcome{TLS: TLSRefused})}
	require.Equal(t, "level=INFO msg=tls e.kind=decision e.action=next-mx-then-defer e.reason=starttls-refused e.status=4.7.5 "+
		"e.not_enforced=sts-tls-required-refused\n", text(e))
}

var (
	sinkEvent Event
	sinkLine  []byte
)

func TestEventsDoNotAllocate(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	host, detail := "mx1.example.net", "454 4.7.0 TLS not available"
	require.Zero(t, testing.AllocsPerRun(100, func() {
		sinkEvent = Event{Kind: EventSTARTTLSRefused, Time: now, ConnID: 1, Host: host, Detail: detail}
	}), "to make one")
	buf := make([]byte, 0, 1024)
	for _, c := range eventLines {
		if c.kind == EventNone || c.kind == EventTLSEstablished {
			continue // a text put together, and crypto/tls's look-up
		}
		e := event(c.kind)
		require.Zero(t, testing.AllocsPerRun(100, func() { sinkLine = e.AppendAsyncOS(buf) }), c.name)
	}
}

func FuzzEventText(f *testing.F) {
	for i, text := range hostileTexts {
		f.Add(uint8(i), text[:min(len(text), 600)], "mx1.example.net", text[:min(len(text), 600)])
	}
	for kind := range len(eventLines) {
		f.Add(uint8(kind), "", "", "\xfa")
	}
	f.Fuzz(func(t *testing.T, kind uint8, domain, host, detail string) {
		e := event(EventKind(kind % uint8(len(eventLines))))
		e.Domain, e.Host, e.Detail = domain, host, detail
		checkLine(t, e)
		line := Alert{Kind: AlertDANEFailedAll, Domain: domain, Hosts: []HostDecision{{Host: host}}}.String()
		require.NotContains(t, line, "\n")
	})
}

func BenchmarkAppendAsyncOS(b *testing.B) {
	e := event(EventDecision)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		sinkLine = e.AppendAsyncOS(buf)
	}
}
