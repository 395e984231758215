package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

var _ mtasts.MXProber = (*Dialer)(nil)

// TestProbe: every address is looked at, in everything, and nothing is sent.
func TestProbe(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		var said []string
		st.addr("mx1.partner.example", "192.0.2.1", "192.0.2.11")
		st.at("192.0.2.1", server{tls: st.cert("partner.example"), log: &said}.run)
		st.at("192.0.2.11", server{}.run)
		st.at("192.0.2.2", server{tls: st.cert("mx2.partner.example")}.run)
		h := st.listen()
		for range 2 {
			report, err := st.dialer.Probe(context.Background(), Target{Domain: "partner.example"})
			require.NoError(t, err)
			require.Len(t, report.Attempts, 3)
			for _, a := range report.Attempts {
				require.NoError(t, a.Err)
				require.False(t, a.Resumed)
				switch a.Addr.Addr().String() {
				case "192.0.2.1":
					require.Equal(t, tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, VerifyName: true, HostedName: true}, a.Outcome)
					require.Equal(t, tlspolicy.DeliverUnverified, a.Decision.Action, "that is what a delivery would do")
					require.Error(t, a.Unverified)
				case "192.0.2.11":
					require.Equal(t, tlspolicy.DeliverClear, a.Decision.Action)
				default:
					// SANs are not compared with the MX host in Verify.
					require.Equal(t, tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, STSName: true, HostedName: true, VerifyName: true}, a.Outcome)
				}
			}
		}
		synctest.Wait()
		require.Equal(t, []string{"EHLO mta.sender.example", "STARTTLS", "EHLO mta.sender.example", "QUIT"}, said[:4])
		require.Empty(t, h.kinds())
		require.Empty(t, h.alertKinds())
	})
	bubble(t, required, func(t *testing.T, st *stage) {
		st.at("192.0.2.1", server{}.run)
		report, err := st.dialer.Probe(context.Background(), Target{Domain: "partner.example"})
		require.NoError(t, err, "that hosts fail is what one wants to see")
		require.Equal(t, tlspolicy.ReasonModeTLSAbsent, report.Attempts[0].Decision.Reason)
		var connect *ConnectError
		require.ErrorAs(t, report.Attempts[1].Err, &connect)
		require.Contains(t, report.Explain(), "mode-tls-required-absent")
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		// A handshake that fails is not followed by a connection in clear.
		st.mx("partner.example", "10 mx1.partner.example")
		st.at("192.0.2.1", server{ehlo: offers, starttls: "220 go\r\n250 x\r\n"}.run)
		report, err := st.dialer.Probe(context.Background(), Target{Domain: "partner.example"})
		require.NoError(t, err)
		require.Equal(t, tlspolicy.ReconnectClear, report.Attempts[0].Decision.Action)
		require.Len(t, st.dials, 1)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.mx("null.example", "0 .")
		for domain, want := range map[string]error{"null.example": ErrNullMX, "nowhere.example": ErrNoDomain} {
			report, err := st.dialer.Probe(context.Background(), Target{Domain: domain})
			require.ErrorIs(t, err, want)
			require.Equal(t, domain, report.Domain)
		}
		_, err := st.dialer.Probe(context.Background(), Target{Domain: "a b"})
		require.ErrorIs(t, err, ErrBadName)
		ctx, cancel := context.WithCancel(context.Background())
		st.at("192.0.2.1", func(p *peer) { p.say("220 mx1\r\n"); p.hear(); cancel(); p.swallow() })
		report, err := st.dialer.Probe(ctx, Target{Domain: "partner.example"})
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, report.Attempts, 1)
		st.dialer.Limits.Connections = 0
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.Limits.Connections = 1
		st.at("192.0.2.1", server{}.run)
		report, err := st.dialer.Probe(context.Background(), Target{Domain: "partner.example"})
		require.NoError(t, err)
		require.Len(t, st.dials, 1)
		require.ErrorIs(t, report.Attempts[1].Err, ErrConnections)
	})
}

// TestProbeDANE: the TLSA records are compared, and the names as well.
func TestProbeDANE(t *testing.T) {
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic}, func(t *testing.T, st *stage) {
		st.mx("partner.example", "10 mx1.partner.example")
		c := st.cert("mx1.partner.example")
		st.tlsa("mx1.partner.example", c.Certificates[0].Leaf, dane.UsageDANEEE)
		st.at("192.0.2.1", server{tls: c}.run)
		report, err := st.dialer.Probe(context.Background(), Target{Domain: "partner.example"})
		require.NoError(t, err)
		o := report.Attempts[0].Outcome
		require.True(t, o.DANEMatch && o.STSName && o.HostedName, "%+v", o)
		require.Equal(t, tlspolicy.ReasonDANEVerified, report.Attempts[0].Decision.Reason)
	})
}

