package smtpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

func TestNewListenerErrors(t *testing.T) {
	ln := listen(t)
	_, err := NewListener(ln, Options{})
	require.ErrorIs(t, err, ErrNoTable)
	_, err = NewListener(ln, Options{Table: &Table{}})
	require.ErrorIs(t, err, ErrNoTable, "a table that Compile did not make")
	_, err = NewListener(ln, forAll(t, tlsPreferred))
	require.ErrorIs(t, err, ErrNoCertificate)
	_, err = NewListener(ln, forAll(t, tlsNo))
	require.NoError(t, err)
	_, err = NewListener(ln, forAll(t, Policy{Access: TCPRefuse, TLS: TLSRequired}))
	require.NoError(t, err, "nobody gets as far as TLS")
	cert := serverCert()
	_, err = NewListener(ln, forAll(t, Policy{TLS: TLSRequired, Certificate: cert}))
	require.NoError(t, err)
	o := forAll(t, tlsPreferred)
	o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert.cert}}
	_, err = NewListener(ln, o)
	require.NoError(t, err)
}

func TestReject(t *testing.T) {
	w := serve(t, forAll(t, Policy{Access: Reject, Reject: &Rejection{Text: "Go away"}}))
	p := w.dial()
	p.want("554 5.7.1 Go away\r\n")
	bad := line(ReplyBadSequence)
	p.say(ehlo+"\r\nSTARTTLS\r\nMAIL FROM:<>\n", strings.Repeat(bad, 4))
	p.say("NOOP\r\n", bad)
	p.wantEnd()
	p = w.dial()
	p.want("554 5.7.1 Go away\r\n")
	p.say("quit\r\nNOOP\r\n", line(ReplyBye))
	p.wantEnd()
	p = w.dial()
	p.want("554 5.7.1 Go away\r\n")
	p.send(strings.Repeat("x", MinLine))
	p.wantEnd()
	w.events.wait(t, KindClosed, 3)
	require.Equal(t, ReasonRejected, w.events.wait(t, KindRejected, 3).Reason)
	require.Zero(t, w.backend.sessions)

	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		hl, err := NewListener(m, forAll(t, Policy{Access: Reject}))
		require.NoError(t, err)
		hl.run()
		t.Cleanup(func() { hl.Close() })
		p := m.dial(t, someone)
		forever(p)
		elapsed(t, rejectedTime, func() {
			p.want("554 5.7.1 Access denied\r\n")
			p.wantEnd()
		})
	})
}

func TestRejectDelayed(t *testing.T) {
	w := serve(t, forAll(t, Policy{Access: Reject, TLS: TLSPreferred, Reject: &Rejection{Delayed: true}}))
	p := w.dial()
	p.want(greeting)
	p.say(ehlo, ehloNoTLS)
	p.say("STARTTLS\r\n", line(ReplyNoSTARTTLS))
	p.say(mail+rcpt+rcpt+"DATA\r\nQUIT\r\n", mailOK+strings.Repeat("550 5.7.1 Access denied\r\n", 2)+line(ReplyBadSequence)+bye)
	p.wantEnd()
	w.events.wait(t, KindClosed, 1)
	require.Equal(t, []string{"a@example.com"}, w.backend.mails)
	require.Empty(t, w.backend.rcpts)
}

func TestTCPRefuse(t *testing.T) {
	for why, table := range map[string]*Table{
		"TCPRefuse": compile(t, SenderGroup{Name: "g", Senders: []string{"ALL"}, Policy: Policy{Access: TCPRefuse}}),
		"no match":  compile(t, group("g", "192.0.2.1")),
	} {
		w := serve(t, Options{Table: table})
		requireReset(t, w.addr, why)
		w.events.wait(t, KindRefused, 1)
		w.events.wait(t, KindClosed, 1)
		require.Zero(t, w.backend.sessions)
		require.Zero(t, w.listener.Stats().Active)
	}
}

// requireReset demands that a connection is reset without an octet.
func requireReset(t *testing.T, addr, why string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err == nil { // the reset may be quicker than connect
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET, why)
}

