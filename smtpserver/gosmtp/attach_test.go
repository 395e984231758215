package gosmtp_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/smtpserver"
	"github.com/smtpsec/smtpsec/smtpserver/gosmtp"
)

func listener(t *testing.T) *smtpserver.Listener {
	table, err := smtpserver.Compile(smtpserver.DefaultPublic(), smtpserver.Policy{})
	require.NoError(t, err)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	hl, err := smtpserver.NewListener(tcp, smtpserver.Options{Table: table})
	require.NoError(t, err)
	t.Cleanup(func() { _ = hl.Close() })
	return hl
}

func TestAttachErrors(t *testing.T) {
	hl := listener(t)
	tests := []struct {
		name   string
		server *smtp.Server
		l      *smtpserver.Listener
		opts   []gosmtp.Options
		want   string
	}{
		{"no server", nil, hl, nil, "needs a server"},
		{"no listener", smtp.NewServer(&mailbox{}), nil, nil, "needs a server and a listener"},
		{"no backend", smtp.NewServer(nil), hl, nil, "no Backend"},
		{"two options", smtp.NewServer(&mailbox{}), hl, make([]gosmtp.Options, 2), "one Options"},
		{"a TLS configuration that knows no sender groups", &smtp.Server{Backend: &mailbox{}, TLSConfig: &tls.Config{}}, hl, nil, "TLSConfig is set"},
		{"a text that would break the reply", smtp.NewServer(&mailbox{}), hl, []gosmtp.Options{{HourlyText: "no\r\n250 yes"}}, "HourlyText has octet"},
		{"a text that is not ASCII", smtp.NewServer(&mailbox{}), hl, []gosmtp.Options{{ForeignText: "für uns nicht"}}, "ForeignText has octet"},
		{"a text that is too long", smtp.NewServer(&mailbox{}), hl, []gosmtp.Options{{ForeignText: strings.Repeat("x", 401)}}, "401 octets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var backend smtp.Backend
			if tt.server != nil {
				backend = tt.server.Backend
			}
			require.ErrorContains(t, gosmtp.Attach(tt.server, tt.l, tt.opts...), tt.want)
			if tt.server != nil {
				require.Equal(t, backend, tt.server.Backend, "a failed Attach changes nothing")
			}
		})
	}
}

// TestSeveralListeners: one server behind two ports, each with its own table.
func TestSeveralListeners(t *testing.T) {
	mail := &mailbox{}
	srv := smtp.NewServer(mail)
	done := make(chan error, 2)
	var addrs []string
	var filters []*smtpserver.Listener
	for i, setting := range []smtpserver.TLS{smtpserver.TLSRequired, smtpserver.TLSPreferred} {
		table, err := smtpserver.Compile([]smtpserver.SenderGroup{{Name: "ALL", Senders: []string{"ALL"}, Policy: smtpserver.Policy{Access: smtpserver.Accept, TLS: setting}}}, smtpserver.Policy{})
		require.NoError(t, err)
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		cert, _ := pki()
		hl, err := smtpserver.NewListener(tcp, smtpserver.Options{Table: table, Certificate: certificate{cert}})
		require.NoError(t, err)
		if i == 0 {
			require.NoError(t, gosmtp.Attach(srv, hl, gosmtp.Options{Local: func(domain string) bool { return domain == "b.example" }}))
		} else {
			wrapped := srv.Backend
			require.NoError(t, gosmtp.Attach(srv, hl))
			require.Same(t, wrapped, srv.Backend, "wrapped once")
			require.Error(t, gosmtp.Attach(srv, hl, gosmtp.Options{}), "the Options are those of the first call")
		}
		addrs, filters = append(addrs, tcp.Addr().String()), append(filters, hl)
	}
	for _, hl := range filters {
		go func() { done <- srv.Serve(hl) }()
	}
	for i, addr := range addrs {
		c, err := smtp.DialStartTLS(addr, clientConfig())
		require.NoError(t, err)
		require.NoError(t, c.SendMail("a@a.example", []string{"b@b.example"}, strings.NewReader("x\r\n")))
		require.Len(t, mail.messages(), i+1)
		require.NoError(t, c.Mail("a@a.example", nil))
		require.Equal(t, "550 5.7.1", refusal(t, c.Rcpt("c@c.example", nil)), "the Options hold for both")
		require.NoError(t, c.Quit())
	}
	require.NoError(t, srv.Close())
	require.NoError(t, <-done)
	require.NoError(t, <-done)
}

