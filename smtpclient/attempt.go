package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// keywordSTARTTLS is the extension of RFC 3207 section 4.
const keywordSTARTTLS = "STARTTLS"

// keywordREQUIRETLS is the extension of RFC 8689 section 2. The session that it
// stands in has been authenticated, because Settings.For saw to that.
const keywordREQUIRETLS = "REQUIRETLS"

// tryConnection speaks with one server, and again in clear text on a new
// connection to the same address if policy says so.
func (x *delivery) tryConnection(ctx context.Context, p *hostPlan, d dialed) (*Session, error) {
	t := &attempt{x: x, plan: p, requirement: p.requirement}
	s, err := t.run(ctx, d)
	if err != errNext || t.a.Decision.Action != tlspolicy.ReconnectClear {
		return s, err
	}
	again := dialed{addr: d.addr}
	if *x.budget == 0 {
		again.err = ErrConnections
	} else {
		*x.budget--
		connectCtx, cancel := context.WithTimeout(ctx, x.conf.timeouts.Connect)
		defer cancel()
		begin := time.Now()
		again.conn, again.err = x.conf.connect(connectCtx, netip.AddrPortFrom(d.addr, x.port), t.a.LocalAddr.Addr())
		again.elapsed = time.Since(begin)
		awaitEnd(ctx)
	}
	if ctx.Err() != nil {
		if again.err == nil {
			again.conn.Close()
		}
		return nil, ctx.Err()
	}
	if again.err != nil {
		x.unreached(ctx, p, again, true)
		return nil, errNext
	}
	t = &attempt{x: x, plan: p, requirement: p.requirement.AfterReconnect()}
	t.a.Reconnect = true
	return t.run(ctx, again)
}

// attempt is one connection in progress.
type attempt struct {
	x           *delivery
	plan        *hostPlan
	requirement tlspolicy.Requirement
	generation  uint64 // of the trust, before anything was checked
	a           Attempt
	decided     tlspolicy.Decision // on the connection, whatever became of it after
	noTLS       error              // why there is no TLS session although the server offers it
	talk        *talk
	name        string // our name in EHLO
	esmtp       bool
	ext         Extensions
}

