package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// destinationName and mailHostName are the names of the recipient domains that a
// helper serves, and of their only mail hosts.
func destinationName(i int) string { return fmt.Sprintf("partner%d.example", i) }
func mailHostName(i int) string    { return "mx." + destinationName(i) }

// serveMailHosts plays the mail hosts of n destinations, all on one port of
// loopback: bare go-smtp with a certificate for each name, P-256 below one
// intermediate. It takes every message and keeps none.
func serveMailHosts(n int) (addr string, roots []byte, err error) {
	root := testpki.NewRoot("Root")
	between := root.Intermediate("Intermediate")
	certs := make(map[string]*tls.Certificate, n)
	for i := range n {
		cert := between.Leaf([]string{mailHostName(i)}).TLS()
		certs[mailHostName(i)] = &cert
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := newServer(&tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if cert := certs[h.ServerName]; cert != nil {
			return cert, nil
		}
		return nil, fmt.Errorf("no host %q", h.ServerName)
	}})
	go server.Serve(listener) // until the process ends
	return listener.Addr().String(), pemOf(root.Cert), nil
}

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func poolOf(roots []byte) *x509.CertPool {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		panic("no root")
	}
	return pool
}

// newServer is go-smtp as it is, with a backend that takes everything.
func newServer(c *tls.Config) *smtp.Server {
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return sink{}, nil }))
	s.Domain, s.TLSConfig = "mx.receiver.example", c
	return s
}

type sink struct{}

func (sink) Mail(string, *smtp.MailOptions) error { return nil }
func (sink) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (sink) Reset()                               {}
func (sink) Logout() error                        { return nil }
func (sink) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
