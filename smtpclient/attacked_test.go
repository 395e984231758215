package smtpclient

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// attackWorld is a policy under attack.
type attackWorld struct {
	name     string
	settings tlspolicy.Settings
	demanded bool // no clear text
	verified bool // nothing but DeliverVerified
	message  tlspolicy.Message
	setup    func(st *stage, leaf *x509.Certificate)
}

func attackWorlds() []attackWorld {
	return []attackWorld{
		{name: "preferred", settings: preferred},
		{name: "preferred, always", settings: tlspolicy.Settings{Mode: tlspolicy.Preferred, Fallback: tlspolicy.FallbackAlways}},
		{name: "preferred-verify, before-220", settings: tlspolicy.Settings{Mode: tlspolicy.PreferredVerify, Fallback: tlspolicy.FallbackBefore220}},
		{name: "required", settings: required, demanded: true},
		{name: "required-verify", settings: tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}, demanded: true, verified: true},
		{name: "required-verify-hosted", settings: tlspolicy.Settings{Mode: tlspolicy.RequiredVerifyHosted, Fallback: tlspolicy.FallbackAlways}, demanded: true, verified: true},
		{name: "mta-sts", settings: tlspolicy.Settings{Mode: tlspolicy.Preferred, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways}, demanded: true, verified: true,
			setup: func(st *stage, leaf *x509.Certificate) {
				st.dialer.MTASTS = found(policyOf("enforce", "mx1.partner.example"))
			}},
		{name: "dane", settings: tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, Fallback: tlspolicy.FallbackAlways}, demanded: true, verified: true,
			setup: func(st *stage, leaf *x509.Certificate) { st.tlsa("mx1.partner.example", leaf, dane.UsageDANEEE) }},
		{name: "requiretls", settings: preferred, demanded: true, verified: true, message: tlspolicy.Message{RequireTLS: true},
			setup: func(st *stage, leaf *x509.Certificate) {
				st.dialer.MTASTS = found(policyOf("enforce", "mx1.partner.example"))
			}},
		{name: "tls-required: no", settings: tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEMandatory}, message: tlspolicy.Message{TLSOptional: true},
			setup: func(st *stage, leaf *x509.Certificate) { st.tlsa("mx1.partner.example", leaf, dane.UsageDANEEE) }},
		{name: "route", settings: tlspolicy.Settings{Mode: tlspolicy.RequiredVerifyHosted}, demanded: true, verified: true,
			setup: func(st *stage, leaf *x509.Certificate) {
				st.dialer.Routes = routes{{Host: "mx1.partner.example", Literal: true}}
			}},
		{name: "dane, unusable", settings: tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, Fallback: tlspolicy.FallbackAlways}, demanded: true,
			setup: func(st *stage, leaf *x509.Certificate) { st.tlsa("mx1.partner.example", leaf, dane.UsagePKIXEE) }},
	}
}

// attackNames are the names of the honest server.
var attackNames = []string{"mx1.partner.example", "partner.example"}

// run dials once under attack, behind an honest session if warm, and requires what
// holds under every attack. It returns the Action that it came to.
func (w attackWorld) run(t *testing.T, first, second attack, warm bool, name string) (reached tlspolicy.Action) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, w.settings)
		st.mx("partner.example", "10 mx1.partner.example")
		config := st.cert(attackNames...)
		leaf := config.Certificates[0].Leaf
		if w.setup != nil {
			w.setup(st, leaf)
		}
		honest := server{tls: config, tlsEHLO: "250-mx\r\n250-INSIDE\r\n250 REQUIRETLS\r\n"}
		target := Target{Domain: "partner.example", Message: w.message}
		if warm {
			st.at("192.0.2.1", honest.run)
			before, err := st.dialer.DialTarget(context.Background(), target)
			require.NoError(t, err, name)
			require.NotNil(t, before.TLS(), name)
			before.Close()
		}
		st.at("192.0.2.1", first.between(honest, attackNames), second.between(honest, attackNames))
		begin := time.Now()
		session, err := st.dialer.DialTarget(context.Background(), target)
		require.Less(t, time.Since(begin), DefaultTotalTimeout, name)
		report := reportOf(t, session, err)
		for _, c := range st.conns {
			require.NotContains(t, c.sent.String(), "MAIL FROM", name)
		}
		for _, a := range report.Attempts {
			requireBounded(t, a, name)
		}
		require.NotEmpty(t, report.Explain(), name)
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e, name)
			require.False(t, e.Permanent, name)
			require.True(t, strings.HasPrefix(e.Status, "4."), name)
			reached = tlspolicy.Next
		} else {
			reached = session.Decision().Action
			w.accept(t, session, leaf, posed(first, second, report), name)
			session.Close()
		}
		synctest.Wait()
		st.closedOnce()
	})
	return reached
}

