package mtasts

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// checkDNS is fakeDNS with MX records.
type checkDNS struct {
	*fakeDNS
	mx    []*net.MX
	mxErr error
}

func (d *checkDNS) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	if name != "example.com." {
		return nil, errors.New("not asked for that")
	}
	return d.mx, d.mxErr
}

// handshakes is a prober that shakes hands in memory with a server for each host.
// A host without server refuses STARTTLS.
type handshakes map[string]*tls.Config

func (h handshakes) ProbeMX(ctx context.Context, host string) (tls.ConnectionState, error) {
	config := h[host]
	if config == nil {
		return tls.ConnectionState{}, errors.New("no STARTTLS offered")
	}
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		_ = tls.Server(far, config).HandshakeContext(ctx) // the client tells
	}()
	// Check verifies: what the prober takes is up to the test. A server has no
	// use of its own for ServerName.
	conn := tls.Client(near, &tls.Config{ServerName: cmp.Or(config.ServerName, host), RootCAs: testpki.Pool(root(), otherRoot), MinVersion: tls.VersionTLS10,
		Time: func() time.Time { return config.Time() }})
	err := conn.HandshakeContext(ctx)
	return conn.ConnectionState(), err
}

var otherRoot = testpki.NewRoot("Other Root", ages)

// site is a domain that does everything right, until a test spoils it.
type site struct {
	dns     *checkDNS
	policy  *Policy
	respond func(net.Conn, *http.Request)
	leaf    tls.Certificate
	hosts   handshakes
	options CheckOptions
}

func goodSite(t *testing.T) *site {
	s := &site{
		dns:    &checkDNS{fakeDNS: newDNS(), mx: []*net.MX{{Host: "MX2.example.com.", Pref: 20}, {Host: "mx1.example.com.", Pref: 10}}},
		policy: &Policy{Mode: ModeEnforce, MaxAge: 7 * 24 * time.Hour, MX: []string{"mx1.example.com", "mx2.example.com"}},
		leaf:   exampleLeaf(),
		hosts:  handshakes{},
	}
	for _, host := range []string{"mx1.example.com", "mx2.example.com"} {
		s.hosts[host] = &tls.Config{Certificates: []tls.Certificate{leafFor(host)}, Time: time.Now}
	}
	s.respond = octets(reply("", s.policy.String()))
	record, err := RecordFor(s.policy)
	require.NoError(t, err)
	s.dns.set("example.com", record)
	s.dns.addrs["mta-sts.example.com."] = []netip.Addr{netip.MustParseAddr("192.0.2.10")}
	s.dns.txt["_smtp._tls.example.com."] = []string{"v=TLSRPTv1; rua=mailto:tls@example.com"}
	s.options = CheckOptions{Resolver: s.dns, Prober: s.hosts, RootCAs: testpki.Pool(root())}
	return s
}

func (s *site) check(t *testing.T) Findings { return s.checkUntil(t.Context(), t) }

func (s *site) checkUntil(ctx context.Context, t *testing.T) Findings {
	h := newTLSPolicyHost(t, &tls.Config{Certificates: []tls.Certificate{s.leaf}}, s.respond)
	s.options.Fetch = labConfig(map[string]net.Listener{"192.0.2.10:443": h})
	return Check(ctx, "Example.com.", s.policy, s.options)
}

func TestCheckOfAGoodSite(t *testing.T) {
	found := goodSite(t).check(t)
	require.Equal(t, SeverityInfo, found.Worst(), found)
	subjects := []string{}
	for _, f := range found {
		require.Equal(t, FindingCertificate, f.Code, found)
		subjects = append(subjects, f.Subject)
	}
	require.Equal(t, []string{"mta-sts.example.com", "mx1.example.com", "mx2.example.com"}, subjects)
}

