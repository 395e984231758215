package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// What can go wrong, and the tests that show what becomes of the delivery then.
// TestProduct runs all of it that the lab can do against every setting and
// publication; the others say by hand what must come out, or look closer.
//
//	STARTTLS stripped or mangled                        TestFaultMatrix, TestProduct, TestAttackerInPath
//	EHLO 500, HELO 250                                  TestFaultMatrix, TestProduct, TestHELO
//	STARTTLS answered 250, 354, 454, 502, 554           TestFaultMatrix, TestProduct, TestSTARTTLSReplies
//	STARTTLS answered 421, end, junk, silence           TestFaultMatrix, TestProduct, TestSTARTTLSReplies
//	bytes behind the 220, in one segment and in two     TestFaultMatrix, TestProduct, TestSTARTTLSReplies, TestAttackerInPath
//	after the 220: plaintext, alert, end, reset, stall,
//	  1 MiB of certificates, TLS 1.0, no common suite   TestFaultMatrix, TestProduct, TestSlowPhases
//	certificate self-signed, unknown CA, expired, not
//	  yet valid, wrong name, SHA-1, clientAuth only,
//	  missing intermediate                              TestFaultMatrix, TestProduct, TestErrorsReachable
//	client certificate refused, TLS 1.2 and 1.3         TestClientCertificateRefused, TestFaultMatrix, TestProduct
//	extensions differ inside TLS                        TestDialOverTLS, TestAttackerInPath
//	REQUIRETLS only in the clear EHLO                   TestRequireTLS
//	EHLO inside TLS 5xx, end                            TestFaultMatrix, TestProduct, TestInsideTLS
//	cut at each octet up to the first flight            TestResetAtEveryOctet, TestCutAtEveryOctet
//	slow, endless, mixed, 64 KiB, NUL, bare CR          TestFaultMatrix, TestProduct, TestSlowPhases, TestReplyRefused
//	greeting 421, 521, 554 on one host of two           TestGreetings
//	clear reconnect refused, STARTTLS again, 554        TestReconnectClear, TestProduct
//	bogus or SERVFAIL for MX, A, AAAA, TLSA             TestDNSFaults, TestProduct
//	AAAA SERVFAIL with A secure; MX NXDOMAIN; MX alias
//	  into an unsigned zone; TLSA alias loop            TestDNSFaults, TestFailedFamily, TestProduct
//	TLSA all unusable                                   TestProduct, TestWorld
//	TLSA changed between two Dials                      TestChanges
//	mixed MX set                                        TestWorld
//	MTA-STS: MX not listed, testing with a bad
//	  certificate                                       TestProduct, TestWorld, TestMTASTS
//	MTA-STS: id changed mid-queue                       TestChanges, TestRecheck
//	MTA-STS: policy host down, with and without cache   TestPolicyHostFaults
//	MX set: null, null and real, 200 hosts, address
//	  as exchange                                       TestMXSets
//	MX set: self in the middle; all equal; loopback     TestSelf; TestEqualPreferences; TestAddresses
//	two domains, one MX: pooled session, TLS ticket     TestReuseKeyProperty, TestKeyParts, TestResumption
//	context over in each phase                          TestContextInEachPhase, TestContextBeforeConnecting, TestCancelMany
//	any server at all                                   FuzzServer, TestAttackerInPath
//
// ends says how a Dial to a host with a fault ends: what is delivered, or the
// TLS outcome or error that it is left with.
type ends struct {
	action tlspolicy.Action // Next: no session
	tls    tlspolicy.TLSOutcome
}

// The usual ends.
var (
	toClear     = ends{tlspolicy.DeliverClear, tlspolicy.TLSNotOffered}
	afterFailed = ends{tlspolicy.ReconnectClear, tlspolicy.TLSHandshakeFailed}
	stopRefused = ends{tlspolicy.Next, tlspolicy.TLSRefused}
	stopFailed  = ends{tlspolicy.Next, tlspolicy.TLSHandshakeFailed}
	stopAbsent  = ends{tlspolicy.Next, tlspolicy.TLSNotOffered}
	stopOther   = ends{tlspolicy.Next, tlspolicy.TLSUnknown}
	overTLS     = ends{tlspolicy.DeliverUnverified, tlspolicy.TLSEstablished}
)

