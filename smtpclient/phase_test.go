package smtpclient

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

var (
	preferred = tlspolicy.Settings{Mode: tlspolicy.Preferred}
	required  = tlspolicy.Settings{Mode: tlspolicy.Required}
)

// drip sends text one octet a minute.
func drip(p *peer, text string) bool {
	for _, c := range text {
		if !p.say(string(c)) {
			return false
		}
		p.pause(time.Minute)
	}
	return true
}

// slowPhases has a server that makes each phase of a connection last, whatever
// it costs it.
var slowPhases = []struct {
	name  string
	stage Stage
	limit time.Duration
	run   func(p *peer)
}{
	{"greeting", StageGreeting, DefaultGreetingTimeout, func(p *peer) {
		drip(p, "220 "+strings.Repeat("x", 100)+"\r\n")
	}},
	{"endless greeting", StageGreeting, DefaultGreetingTimeout, func(p *peer) {
		for p.say("220-x\r\n") {
			p.pause(time.Minute)
		}
	}},
	{"silent greeting", StageGreeting, DefaultGreetingTimeout, (*peer).swallow},
	{"EHLO", StageEHLO, DefaultEHLOTimeout, func(p *peer) {
		p.say("220 mx\r\n")
		p.hear()
		drip(p, "250 "+strings.Repeat("x", 100)+"\r\n")
	}},
	{"EHLO not read", StageEHLO, DefaultEHLOTimeout, func(p *peer) {
		p.say("220 mx\r\n")
		<-p.gone
	}},
	{"STARTTLS", StageSTARTTLS, DefaultSTARTTLSTimeout, func(p *peer) {
		p.say("220 mx\r\n")
		p.hear()
		p.say(offers)
		p.hear()
		drip(p, "220 "+strings.Repeat("x", 100)+"\r\n")
	}},
	{"handshake", StageHandshake, DefaultHandshakeTimeout, func(p *peer) {
		p.say("220 mx\r\n")
		p.hear()
		p.say(offers)
		p.hear()
		p.say("220 go\r\n")
		drip(p, "\x16\x03\x03\x10\x00"+strings.Repeat("\x02", 1000))
	}},
	{"EHLO inside TLS", StageTLS, DefaultEHLOTimeout, func(p *peer) {
		p.say("220 mx\r\n")
		p.hear()
		p.say(offers)
		p.hear()
		p.say("220 go\r\n")
		if p.tls(p.stage.cert("mx1.partner.example")) {
			p.hear()
			drip(p, "250 "+strings.Repeat("x", 100)+"\r\n")
		}
	}},
}

// TestSlowPhases: a phase has one deadline, however busy the server keeps itself.
func TestSlowPhases(t *testing.T) {
	for _, phase := range slowPhases {
		t.Run(phase.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStage(t, required)
				st.mx("partner.example", "10 mx1.partner.example")
				st.at("192.0.2.1", phase.run)
				begin := time.Now()
				e := st.dialFail(context.Background())
				require.Equal(t, phase.limit, time.Since(begin))
				require.Len(t, e.Report.Attempts, 1)
				require.Equal(t, phase.stage, e.Report.Attempts[0].Stage)
				require.ErrorIs(t, e, os.ErrDeadlineExceeded)
				require.False(t, e.Permanent)
				if phase.stage == StageHandshake {
					var failed *HandshakeError
					require.ErrorAs(t, e, &failed)
					require.Equal(t, CauseTimeout, failed.Cause)
					require.Equal(t, tlspolicy.ReasonModeTLSHandshakeFailed, e.Reason)
					require.Equal(t, "4.7.5", e.Status)
				} else {
					var lost *LostError
					require.ErrorAs(t, e, &lost)
					require.True(t, lost.Timeout())
					require.Equal(t, "4.4.2", e.Status)
					require.Zero(t, e.Reason)
				}
				st.closedOnce()
			})
		})
	}
}

// TestContextInEachPhase: whatever ctx's end interrupts, the Dial ends at once
// with ctx's error, is not called a failed handshake, and opens no further
// connection, in clear text least of all.
func TestContextInEachPhase(t *testing.T) {
	for _, phase := range slowPhases {
		for _, how := range []string{"canceled", "expired", "expired with the phase", "total"} {
			t.Run(phase.name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					st := newStage(t, preferred)
					st.at("192.0.2.1", phase.run)
					st.at("192.0.2.2", server{}.run)
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					after, want := 30*time.Second, context.DeadlineExceeded
					switch how {
					case "canceled":
						want = context.Canceled
						time.AfterFunc(after, cancel)
					case "expired":
						var stop context.CancelFunc
						ctx, stop = context.WithTimeout(ctx, after)
						defer stop()
					case "expired with the phase":
						after = phase.limit
						var stop context.CancelFunc
						ctx, stop = context.WithTimeout(ctx, after)
						defer stop()
					case "total":
						st.dialer.Timeouts.Total = after
					}
					begin := time.Now()
					e := st.dialFail(ctx)
					require.Equal(t, after, time.Since(begin))
					require.ErrorIs(t, e, want)
					require.Equal(t, want, e.Err)
					var failed *HandshakeError
					require.False(t, errors.As(e, &failed))
					require.Zero(t, e.Reason)
					require.False(t, e.Permanent)
					require.Len(t, e.Report.Attempts, 1)
					require.Equal(t, phase.stage, e.Report.Attempts[0].Stage)
					require.Zero(t, e.Report.Attempts[0].Decision)
					require.Equal(t, want, e.Report.Attempts[0].Err)
					require.Equal(t, []string{"192.0.2.1"}, st.dials)
					st.closedOnce()
				})
			})
		}
	}
}