func TestCheck(t *testing.T) {
	soon := testpki.Valid(time.Now().Add(-time.Hour), time.Now().Add(50*time.Hour))
	gone := testpki.Valid(time.Now().Add(-time.Hour), time.Now().Add(-time.Minute))
	down := &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	for _, tc := range []struct {
		why   string
		spoil func(*site)
		want  []string // "code severity subject", infos left out
	}{
		{"no record", func(s *site) { s.dns.set("example.com") }, []string{"record error _mta-sts.example.com"}},
		{"DNS down is no absence", func(s *site) { s.dns.setError("example.com", down) }, []string{"record error _mta-sts.example.com"}},
		{"two records", func(s *site) { s.dns.set("example.com", "v=STSv1; id=1;", "v=STSv1; id=2;") }, []string{"record error _mta-sts.example.com"}},
		{"malformed record", func(s *site) { s.dns.set("example.com", "v=STSv1; id=a-b;") }, []string{"record error _mta-sts.example.com"}},
		{"old id", func(s *site) { s.dns.set("example.com", "v=STSv1; id=1;") }, []string{"record-id error _mta-sts.example.com"}},
		{"own id", func(s *site) { s.dns.set("example.com", "v=STSv1; id=1;"); s.options.ID = "1" }, nil},
		{"no file", func(s *site) { s.respond = octets("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") }, []string{"fetch error mta-sts.example.com"}},
		{"redirect", func(s *site) {
			s.respond = octets("HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
		}, []string{"fetch error mta-sts.example.com"}},
		{"not a policy", func(s *site) { s.respond = octets(reply("", "<html>")) }, []string{"fetch error mta-sts.example.com"}},
		{"policy host without address", func(s *site) { delete(s.dns.addrs, "mta-sts.example.com.") }, []string{"fetch error mta-sts.example.com"}},
		{"certificate of another name", func(s *site) { s.leaf = leafFor("www.example.com") }, []string{"fetch error mta-sts.example.com"}},
		{"certificate that ends soon", func(s *site) { s.leaf = root().Leaf([]string{"mta-sts.example.com"}, soon).TLS() }, []string{"certificate warning mta-sts.example.com"}},
		{"which an operator may find long enough", func(s *site) {
			s.leaf = root().Leaf([]string{"mta-sts.example.com"}, soon).TLS()
			s.options.MinValidity = 48 * time.Hour
		}, nil},
		{"other policy", func(s *site) {
			s.respond = octets(reply("", "version: STSv1\nmode: testing\nmx: mx1.example.com\nmax_age: 604800\n"))
		}, []string{"policy error mta-sts.example.com"}},
		{"same policy in other words", func(s *site) {
			s.respond = octets(reply("", "max_age: 604800\nversion: STSv1\nmode: enforce\nmx: MX1.example.com\nmx: mx2.example.com\n"))
		}, nil},
		{"blemished policy", func(s *site) {
			s.respond = octets(reply("", "version: STSv1\n\nmode: enforce\nmx: mx1.example.com\nmx: mx2.example.com\nmax_age: 604800\n"))
		}, []string{"blemish warning mta-sts.example.com", "blemish warning mta-sts.example.com"}},
		{"unmatched host", func(s *site) { s.dns.mx = append(s.dns.mx, &net.MX{Host: "backup.example.net.", Pref: 30}) },
			[]string{"mx-unmatched error backup.example.net", "mx-tls error backup.example.net"}},
		{"unused pattern", func(s *site) { s.dns.mx = s.dns.mx[1:] }, []string{"pattern-unused warning mx2.example.com"}},
		{"no MX: the domain itself", func(s *site) {
			s.dns.mx, s.dns.mxErr = nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}, []string{"mx-unmatched error example.com", "pattern-unused warning mx1.example.com", "pattern-unused warning mx2.example.com", "mx-tls error example.com"}},
		{"null MX", func(s *site) { s.dns.mx = []*net.MX{{Host: "."}} }, []string{"pattern-unused warning mx1.example.com", "pattern-unused warning mx2.example.com"}},
		{"MX query fails", func(s *site) { s.dns.mxErr = down }, []string{"mx error example.com"}},
		{"no STARTTLS", func(s *site) { delete(s.hosts, "mx2.example.com") }, []string{"mx-tls error mx2.example.com"}},
		{"old TLS", func(s *site) {
			s.hosts["mx2.example.com"].MinVersion, s.hosts["mx2.example.com"].MaxVersion = tls.VersionTLS11, tls.VersionTLS11
		}, []string{"mx-tls error mx2.example.com"}},
		{"other authority", func(s *site) {
			s.hosts["mx2.example.com"].Certificates = []tls.Certificate{otherRoot.Leaf([]string{"mx2.example.com"}, ages).TLS()}
		}, []string{"mx-certificate error mx2.example.com"}},
		{"other name", func(s *site) {
			s.hosts["mx2.example.com"].Certificates = []tls.Certificate{leafFor("www.example.com")}
			s.hosts["mx2.example.com"].ServerName = "www.example.com"
		}, []string{"mx-certificate error mx2.example.com"}},
		{"intermediate authority", func(s *site) {
			s.hosts["mx2.example.com"].Certificates = []tls.Certificate{root().Intermediate("Between", ages).Leaf([]string{"mx2.example.com"}, ages).TLS()}
		}, nil},
		{"expired", func(s *site) {
			s.hosts["mx2.example.com"].Certificates = []tls.Certificate{root().Leaf([]string{"mx2.example.com"}, gone).TLS()}
			s.hosts["mx2.example.com"].Time = func() time.Time { return time.Now().Add(-30 * time.Minute) } // the prober does not mind
		}, []string{"mx-certificate error mx2.example.com"}},
		{"no reports", func(s *site) { delete(s.dns.txt, "_smtp._tls.example.com.") }, []string{"tlsrpt warning _smtp._tls.example.com"}},
		{"something else where reports belong", func(s *site) { s.dns.txt["_smtp._tls.example.com."] = []string{"v=spf1 -all"} }, []string{"tlsrpt warning _smtp._tls.example.com"}},
		{"report query fails", func(s *site) { s.dns.fail["_smtp._tls.example.com."] = down }, []string{"tlsrpt warning _smtp._tls.example.com"}},
		{"not connected", func(s *site) { s.options.Prober = nil; s.dns.mx[0].Host = "mx1.example.com" }, []string{"pattern-unused warning mx2.example.com"}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			s := goodSite(t)
			tc.spoil(s)
			found := s.check(t)
			var got []string
			for _, f := range found {
				require.NotEmpty(t, f.Detail, f.Code)
				if f.Severity != SeverityInfo {
					got = append(got, string(f.Code)+" "+f.Severity.String()+" "+f.Subject)
				}
			}
			require.Equal(t, tc.want, got, found)
		})
	}
}