// faultRow is a row of the fault matrix: one fault of a mail host, and what
// becomes of the delivery where TLS is preferred, under each fallback, and where
// it is demanded.
type faultRow struct {
	host   lab.Host // Name and Addrs are set by the test
	after  ends     // fallback after-220
	always ends
	before ends
	demand ends
	quick  bool // the fault stalls: cut its phase short
	short  bool // the fault strikes in every TLS version alike: one is enough
}

func faultRows() []faultRow {
	same := func(h lab.Host, preferred, demand ends) faultRow {
		return faultRow{host: h, after: preferred, always: preferred, before: preferred, demand: demand}
	}
	fault := func(f lab.Fault, preferred, demand ends) faultRow { return same(lab.Host{Fault: f}, preferred, demand) }
	failedHost := func(h lab.Host) faultRow {
		return faultRow{host: h, after: afterFailed, always: afterFailed, before: stopFailed, demand: stopFailed}
	}
	failed := func(f lab.Fault) faultRow { return failedHost(lab.Host{Fault: f}) }
	refused := func(code int) faultRow {
		clear := ends{tlspolicy.DeliverClear, tlspolicy.TLSRefused}
		return faultRow{host: lab.Host{Fault: lab.STARTTLSCode(code)}, after: stopRefused, always: clear, before: clear, demand: stopRefused}
	}
	slow := func(r faultRow) faultRow { r.quick = true; return r }
	cert := func(c lab.Cert, preferred ends) faultRow { return same(lab.Host{Cert: c}, preferred, overTLS) }
	version := func(v lab.TLS, r faultRow) faultRow { r.host.TLS = v; return r }
	noESMTP := ends{tlspolicy.DeliverClear, tlspolicy.TLSNoESMTP}

	rows := []faultRow{
		fault(lab.Fault{}, overTLS, overTLS),
		fault(lab.NoSTARTTLS(), toClear, stopAbsent),
		fault(lab.MangledSTARTTLS(), toClear, stopAbsent),
		fault(lab.NoESMTP(500), noESMTP, ends{tlspolicy.Next, tlspolicy.TLSNoESMTP}),
		fault(lab.NoESMTP(554), noESMTP, ends{tlspolicy.Next, tlspolicy.TLSNoESMTP}),
		refused(250), refused(354), refused(454), refused(502), refused(554),
		fault(lab.STARTTLSCode(421), stopOther, stopOther),
		fault(lab.HangUpAt(lab.AtSTARTTLS), stopOther, stopOther),
		fault(lab.ResetAt(lab.AtSTARTTLS), stopOther, stopOther),
		fault(lab.Junk(lab.AtSTARTTLS), stopOther, stopOther),
		slow(fault(lab.StallAt(lab.AtSTARTTLS), stopOther, stopOther)),
		failed(lab.Injected("250 2.0.0 ok\r\n", false)), failed(lab.Injected("250 2.0.0 ok\r\n", true)),
		failed(lab.Injected("250-mx\r\n250 STARTTLS\r\n", false)), failed(lab.Injected("\x16\x03\x03\x00\x05hello", false)),
		failed(lab.Injected("\x16\x03\x03\x00\x05hello", true)), failed(lab.Injected("2", true)),
		failed(lab.HandshakeGarbage()), failed(lab.HandshakeAlert()), failed(lab.HandshakeEOF()), failed(lab.HandshakeReset()),
		slow(failed(lab.HandshakeStall())),
		failedHost(lab.Host{Cert: lab.Cert{Kind: lab.CertHuge}}),
		same(lab.Host{TLS: lab.TLS10Only()}, overTLS, stopFailed),
		failedHost(lab.Host{TLS: lab.NoCommonSuite()}),
		cert(lab.Cert{Kind: lab.CertSelfSigned}, overTLS), cert(lab.Cert{Kind: lab.CertUnknownCA}, overTLS),
		cert(lab.Cert{Kind: lab.CertExpired}, overTLS), cert(lab.Cert{Kind: lab.CertNotYetValid}, overTLS),
		cert(lab.Cert{Kind: lab.CertWrongName}, overTLS), cert(lab.Cert{Kind: lab.CertSHA1}, overTLS),
		cert(lab.Cert{Kind: lab.CertClientOnly}, overTLS), cert(lab.Cert{Kind: lab.CertNoIntermediate}, overTLS),
		version(lab.TLS{ClientAuth: lab.RequestClientCert}, fault(lab.Fault{}, overTLS, overTLS)),
		failedHost(lab.Host{TLS: lab.TLS{ClientAuth: lab.RefuseClientCert}}),
		fault(lab.TLSEHLOCode(502), ends{tlspolicy.Next, tlspolicy.TLSEstablished}, ends{tlspolicy.Next, tlspolicy.TLSEstablished}),
		fault(lab.DropInsideTLS(), ends{tlspolicy.Next, tlspolicy.TLSEstablished}, ends{tlspolicy.Next, tlspolicy.TLSEstablished}),
		fault(lab.Greeting(421), stopOther, stopOther), fault(lab.Greeting(521), stopOther, stopOther),
		fault(lab.Greeting(554), stopOther, stopOther),
		fault(lab.Refused(), stopOther, stopOther),
		slow(fault(lab.Blackhole(), stopOther, stopOther)), slow(fault(lab.SilentGreeting(), stopOther, stopOther)),
	}
	for i := range rows {
		if f := rows[i].host.Fault; f.At == lab.AtGreeting || f.At == lab.AtConnect || f.At == lab.AtEHLO {
			rows[i].short = true
		}
	}
	for _, p := range []lab.Phase{lab.AtGreeting, lab.AtEHLO, lab.AtSTARTTLS} {
		for _, f := range []lab.Fault{lab.HangUpAt(p), lab.ResetAt(p), lab.Junk(p), lab.Endless(p), lab.MixedCodes(p),
			lab.HugeLine(p, 64<<10), lab.NUL(p), lab.BareCR(p)} {
			r := fault(f, stopOther, stopOther)
			r.short = true
			rows = append(rows, r)
		}
		rows = append(rows, slow(faultRow{host: lab.Host{Fault: lab.Drip(p, 50*time.Millisecond)},
			after: stopOther, always: stopOther, before: stopOther, demand: stopOther, short: true}))
	}
	return rows
}

