package config

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/smtpserver"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// everything is a file that sets nearly all keys to what they are not by default.
const everything = `
hostname = "Relay.EXAMPLE"
postmaster = "help@relay.example"

[[listener]]
name = "mx"
address = ":25"
certificate = ["pem", "p12"]
max-connections = 100
session-tickets = true
dns-timeout = "1s"
early-talker = "2s"
command-timeout = "none"
handshake-timeout = "3s"
data-timeout = "4s"
write-timeout = "5s"
idle-timeout = "6s"
max-connection-age = "7m"

[[listener]]
name = "submission"
address = "[::1]:465"
certificate = "pem"
implicit-tls = true

[[group]]
name = "OURS"
senders = ["10.0.0.0/8", "2001:db8::/32"]
policy = "ours"

[[group]]
name = "CLIENTS"
senders = ["ALL"]
policy = "clients"
listeners = ["submission"]

[[group]]
name = "NAMELESS"
unverified = ["no-ptr", "mismatch"]
policy = "refused"

[[group]]
name = "ALL"
senders = "ALL"
policy = "everybody"
listeners = ["mx"]

[policy-defaults]
tls = "preferred"
max-message-size = "10 MiB"
max-recipients = 50

[policy.ours]
access = "relay"
max-message-size = "1 GiB"
max-recipients = 1000
max-recipients-per-hour = "none"
max-messages = 7
max-connections = "none"
bare-newline = true

[policy.clients]
access = "relay"
tls = "required"
client-certificate = "required"
client-cas = ["ca.pem"]
min-version = "1.3"
certificate = "p12"

[policy.refused]
access = "reject"
reject = { code = 450, text = "Come back with a name", delayed = true }

[policy.everybody]
access = "accept"
tls-required-from = ["@partner.example"]
banner = "ESMTP, no spam"
cipher-suites = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]

[relay]
recipient-domains = ["relay.example", ".hosted.example", "Bücher.example"]

[delivery]
client-certificate = "pem"
port = 2525
family = "only-ipv6"
local-ipv6 = "2001:db8::1"
honor-tls-required-no = true
connect-timeout = "11s"
total-timeout = "none"
[delivery.verify]
ptr = true
secure-mx-only = true
fqdn = true
signature = true
server-name = true
version = true

[destinations]
default = { mode = "Required (Verify)", dane = "opportunistic", mta-sts = "on", fallback = "always" }
".partner.example" = { mode = 2 }
"[mx.partner.example]:587" = { mode = "no", dane = "none", mta-sts = "off" }

[routes]
default = "[smart.example]:587"
"relay.example" = []
"two.example" = ["[a.example]/pri=20", "b.example/pri=10"]

[trust]
system = "none"
custom = ["ca.pem"]

[resolver]
kind = "validator"
servers = ["127.0.0.1", "[::1]:5353"]
anchors = "root.ds"
insecure-zones = ["corp.internal"]
timeout = "3s"

[mta-sts]
directory = "sts"

[spool]
directory = "/var/spool/relay-of-a-test"
min-free = "1 GiB"

[queue]
first-retry = "1m"
longest-retry = "1h"
lifetime = "2d"
delay-warning = "none"
per-domain = 3
total = 30
messages-per-connection = 9
idle-connection = "none"
max-returned = 0

[certificate.pem]
file = "chain.pem"
key = "chain.key"
[certificate.p12]
pkcs12 = "chain.p12"
password-file = "password"

[tls-reports]
organization = "Example"
contact = "tls@relay.example"
directory = "reports"
send = true
failures-only = true

[alerts]
log = false
mail = ["operator@relay.example"]
command = ["program", "--now"]
every = "5m"

[metrics]
address = "127.0.0.1:0"

[log]
format = "json"
level = "warn"
`

