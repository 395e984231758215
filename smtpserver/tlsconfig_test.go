package smtpserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// TestConfigPerGroup: certificate, versions and the rest are those of the group.
func TestConfigPerGroup(t *testing.T) {
	other := testRoot.Leaf([]string{"other.example.com"})
	table := compile(t,
		SenderGroup{Name: "old", Senders: []string{"192.0.2.1"}, Policy: Policy{Access: Accept, TLS: TLSPreferred, MinVersion: tls.VersionTLS10,
			Certificate: &certs{cert: other.TLS()}}},
		SenderGroup{Name: "none", Senders: []string{"192.0.2.2"}, Policy: Policy{Access: Accept}},
		SenderGroup{Name: "rest", Senders: []string{"ALL"}, Policy: Policy{Access: Accept, TLS: TLSPreferred, MinVersion: tls.VersionTLS13}},
	)
	verified := 0
	m := newMemory()
	hl, err := NewListener(m, Options{Table: table, Certificate: serverCert(), TLSConfig: &tls.Config{NextProtos: []string{"h2"},
		VerifyConnection: func(tls.ConnectionState) error { verified++; return nil }}})
	require.NoError(t, err)
	config := func(from string) (*tls.Config, error) {
		c := hl.enter(memoryConn{&script{text: ehlo}, func() net.Addr { return tcpAddr(from) }})
		c.Write([]byte(greeting))
		return hl.TLSConfig().GetConfigForClient(&tls.ClientHelloInfo{Conn: c, ServerName: "whatever.example"})
	}
	old, err := config("192.0.2.1:1")
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS10, old.MinVersion)
	require.Empty(t, old.NextProtos)
	require.True(t, old.SessionTicketsDisabled)
	cert, err := old.GetCertificate(&tls.ClientHelloInfo{})
	require.NoError(t, err)
	require.Equal(t, []string{"other.example.com"}, cert.Leaf.DNSNames)
	rest, err := config("192.0.2.3:1")
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS13, rest.MinVersion)
	require.Error(t, rest.VerifyConnection(tls.ConnectionState{}), "a handshake that the filter has not seen begin")
	require.Equal(t, 1, verified, "that of the base configuration is called")
	_, err = config("192.0.2.2:1")
	require.ErrorIs(t, err, errTLSOff)
}

// TestSessionTickets: a session is resumed in its own group and in no other.
func TestSessionTickets(t *testing.T) {
	table := compile(t,
		SenderGroup{Name: "one", Senders: []string{"192.0.2.1"}, Policy: Policy{Access: Accept, TLS: TLSPreferred}},
		SenderGroup{Name: "two", Senders: []string{"192.0.2.2"}, Policy: Policy{Access: Accept, TLS: TLSPreferred}},
		SenderGroup{Name: "asks", Senders: []string{"192.0.2.3"}, Policy: Policy{Access: Accept, TLS: TLSPreferred,
			ClientCert: ClientCertIfGiven, ClientCAs: testpki.Pool(testRoot)}},
	)
	m := newMemory()
	hl, err := NewListener(m, Options{Table: table, Certificate: serverCert(), SessionTickets: true})
	require.NoError(t, err)
	goSMTP(t, hl, hl.TLSConfig())
	config := clientTLS()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i, c := range []struct {
		from    string
		resumed bool
	}{
		{"192.0.2.1:1", false}, {"192.0.2.1:2", true}, {"192.0.2.2:1", false}, {"192.0.2.2:2", true},
		{"192.0.2.3:1", false}, {"192.0.2.3:2", false},
	} {
		in, conn := m.dial(t, c.from).starttls(config)
		in.say(ehlo, ehloInTLS)
		require.Equal(t, c.resumed, conn.ConnectionState().DidResume, "%d: %s", i, c.from)
		in.say("QUIT\r\n", bye)
		in.wantEnd() // takes the close_notify out of the pipe
	}
}

func TestTicketKeysRotate(t *testing.T) {
	k := &ticketKeys{config: &tls.Config{}}
	_, err := k.clone()
	require.NoError(t, err)
	first := k.keys[0]
	k.clone()
	require.Equal(t, first, k.keys[0])
	k.made = k.made.Add(-TicketLifetime)
	k.clone()
	require.Len(t, k.keys, 2)
	require.Equal(t, first, k.keys[1])
	require.NotEqual(t, first, k.keys[0])
	k.made = k.made.Add(-2 * TicketLifetime)
	k.clone()
	require.Len(t, k.keys, 1, "a listener that slept does not wake up with old keys")
}