// TestFaultMatrix runs every row for TLS 1.2 and 1.3, in each mode class, and
// compares what the Dial did with what the host saw.
func TestFaultMatrix(t *testing.T) {
	var w lab.World
	type cell struct {
		row    faultRow
		domain string
	}
	var cells []cell
	for i, row := range faultRows() {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if (row.short || row.host.TLS.Max != 0) && version == tls.VersionTLS12 {
				continue
			}
			c := cell{row, fmt.Sprintf("row%d-%x.example", i, version)}
			h := row.host
			h.Name = "mx." + c.domain
			if h.TLS.Max == 0 {
				h.TLS.Max = version
			}
			if h.Cert.Kind != lab.CertWrongName {
				h.Cert.Names = []string{c.domain}
			}
			w.Domains = append(w.Domains, lab.Domain{Name: c.domain, Hosts: []lab.Host{h}})
			cells = append(cells, c)
		}
	}
	l := startLab(t, w)
	for _, mode := range []tlspolicy.Mode{tlspolicy.Preferred, tlspolicy.PreferredVerify, tlspolicy.Required} {
		for _, fallback := range []tlspolicy.Fallback{tlspolicy.FallbackAfter220, tlspolicy.FallbackAlways, tlspolicy.FallbackBefore220} {
			if mode == tlspolicy.Required && fallback != tlspolicy.FallbackAlways {
				continue // has no say; the most permissive one will do
			}
			s := tlspolicy.Settings{Mode: mode, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: fallback}
			d := labDialer(t, l, s)
			for _, c := range cells {
				want := map[tlspolicy.Fallback]ends{tlspolicy.FallbackAfter220: c.row.after,
					tlspolicy.FallbackAlways: c.row.always, tlspolicy.FallbackBefore220: c.row.before}[fallback]
				if mode == tlspolicy.Required {
					want = c.row.demand
				}
				dialer := d
				if c.row.quick {
					if mode == tlspolicy.PreferredVerify || fallback == tlspolicy.FallbackBefore220 {
						continue // stalls cost time, and the scripted servers show the rest
					}
					dialer = labDialer(t, l, s)
					dialer.Timeouts = impatient(c.row.host.Fault.At)
				}
				name := fmt.Sprintf("%v, %v, %s, %v", c.row.host.Fault, c.row.host.Cert.Kind, c.domain, s)
				l.Host("mx." + c.domain).Forget()
				checkRow(t, l.Host("mx."+c.domain), dialer, c.domain, want, name)
			}
		}
	}
}