func TestEverything(t *testing.T) {
	dir := directory(t)
	c, problems := loadText(t, dir, everything)
	require.NotNil(t, c, "%v", problems)
	require.Equal(t, "relay.example", c.Hostname)
	require.Equal(t, "help@relay.example", c.Postmaster)

	require.Len(t, c.Listeners, 2)
	mx, submission := c.Listeners[0], c.Listeners[1]
	require.Equal(t, ":25", mx.Address)
	o := mx.Options
	require.Equal(t, []any{"mx", false, true, 100}, []any{o.Name, o.ImplicitTLS, o.SessionTickets, o.MaxConns})
	require.Equal(t, []time.Duration{time.Second, 2 * time.Second, -1, 3 * time.Second, 4 * time.Second, 5 * time.Second, 6 * time.Second, 7 * time.Minute},
		[]time.Duration{o.DNSTimeout, o.EarlyTalker, o.CommandTimeout, o.HandshakeTimeout, o.DataTimeout, o.WriteTimeout, o.IdleTimeout, o.MaxConnAge})
	require.Equal(t, int64(1<<30), mx.MaxMessageBytes)
	require.Equal(t, 1000, mx.MaxRecipients)
	require.True(t, submission.Options.ImplicitTLS)

	ours, _ := o.Table.Lookup(netip.MustParseAddr("10.1.2.3"))
	require.Equal(t, "OURS", ours.Name)
	p := ours.Policy
	require.Equal(t, []any{"ours", smtpserver.Relay, smtpserver.TLSPreferred, smtpserver.On}, []any{p.Name, p.Access, p.TLS, p.BareNewline})
	require.Equal(t, []int{-1, 7, 1000, -1}, []int{p.MaxConnsPerIP, p.MaxMessagesPerConn, p.MaxRcptsPerMessage, p.MaxRcptsPerHour})
	stranger := netip.MustParseAddr("192.0.2.1")
	everybody := o.Table.LookupHost(stranger, smtpserver.Host{Status: smtpserver.HostVerified, Names: []string{"x.example"}})
	require.Equal(t, "ALL", everybody.Name)
	require.Equal(t, []any{50, int64(10 << 20)}, []any{everybody.Policy.MaxRcptsPerMessage, everybody.Policy.MaxMessageBytes})
	require.True(t, everybody.Policy.TLSRequiredFrom.Contains("a@partner.example"))
	require.Equal(t, smtpserver.Banner{Code: 220, Host: "relay.example", Text: "ESMTP, no spam"}, *everybody.Policy.Banner)
	require.Equal(t, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, everybody.Policy.CipherSuites)
	refused := o.Table.LookupHost(stranger, smtpserver.Host{Status: smtpserver.NoPTR})
	require.Equal(t, smtpserver.Rejection{Code: 450, Text: "Come back with a name", Delayed: true}, *refused.Policy.Reject)
	clients, _ := submission.Options.Table.Lookup(stranger)
	require.Equal(t, "CLIENTS", clients.Name, "groups count on their listeners only")
	require.Equal(t, []any{smtpserver.ClientCertRequired, uint16(tls.VersionTLS13)}, []any{clients.Policy.ClientCert, clients.Policy.MinVersion})
	require.NotNil(t, clients.Policy.ClientCAs)

	for _, l := range c.Listeners {
		for _, g := range l.Options.Table.Groups() {
			require.NotNil(t, g.Policy.Certificate, "a table that is swapped in brings its certificates")
			_, err := g.Policy.Certificate.GetCertificate(&tls.ClientHelloInfo{ServerName: "relay.example"})
			require.NoError(t, err)
		}
	}

	require.Equal(t, 3, c.Recipients.Len())
	d := c.Delivery
	offered, err := d.ClientCertificate(&tls.CertificateRequestInfo{SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, Version: tls.VersionTLS13})
	require.NoError(t, err)
	require.Equal(t, []string{"relay.example"}, offered.Leaf.DNSNames)
	require.Equal(t, []any{uint16(2525), smtpclient.OnlyIPv6, netip.MustParseAddr("2001:db8::1"), true}, []any{d.Port, d.Family, d.LocalIPv6, d.HonorTLSRequiredNo})
	require.Equal(t, smtpclient.Timeouts{Connect: 11 * time.Second, Total: -1}, d.Timeouts)
	require.Equal(t, tlspolicy.VerifyOptions{PTR: true, SecureMXOnly: true, FQDN: true, X509: tlspolicy.X509Checks{Signature: true, ServerName: true, Version: true}}, d.Verify)
	settings, origin, err := d.Destinations.Lookup("a.partner.example", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, []any{tlspolicy.Preferred, tlspolicy.DANEOpportunistic, tlspolicy.On, tlspolicy.FallbackAlways, ".partner.example"},
		[]any{settings.Mode, settings.DANE, settings.MTASTS, settings.Fallback, origin.Entry()})
	hops, ok := d.Routes.Route("two.example")
	require.True(t, ok)
	require.Equal(t, []smtpclient.Hop{{Host: "a.example", Literal: true, Pref: 20}, {Host: "b.example", Pref: 10}}, hops)
	hops, _ = d.Routes.Route("elsewhere.example")
	require.Equal(t, []smtpclient.Hop{{Host: "smart.example", Literal: true, Port: 587}}, hops)
	_, ok = d.Routes.Route("relay.example")
	require.False(t, ok)

	n, err := c.Trust.Count(certs.CustomCAs)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = c.Trust.VerifyChain([]*x509.Certificate{offered.Leaf}, x509.ExtKeyUsageServerAuth)
	require.NoError(t, err)

	require.Equal(t, ResolverValidator, c.Resolver.Kind)
	v := c.Resolver.Validator
	require.Equal(t, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("[::1]:5353")}, v.Upstream.Servers)
	require.Len(t, v.Anchors, 1)
	require.Equal(t, []any{"corp.internal", 3 * time.Second}, []any{v.InsecureZones[0], v.Timeout})

	require.Equal(t, filepath.Join(dir, "sts"), c.MTASTSDirectory)
	require.Equal(t, Spool{Dir: "/var/spool/relay-of-a-test", Options: spool.Options{MinFree: 1 << 30}}, c.Spool)
	require.Equal(t, Queue{
		Retry:     spool.Retry{First: time.Minute, Longest: time.Hour, Lifetime: 48 * time.Hour, DelayAfter: 48 * time.Hour},
		PerDomain: 3, Total: 30, ConnMessages: 9,
	}, c.Queue)
	require.False(t, c.Queue.Retry.Late(time.Unix(0, 0), time.Unix(0, 0).Add(47*time.Hour)), "delay-warning = none")
	require.Equal(t, &Reports{Organization: "Example", Contact: "tls@relay.example", From: "tls@relay.example", Dir: filepath.Join(dir, "reports"), Send: true, FailuresOnly: true}, c.Reports)
	require.Equal(t, Alerts{Mail: []string{"operator@relay.example"}, Command: []string{filepath.Join(dir, "program"), "--now"}, Every: 5 * time.Minute}, c.Alerts)
	require.Equal(t, "127.0.0.1:0", c.Metrics)
	require.Equal(t, Log{JSON: true, Level: slog.LevelWarn}, c.Log)

	dialer := c.Dialer()
	require.NoError(t, dialer.Validate())
	require.Equal(t, "relay.example", dialer.Hostname)
	_, err = os.Stat(filepath.Join(dir, "sts"))
	require.ErrorIs(t, err, os.ErrNotExist, "Load writes nothing")
}

