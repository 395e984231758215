package smtpserver

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEnumNames(t *testing.T) {
	seen := map[string]bool{}
	check := func(name string) {
		require.Regexp(t, `^[a-z0-9]+(-[a-z0-9]+)*$`, name)
		require.False(t, seen[name], name)
		seen[name] = true
	}
	for k := range kinds {
		check("kind-" + k.String())
	}
	for r := range reasons {
		check("reason-" + r.String())
	}
	for s := range StageServerFlight + 1 {
		check("stage-" + s.String())
	}
	for p := range PhaseRejected + 1 {
		check("phase-" + p.String())
	}
	for a := range Wait + 1 {
		check("action-" + a.String())
	}
	require.Equal(t, "Kind(99)", Kind(99).String())
}

// TestUnmet has the log rule of the chapter for each way that leads to it without a
// handshake.
func TestUnmet(t *testing.T) {
	for _, c := range []struct {
		why    string
		policy Policy
		say    string
		kind   Kind
		reason Reason
		reply  Reply
	}{
		{"no STARTTLS", tlsRequired, mail, KindTLSRequiredUnmet, ReasonNeverTried, ReplyNone},
		{"a parameter", tlsRequired, ehlo + "STARTTLS x\r\n" + mail, KindTLSRequiredUnmet, ReasonRefused, ReplySTARTTLSParameter},
		{"before EHLO", tlsRequired, mail + "STARTTLS\r\n", KindTLSRequiredUnmet, ReasonRefused, ReplySTARTTLSEarly},
		{"octets behind it", tlsRequired, mail + ehlo + "STARTTLS\r\n" + mail, KindTLSRequiredUnmet, ReasonInjection, ReplySTARTTLSInjection},
		{"a handshake of nothing", tlsRequired, mail + ehlo + "STARTTLS\r\n", KindTLSRequiredUnmet, ReasonClientClosed, ReplyNone},
		{"no 530, a handshake of nothing", tlsPreferred, ehlo + "STARTTLS\r\n", KindTLSFailed, ReasonClientClosed, ReplyNone},
		{"no 530", tlsRequired, ehlo + "NOOP\r\n", kinds, ReasonNone, ReplyNone},
		{"not required", tlsPreferred, ehlo + "STARTTLS x\r\n" + mail, kinds, ReasonNone, ReplyNone},
	} {
		w := serve(t, forAll(t, c.policy))
		p := w.dial()
		p.want(greeting)
		for _, line := range strings.SplitAfter(c.say, "\r\n") {
			if line == "STARTTLS\r\n" && c.reason == ReasonInjection {
				p.send("STARTTLS\r\nMAIL FROM:<>\r\n")
				p.all()
				break
			}
			if line == "" {
				break
			}
			p.send(line)
			for {
				reply, err := p.in.ReadString('\n')
				require.NoError(t, err)
				if reply[3] == ' ' {
					break
				}
			}
		}
		p.Close()
		w.events.wait(t, KindClosed, 1)
		unmet, failed := w.events.of(KindTLSRequiredUnmet), w.events.of(KindTLSFailed)
		if c.kind == kinds {
			require.Empty(t, append(unmet, failed...), c.why)
			continue
		}
		both := append(unmet, failed...)
		require.Len(t, both, 1, c.why)
		e := both[0]
		require.Equal(t, c.kind, e.Kind, c.why)
		require.Equal(t, c.reason, e.Reason, c.why)
		require.Equal(t, c.reply, e.Reply, c.why)
		require.Equal(t, slog.LevelInfo, e.Level())
		require.Equal(t, w.addr, e.Local.String())
	}
}

// TestUnmetNotWithRecipients: an adapter has reported a recipient.
func TestUnmetNotWithRecipients(t *testing.T) {
	w := serve(t, forAll(t, tlsRequired))
	p := w.dial()
	p.want(greeting)
	p.say(mail, tlsFirst)
	p.say(ehlo, ehloClear)
	w.backend.see(func() { w.backend.conns[0].RecipientAccepted() })
	p.say("QUIT\r\n", bye)
	w.events.wait(t, KindClosed, 1)
	require.Empty(t, w.events.of(KindTLSRequiredUnmet))
}

// TestLog: nothing of AUTH and of a message is in the log, and names of the peer
// cannot forge lines.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	o := forAll(t, Policy{TLS: TLSRequired, AuthInClear: On})
	o.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w := serve(t, o)
	p := w.dial()
	p.want(greeting)
	p.say("AUTH PLAIN c2VjcmV0\r\n"+mail+"DATA\r\nprivate\r\n", strings.Repeat(tlsFirst, 4))
	p.send("NOOP\n")
	p.all()
	w.events.wait(t, KindClosed, 1)
	require.NoError(t, w.listener.Shutdown(t.Context()))
	text := out.String()
	require.Contains(t, text, "kind=tls-required-unmet")
	for _, secret := range []string{"c2VjcmV0", "private", "a@example.com"} {
		require.NotContains(t, text, secret)
	}
	out.Reset()
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "event", Event{Kind: KindTLSFailed, Host: "a\nlevel=ERROR", ServerName: "\x1b[2J", Err: errors.New("b\u202e"),
		Stage: StageAfterHello, TLSAlert: 40, TLSVersion: 0x304, CipherSuite: 0x1301, Alert: true, ConnID: 7, HostStatus: NoPTR})
	for _, want := range []string{`"host":"a\\nlevel=ERROR"`, `"sni":"\\x1b[2J"`, `"err":"b\\u202e"`, `"tls":"TLS 1.3"`, `"cipher":"TLS_AES_128_GCM_SHA256"`,
		`"stage":"after-client-hello"`, `"alert":40`, `"conn":7`, `"hoststatus":"no-ptr"`} {
		require.Contains(t, out.String(), want)
	}
}

func TestStatsAndSummary(t *testing.T) {
	source := serverCert()
	source.demo = true
	o := forAll(t, tlsRequired)
	o.Certificate, o.Name, o.CommandTimeout, o.MaxConns = source, "public", time.Minute, 100
	w := serve(t, o)
	require.True(t, w.events.wait(t, KindDemonstration, 1).Alert)
	require.NoError(t, w.listener.SetTable(o.Table))
	require.Len(t, w.events.of(KindDemonstration), 2, "after each reload, too")
	p := w.dial()
	p.want(greeting)
	p.say(mail, tlsFirst)
	s := w.listener.Stats()
	require.Equal(t, 1, s.Active)
	require.EqualValues(t, 1, s.BadCommands)
	require.Equal(t, map[string]uint64{"everybody": 1}, s.Groups)
	require.EqualValues(t, 1, s.Kinds[KindCommandRefused])
	p.say("QUIT\r\n", bye)
	require.Equal(t, "public", w.events.wait(t, KindClosed, 1).Listener)
	require.NoError(t, w.listener.Shutdown(t.Context()))
	s = w.listener.Stats()
	require.Zero(t, s.Active)
	require.EqualValues(t, 1, s.Reasons[ReasonNeverTried])

	require.Equal(t, Summary{Name: "public", Network: "tcp", Address: w.addr, TLS: TLSRequired, Certificate: "demonstration",
		Groups: 1, MaxConns: 100, Timeouts: Timeouts{time.Minute, 30 * time.Second, 5 * time.Minute, 2 * time.Minute, 10 * time.Minute, 0}},
		w.listener.Summary())
	source.demo = false
	require.Equal(t, "ready", w.listener.Summary().Certificate)
	source.ready = func() error { return errors.New("not installed") }
	require.Equal(t, "not installed", w.listener.Summary().Certificate)
}