func TestCheckByMode(t *testing.T) {
	s := goodSite(t)
	s.policy.Mode = ModeTesting
	s.respond = octets(reply("", s.policy.String()))
	record, err := RecordFor(s.policy)
	require.NoError(t, err)
	s.dns.set("example.com", record)
	s.dns.mx = append(s.dns.mx, &net.MX{Host: "backup.example.net.", Pref: 30})
	require.Equal(t, SeverityWarning, s.check(t).Worst(), "testing loses no mail")

	s = goodSite(t)
	s.policy = &Policy{Mode: ModeNone, MaxAge: 24 * time.Hour}
	s.respond = octets(reply("", s.policy.String()))
	record, err = RecordFor(s.policy)
	require.NoError(t, err)
	s.dns.set("example.com", record)
	s.dns.mxErr = errors.New("not to be asked")
	require.Equal(t, SeverityInfo, s.check(t).Worst())
}

func TestCheckRefusesBadArguments(t *testing.T) {
	dns := &checkDNS{fakeDNS: newDNS()}
	for why, found := range map[string]Findings{
		"domain":         Check(t.Context(), "192.0.2.1", weekPolicy(), CheckOptions{Resolver: dns}),
		"no policy":      Check(t.Context(), "example.com", nil, CheckOptions{Resolver: dns}),
		"invalid policy": Check(t.Context(), "example.com", &Policy{Mode: ModeEnforce}, CheckOptions{Resolver: dns}),
	} {
		require.Len(t, found, 1, why)
		require.Equal(t, FindingArgument, found[0].Code, why)
		require.Equal(t, SeverityError, found.Worst(), why)
		require.Error(t, found[0].Err, why)
	}
	require.Empty(t, dns.asked)
}

func TestCheckEndsWithContext(t *testing.T) {
	s := goodSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	codes := map[FindingCode]Severity{}
	for _, f := range s.checkUntil(ctx, t) {
		codes[f.Code] = f.Severity
	}
	require.Equal(t, map[FindingCode]Severity{FindingFetch: SeverityError, FindingMXTLS: SeverityError}, codes,
		"what could not be looked at is no success")
}

func TestFindingsString(t *testing.T) {
	f := Findings{{FindingMXUnmatched, SeverityError, "mx.example", "no pattern", nil}, {FindingTLSRPT, SeverityWarning, "a", "b", x509.UnknownAuthorityError{}}}
	require.Equal(t, "error: mx-unmatched: mx.example: no pattern\nwarning: tlsrpt: a: b\n", f.String())
	require.Equal(t, SeverityInfo, Findings{}.Worst())
	require.Equal(t, "info Severity(9)", SeverityInfo.String()+" "+Severity(9).String())
}
