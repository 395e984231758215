package smtpserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

var (
	errForeignConn = errors.New("smtpserver: this connection did not come through the Listener whose TLSConfig this is")
	errTLSOff      = errors.New("smtpserver: the sender group of this peer has TLS No")
)

// boundTable is a table with what the listener has made for its policies.
type boundTable struct {
	table    *Table
	configs  map[*Policy]*policyTLS
	maxPerIP int // the largest MaxConnsPerIP of any policy; below 0: one has no limit
}

// policyTLS is the TLS configuration of a policy.
type policyTLS struct {
	config  *tls.Config // the template; its session ticket keys come from tickets
	source  CertificateSource
	tickets *ticketKeys // nil: no tickets
}

// bind makes the configurations of a table's policies.
func (l *Listener) bind(t *Table) (*boundTable, error) {
	if t.empty() {
		return nil, ErrNoTable
	}
	b := &boundTable{table: t, configs: map[*Policy]*policyTLS{}}
	for _, g := range t.Groups() {
		p := g.Policy
		if n := p.MaxConnsPerIP; n < 0 || b.maxPerIP < 0 {
			b.maxPerIP = -1
		} else {
			b.maxPerIP = max(b.maxPerIP, n)
		}
		if p.TLS == TLSNo || p.Access == TCPRefuse || p.Access == Reject && !p.Reject.Delayed {
			continue
		}
		source := p.Certificate
		if source == nil {
			source = l.source()
		}
		if source == nil {
			return nil, fmt.Errorf("sender group %q: %w", g.Name, ErrNoCertificate)
		}
		b.configs[p] = l.policyTLS(p, source)
	}
	return b, nil
}

// source returns the listener's own certificate source, nil if it has none.
func (l *Listener) source() CertificateSource {
	base := l.options.TLSConfig
	switch {
	case l.options.Certificate != nil:
		return l.options.Certificate
	case base != nil && (base.GetCertificate != nil || len(base.Certificates) > 0):
		return baseSource{base}
	}
	return nil
}

// baseSource gives the certificates of a tls.Config.
type baseSource struct{ base *tls.Config }

func (s baseSource) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.base.GetCertificate != nil {
		if cert, err := s.base.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	for i := range s.base.Certificates {
		if hello.SupportsCertificate(&s.base.Certificates[i]) == nil {
			return &s.base.Certificates[i], nil
		}
	}
	if len(s.base.Certificates) == 0 {
		return nil, errors.New("no certificate")
	}
	return &s.base.Certificates[0], nil
}

// policyTLS makes the template of a policy's connections.
func (l *Listener) policyTLS(p *Policy, source CertificateSource) *policyTLS {
	config := &tls.Config{}
	if l.options.TLSConfig != nil {
		config = l.options.TLSConfig.Clone()
	}
	config.Certificates, config.GetConfigForClient = nil, nil
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return l.certificate(source, hello)
	}
	config.MinVersion, config.CipherSuites, config.CurvePreferences = p.MinVersion, p.CipherSuites, p.Curves
	config.NextProtos = nil
	setClientAuth(config, p)
	t := &policyTLS{config: config, source: source}
	config.SessionTicketsDisabled = true
	if l.options.SessionTickets && p.ClientCert == ClientCertOff {
		config.SessionTicketsDisabled = false
		t.tickets = &ticketKeys{config: config}
	}
	return t
}

// TLSConfig returns the configuration that the server below must use, for STARTTLS
// and with ImplicitTLS for tls.NewListener. It gives each connection what its sender
// group's policy says, and refuses connections that did not come through l.
func (l *Listener) TLSConfig() *tls.Config {
	return &tls.Config{GetConfigForClient: l.configForClient, MinVersion: tls.VersionTLS10}
}

// configForClient returns the configuration of the group of the peer.
func (l *Listener) configForClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c, ok := FromConn(hello.Conn)
	if !ok || c.listener != l {
		return nil, errForeignConn
	}
	p := c.Policy()
	if p == nil {
		return nil, errTLSOff
	}
	t := c.table.configs[p]
	if t == nil {
		return nil, errTLSOff
	}
	config, err := t.current()
	if err != nil {
		return nil, err
	}
	c.noteHello(hello, config)
	before := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if before != nil {
			if err := before(state); err != nil {
				return c.rejectPeer(err)
			}
		}
		return c.verifyConnection(p, state, config)
	}
	return config, nil
}