func TestLimits(t *testing.T) {
	w := serve(t, forAll(t, Policy{MaxConnsPerIP: 2}))
	first, second := w.dial(), w.dial()
	first.want(greeting)
	second.want(greeting)
	third := w.dial()
	third.want(line(ReplyTooManyConns))
	third.wantEnd()
	require.Equal(t, ReasonTooManyConns, w.events.wait(t, KindLimit, 1).Reason)
	first.say("QUIT\r\n", bye)
	first.Close()
	w.events.wait(t, KindClosed, 2)
	w.dial().want(greeting)

	o := forAll(t, tlsNo)
	o.MaxConns = 1
	w = serve(t, o)
	w.dial().want(greeting)
	full := w.dial()
	full.want(line(ReplyFull))
	full.wantEnd()

	o = forAll(t, Policy{Access: Reject})
	o.MaxRefusing = 1
	w = serve(t, o)
	w.dial().want("554 5.7.1 Access denied\r\n")
	requireReset(t, w.addr, "one goroutine is all there is")
}

func TestLimitKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"::ffff:192.0.2.7":     "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"fe80::1%eth0":         "fe80::",
	} {
		require.Equal(t, netip.MustParseAddr(want), limitKey(netip.MustParseAddr(in), 64))
	}
	require.Equal(t, netip.Addr{}, limitKey(netip.Addr{}, 64))
}

func TestRecipientCounts(t *testing.T) {
	var r recipientCounts
	now := time.Now()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range 3 {
		require.True(t, r.take(a, 3, now))
	}
	require.False(t, r.take(a, 3, now.Add(59*time.Minute)))
	require.True(t, r.take(b, 3, now))
	require.True(t, r.take(a, 3, now.Add(time.Hour)))
	require.False(t, r.take(a, 0, now.Add(3*time.Hour)))
	addr := netip.MustParseAddr("2001:db8::")
	for range maxRecipientCounts + 10 {
		r.take(addr, 1, now)
		addr = addr.Next()
	}
	require.LessOrEqual(t, len(r.counts), maxRecipientCounts)
	r.take(b, 1, now.Add(3*time.Hour))
	r.take(addr, 1, now.Add(3*time.Hour))
	require.Len(t, r.counts, 2, "windows that are over are forgotten")
}

func TestImplicitTLS(t *testing.T) {
	o := forAll(t, tlsRequired)
	o.ImplicitTLS = true
	hl, heard := filter(t, o)
	_, b := goSMTP(t, tls.NewListener(hl, hl.TLSConfig()), nil)
	conn, err := tls.Dial("tcp", hl.Addr().String(), clientTLS())
	require.NoError(t, err)
	p := newPeer(t, conn)
	p.want(greeting)
	p.say(ehlo, ehloInTLS)
	p.say(mail+rcpt+"DATA\r\n", mailOK+rcptOK+dataGo)
	p.say("x\r\n.\r\nQUIT\r\n", queued+bye)
	heard.wait(t, KindTLSEstablished, 1)
	b.see(func() { require.Equal(t, []string{"x\r\n"}, b.messages) })

	clear := dial(t, hl.Addr().String())
	clear.send(ehlo)
	require.NotRegexp(t, `[0-9]{3} `, clear.all())
	require.Equal(t, ReasonBadRecord, heard.wait(t, KindTLSFailed, 1).Reason)

	for why, p := range map[string]Policy{
		"No": tlsNo, "Reject": {Access: Reject, TLS: TLSRequired}, "a limit": {TLS: TLSRequired, MaxConnsPerIP: 1},
		"delayed": {Access: Reject, TLS: TLSRequired, Reject: &Rejection{Delayed: true}},
	} {
		o := forAll(t, p)
		o.ImplicitTLS = true
		hl, heard := filter(t, o)
		goSMTP(t, tls.NewListener(hl, hl.TLSConfig()), nil)
		if why == "a limit" {
			dial(t, hl.Addr().String())
			heard.wait(t, KindAccepted, 1)
		}
		requireReset(t, hl.Addr().String(), why)
		heard.wait(t, KindClosed, 1)
	}
}