// accept requires that a session is one that the policy allows, with whoever may
// have it.
func (w attackWorld) accept(t *testing.T, s *Session, leaf *x509.Certificate, by pose, name string) {
	if w.demanded {
		require.NotNil(t, s.TLS(), name)
	}
	if w.verified {
		require.Equal(t, tlspolicy.DeliverVerified, s.Decision().Action, name)
	}
	if s.TLS() == nil {
		return
	}
	if w.verified || s.Decision().Action == tlspolicy.DeliverVerified || by == honestServer {
		require.Equal(t, leaf.Raw, s.TLS().PeerCertificates[0].Raw, name)
	}
	require.NotEqual(t, stolenCert, by, "%s: nobody has a session with a certificate without its key", name)
	require.True(t, s.Extensions().Has("INSIDE"), name)
	require.False(t, s.Extensions().Has("PIPELINING"), name)
}

// requireBounded requires that an attempt kept to its time limits, and claims no
// proof where there is no session.
func requireBounded(t *testing.T, a Attempt, name string) {
	limits := DefaultGreetingTimeout + 3*DefaultEHLOTimeout + DefaultSTARTTLSTimeout + DefaultHandshakeTimeout
	timings := a.Timings
	require.LessOrEqual(t, timings.Greeting+timings.EHLO+timings.STARTTLS+timings.Handshake+timings.Checks+timings.EHLOTLS, limits, name)
	if a.Outcome.TLS != tlspolicy.TLSEstablished {
		require.Zero(t, a.Identity, name)
		require.Zero(t, a.TLSA, name)
		require.Zero(t, a.Version, name)
		require.False(t, a.Resumed, name)
		require.NoError(t, a.Unverified, name)
	}
}

// TestAttackerInPath: whatever is done to the octets between the Dialer and an
// honest server, and whoever poses as it, nothing is sent in clear where TLS is
// demanded, nothing is verified but the honest server, no error is permanent, no
// time limit is exceeded, and the report claims no proof where there is no session.
// A TLS session that the honest server began before does not help. The bubble proves
// that no goroutine is left.
func TestAttackerInPath(t *testing.T) {
	attacks := 250
	if raceEnabled {
		attacks = 40
	}
	for i, w := range attackWorlds() {
		reached := map[tlspolicy.Action]int{}
		for n := range attacks {
			r := rand.New(rand.NewPCG(uint64(i), uint64(n)))
			first, second := newAttack(r), newAttack(r)
			if n == 0 {
				first = noAttack()
			}
			name := fmt.Sprintf("%s, attack %d: %v, then %v", w.name, n, first, second)
			reached[w.run(t, first, second, n%2 == 0, name)]++
		}
		require.Positive(t, reached[tlspolicy.Next], w.name)
		require.Positive(t, reached[tlspolicy.DeliverVerified]+reached[tlspolicy.DeliverUnverified], w.name)
		require.Equal(t, w.demanded, reached[tlspolicy.DeliverClear] == 0, w.name)
	}
}

// TestCutAtEveryOctet ends the connection at every octet of the dialogue in clear,
// of either direction, and at many of the handshake and what is behind it.
func TestCutAtEveryOctet(t *testing.T) {
	step := 97
	if raceEnabled {
		step = 397
	}
	for _, w := range attackWorlds() {
		for n := 0; n < 2200; n++ {
			if n > 110 { // the dialogue in clear is over
				n += step
			}
			for _, up := range []bool{false, true} {
				a := noAttack()
				said := len("220 mx ESMTP\r\n" + offers) // without the 220 to STARTTLS
				if up {
					a.upCut, said = n, len("EHLO mta.sender.example\r\nSTARTTLS\r\n")
				} else {
					a.cut = n
				}
				action := w.run(t, a, noAttack(), false, fmt.Sprintf("%s, up %v, cut at %d", w.name, up, n))
				if n < said {
					require.Equal(t, tlspolicy.Next, action, "%s, up %v, cut at %d", w.name, up, n)
				}
			}
		}
	}
}

// posed returns the pose of the attack on the connection that became the session.
func posed(first, second attack, r *Report) pose {
	if r.Attempts[len(r.Attempts)-1].Reconnect {
		return second.pose
	}
	return first.pose
}