// impatient cuts the phase that stalls short and leaves the others alone, which
// may take their time on a busy machine.
func impatient(p lab.Phase) Timeouts {
	const soon = 150 * time.Millisecond
	switch p {
	case lab.AtConnect:
		return Timeouts{Connect: soon}
	case lab.AtGreeting:
		return Timeouts{Greeting: soon}
	case lab.AtEHLO:
		return Timeouts{EHLO: soon}
	case lab.AtSTARTTLS:
		return Timeouts{STARTTLS: soon}
	}
	return Timeouts{Handshake: soon}
}

func checkRow(t *testing.T, h *lab.MailHost, d *Dialer, domain string, want ends, name string) {
	session, err := d.Dial(context.Background(), domain)
	report := reportOf(t, session, err)
	first := report.Attempts[0]
	require.Equal(t, want.tls, first.Outcome.TLS, name)
	verified := d.settings().Mode == tlspolicy.PreferredVerify && first.Decision.Action == tlspolicy.DeliverVerified
	if want.action == tlspolicy.DeliverUnverified && verified {
		want.action = tlspolicy.DeliverVerified
		require.NoError(t, first.Unverified, name)
	}
	require.Equal(t, want.action, first.Decision.Action, "%s: %v", name, err)
	if want.action == tlspolicy.Next {
		var e *Error
		require.ErrorAs(t, err, &e, name)
		require.False(t, e.Permanent, name)
		require.True(t, strings.HasPrefix(e.Status, "4."), name)
	} else {
		require.NoError(t, err, name)
		inClear := want.action == tlspolicy.DeliverClear || want.action == tlspolicy.ReconnectClear
		require.Equal(t, inClear, session.TLS() == nil, name)
		deliver(t, session, domain)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	require.NoError(t, h.Idle(ctx), name)
	require.Len(t, h.Mailbox(), map[bool]int{true: 0, false: 1}[want.action == tlspolicy.Next], name)
	for i, c := range h.Connections() {
		heard := strings.Join(c.Clear, "\n") + "\n"
		if i == 0 && want.action != tlspolicy.DeliverClear {
			require.NotContains(t, heard, "MAIL", name)
		}
		if i == 1 {
			require.Equal(t, tlspolicy.ReconnectClear, want.action, name)
			require.NotContains(t, heard, "STARTTLS", name)
		}
		require.LessOrEqual(t, i, 1, name)
		if want.tls == tlspolicy.TLSNoESMTP && want.action == tlspolicy.Next {
			require.NotContains(t, heard, "HELO mta", name)
		}
	}
}

// TestResetAtEveryOctet cuts the connection wherever it can be cut before TLS
// stands. After the 220 that is a failed handshake; before, a lost connection.
func TestResetAtEveryOctet(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{{Name: "cut.example", Hosts: []lab.Host{{Name: "mx.cut.example"}}}}})
	h := l.Host("mx.cut.example")
	for _, mode := range []tlspolicy.Mode{tlspolicy.Preferred, tlspolicy.Required} {
		d := labDialer(t, l, tlspolicy.Settings{Mode: mode, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220})
		seen := map[tlspolicy.TLSOutcome]int{}
		for n := 1; ; n++ {
			if n > 400 {
				n += 96 // inside the first flight of TLS
			}
			h.SetFault(lab.ResetAfter(n), lab.Fault{})
			session, err := d.Dial(context.Background(), "cut.example")
			report := reportOf(t, session, err)
			a := report.Attempts[0]
			if a.Outcome.TLS == tlspolicy.TLSEstablished {
				if err == nil {
					session.Close()
				}
				break // far enough
			}
			seen[a.Outcome.TLS]++
			switch {
			case a.Outcome.TLS == tlspolicy.TLSHandshakeFailed && mode == tlspolicy.Preferred:
				require.NoError(t, err, n)
				require.Equal(t, tlspolicy.ReasonHandshakeFailed, session.Decision().Reason)
				session.Close()
			case a.Outcome.TLS == tlspolicy.TLSHandshakeFailed:
				require.Equal(t, tlspolicy.ReasonModeTLSHandshakeFailed, a.Decision.Reason, n)
			default:
				require.Error(t, err, n)
				require.Zero(t, a.Decision, n)
				require.Len(t, report.Attempts, 1, "no clear text: nothing is known about TLS")
			}
		}
		require.Positive(t, seen[tlspolicy.TLSHandshakeFailed])
		require.Positive(t, seen[tlspolicy.TLSUnknown])
	}
}