func TestSubListeners(t *testing.T) {
	o := Options{Table: compile(t,
		SenderGroup{Name: "partners", Senders: []string{"192.0.2.0/24"}, Policy: Policy{Access: Accept, Name: "TRUSTED"}},
		SenderGroup{Name: "named", Senders: []string{"mx.example.com"}, Policy: Policy{Access: Accept, Name: "NAMED"}},
		SenderGroup{Name: "bad", Unverified: UnverifiedTempFail, Policy: Policy{Access: Reject}},
		group("rest", "ALL"),
	), Resolver: zone{"198.51.100.7": "mx.example.com"}}
	m, heard := newMemory(), newEvents()
	o.Events = heard.hear
	hl, err := NewListener(m, o)
	require.NoError(t, err)
	trusted, named := hl.Policy("TRUSTED"), hl.Policy("NAMED")
	require.Equal(t, hl.Addr(), trusted.Addr())
	require.Same(t, trusted, hl.Policy("TRUSTED"))
	for name, ln := range map[string]net.Listener{"main.example": hl, "trusted.example": trusted, "named.example": named} {
		goSMTP(t, ln, nil, func(s *smtp.Server) { s.Domain = name })
	}
	m.dial(t, "192.0.2.7:1").want("220 trusted.example ESMTP Service Ready\r\n")
	m.dial(t, "198.51.100.7:1").want("220 named.example ESMTP Service Ready\r\n")
	m.dial(t, "198.51.100.8:1").want("220 main.example ESMTP Service Ready\r\n")
	m.dial(t, "203.0.113.1:1").want("554 5.7.1 Access denied\r\n")
	require.NoError(t, trusted.Close())
	require.ErrorIs(t, trusted.Close(), ErrClosed)
	_, err = trusted.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	m.dial(t, "192.0.2.7:1").want("220 main.example ESMTP Service Ready\r\n")
}

// zone is a resolver: names by address. Peers in 203.0.113.0/24 get no answer.
type zone map[string]string

func (z zone) LookupPTR(_ context.Context, addr netip.Addr) ([]string, time.Duration, error) {
	if strings.HasPrefix(addr.String(), "203.0.113.") {
		return nil, 0, errors.New("no answer")
	}
	if name, ok := z[addr.String()]; ok {
		return []string{name + "."}, time.Minute, nil
	}
	return nil, 0, &net.DNSError{IsNotFound: true}
}

func (z zone) LookupAddrs(_ context.Context, _, name string) ([]netip.Addr, time.Duration, error) {
	for addr, n := range z {
		if n == strings.TrimSuffix(name, ".") {
			return []netip.Addr{netip.MustParseAddr(addr)}, time.Minute, nil
		}
	}
	return nil, 0, &net.DNSError{IsNotFound: true}
}

// TestVerdictByName: DNS is asked when the connection is first used, and the greeting
// of the server gives way if that ends badly.
func TestVerdictByName(t *testing.T) {
	table := compile(t,
		group("named", ".example.com"),
		SenderGroup{Name: "nameless", Unverified: UnverifiedNoPTR, Policy: Policy{Access: Reject, Reject: &Rejection{Text: "No name"}}},
		SenderGroup{Name: "broken", Unverified: UnverifiedTempFail, Policy: Policy{Access: TCPRefuse}},
		SenderGroup{Name: "few", Senders: []string{"198.51.100.20"}, Policy: Policy{Access: Accept, MaxConnsPerIP: 1}},
		group("rest", "ALL"),
	)
	m, heard := newMemory(), newEvents()
	hl, err := NewListener(m, Options{Table: table, Events: heard.hear, Resolver: zone{
		"198.51.100.7": "mx.example.com", "198.51.100.9": "mx.example.net", "198.51.100.20": "few.example.net"}})
	require.NoError(t, err)
	_, b := goSMTP(t, hl, nil)
	p := m.dial(t, "198.51.100.7:1")
	p.want(greeting)
	p.say(ehlo, ehloNoTLS)
	b.see(func() {
		v := b.conns[0].Verdict()
		require.Equal(t, "named", v.Group.Name)
		require.Equal(t, Host{Names: []string{"mx.example.com"}, Status: HostVerified}, v.Host)
		require.Equal(t, Accept, v.Access)
	})
	require.Equal(t, "mx.example.com", heard.wait(t, KindHostVerified, 1).Host)
	m.dial(t, "198.51.100.9:1").want(greeting)

	p = m.dial(t, "198.51.100.8:1")
	p.want("554 5.7.1 No name\r\n")
	require.Empty(t, p.all())
	require.Equal(t, NoPTR, heard.wait(t, KindHostUnverified, 1).HostStatus)
	require.Empty(t, m.dial(t, "203.0.113.1:1").all())

	m.dial(t, "198.51.100.20:1").want(greeting)
	m.dial(t, "198.51.100.20:2").want(line(ReplyTooManyConns))
}

