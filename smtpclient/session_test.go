package smtpclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

func TestTakeOnce(t *testing.T) {
	takes := map[string]func(s *Session) error{
		"NetConn": func(s *Session) error {
			_, err := s.NetConn().Write([]byte("NOOP\r\n"))
			return err
		},
		"ReplayConn": func(s *Session) error {
			_, err := s.ReplayConn().Read(make([]byte, 1))
			return err
		},
		"NetSMTP": func(s *Session) error {
			_, err := s.NetSMTP()
			return err
		},
	}
	for first, takeFirst := range takes {
		for second, takeSecond := range takes {
			t.Run(first+" then "+second, func(t *testing.T) {
				bubble(t, preferred, func(t *testing.T, st *stage) {
					st.at("192.0.2.1", server{}.run)
					s := st.dialOK()
					defer s.Close()
					require.NoError(t, takeFirst(s))
					require.ErrorIs(t, takeSecond(s), ErrTaken)
				})
			})
		}
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.at("192.0.2.1", server{}.run)
		s := st.dialOK()
		defer s.Close()
		s.NetConn()
		gone := s.NetConn()
		require.ErrorIs(t, gone.Close(), ErrTaken)
		require.ErrorIs(t, gone.SetDeadline(time.Time{}), ErrTaken)
		require.ErrorIs(t, gone.SetReadDeadline(time.Time{}), ErrTaken)
		require.ErrorIs(t, gone.SetWriteDeadline(time.Time{}), ErrTaken)
		require.NotNil(t, gone.LocalAddr())
		require.NotNil(t, gone.RemoteAddr())
	})
}

// TestNetConn: nothing is buffered, no deadline is set, and the context of Dial
// has no hold on the session.
func TestNetConn(t *testing.T) {
	for _, offered := range []bool{false, true} {
		bubble(t, preferred, func(t *testing.T, st *stage) {
			srv := server{}
			if offered {
				srv.tls = st.cert("mx1.partner.example")
			}
			st.at("192.0.2.1", srv.run)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			s, err := st.dialer.Dial(ctx, "partner.example")
			require.NoError(t, err)
			require.Equal(t, offered, s.TLS() != nil)
			cancel()
			time.Sleep(24 * time.Hour)
			c := s.NetConn()
			_, err = io.WriteString(c, "MAIL FROM:<>\r\n")
			require.NoError(t, err)
			line, err := bufio.NewReader(c).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "250 ok\r\n", line)
			require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, "deadlines are the user's now")
			require.NoError(t, c.Close())
			s.Close()
		})
	}
}

func TestNetSMTPAuth(t *testing.T) {
	plain := smtp.PlainAuth("", "user", "secret", "mx1.partner.example")
	for _, offered := range []bool{true, false} {
		bubble(t, preferred, func(t *testing.T, st *stage) {
			var heard []string
			srv := server{log: &heard, tlsEHLO: "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", ehlo: "250-mx\r\n250 AUTH PLAIN\r\n"}
			if offered {
				srv.tls, srv.ehlo = st.cert(), ""
			}
			st.at("192.0.2.1", srv.run)
			s := st.dialOK()
			c, err := s.NetSMTP()
			require.NoError(t, err)
			ok, params := c.Extension("AUTH")
			require.True(t, ok)
			require.Equal(t, "PLAIN", params)
			ok, _ = c.Extension("STARTTLS")
			require.False(t, ok)
			synctest.Wait()
			before := len(heard)
			require.Error(t, c.StartTLS(nil), "it has been decided")
			if offered {
				require.ErrorContains(t, c.Auth(s.Auth(plain)), "250", "the scripted server says 250 instead of 235")
				synctest.Wait()
				require.Contains(t, heard[before], "AUTH PLAIN ")
			} else {
				require.ErrorContains(t, c.Auth(s.Auth(plain)), "unencrypted connection")
			}
			s.Close()
		})
	}
}

// TestClientLibraries sends a message with each client library.
func TestClientLibraries(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{
		{Name: "tls.example", Hosts: []lab.Host{{Name: "mx.tls.example"}}},
		{Name: "clear.example", Hosts: []lab.Host{{Name: "mx.clear.example", Fault: lab.NoSTARTTLS()}}},
		{Name: "ancient.example", Hosts: []lab.Host{{Name: "mx.ancient.example", Fault: lab.NoESMTP(502)}}},
	}})
	settings := tlspolicy.BuiltIn()
	for _, domain := range []string{"tls.example", "clear.example", "ancient.example"} {
		d := labDialer(t, l, settings)
		h := l.Host("mx." + domain)
		dial := func() *Session {
			s, err := d.Dial(context.Background(), domain)
			require.NoError(t, err)
			return s
		}
		deliver(t, dial(), domain)

		s := dial()
		c, err := smtp.NewClient(s.ReplayConn(), s.Host())
		require.NoError(t, err)
		require.NoError(t, c.Hello(s.LocalName()))
		require.NoError(t, c.Mail("bob@sender.example"))
		require.NoError(t, c.Rcpt("postmaster@"+domain))
		w, err := c.Data()
		require.NoError(t, err)
		fmt.Fprint(w, "STARTTLS\r\nEHLO mta.sender.example\r\n.\r\n")
		require.NoError(t, w.Close())
		require.NoError(t, c.Quit())
		s.Close()

		s = dial()
		g := gosmtp.NewClient(s.ReplayConn())
		require.NoError(t, g.Hello(s.LocalName()))
		require.NoError(t, g.SendMail("carol@sender.example", []string{"postmaster@" + domain}, strings.NewReader("Hello\r\n")))
		require.NoError(t, g.Quit())
		s.Close()

		require.NoError(t, h.Idle(context.Background()))
		box := h.Mailbox()
		require.Len(t, box, 3)
		require.Equal(t, "STARTTLS\r\nEHLO mta.sender.example\r\n.\r\n", string(box[1].Data))
		for i, connection := range h.Connections() {
			require.Equal(t, domain == "tls.example", box[i].TLS != nil)
			// One EHLO in clear, one inside TLS: the clients' own cost no round trip.
			require.Equal(t, 1, strings.Count(strings.Join(connection.Clear, "\n"), "EHLO"))
			if domain == "tls.example" {
				require.Equal(t, 1, strings.Count(strings.Join(connection.Inside, "\n"), "EHLO"))
			}
		}
	}
}