// current returns a copy of the template for one connection.
func (t *policyTLS) current() (*tls.Config, error) {
	if t.tickets != nil {
		return t.tickets.clone()
	}
	return t.config.Clone(), nil
}

// noteHello keeps what a ClientHello says about why the handshake may fail.
func (c *Conn) noteHello(hello *tls.ClientHelloInfo, config *tls.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.handshake
	if h == nil {
		return
	}
	h.info.ServerName = hello.ServerName
	best := uint16(0)
	for _, v := range hello.SupportedVersions {
		if v >= config.MinVersion && v <= tls.VersionTLS13 && (config.MaxVersion == 0 || v <= config.MaxVersion) {
			best = max(best, v)
		}
	}
	h.noCommonVersion = best == 0
	h.noCommonCipher = !slices.ContainsFunc(hello.CipherSuites, func(id uint16) bool { return hasSuite(config, best, id) })
}

// hasSuite says whether a cipher suite can be chosen in a version.
func hasSuite(config *tls.Config, version, id uint16) bool {
	isTLS13 := id>>8 == 0x13
	if version == tls.VersionTLS13 || isTLS13 {
		return version == tls.VersionTLS13 && isTLS13
	}
	if config.CipherSuites != nil {
		return slices.Contains(config.CipherSuites, id)
	}
	return slices.ContainsFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.ID == id })
}

// certificate asks a source. A name that it does not know is no reason to fail: most
// senders do not care which name is in the certificate.
func (l *Listener) certificate(source CertificateSource, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, err := source.GetCertificate(hello)
	if (err != nil || cert == nil) && hello.ServerName != "" {
		nameless := *hello
		nameless.ServerName = ""
		cert, err = source.GetCertificate(&nameless)
	}
	if err == nil && cert == nil {
		err = errors.New("the source gave no certificate")
	}
	c, _ := FromConn(hello.Conn)
	if err != nil {
		c.tellCertificate(ReasonSourceFailed, err)
		return nil, fmt.Errorf("smtpserver: no certificate: %w", err)
	}
	if leaf := leafOf(cert); leaf != nil {
		// A sender that checks will say so; the others are served.
		switch now := l.now(); {
		case now.After(leaf.NotAfter):
			c.tellCertificate(ReasonExpired, nil)
		case now.Before(leaf.NotBefore):
			c.tellCertificate(ReasonNotYetValid, nil)
		}
	}
	return cert, nil
}

// leafOf returns the parsed certificate, nil if there is none that can be parsed:
// crypto/tls then says so.
func leafOf(cert *tls.Certificate) *x509.Certificate {
	if cert.Leaf != nil || len(cert.Certificate) == 0 {
		return cert.Leaf
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// now returns the time by the clock of Options.TLSConfig.
func (l *Listener) now() time.Time {
	if base := l.options.TLSConfig; base != nil && base.Time != nil {
		return base.Time()
	}
	return time.Now()
}

func (c *Conn) tellCertificate(why Reason, err error) {
	e := c.event(KindCertificateUnusable)
	e.Alert, e.Reason, e.Err = true, why, err
	c.listener.tell(e)
}

// certificateReady says whether the group's source has a certificate to offer TLS
// with. It tells once for each EHLO and STARTTLS if not.
func (c *Conn) certificateReady() bool {
	t := c.table.configs[c.gate.policy]
	if t == nil {
		return true // no TLS, no matter
	}
	if err := notReady(t.source); err != nil {
		c.tellCertificate(ReasonNotReady, err)
		return false
	}
	return true
}

// notReady returns what a source says about its readiness.
func notReady(source CertificateSource) error {
	if s, ok := source.(interface{ Ready() error }); ok {
		return s.Ready()
	}
	return nil
}

func isDemonstration(source CertificateSource) bool {
	s, ok := source.(interface{ Demonstration() bool })
	return ok && s.Demonstration()
}

// describeSource returns the state of a source for Summary.
func describeSource(source CertificateSource) string {
	if source == nil {
		return "none"
	}
	if err := notReady(source); err != nil {
		return err.Error()
	}
	if isDemonstration(source) {
		return "demonstration"
	}
	return "ready"
}