// run speaks with the server until there is a session or none will be. The
// attempt is recorded in any case. ctx's end is ctx's error, whatever it made
// fail.
func (t *attempt) run(ctx context.Context, d dialed) (*Session, error) {
	t.generation = t.x.conf.verifier.Generation()
	l := &link{Conn: d.conn}
	unbind := l.bind(ctx)
	t.talk = newTalk(l, &t.x.conf.limits, &t.x.conf.timeouts)
	t.name = t.x.conf.localName(d.conn)
	t.a.Addr = netip.AddrPortFrom(d.addr, t.x.port)
	t.a.LocalAddr = localAddrOf(d.conn)
	t.a.Requirement = t.requirement
	t.a.Timings.Connect = d.elapsed
	t.a.ConnID = t.x.conf.d.connections.Add(1)
	t.x.emit(ctx, tlspolicy.Event{Kind: tlspolicy.EventConnect, ConnID: t.a.ConnID, Host: t.plan.host.name, Addr: t.a.Addr, Local: t.a.LocalAddr.Addr()})

	polite, err := t.speak(ctx)
	if err == nil && !unbind() {
		err = ctx.Err()
	}
	if err == nil {
		l.limit(time.Time{})
		t.talk.release()
		t.a.Stage = StageReady
		s := t.session(l)
		t.x.record(ctx, &t.a, t.plan)
		t.x.collect(ctx, t.plan, t.decided, &t.a, t.noTLS)
		return s, nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	t.talk.leave(ctx, polite)
	unbind()
	t.a.Err = err
	t.x.record(ctx, &t.a, t.plan)
	t.x.collect(ctx, t.plan, t.decided, &t.a, t.noTLS)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, errNext
}

func localAddrOf(c net.Conn) netip.AddrPort {
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return netip.AddrPort{}
}

// speak goes through greeting, EHLO, STARTTLS and the handshake, and lets policy
// decide. nil means that MAIL may be sent. polite tells whether the server can
// still be told QUIT.
func (t *attempt) speak(ctx context.Context) (polite bool, err error) {
	offered, err := t.open(ctx)
	if err != nil {
		return alive(err), err
	}
	if offered && t.requirement.Kind() != tlspolicy.KindClear {
		refused, err := t.startTLS(ctx)
		var failed *HandshakeError
		switch {
		case errors.As(err, &failed):
			t.handshakeFailed()
		case refused:
			t.a.Outcome.TLS = tlspolicy.TLSRefused
		case err != nil:
			return alive(err), err
		}
		t.noTLS = err
	}
	if ctx.Err() != nil { // what our own end made fail is no finding about the server
		return false, ctx.Err()
	}
	t.decide()
	switch t.a.Decision.Action {
	case tlspolicy.DeliverClear:
		if t.talk.tls == nil && t.a.Outcome.TLS != tlspolicy.TLSHandshakeFailed {
			return true, nil
		}
	case tlspolicy.DeliverVerified, tlspolicy.DeliverUnverified:
		if t.talk.tls != nil && t.a.Outcome.TLS == tlspolicy.TLSEstablished {
			return t.inside(ctx)
		}
	}
	cause := t.noTLS
	if cause == nil {
		cause = t.a.Unverified
	}
	return t.a.Outcome.TLS != tlspolicy.TLSHandshakeFailed, t.refuse(cause)
}

// decide asks policy about the connection as it is.
func (t *attempt) decide() {
	t.decided = t.requirement.Decide(t.a.Outcome)
	t.a.Decision = t.decided
}

// refuse is the error of an attempt that the Decision ends. Going on in clear
// text on a new connection is no refusal: the cause then speaks for itself.
func (t *attempt) refuse(cause error) error {
	if t.a.Decision.Action == tlspolicy.ReconnectClear && cause != nil {
		return cause
	}
	return &PolicyError{Decision: t.a.Decision, Host: t.plan.host.name, Err: cause}
}

// open reads the greeting and says EHLO, or HELO where that is good enough. It
// returns whether the server offers STARTTLS.
func (t *attempt) open(ctx context.Context) (offered bool, err error) {
	t.a.Stage = StageGreeting
	t.a.Timings.Greeting = stopwatch(func() { t.a.Greeting, err = t.talk.greeting(ctx) })
	if err != nil {
		return false, err
	}
	t.a.Stage = StageEHLO
	t.a.Timings.EHLO = stopwatch(func() { err = t.talk.hello(ctx, StageEHLO, t.name) })
	if err == nil {
		t.esmtp = true
		t.ext, t.a.EHLO = parseEHLO(t.talk.rep, t.talk.limits)
		offered = t.ext.Has(keywordSTARTTLS)
		if !offered {
			t.a.Outcome.TLS = tlspolicy.TLSNotOffered
		}
		return offered, nil
	}
	var no *ReplyError
	if !errors.As(err, &no) || no.Code < 500 {
		return false, err
	}
	// EHLO is not known. Where TLS is demanded there is nothing to gain by HELO.
	t.a.Outcome.TLS = tlspolicy.TLSNoESMTP
	switch t.requirement.Kind() {
	case tlspolicy.KindOpportunistic, tlspolicy.KindClear:
		t.a.Stage = StageHELO
		t.a.Timings.EHLO += stopwatch(func() { err = t.talk.hello(ctx, StageHELO, t.name) })
		return false, err
	}
	return false, nil
}

// startTLS sends STARTTLS and runs the handshake, whose facts go into the
// Outcome.
func (t *attempt) startTLS(ctx context.Context) (refused bool, err error) {
	t.a.Stage = StageSTARTTLS
	refs := t.references(ctx)
	t.a.Timings.STARTTLS = stopwatch(func() { refused, err = t.talk.startTLS(ctx) })
	if err != nil {
		return refused, err
	}
	t.a.Stage = StageHandshake
	profile := t.x.conf.lax
	if t.requirement.StrictTLS() && !t.x.anyTLS {
		profile = t.x.conf.strict
	}
	tickets := t.tickets()
	config := forConnection(profile, t.plan.serverName(), func(cs *tls.ConnectionState) {
		t.check(cs, refs)
		tickets.judge(t.requirement.Decide(t.a.Outcome))
	})
	if tickets != nil {
		config.ClientSessionCache = tickets
	}
	own := &offering{offer: t.x.offer}
	config.GetClientCertificate = own.get
	t.a.Timings.Handshake = stopwatch(func() { err = t.talk.handshake(ctx, config) })
	t.a.Timings.Handshake -= t.a.Timings.Checks
	if err != nil && own.failed != nil {
		t.nothingProven()
		return false, &ClientCertificateError{Err: own.failed}
	}
	return false, err
}

// check makes the findings about a handshake that the requirement needs. It
// never ends the handshake: a certificate that proves nothing is a finding, and
// must not look like TLS that failed.
func (t *attempt) check(cs *tls.ConnectionState, refs *tlspolicy.References) {
	t.a.Timings.Checks += stopwatch(func() {
		t.a.Version, t.a.Suite, t.a.Resumed = cs.Version, cs.CipherSuite, cs.DidResume
		t.a.Outcome, t.a.Identity, t.a.Unverified = t.x.conf.verifier.Check(t.requirement, cs, refs)
		if t.x.probing {
			t.checkAll(cs)
		}
		if !t.requirement.NeedsDANEMatch() {
			return
		}
		t.a.Outcome.DANEMatch = false
		if v := t.plan.dane.Verifier; v != nil {
			t.a.TLSA = v.Verify(cs.PeerCertificates, t.plan.dane.RefIDs, t.x.conf.now())
			t.a.Outcome.DANEMatch = t.a.TLSA.Status == dane.Matched
			if t.requirement.Kind() == tlspolicy.KindDANE { // and not for the report only
				t.a.Unverified = t.a.TLSA.Err()
			}
		}
	})
}

// handshakeFailed takes back what was found about the certificate. crypto/tls has
// it checked before the peer has shown that it holds the key, so that anybody
// could have sent it.
func (t *attempt) handshakeFailed() {
	t.nothingProven()
	t.a.Outcome.TLS = tlspolicy.TLSHandshakeFailed
}

func (t *attempt) nothingProven() {
	t.a.Outcome = tlspolicy.Outcome{}
	t.a.Identity, t.a.TLSA, t.a.Unverified = tlspolicy.Identity{}, dane.Result{}, nil
	t.a.Version, t.a.Suite, t.a.Resumed = 0, 0, false
}

// inside says EHLO again inside TLS. Nothing but its own reply counts from here
// on, there is no HELO and no clear text any more, with one exception: with TLS
// 1.3 a server that refuses the client in the handshake can say so only after
// our side has finished, so an alert as the very first thing is a handshake that
// failed.
func (t *attempt) inside(ctx context.Context) (polite bool, err error) {
	t.a.Stage = StageTLS
	t.a.Timings.EHLOTLS = stopwatch(func() { err = t.talk.hello(ctx, StageTLS, t.name) })
	if err == nil {
		t.esmtp = true
		// RFC 3207 section 4.2: what was said in clear is void.
		t.ext, t.a.EHLOTLS = parseEHLO(t.talk.rep, t.talk.limits)
		if t.x.settings.Message().RequireTLS && !t.ext.Has(keywordREQUIRETLS) {
			t.a.Decision = tlspolicy.Decision{} // it was to deliver
			return true, &RequireTLSError{Host: t.plan.host.name}
		}
		return true, nil
	}
	if ctx.Err() == nil && isAlert(err) && t.talk.nothingHeard() {
		t.a.Stage = StageHandshake
		t.handshakeFailed()
		t.decide()
		t.noTLS = &HandshakeError{Cause: CauseAlert, Err: err}
		return false, t.refuse(t.noTLS)
	}
	// The session met the policy and then broke; policy has nothing to say to it.
	t.a.Decision = tlspolicy.Decision{}
	return alive(err), err
}

func stopwatch(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}
