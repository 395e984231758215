package smtpclient

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Marks in a fuzzed script. It is cut at stepEnd; a step is said after a line has
// been heard, unless it begins with another mark.
const (
	stepEnd   = 0xff
	stepTLS   = 0xfe // do a handshake
	stepClose = 0xfd
	stepWait  = 0xfc // until the client closes
	stepSay   = 0xfb // without hearing a line first
)

// play runs a fuzzed script.
func play(p *peer, data []byte) {
	for i, step := range bytes.Split(data, []byte{stepEnd}) {
		switch {
		case len(step) > 0 && step[0] == stepTLS:
			if !p.tls(p.stage.cert("partner.example")) {
				return
			}
		case len(step) > 0 && step[0] == stepClose:
			return
		case len(step) > 0 && step[0] == stepWait:
			<-p.gone
			return
		case len(step) > 0 && step[0] == stepSay:
			p.say(string(step[1:]))
		default:
			if i > 0 && p.hear() == "" {
				return
			}
			p.say(string(step))
		}
	}
	p.swallow()
}

// FuzzServer: whatever a server does, no Dial ends with a permanent error; where
// TLS is demanded none ends in clear text; MAIL is not sent before a session is
// handed out; connections are closed once, and in time.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{
		"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n|T|250 mx\r\n|221 bye\r\n",
		"220 mx\r\n|250 mx\r\n|250 ok\r\n",
		"220 mx\r\n|502 what\r\n|250 mx\r\n",
		"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n250 ok\r\n",
		"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n|S250 ok\r\n",
		"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n|S\x15\x03\x03\x00\x02\x02\x28",
		"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|454 no\r\n|221 bye\r\n",
		"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|421 no\r\n|X",
		"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|W",
		"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n|W",
		"550 5.7.1 no\r\n", "554-a\r\n554 b\r\n|221 bye\r\n", "X", "W", "S220 mx\r\n|S250 mx\r\n",
		"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n|T|550 5.1.1 no\r\n|221 bye\r\n",
	} {
		data := []byte(strings.NewReplacer("|T", "\xff\xfe", "|X", "\xff\xfd", "|W", "\xff\xfc", "|S", "\xff\xfb", "|", "\xff").Replace(seed))
		for mode := range uint8(6) {
			f.Add(data, data, mode, mode%3)
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte, mode, fallback uint8) {
		s := tlspolicy.Settings{Mode: tlspolicy.Mode(mode%6) + tlspolicy.No, Fallback: tlspolicy.Fallback(fallback%3) + tlspolicy.FallbackAfter220}
		synctest.Test(t, func(t *testing.T) {
			st := newStage(t, s)
			st.mx("partner.example", "10 mx1.partner.example")
			st.at("192.0.2.1", func(p *peer) { play(p, first) }, func(p *peer) { play(p, second) })
			begin := time.Now()
			session, err := st.dialer.Dial(context.Background(), "partner.example")
			require.Less(t, time.Since(begin), DefaultTotalTimeout)
			report := reportOf(t, session, err)
			for _, c := range st.conns {
				require.NotContains(t, c.sent.String(), "MAIL FROM") // long enough not to turn up in ciphertext
				if s.Mode == tlspolicy.No {
					require.NotContains(t, c.sent.String(), "STARTTLS")
				}
			}
			for _, a := range report.Attempts[1:] {
				require.True(t, a.Reconnect, "one host with one address")
			}
			require.LessOrEqual(t, len(report.Attempts), 2)
			require.NotEmpty(t, report.Explain())
			if err != nil {
				var e *Error
				require.ErrorAs(t, err, &e)
				require.False(t, e.Permanent)
				require.True(t, strings.HasPrefix(e.Status, "4."), e.Status)
			} else {
				clear := session.TLS() == nil
				require.Equal(t, clear, session.Decision().Action == tlspolicy.DeliverClear)
				require.Zero(t, report.Attempts[len(report.Attempts)-1].Err)
				switch s.Mode {
				case tlspolicy.No:
					require.True(t, clear)
				case tlspolicy.Required:
					require.False(t, clear)
				case tlspolicy.RequiredVerify, tlspolicy.RequiredVerifyHosted:
					require.False(t, clear)
					require.Equal(t, tlspolicy.DeliverVerified, session.Decision().Action)
				}
				session.Close()
			}
			synctest.Wait()
			st.closedOnce()
		})
	})
}
