//go:build interop && linux

package soak

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/textproto"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
)

// A host is a mail host that can be told what to think of each recipient, which those of the laboratory cannot.
type host struct {
	rcpt func(to string) error   // what it answers; nil: everybody is welcome
	lose func(to []string) bool  // whether it closes the connection instead of answering to a message; nil: never
	cert func() *tls.Certificate // what it presents

	mu      sync.Mutex
	mailbox []lab.Message
	lost    int // messages that it took and did not acknowledge
}

// listen starts it.
func (h *host) listen(t *testing.T, name, address string) {
	t.Helper()
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &visit{host: h, conn: c}, nil }))
	s.Domain = name
	s.ErrorLog = log.New(io.Discard, "", 0) // clients are killed here
	s.TLSConfig = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return h.cert(), nil }}
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
}

// Mailbox returns what it has taken.
func (h *host) Mailbox() []lab.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]lab.Message(nil), h.mailbox...)
}

// A visit is a session with a host.
type visit struct {
	host *host
	conn *smtp.Conn
	m    lab.Message
}

func (v *visit) Reset()        { v.m = lab.Message{} }
func (v *visit) Logout() error { return nil }

func (v *visit) Mail(from string, o *smtp.MailOptions) error {
	v.m = lab.Message{From: from, RequireTLS: o.RequireTLS}
	return nil
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	if v.host.rcpt != nil {
		if err := v.host.rcpt(to); err != nil {
			return err
		}
	}
	v.m.To = append(v.m.To, to)
	return nil
}

func (v *visit) Data(r io.Reader) (err error) {
	if v.m.Data, err = io.ReadAll(r); err != nil {
		return err
	}
	v.m.At = time.Now()
	if state, ok := v.conn.TLSConnectionState(); ok {
		v.m.TLS = &state
	}
	h := v.host
	lose := h.lose != nil && h.lose(v.m.To)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mailbox = append(h.mailbox, v.m)
	if lose {
		h.lost++
		v.conn.Conn().Close()
		return errors.New("lost")
	}
	return nil
}

// presentedAt returns the key of the certificate at an address.
func presentedAt(t *testing.T, address string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	return presentedBy(t, conn, "")[0].RawSubjectPublicKeyInfo
}

// presentedBy returns the chain of a host with STARTTLS.
func presentedBy(t *testing.T, conn net.Conn, name string) []*x509.Certificate {
	t.Helper()
	c := textproto.NewConn(conn)
	for _, step := range []struct {
		say  string
		code int
	}{{"", 220}, {"EHLO soak.example", 250}, {"STARTTLS", 220}} {
		if step.say != "" {
			require.NoError(t, c.PrintfLine("%s", step.say))
		}
		_, _, err := c.ReadResponse(step.code)
		require.NoError(t, err)
	}
	inner := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	require.NoError(t, inner.Handshake())
	return inner.ConnectionState().PeerCertificates
}