// picky knows its certificates by name only.
type picky struct{ certs }

func (p *picky) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName != "" && hello.ServerName != "mx.example.com" {
		return nil, errors.New("no such name")
	}
	return &p.cert, nil
}

func TestServerName(t *testing.T) {
	o := forAll(t, tlsPreferred)
	o.Certificate = &picky{*serverCert()}
	w := serve(t, o)
	for _, name := range []string{"mx.example.com", "unknown.example", ""} {
		config := clientTLS()
		config.ServerName, config.InsecureSkipVerify = name, true
		in, _ := w.dial().starttls(config)
		in.say(ehlo, ehloInTLS)
	}
	require.Empty(t, w.events.of(KindCertificateUnusable))
}

func TestUnusableCertificates(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	expired := testRoot.Leaf([]string{"mx.example.com"}, testpki.Valid(past.Add(-time.Hour), past))
	o := forAll(t, tlsPreferred)
	o.Certificate = &certs{cert: expired.TLS()}
	w := serve(t, o)
	config := clientTLS()
	config.InsecureSkipVerify = true
	in, _ := w.dial().starttls(config)
	in.say(ehlo, ehloInTLS)
	require.Equal(t, ReasonExpired, w.events.wait(t, KindCertificateUnusable, 1).Reason)

	o.Certificate = broken{}
	w = serve(t, o)
	_, conn := w.dial().starttls(clientTLS())
	require.Error(t, conn.Handshake())
	e := w.events.wait(t, KindCertificateUnusable, 1)
	require.Equal(t, ReasonSourceFailed, e.Reason)
	require.True(t, e.Alert)
	require.Equal(t, ReasonServerAlert, w.events.wait(t, KindTLSFailed, 1).Reason)
}

// TestClockOfCertificates: whether a certificate is valid is judged by the clock of
// the base configuration, with and without a parsed leaf.
func TestClockOfCertificates(t *testing.T) {
	for _, parsed := range []bool{true, false} {
		source := serverCert()
		if !parsed {
			source.cert.Leaf = nil
		}
		o := forAll(t, tlsPreferred)
		o.Certificate = source
		o.TLSConfig = &tls.Config{Time: func() time.Time { return loaded.AddDate(100, 0, 0) }}
		w := serve(t, o)
		in, _ := w.dial().starttls(clientTLS())
		in.say(ehlo, ehloInTLS)
		require.Equal(t, ReasonExpired, w.events.wait(t, KindCertificateUnusable, 1).Reason)
	}
}

// TestCertificateGoneSinceEHLO: STARTTLS is refused when the certificate is lost
// behind the EHLO reply that offered it, and accepted when it is back.
func TestCertificateGoneSinceEHLO(t *testing.T) {
	var gone atomic.Bool
	source := serverCert()
	source.ready = func() error {
		if gone.Load() {
			return errors.New("taken out")
		}
		return nil
	}
	o := forAll(t, tlsRequired)
	o.Certificate = source
	w := serve(t, o)
	p := w.dial()
	p.want(greeting)
	p.say(ehlo, ehloClear)
	gone.Store(true)
	p.say("STARTTLS\r\n", line(ReplyNoCertificate))
	gone.Store(false)
	p.say("STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n")
	in := newPeer(t, tls.Client(p.Conn, clientTLS()))
	in.say(ehlo, ehloInTLS)
}

type broken struct{}

func (broken) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return nil, errors.New("the disk is on fire")
}

// TestClientChainsUsePolicyPool: intermediates that the client sends count, and
// authorities of another policy do not.
func TestClientChainsUsePolicyPool(t *testing.T) {
	root, foreign := testpki.NewRoot("Root"), testpki.NewRoot("Foreign")
	auth := testpki.Template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	leaf := root.Intermediate("Between").Leaf([]string{"client.example"}, auth)
	chains, err := verifyClient(testpki.Pool(root), leaf.Chain(), &tls.Config{})
	require.NoError(t, err)
	require.Len(t, chains[0], 3)
	_, err = verifyClient(testpki.Pool(foreign), leaf.Chain(), &tls.Config{})
	require.Error(t, err)
	_, err = verifyClient(testpki.Pool(root), leaf.Chain()[:1], &tls.Config{})
	require.Error(t, err)
	_, err = verifyClient(testpki.Pool(root), leaf.Chain(), &tls.Config{Time: func() time.Time { return time.Now().AddDate(10, 0, 0) }})
	require.Error(t, err)
}
