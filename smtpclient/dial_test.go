package smtpclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// bubble runs f on a stage with settings s, in a bubble, and requires that every
// connection was closed once at the end.
func bubble(t *testing.T, s tlspolicy.Settings, f func(t *testing.T, st *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, s)
		f(t, st)
		st.closedOnce()
	})
}

func TestDialOverTLS(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		var log []string
		var sni string
		config := st.cert("mx1.partner.example")
		config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			sni = h.ServerName
			return nil, nil
		}
		st.at("192.0.2.1", server{tls: config, ehlo: "250-mx\r\n250-STARTTLS\r\n250 ONLYCLEAR\r\n", log: &log}.run)
		s := st.dialOK()
		require.Equal(t, "mx1.partner.example", sni)
		require.Equal(t, "mx1.partner.example", s.Host())
		require.Equal(t, []string{"EHLO mta.sender.example", "STARTTLS", "EHLO mta.sender.example"}, log)
		require.True(t, s.Extensions().Has("INSIDE"))
		require.False(t, s.Extensions().Has("ONLYCLEAR"), "what was said in clear is void")
		require.Equal(t, tlspolicy.DeliverUnverified, s.Decision().Action)
		require.NotNil(t, s.TLS())
		require.Equal(t, uint16(tls.VersionTLS13), s.TLS().Version)
		require.Equal(t, "mta.sender.example", s.LocalName())
		require.Zero(t, s.Identity())
		require.Equal(t, []string{"192.0.2.1"}, st.dials)
		require.False(t, st.asked("mx2.partner.example"), "hosts are resolved when they are needed")

		r := s.Report
		require.Equal(t, "partner.example", r.Domain)
		require.Equal(t, []MXHost{{"mx1.partner.example", 10}, {"mx2.partner.example", 20}}, r.MX.Hosts)
		require.Len(t, r.Attempts, 1)
		a := r.Attempts[0]
		require.Equal(t, StageReady, a.Stage)
		require.Equal(t, "mx ESMTP", a.Greeting)
		require.Equal(t, []string{"STARTTLS", "ONLYCLEAR"}, a.EHLO)
		require.Equal(t, []string{"SIZE 1000", "INSIDE"}, a.EHLOTLS)
		require.Equal(t, netip.MustParseAddrPort("192.0.2.1:25"), a.Addr)
		require.Equal(t, tlspolicy.TLSEstablished, a.Outcome.TLS)
		require.Equal(t, uint16(tls.VersionTLS13), a.Version)
		require.NoError(t, a.Err)
		require.NoError(t, s.Quit(context.Background()))
		require.ErrorIs(t, s.Quit(context.Background()), net.ErrClosed)
		require.NoError(t, s.Close())
	})
}

func TestDialRequiredVerify(t *testing.T) {
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}, func(t *testing.T, st *stage) {
		st.at("192.0.2.1", server{tls: st.cert("other.example")}.run)
		st.at("192.0.2.2", server{tls: st.cert("partner.example")}.run)
		s := st.dialOK()
		defer s.Close()
		require.Equal(t, "mx2.partner.example", s.Host())
		require.Equal(t, tlspolicy.DeliverVerified, s.Decision().Action)
		require.Equal(t, "partner.example", s.Identity().Name)
		first := s.Report.Attempts[0]
		require.Equal(t, tlspolicy.ReasonModeCertNameMismatch, first.Decision.Reason)
		require.Empty(t, first.EHLOTLS, "no EHLO inside TLS where policy refuses")
		var name x509.HostnameError
		require.ErrorAs(t, first.Err, &name)
	})
}

// TestSecureNames: a name out of MX records is worth what the records are.
func TestSecureNames(t *testing.T) {
	hosted := tlspolicy.Settings{Mode: tlspolicy.RequiredVerifyHosted}
	for _, security := range []dnssec.Security{dnssec.Indeterminate, dnssec.Insecure, dnssec.Secure} {
		for _, only := range []bool{false, true} {
			bubble(t, hosted, func(t *testing.T, st *stage) {
				q := dnssec.Question{Name: "partner.example", Type: dnssec.TypeMX}
				mx := st.dns.Answers[q]
				mx.Security, mx.Final = security, security
				st.dns.Answers[q] = mx
				st.dialer.Verify.SecureMXOnly = only
				st.at("192.0.2.1", server{tls: st.cert("mx1.partner.example")}.run)
				s, err := st.dialer.Dial(context.Background(), "partner.example")
				if only && security != dnssec.Secure {
					require.Equal(t, tlspolicy.ReasonModeCertNameMismatch, reportOf(t, s, err).Attempts[0].Decision.Reason)
					return
				}
				require.NoError(t, err)
				require.Equal(t, "mx1.partner.example", s.Identity().Name)
				require.Equal(t, security == dnssec.Secure, s.Identity().Secure)
				s.Close()
			})
		}
	}
	hosted.MTASTS = tlspolicy.On
	for _, mode := range []string{"enforce", "testing"} {
		bubble(t, hosted, func(t *testing.T, st *stage) {
			st.dialer.MTASTS = found(policyOf(mode, "*.partner.example"))
			st.at("192.0.2.1", server{tls: st.cert("mx1.partner.example")}.run)
			s := st.dialOK()
			require.Equal(t, mode == "enforce", s.Identity().Secure, "a policy in mode testing vouches for nothing")
			s.Close()
		})
	}
}