// TestOtherListener: a connection that no table has judged gets no session.
func TestOtherListener(t *testing.T) {
	mail := &mailbox{}
	srv := smtp.NewServer(mail)
	require.NoError(t, gosmtp.Attach(srv, listener(t)))
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(tcp) }()
	c, err := smtp.Dial(tcp.Addr().String())
	require.NoError(t, err)
	require.Equal(t, "421 4.3.5", refusal(t, c.Hello("client.example")))
	require.NoError(t, c.Close())
	require.NoError(t, srv.Close())
	require.NoError(t, <-done)
	require.Empty(t, mail.heard())
}

// TestInterfaces: what go-smtp finds out about a session by type assertion is the
// same with the adapter.
func TestInterfaces(t *testing.T) {
	mail := &mailbox{}
	tests := []struct {
		name       string
		session    func() smtp.Session
		auth, lmtp bool
	}{
		{"neither", func() smtp.Session { return &box{mailbox: mail} }, false, false},
		{"AUTH", func() smtp.Session { return authBox{&box{mailbox: mail}} }, true, false},
		{"LMTP", func() smtp.Session { return lmtpBox{&box{mailbox: mail}} }, false, true},
		{"both", func() smtp.Session {
			b := &box{mailbox: mail}
			return bothBox{b, authBox{b}, lmtpBox{b}}
		}, true, true},
	}
	for _, tt := range tests {
		backend := smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return tt.session(), nil })
		t.Run(tt.name+"/SMTP", func(t *testing.T) {
			w := start(t, setup{backend: backend, mail: mail, policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}})
			c := w.client(t, true)
			require.Equal(t, tt.auth, c.SupportsAuth(sasl.Plain))
			if tt.auth {
				require.Equal(t, "535 5.7.8", refusal(t, c.Auth(sasl.NewPlainClient("", "user", "wrong"))))
				require.NoError(t, c.Auth(sasl.NewPlainClient("", "user", "secret")))
			}
			require.NoError(t, c.SendMail("a@a.example", []string{"b@b.example"}, strings.NewReader("x\r\n")))
			require.NoError(t, c.Quit())
		})
		t.Run(tt.name+"/LMTP", func(t *testing.T) {
			w := start(t, setup{backend: backend, mail: mail, policy: smtpserver.Policy{TLS: smtpserver.TLSRequired},
				listener: smtpserver.Options{ImplicitTLS: true}, server: func(s *smtp.Server) { s.LMTP = true }})
			conn, err := tls.Dial("tcp", w.addr, clientConfig())
			require.NoError(t, err)
			c := smtp.NewClientLMTP(conn)
			require.NoError(t, c.Hello("client.example"))
			require.Equal(t, tt.auth, c.SupportsAuth(sasl.Plain))
			require.NoError(t, c.Mail("a@a.example", nil))
			require.NoError(t, c.Rcpt("b@b.example", nil))
			require.NoError(t, c.Rcpt("full@b.example", nil))
			data, err := c.Data()
			require.NoError(t, err)
			_, err = data.Write([]byte("x\r\n"))
			require.NoError(t, err)
			replies, err := data.CloseWithLMTPResponse()
			if !tt.lmtp {
				require.NoError(t, err, "one status for all")
				require.Len(t, replies, 2)
				return
			}
			var failed smtp.LMTPDataError
			require.ErrorAs(t, err, &failed)
			require.Len(t, failed, 1)
			require.Equal(t, 452, failed["full@b.example"].Code)
			require.Contains(t, replies, "b@b.example")
			require.NoError(t, c.Quit())
		})
	}
}
