package main

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestDecisions: what the probe says would happen is what does happen when a Dialer
// with these settings is used, for every domain of the lab's world and every
// combination of settings.
func TestDecisions(t *testing.T) {
	w := labWorld()
	l, p := inLab(t, w)
	dialers := map[tlspolicy.Settings]*smtpclient.Dialer{}
	settings := p.question.settings()
	require.Len(t, settings, 6*3*2)
	for _, s := range settings {
		entry := s
		if s.Mode == tlspolicy.No {
			entry.DANE, entry.MTASTS = tlspolicy.DANENone, tlspolicy.Off
		}
		table, err := tlspolicy.NewTable(entry, nil)
		require.NoError(t, err)
		dialers[s] = &smtpclient.Dialer{Hostname: p.helo, Policy: table, Resolver: p.resolver, MTASTS: p.policies, Trust: p.trust, DialContext: l.DialContext}
	}
	type job struct {
		domain string
		s      tlspolicy.Settings
		want   Decision
	}
	jobs := make(chan job)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for j := range jobs {
				compare(t, dialers[j.s], j.domain, j.want)
			}
		})
	}
	for d, domain := range w.Domains {
		r := p.probe(context.Background(), domain.Name)
		if !assert.Len(t, r.Decisions, len(settings), domain.Name) {
			continue
		}
		for i, s := range settings {
			if raceEnabled && (i+d)%6 != 0 {
				continue // a sixth of them shows races as well
			}
			jobs <- job{domain.Name, s, r.Decisions[i]}
		}
	}
	close(jobs)
	group.Wait()
}

func compare(t *testing.T, d *smtpclient.Dialer, domain string, said Decision) {
	session, err := d.Dial(context.Background(), domain)
	action, reason, host := "", "", ""
	if err == nil {
		defer session.Close()
		action, reason, host = session.Decision().Action.String(), session.Decision().Reason.String(), session.Host()
	} else {
		var failed *smtpclient.Error
		if !assert.ErrorAs(t, err, &failed) {
			return
		}
		action = actionDefer
		if failed.Permanent {
			action = actionBounce
		}
		var policy *smtpclient.PolicyError
		if errors.As(failed.Err, &policy) {
			reason = failed.Reason.String()
		}
	}
	where := domain + ", mode " + said.Mode + ", DANE " + said.DANE + ", MTA-STS " + said.MTASTS
	assert.Equal(t, action, said.Action, "%s: %v", where, err)
	assert.Equal(t, reason, said.Reason, "%s: %v", where, err)
	if err == nil {
		assert.Equal(t, host, said.Host, where)
	}
}

// TestOtherNames: where the TLSA base domain is not the host's name, what a sender
// finds that names it in the handshake decides, but for senders who know DANE alone.
func TestOtherNames(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:25")
	first := addrFacts{addr: at, reached: true, outcome: tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished}}
	again := first
	again.outcome.DANEMatch = true // there is another certificate under that name
	first.dane = &again
	h := hostFacts{host: "mx.test.example", dane: tlspolicy.DANEUsable, sts: tlspolicy.STSNoPolicy, addrs: []addrFacts{first}}
	s := tlspolicy.Recommended()
	require.Equal(t, tlspolicy.DeliverVerified, h.decide(s).action)
	s.DANE = tlspolicy.DANENone
	require.Equal(t, tlspolicy.DeliverUnverified, h.decide(s).action)
	again.reached = false // it broke off
	require.Equal(t, tlspolicy.DeliverUnverified, h.decide(s).action)
	s.DANE = tlspolicy.DANEOpportunistic
	require.Equal(t, verdict{host: "mx.test.example"}, h.decide(s))
}
