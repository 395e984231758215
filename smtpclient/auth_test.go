package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/smtp"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// submission is a server that wants a password, over TLS only.
type submission struct {
	user string // who came in
	got  string // what he sent
}

func (s *submission) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return s, nil }
func (s *submission) AuthMechanisms() []string                        { return []string{sasl.Plain} }
func (s *submission) Mail(string, *gosmtp.MailOptions) error {
	if s.user == "" {
		return gosmtp.ErrAuthRequired
	}
	return nil
}
func (s *submission) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (s *submission) Reset()                                 {}
func (s *submission) Logout() error                          { return nil }
func (s *submission) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.got = string(b)
	return err
}

func (s *submission) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "alice" || password != "secret" {
			return errors.New("no")
		}
		s.user = user
		return nil
	}), nil
}

// TestAuth: net/smtp logs in over the TLS that it cannot see, with a server of
// somebody else's make.
func TestAuth(t *testing.T) {
	root := testpki.NewRoot("Root")
	backend := &submission{}
	srv := gosmtp.NewServer(backend)
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{root.Leaf([]string{"hub.example"}).TLS()}}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- srv.Serve(listener) }()
	defer func() {
		srv.Close()
		<-done
	}()
	d := &Dialer{Hostname: "mta.sender.example", Policy: fixed(modeOnly(tlspolicy.Required))}
	s, err := d.DialHost(context.Background(), listener.Addr().String())
	require.NoError(t, err)
	defer s.Close()
	c, err := s.NetSMTP()
	require.NoError(t, err)
	require.NoError(t, s.SetDeadline(time.Now().Add(time.Minute)))
	plain := smtp.PlainAuth("", "alice", "secret", s.Host())
	require.NoError(t, c.Auth(s.Auth(plain)))
	require.Equal(t, "alice", backend.user)
	require.NoError(t, c.Mail("alice@sender.example"))
	require.NoError(t, c.Rcpt("bob@partner.example"))
	w, err := c.Data()
	require.NoError(t, err)
	_, err = io.WriteString(w, "Hello.\r\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Equal(t, "Hello.\r\n", backend.got)
	require.NoError(t, c.Quit())
}

// TestSetDeadline: a transaction can be bounded, in whichever form the connection
// was taken.
func TestSetDeadline(t *testing.T) {
	takes := map[string]func(s *Session) io.Reader{
		"NetConn":    func(s *Session) io.Reader { return s.NetConn() },
		"ReplayConn": func(s *Session) io.Reader { return s.ReplayConn() },
	}
	for name, take := range takes {
		for _, offered := range []bool{false, true} {
			bubble(t, preferred, func(t *testing.T, st *stage) {
				srv := server{}
				if offered {
					srv.tls = st.cert()
				}
				st.at("192.0.2.1", srv.run)
				s := st.dialOK()
				defer s.Close()
				r := take(s)
				if name == "ReplayConn" {
					_, err := r.Read(make([]byte, 512)) // the greeting needs nobody
					require.NoError(t, err)
				}
				require.NoError(t, s.SetDeadline(time.Now().Add(time.Minute)))
				begin := time.Now()
				_, err := r.Read(make([]byte, 1))
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.Equal(t, time.Minute, time.Since(begin))
			})
		}
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.at("192.0.2.1", func(p *peer) {
			p.say("220 mx\r\n")
			p.hear()
			p.say("250 mx\r\n")
			p.swallow() // never answers MAIL
		})
		s := st.dialOK()
		defer s.Close()
		c, err := s.NetSMTP()
		require.NoError(t, err)
		require.NoError(t, s.SetDeadline(time.Now().Add(time.Minute)))
		begin := time.Now()
		require.ErrorIs(t, c.Mail("a@sender.example"), os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(begin))
		require.NoError(t, s.SetDeadline(time.Time{}))
		synctest.Wait()
	})
}