func TestQuit(t *testing.T) {
	tests := []struct {
		name  string
		run   func(p *peer) // from QUIT on
		after time.Duration
		check func(t *testing.T, err error)
	}{
		{"polite", func(p *peer) { p.say("221 bye\r\n") }, 0, func(t *testing.T, err error) { require.NoError(t, err) }},
		{"silent", (*peer).swallow, DefaultQuitTimeout, func(t *testing.T, err error) { require.ErrorIs(t, err, os.ErrDeadlineExceeded) }},
		{"gone", func(*peer) {}, 0, func(t *testing.T, err error) { require.ErrorIs(t, err, io.EOF) }},
		{"rude", func(p *peer) { p.say("500 what?\r\n") }, 0, func(t *testing.T, err error) {
			var reply *ReplyError
			require.ErrorAs(t, err, &reply)
		}},
		{"junk", func(p *peer) { p.say("what?\r\n") }, 0, func(t *testing.T, err error) { require.ErrorIs(t, err, ErrReplySyntax) }},
	}
	for _, test := range tests {
		for _, offered := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				bubble(t, preferred, func(t *testing.T, st *stage) {
					st.at("192.0.2.1", func(p *peer) {
						p.say("220 mx\r\n")
						p.hear()
						if offered {
							p.say(offers)
							p.hear()
							p.say("220 go\r\n")
							if !p.tls(st.cert()) {
								return
							}
							p.hear()
						}
						p.say("250 mx\r\n")
						if p.hear() == "QUIT" {
							test.run(p)
						}
					})
					s := st.dialOK()
					begin := time.Now()
					test.check(t, s.Quit(context.Background()))
					require.Equal(t, test.after, time.Since(begin))
				})
			})
		}
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.at("192.0.2.1", func(p *peer) {
			p.say("220 mx\r\n")
			p.hear()
			p.say("250 mx\r\n")
			p.swallow()
		})
		s := st.dialOK()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Quit(ctx), context.DeadlineExceeded)
	})
}

// TestStalledPeer: a peer that has stopped reading holds up neither Close nor
// the way to the next host.
func TestStalledPeer(t *testing.T) {
	stall := func(p *peer) {
		p.say("220 mx\r\n")
		p.hear()
		p.say(offers)
		p.hear()
		p.say("220 go\r\n")
		if p.tls(p.stage.cert("other.example")) {
			if p.stage.dialer.settings().Mode == tlspolicy.Preferred {
				p.hear()
				p.say("250 mx\r\n")
			}
			<-p.gone
		}
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.stalled = true
		st.at("192.0.2.1", stall)
		s := st.dialOK()
		begin := time.Now()
		s.Close()
		s.Close()
		require.Equal(t, closingAlert, time.Since(begin))
	})
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}, func(t *testing.T, st *stage) {
		st.stalled = true
		st.at("192.0.2.1", stall)
		begin := time.Now()
		e := st.dialFail(context.Background())
		require.Equal(t, tlspolicy.ReasonModeCertNameMismatch, e.Reason)
		require.Equal(t, DefaultQuitTimeout, time.Since(begin))
	})
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}, func(t *testing.T, st *stage) {
		st.stalled = true
		st.at("192.0.2.1", stall)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		e := st.dialFail(ctx)
		require.Equal(t, context.DeadlineExceeded, e.Err, "ctx's end cuts QUIT short, too")
	})
}

// TestCloseWhileReading: Close from another goroutine ends a Read.
func TestCloseWhileReading(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.at("192.0.2.1", server{tls: st.cert()}.run)
		s := st.dialOK()
		c := s.ReplayConn()
		_, err := c.Read(make([]byte, 512))
		require.NoError(t, err)
		result := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			result <- err
		}()
		synctest.Wait()
		s.Close()
		require.Error(t, <-result)
		_, err = c.Write([]byte("NOOP\r\n"))
		require.True(t, errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe), "%v", err)
	})
}