func TestDefaults(t *testing.T) {
	dir := directory(t)
	c := mustLoad(t, dir, minimal+publicTrust)
	require.Equal(t, "postmaster@relay.example", c.Postmaster)
	require.Equal(t, Queue{
		Retry:     spool.Retry{First: spool.DefaultFirst, Longest: spool.DefaultLongest, Lifetime: spool.DefaultLifetime, DelayAfter: spool.DefaultDelayAfter},
		PerDomain: defaultPerDomain, Total: defaultTotal, ConnMessages: defaultConnMessages, ConnIdle: defaultConnIdle, MaxReturned: defaultMaxReturned,
	}, c.Queue)
	require.Nil(t, c.Reports)
	require.Equal(t, Alerts{Log: true, Every: time.Hour}, c.Alerts)
	require.Equal(t, Log{Level: slog.LevelInfo}, c.Log)
	require.Nil(t, c.Delivery.ClientCertificate)
	require.NotNil(t, c.Recipients)
	require.False(t, c.Recipients.Contains("relay.example"), "nobody is a recipient without being named")
	settings, _, err := c.Delivery.Destinations.Lookup("x.example", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.BuiltIn(), settings)
}

func TestDomains(t *testing.T) {
	d := &Domains{exact: map[string]bool{"relay.example": true, "xn--bcher-kva.example": true}, below: map[string]bool{"hosted.example": true}}
	for _, c := range []struct {
		why, domain string
		want        bool
	}{
		{"itself", "relay.example", true},
		{"letter case and final dot", "RELAY.example.", true},
		{"below one that stands alone", "a.relay.example", false},
		{"below", "a.hosted.example", true},
		{"far below", "a.b.hosted.example", true},
		{"what stands for those below is not itself", "hosted.example", false},
		{"a longer label", "xhosted.example", false},
		{"U-labels", "bücher.example", true},
		{"A-labels", "XN--bcher-kva.example", true},
		{"an address literal", "[192.0.2.1]", false},
		{"nothing", "", false},
		{"no domain", "relay..example", false},
	} {
		t.Run(c.why, func(t *testing.T) { require.Equal(t, c.want, d.Contains(c.domain)) })
	}
	require.False(t, (*Domains)(nil).Contains("a.example"))
	require.Zero(t, (*Domains)(nil).Len())
}

