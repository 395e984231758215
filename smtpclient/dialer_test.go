package smtpclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

func TestValidate(t *testing.T) {
	require.NoError(t, new(Dialer).Validate())
	require.NoError(t, (&Dialer{
		Hostname: "MTA.Sender.example.", StrictTLS: &tls.Config{MaxVersion: tls.VersionTLS13}, OpportunisticTLS: &tls.Config{MinVersion: tls.VersionTLS10},
		LocalIPv4: netip.MustParseAddr("192.0.2.1"), LocalIPv6: netip.MustParseAddr("2001:db8::1"), Family: OnlyIPv4,
		Timeouts: Timeouts{Stagger: -1, Total: -1}, Limits: Limits{ReplyLine: 5000},
	}).Validate())
	bad := map[string]*Dialer{
		"Hostname":                          {Hostname: "mta"},
		"host name that injects":            {Hostname: "mta.example\r\nMAIL"},
		"Hostname with a wildcard":          {Hostname: "*.sender.example"},
		"LocalIPv4":                         {LocalIPv4: netip.MustParseAddr("2001:db8::1")},
		"LocalIPv6":                         {LocalIPv6: netip.MustParseAddr("192.0.2.1")},
		"LocalIPv6, mapped":                 {LocalIPv6: netip.MustParseAddr("::ffff:192.0.2.1")},
		"Family":                            {Family: 9},
		"Timeouts.Greeting":                 {Timeouts: Timeouts{Greeting: -1}},
		"Timeouts.Quit":                     {Timeouts: Timeouts{Quit: -time.Second}},
		"Limits.Hosts":                      {Limits: Limits{Hosts: -1}},
		"Limits.ReplyLine":                  {Limits: Limits{ReplyLine: 1 << 20}},
		"StrictTLS: RootCAs":                {StrictTLS: &tls.Config{RootCAs: x509.NewCertPool()}},
		"StrictTLS: Certificates":           {StrictTLS: &tls.Config{Certificates: []tls.Certificate{{}}}},
		"StrictTLS: GetClientCertificate":   {StrictTLS: &tls.Config{GetClientCertificate: new(offering).get}},
		"StrictTLS: VerifyPeerCertificate":  {StrictTLS: &tls.Config{VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return nil }}},
		"OpportunisticTLS: renegotiation":   {OpportunisticTLS: &tls.Config{Renegotiation: tls.RenegotiateOnceAsClient}},
		"StrictTLS: MinVersion":             {StrictTLS: &tls.Config{MinVersion: tls.VersionTLS11}},
		"StrictTLS: MaxVersion":             {StrictTLS: &tls.Config{MaxVersion: tls.VersionTLS11}},
		"OpportunisticTLS: no version left": {OpportunisticTLS: &tls.Config{MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12}},
		"OpportunisticTLS: below what crypto/tls begins at": {OpportunisticTLS: &tls.Config{MaxVersion: tls.VersionTLS11}},
		"StrictTLS: encrypted ClientHello":                  {StrictTLS: &tls.Config{EncryptedClientHelloConfigList: []byte{}}},
		"OpportunisticTLS: RootCAs":                         {OpportunisticTLS: &tls.Config{RootCAs: x509.NewCertPool()}},
		"OpportunisticTLS: encrypted, check":                {OpportunisticTLS: &tls.Config{EncryptedClientHelloRejectionVerify: func(tls.ConnectionState) error { return nil }}},
	}
	for name, d := range bad {
		err := d.Validate()
		require.Error(t, err, name)
		_, dialErr := d.Dial(context.Background(), "partner.example")
		var e *Error
		require.ErrorAs(t, dialErr, &e, name)
		require.Equal(t, err.Error(), e.Err.Error(), name)
		require.Equal(t, "4.3.5", e.Status, name)
		require.NotNil(t, e.Report)
		_, dialErr = d.DialHost(context.Background(), "mx.partner.example")
		require.ErrorAs(t, dialErr, &e, name)
	}
	var problem *hostname.Error
	require.ErrorAs(t, (&Dialer{Hostname: "a b"}).Validate(), &problem)
	err := (&Dialer{Hostname: "mta", Family: 9, Limits: Limits{Hosts: -1}}).Validate()
	for _, part := range []string{"Hostname", "Family", "Limits.Hosts"} {
		require.ErrorContains(t, err, part, "all that is wrong is told at once")
	}
}