// TestNoAddressNoName: a peer without an IP address has no name that could be looked
// for: no condition about names matches it, only ALL does.
func TestNoAddressNoName(t *testing.T) {
	m, heard := newMemory(), newEvents()
	hl, err := NewListener(m, Options{Table: compile(t, group("named", ".example.com"),
		SenderGroup{Name: "nameless", Unverified: unverifiedAll, Policy: Policy{Access: Reject}}, group("rest", "ALL")),
		Events: heard.hear, Resolver: zone{}})
	require.NoError(t, err)
	_, b := goSMTP(t, hl, nil)
	p := m.dialFrom(t, func() net.Addr { return &net.UnixAddr{Name: "/run/smtp", Net: "unix"} })
	p.want(greeting)
	p.say(ehlo, ehloNoTLS)
	b.see(func() {
		require.Equal(t, Verdict{Group: b.conns[0].Group(), Access: Accept, Host: Host{Status: HostUnknown}}, b.conns[0].Verdict())
		require.Equal(t, "rest", b.conns[0].Group().Name)
	})
	require.Empty(t, heard.of(KindHostUnverified))
}

// TestSlowAddress: a wrapper whose RemoteAddr waits, as that of the PROXY protocol
// does, holds up nobody else, and the address that it reports is the peer's.
func TestSlowAddress(t *testing.T) {
	m, heard := newMemory(), newEvents()
	hl, err := NewListener(m, Options{Table: compile(t, SenderGroup{Name: "far", Senders: []string{"203.0.113.9"},
		Policy: Policy{Access: Reject}}, group("rest", "ALL")), Events: heard.hear})
	require.NoError(t, err)
	goSMTP(t, hl, nil)
	header := make(chan struct{})
	slow := m.dialFrom(t, func() net.Addr { <-header; return tcpAddr("203.0.113.9:7") })
	m.dial(t, someone).want(greeting)
	close(header)
	slow.want("554 5.7.1 Access denied\r\n")
	require.Equal(t, "203.0.113.9:7", heard.wait(t, KindRejected, 1).Peer.String())
	broken := m.dialFrom(t, func() net.Addr { return nil })
	require.Empty(t, broken.all())
	require.Equal(t, ReasonNoAddress, heard.wait(t, KindRefused, 1).Reason)
}

func TestSetTable(t *testing.T) {
	w := serve(t, forAll(t, tlsPreferred))
	p := w.dial()
	p.want(greeting)
	require.NoError(t, w.listener.SetTable(forAll(t, tlsNo).Table))
	p.say(ehlo, ehloClear)
	q := w.dial()
	q.want(greeting)
	q.say(ehlo, ehloNoTLS)
	require.Len(t, w.events.of(KindTableSwapped), 1)
	require.ErrorIs(t, w.listener.SetTable(nil), ErrNoTable)
	require.True(t, w.events.wait(t, KindTableRejected, 1).Alert)
	q = w.dial()
	q.want(greeting)
	q.say(ehlo, ehloNoTLS)
}

func TestFromConn(t *testing.T) {
	c := &Conn{}
	found, ok := FromConn(tls.Server(c, &tls.Config{}))
	require.True(t, ok)
	require.Same(t, c, found)
	_, ok = FromConn(&net.TCPConn{})
	require.False(t, ok)
	r := &ring{}
	r.next = r
	_, ok = FromConn(r)
	require.False(t, ok)
	_, err := (&Listener{}).configForClient(&tls.ClientHelloInfo{Conn: r})
	require.ErrorIs(t, err, errForeignConn)
}

type ring struct {
	net.Conn
	next net.Conn
}

func (r *ring) NetConn() net.Conn { return r.next }

func TestEndAfterReply(t *testing.T) {
	w := serve(t, forAll(t, tlsPreferred))
	w.backend.end = true
	for _, secure := range []bool{false, true} {
		p := w.dial()
		in := p
		if secure {
			in, _ = p.starttls(clientTLS())
		} else {
			p.want(greeting)
		}
		in.send(ehlo)
		in.ehloReply()
		in.say(mail, mailOK)
		require.Empty(t, in.all())
	}
}

func TestCounters(t *testing.T) {
	w := serve(t, forAll(t, Policy{MaxMessagesPerConn: 2, MaxRcptsPerHour: 1}))
	p := w.dial()
	p.want(greeting)
	p.say(ehlo, ehloNoTLS)
	w.backend.see(func() {
		c := w.backend.conns[0]
		require.True(t, c.AddMessage())
		require.True(t, c.AddMessage())
		require.False(t, c.AddMessage())
		require.True(t, c.TakeRecipient())
		require.False(t, c.TakeRecipient())
		c.RecipientAccepted()
	})
	require.EqualValues(t, 1, w.listener.Stats().Recipients)
}