func TestOpenResolver(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	server := dnssec.Upstream{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}}
	var r Resolver
	r.Stub.Upstream, r.Validator.Upstream = server, server
	_, err := r.Open(ctx, nil) // FromSystem, with the servers of the file: ctx is over
	require.Error(t, err)
	r.Kind = ResolverStub
	stub, err := r.Open(ctx, nil)
	require.NoError(t, err)
	require.IsType(t, &dnssec.Stub{}, stub)
	r.Kind = ResolverValidator
	validator, err := r.Open(ctx, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.IsType(t, &dnssec.Validator{}, validator)
	r.Validator.InsecureZones = []string{"no name"}
	none, err := r.Open(ctx, nil)
	require.Error(t, err)
	require.Nil(t, none, "no pointer hides in the interface")
	r.Kind = ResolverLab
	_, err = r.Open(ctx, nil)
	require.ErrorIs(t, err, ErrLab)
}

func TestLogHandler(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(Log{JSON: true, Level: slog.LevelWarn}.Handler(&b))
	log.Info("no")
	log.Warn("yes")
	require.Contains(t, b.String(), `"msg":"yes"`)
	require.NotContains(t, b.String(), "no\"")
	b.Reset()
	slog.New(Log{}.Handler(&b)).Info("yes")
	require.Contains(t, b.String(), "msg=yes")
}

// TestCertificateEvents has a certificate that ends in two days.
func TestCertificateEvents(t *testing.T) {
	dir := directory(t)
	c, _ := loadText(t, dir, minimal+publicTrust+"[certificate.c]\nfile = \"ending.pem\"\n[delivery]\nclient-certificate = \"c\"\n")
	require.NotNil(t, c)
	var kinds []certs.EventKind
	c.CertificateEvents(func(e certs.Event) { kinds = append(kinds, e.Kind) })
	_, err := c.Certs.CheckExpiry()
	require.NoError(t, err)
	require.Equal(t, []certs.EventKind{certs.EventExpiring}, kinds)
	c.CertificateEvents(nil)
	_, err = c.Certs.CheckExpiry()
	require.NoError(t, err)
}