// TestVerifyConnectionOfProfile: a profile's own check can refuse, not permit.
func TestVerifyConnectionOfProfile(t *testing.T) {
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}, func(t *testing.T, st *stage) {
		own := errors.New("not with us")
		verdict := own
		st.dialer.StrictTLS = &tls.Config{VerifyConnection: func(cs tls.ConnectionState) error { return verdict }}
		st.at("192.0.2.1", server{tls: st.cert("partner.example")}.run)
		st.at("192.0.2.2", server{tls: st.cert("other.example")}.run)
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, own)
		require.Equal(t, tlspolicy.ReasonModeTLSHandshakeFailed, e.Reason)
		verdict = nil
		s := st.dialOK()
		require.Equal(t, "mx1.partner.example", s.Host())
		s.Close()
		st.at("192.0.2.1", server{tls: st.cert("other.example")}.run)
		e = st.dialFail(context.Background())
		require.Equal(t, tlspolicy.ReasonModeCertNameMismatch, e.Reason, "its consent is not enough")
	})
}

func reportOf(t *testing.T, s *Session, err error) *Report {
	if err == nil {
		return s.Report
	}
	var e *Error
	require.ErrorAs(t, err, &e)
	return e.Report
}

// slow is a resolver that takes its time.
type slow struct {
	dnssec.Resolver
	d time.Duration
}

func (s slow) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	select {
	case <-time.After(s.d):
		return s.Resolver.Lookup(ctx, name, t)
	case <-ctx.Done():
		return nil, &dnssec.Error{Kind: dnssec.KindCanceled, Name: name, Type: t, EDE: -1, Err: ctx.Err()}
	}
}

// TestContextBeforeConnecting: ctx's end is ctx's error in each step before the
// first connection, too.
func TestContextBeforeConnecting(t *testing.T) {
	block := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	tests := []struct {
		name  string
		setup func(st *stage)
	}{
		{"MX", func(st *stage) { st.dialer.Resolver = slow{st, time.Hour}; st.dialer.Timeouts.Resolve = 2 * time.Hour }},
		{"addresses", func(st *stage) {
			st.dialer.Timeouts.Resolve = 2 * time.Hour
			st.dialer.Resolver = resolverFunc(func(ctx context.Context, name string, q dnssec.Type) (*dnssec.Answer, error) {
				if q == dnssec.TypeMX {
					return st.Lookup(ctx, name, q)
				}
				return slow{st, time.Hour}.Lookup(ctx, name, q)
			})
		}},
		{"MTA-STS", func(st *stage) {
			st.dialer.MTASTS = stsFunc{lookup: func(ctx context.Context, _ string) (mtasts.Result, error) {
				return mtasts.Result{}, block(ctx)
			}}
		}},
		{"MTA-STS, and there is no domain", func(st *stage) {
			delete(st.dns.Answers, dnssec.Question{Name: "partner.example", Type: dnssec.TypeMX})
			st.dialer.MTASTS = stsFunc{lookup: func(ctx context.Context, _ string) (mtasts.Result, error) {
				return mtasts.Result{}, block(ctx)
			}}
		}},
		{"connect", func(st *stage) {
			st.dialer.Timeouts.Connect = time.Hour
			st.dialer.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, block(ctx) }
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, withSTS, func(t *testing.T, st *stage) {
				st.dialer.MTASTS = found(mtasts.Result{Outcome: mtasts.OutcomeNoRecord})
				test.setup(st)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				begin := time.Now()
				e := st.dialFail(ctx)
				require.Equal(t, time.Minute, time.Since(begin))
				require.Equal(t, context.DeadlineExceeded, e.Err)
				require.False(t, e.Permanent)
				require.Zero(t, e.Reason)
			})
		})
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		e := st.dialFail(ctx)
		require.ErrorIs(t, e, context.Canceled)
		require.Empty(t, st.dials)
	})
}

type resolverFunc func(context.Context, string, dnssec.Type) (*dnssec.Answer, error)

func (f resolverFunc) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	return f(ctx, name, t)
}

// TestResolveTimeout: a resolver that does not answer costs one phase for each
// host, not the Dial.
func TestResolveTimeout(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.Resolver = resolverFunc(func(ctx context.Context, name string, q dnssec.Type) (*dnssec.Answer, error) {
			if strings.HasPrefix(name, "mx1.") {
				return slow{st, time.Hour}.Lookup(ctx, name, q)
			}
			return st.Lookup(ctx, name, q)
		})
		st.at("192.0.2.2", server{}.run)
		begin := time.Now()
		s := st.dialOK()
		require.Equal(t, DefaultResolveTimeout, time.Since(begin))
		require.Equal(t, "mx2.partner.example", s.Host())
		require.Error(t, s.Report.Attempts[0].Err)
		s.Close()
	})
}