func TestProfilesAreCloned(t *testing.T) {
	given := &tls.Config{ServerName: "mine", InsecureSkipVerify: false, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	c, err := profile("StrictTLS", given, strictProfile, time.Now)
	require.NoError(t, err)
	require.Equal(t, "mine", given.ServerName)
	require.NotNil(t, given.ClientSessionCache)
	require.False(t, given.InsecureSkipVerify)
	require.Empty(t, c.ServerName)
	require.Nil(t, c.ClientSessionCache)
	require.True(t, c.InsecureSkipVerify)
	require.Equal(t, uint16(tls.VersionTLS12), c.MinVersion)

	lax, err := profile("OpportunisticTLS", nil, opportunisticProfile, time.Now)
	require.NoError(t, err)
	require.Equal(t, uint16(tls.VersionTLS10), lax.MinVersion)
	for _, weak := range []uint16{tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA,
		tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA} {
		require.NotContains(t, lax.CipherSuites, weak)
	}
	for _, suite := range tls.CipherSuites() {
		if suite.SupportedVersions[0] <= tls.VersionTLS12 {
			require.Contains(t, lax.CipherSuites, suite.ID, "%s is offered by default", suite.Name)
		}
	}
}

func TestOwnName(t *testing.T) {
	system := func(name string, err error) func() (string, error) {
		return func() (string, error) { return name, err }
	}
	tests := []struct {
		given  string
		system func() (string, error)
		want   string
	}{
		{"mta.sender.example", nil, "mta.sender.example"},
		{"MTA.bücher.example.", nil, "mta.xn--bcher-kva.example"},
		{"[192.0.2.1]", nil, "[192.0.2.1]"},
		{"2001:db8::1", nil, "[IPv6:2001:db8::1]"},
		{"", system("host.example.org", nil), "host.example.org"},
		{"", system("host", nil), ""},
		{"", system("host_1.example.org", nil), ""},
		{"", system("", errors.New("none")), ""},
	}
	for _, test := range tests {
		got, err := ownName(test.given, test.system)
		require.NoError(t, err, test.given)
		require.Equal(t, test.want, got, test.given)
	}
	c := &config{}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	require.Equal(t, "[127.0.0.1]", c.localName(near))
	require.Equal(t, "[192.0.2.7]", c.localName(from{near, "192.0.2.7:1000"}))
	require.Equal(t, "[192.0.2.7]", c.localName(from{near, "[::ffff:192.0.2.7]:1000"}))
	require.Equal(t, "[IPv6:fe80::1]", c.localName(from{near, "[fe80::1%eth0]:1000"}))
}

// from is a connection with a local address.
type from struct {
	net.Conn
	addr string
}

func (f from) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr)) }

// TestSourceAddress: the configured source is used, and the clear-text connection
// comes from where the first one came.
func TestSourceAddress(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	sources := make(chan string, 4)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			sources <- c.RemoteAddr().(*net.TCPAddr).IP.String()
			c.Write([]byte("220 mx\r\n"))
			buf := make([]byte, 512)
			c.Read(buf)
			c.Write([]byte(offers))
			if n, _ := c.Read(buf); string(buf[:n]) == "STARTTLS\r\n" {
				c.Write([]byte("220 go\r\nEHLO"))
			}
			c.Close()
		}
	}()
	configured := &Dialer{Hostname: "mta.sender.example", LocalIPv4: netip.MustParseAddr("127.0.0.9")}
	// The operating system's choice, which here is made by the first dial.
	chosen := &Dialer{Hostname: "mta.sender.example", DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if ctx.Value(localAddr{}) == nil {
			ctx = context.WithValue(ctx, localAddr{}, netip.MustParseAddr("127.0.0.9"))
		}
		return systemDial(ctx, network, address)
	}}
	plain := chosen.DialContext
	first := true
	chosen.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if first {
			first = false
			return plain(ctx, network, address)
		}
		return systemDial(ctx, network, address)
	}
	for _, d := range []*Dialer{configured, chosen} {
		s, err := d.DialHost(context.Background(), listener.Addr().String())
		require.NoError(t, err)
		s.Close()
		require.Equal(t, "127.0.0.9", <-sources)
		require.Equal(t, "127.0.0.9", <-sources)
		require.Equal(t, "127.0.0.9", s.Report.Attempts[1].LocalAddr.Addr().String())
		require.True(t, s.Report.Attempts[1].Reconnect)
	}
}

func TestLogger(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		var out bytes.Buffer
		st.dialer.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		st.at("192.0.2.2", server{}.run)
		st.dialOK().Close()
		require.Contains(t, out.String(), "host=mx1.partner.example")
		require.Contains(t, out.String(), "action=deliver-clear")
	})
}

// TestNoConnection: a DialContext that breaks its contract costs the address, not
// the process.
func TestNoConnection(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
		e := st.dialFail(context.Background())
		var failed *ConnectError
		require.ErrorAs(t, e, &failed)
		require.ErrorIs(t, e, errNoConn)
		require.Equal(t, "4.4.1", e.Status)
	})
}