// TestErrorsReachable: every cause can be reached with errors.Is and errors.As.
func TestErrorsReachable(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{{Name: "many.example", Hosts: []lab.Host{
		{Name: "mx1.many.example", Fault: lab.Refused()},
		{Name: "mx2.many.example", Fault: lab.Greeting(554)},
		{Name: "mx3.many.example", Fault: lab.HandshakeGarbage()},
		{Name: "mx4.many.example", Fault: lab.HandshakeAlert()},
		{Name: "mx5.many.example", Fault: lab.NUL(lab.AtGreeting)},
		{Name: "mx6.many.example", Cert: lab.Cert{Kind: lab.CertUnknownCA}},
		{Name: "mx7.many.example", Cert: lab.Cert{Kind: lab.CertWrongName}},
		{Name: "mx8.many.example", Cert: lab.Cert{Kind: lab.CertExpired}},
	}}}})
	d := labDialer(t, l, tlspolicy.Settings{Mode: tlspolicy.RequiredVerifyHosted, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220})
	_, err := d.Dial(context.Background(), "many.example")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.ErrorIs(t, err, ErrReplyOctets)
	var (
		e        *Error
		connect  *ConnectError
		reply    *ReplyError
		header   tls.RecordHeaderError
		failed   *HandshakeError
		protocol *ProtocolError
		verify   *tlspolicy.VerifyError
		policy   *PolicyError
	)
	require.ErrorAs(t, err, &e)
	require.ErrorAs(t, err, &connect)
	require.Equal(t, uint16(25), connect.Addr.Port())
	require.ErrorAs(t, err, &reply)
	require.Equal(t, 554, reply.Code)
	require.Equal(t, StageGreeting, reply.Stage)
	require.ErrorAs(t, err, &header)
	require.ErrorAs(t, err, &failed)
	require.ErrorAs(t, err, &protocol)
	require.ErrorAs(t, err, &verify)
	require.ErrorAs(t, err, &policy)
	require.Equal(t, "mx3.many.example", policy.Host, "the first refusal by policy is the headline")
	require.Equal(t, policy, e.Err)
	require.Equal(t, tlspolicy.ReasonModeTLSHandshakeFailed, e.Reason)
	require.Equal(t, "4.7.5", e.Status)
	require.Len(t, e.Report.Attempts, 8)
	for _, a := range e.Report.Attempts {
		require.Error(t, a.Err)
		require.NotEmpty(t, a.Err.Error())
		require.NotEqual(t, netip.AddrPort{}, a.Addr)
		require.True(t, errors.Is(err, a.Err))
	}
	text := e.Report.Explain()
	for i := range 8 {
		require.Contains(t, text, fmt.Sprintf("Attempt %d: mx%d.many.example", i+1, i+1))
	}
}