func TestProbeMX(t *testing.T) {
	bubble(t, modeOnly(tlspolicy.No), func(t *testing.T, st *stage) {
		old := st.cert("other.example")
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		st.addr("mx1.partner.example", "192.0.2.1", "192.0.2.11")
		var sni string
		old.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			sni = h.ServerName
			return nil, nil
		}
		st.dialer.Self = func(string, netip.Addr) bool { return true } // one's own hosts are what is probed
		st.at("192.0.2.1", server{tls: old}.run)
		st.at("192.0.2.11", server{tls: old}.run)
		state, err := st.dialer.ProbeMX(context.Background(), "MX1.partner.example.")
		require.NoError(t, err)
		require.Equal(t, uint16(tls.VersionTLS11), state.Version, "what it is worth is for others to say")
		require.Equal(t, []string{"other.example"}, state.PeerCertificates[0].DNSNames)
		require.Equal(t, "mx1.partner.example", sni)
		require.Len(t, st.dials, 1, "one address is enough")
	})
	for name, s := range map[string]server{"absent": {}, "refused": {ehlo: offers, starttls: "454 no\r\n"}, "no ESMTP": {ehlo: "502 no\r\n"}, "broken": {ehlo: offers, starttls: "220 go\r\nx"}} {
		bubble(t, preferred, func(t *testing.T, st *stage) {
			st.at("192.0.2.1", s.run)
			_, err := st.dialer.ProbeMX(context.Background(), "mx1.partner.example")
			var e *Error
			require.ErrorAs(t, err, &e, name)
			require.NotZero(t, e.Reason, name)
			require.Len(t, st.dials, 1, name)
		})
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		for _, host := range []string{"", "192.0.2.1", "[192.0.2.1]", "a b", "mx1.partner.example:25"} {
			_, err := st.dialer.ProbeMX(context.Background(), host)
			require.ErrorIs(t, err, ErrBadName, host)
		}
		st.addr("local.example", "127.0.0.1")
		_, err := st.dialer.ProbeMX(context.Background(), "local.example")
		require.ErrorIs(t, err, ErrNoAddress, "a stranger's name must not lead here")
		require.Empty(t, st.dials)
	})
}

// TestMTASTSCheck: mtasts.Check looks at mail hosts through a Dialer.
func TestMTASTSCheck(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{{Name: "good.example", Policy: &lab.Policy{}, Hosts: []lab.Host{
		{Name: "mx1.good.example"}, {Name: "mx2.good.example", Fault: lab.NoSTARTTLS()},
	}}}})
	d := labDialer(t, l, tlspolicy.BuiltIn())
	policy := policyOf("enforce", "*.good.example").Policy
	var findings []string
	for _, f := range mtasts.Check(context.Background(), "good.example", policy, mtasts.CheckOptions{
		Resolver: lookups{dnssec.NetResolver{Resolver: l.Resolver()}}, Prober: d, RootCAs: l.Roots(),
		Fetch: mtasts.FetchConfig{RootCAs: l.Roots(), DialContext: l.DialContext, AllowPrefixes: lab.Prefixes()},
	}) {
		if strings.HasPrefix(f.Subject, "mx") {
			findings = append(findings, f.Subject+" "+string(f.Code))
		}
	}
	require.Len(t, findings, 2)
	require.True(t, strings.HasPrefix(findings[0], "mx1.good.example"))
	require.Contains(t, findings[1], "mx2.good.example")
}

// lookups is what mtasts.Check asks of DNS.
type lookups struct{ dnssec.NetResolver }

func (l lookups) LookupMX(ctx context.Context, name string) (list []*net.MX, err error) {
	set, err := dnssec.LookupMX(ctx, l.Resolver, name)
	for _, mx := range set.Hosts {
		list = append(list, &net.MX{Host: mx.Host, Pref: mx.Pref})
	}
	return list, err
}

func TestCheckResolver(t *testing.T) {
	require.ErrorIs(t, (&Dialer{Resolver: dnssec.Static{}}).CheckResolver(context.Background()), ErrNoSelfCheck)
	broken := errors.New("no AD bit")
	require.ErrorIs(t, (&Dialer{Resolver: checking{err: broken}}).CheckResolver(context.Background()), broken)
	require.NoError(t, (&Dialer{Resolver: checking{}}).CheckResolver(context.Background()))
	require.Error(t, (&Dialer{Hostname: "x"}).CheckResolver(context.Background()))
}

type checking struct {
	dnssec.Static
	err error
}

func (c checking) Check(context.Context) error { return c.err }
