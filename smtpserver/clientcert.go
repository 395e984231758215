package smtpserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// setClientAuth has client certificates asked for as a policy says. Unless crypto/tls
// is to verify them, verifyConnection does: it runs when a session is resumed, too,
// and can say what was wrong.
func setClientAuth(config *tls.Config, p *Policy) {
	config.ClientAuth, config.ClientCAs = tls.NoClientCert, nil
	if p.ClientCert == ClientCertOff {
		return
	}
	config.ClientCAs = p.ClientCAs // also named in the CertificateRequest
	switch {
	case p.ClientCert == ClientCertRequired && p.NativeClientVerify == On:
		config.ClientAuth = tls.RequireAndVerifyClientCert
	case p.ClientCert == ClientCertRequired:
		config.ClientAuth = tls.RequireAnyClientCert
	case p.NativeClientVerify == On:
		config.ClientAuth = tls.VerifyClientCertIfGiven
	default:
		config.ClientAuth = tls.RequestClientCert
	}
}

// verifyConnection checks the client's certificate and notes what was agreed on.
// crypto/tls calls it when it knows the peer's certificates, and before the client
// has proven that it has the keys.
func (c *Conn) verifyConnection(p *Policy, state tls.ConnectionState, config *tls.Config) error {
	var chains [][]*x509.Certificate
	switch {
	case p.ClientCert == ClientCertOff || len(state.PeerCertificates) == 0:
	case p.NativeClientVerify == On:
		chains = state.VerifiedChains
	default:
		var err error
		if chains, err = verifyClient(p.ClientCAs, state.PeerCertificates, config); err != nil {
			return c.rejectPeer(err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.handshake
	if h == nil || c.gate.phase != PhaseHandshake {
		return errors.New("smtpserver: a handshake out of turn")
	}
	h.verified = true
	h.info = TLSInfo{Version: state.Version, CipherSuite: state.CipherSuite, ServerName: state.ServerName, Resumed: state.DidResume}
	info := h.info
	c.info, c.chains = &info, chains
	return nil
}

// verifyClient builds chains from a client's certificate to the authorities of the
// policy (RFC 5280 section 6), for client authentication.
func verifyClient(roots *x509.CertPool, sent []*x509.Certificate, config *tls.Config) ([][]*x509.Certificate, error) {
	now := time.Now
	if config.Time != nil {
		now = config.Time
	}
	options := x509.VerifyOptions{
		Roots:         roots,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, cert := range sent[1:] {
		options.Intermediates.AddCert(cert)
	}
	return sent[0].Verify(options)
}

// rejectPeer keeps why VerifyConnection fails.
func (c *Conn) rejectPeer(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.handshake; h != nil {
		h.fail(ReasonClientCertRejected, err)
	}
	return err
}
