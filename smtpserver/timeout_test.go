package smtpserver

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// inBubble serves pipes with go-smtp under a clock of the test's own.
func inBubble(t *testing.T, o Options, f func(t *testing.T, m *memory, heard *events), changes ...func(*smtp.Server)) {
	synctest.Test(t, func(t *testing.T) {
		m, heard := newMemory(), newEvents()
		o.Events = heard.hear
		o.Certificate = serverCert()
		hl, err := NewListener(m, o)
		require.NoError(t, err)
		goSMTP(t, hl, hl.TLSConfig(), changes...)
		f(t, m, heard)
	})
}

const someone = "192.0.2.7:40000"

// elapsed runs f and demands that it takes this long.
func elapsed(t *testing.T, want time.Duration, f func()) {
	t.Helper()
	begin := time.Now()
	f()
	require.InDelta(t, want.Seconds(), time.Since(begin).Seconds(), 0.6) // a last reply lingers for half a second
}

func forever(p *peer) { p.SetDeadline(time.Time{}) }

func TestCommandTimeout(t *testing.T) {
	inBubble(t, forAll(t, tlsNo), func(t *testing.T, m *memory, heard *events) {
		p := m.dial(t, someone)
		forever(p)
		p.want(greeting)
		elapsed(t, 5*time.Minute, func() {
			go func() { // an octet now and then changes nothing
				for range 20 {
					time.Sleep(time.Minute)
					p.Write([]byte("N"))
				}
			}()
			p.want(line(ReplyTimeout))
		})
		_, err := p.in.ReadByte()
		require.Equal(t, io.EOF, err)
		require.Equal(t, ReasonTimeout, heard.wait(t, KindTimeout, 1).Reason)
		p.Close()
		time.Sleep(time.Hour)
	})
}

func TestServerTimeoutGoesFirst(t *testing.T) {
	inBubble(t, forAll(t, tlsNo), func(t *testing.T, m *memory, heard *events) {
		p := m.dial(t, someone)
		forever(p)
		p.want(greeting)
		elapsed(t, time.Minute, func() { p.want("421 4.4.2 Idle timeout, bye bye\r\n") })
		heard.wait(t, KindClosed, 1)
		require.Empty(t, heard.of(KindTimeout))
	}, func(s *smtp.Server) { s.ReadTimeout = time.Minute })
}

func TestDataTimeout(t *testing.T) {
	toData := func(p *peer) {
		forever(p)
		p.want(greeting)
		p.say(ehlo, ehloNoTLS)
		p.say(mail, mailOK)
		p.say(rcpt, rcptOK)
		p.say("DATA\r\n", dataGo)
	}
	inBubble(t, forAll(t, tlsNo), func(t *testing.T, m *memory, heard *events) {
		p := m.dial(t, someone)
		toData(p)
		for range 5 {
			time.Sleep(4 * time.Minute)
			p.send("still here\r\n")
		}
		elapsed(t, 5*time.Minute, func() { p.want(line(ReplyTimeout)) })
	})
	o := forAll(t, tlsNo)
	o.DataMinRate, o.DataTimeout = 100, time.Minute
	inBubble(t, o, func(t *testing.T, m *memory, heard *events) {
		p := m.dial(t, someone)
		toData(p)
		elapsed(t, 2*time.Minute, func() {
			p.send(strings.Repeat(strings.Repeat("x", 58)+"\r\n", 100)) // a minute's worth
			go func() {
				for {
					time.Sleep(10 * time.Second)
					if _, err := p.Write([]byte("x")); err != nil {
						return
					}
				}
			}()
			p.want(line(ReplyTimeout))
		})
		p.Close()
		time.Sleep(time.Minute)
	})
}

func TestHandshakeTimeout(t *testing.T) {
	hello := clientHello(t)
	for _, c := range []struct {
		why   string
		send  []byte
		stage Stage
	}{
		{"nothing comes", nil, StageBeforeHello},
		{"half a ClientHello", hello[:len(hello)/2], StageBeforeHello},
		{"nothing behind the ClientHello", hello, StageServerFlight},
	} {
		inBubble(t, forAll(t, tlsRequired), func(t *testing.T, m *memory, heard *events) {
			p := m.dial(t, someone)
			forever(p)
			p.want(greeting)
			p.say(mail, tlsFirst)
			p.say(ehlo, ehloClear)
			p.say("STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n")
			elapsed(t, 30*time.Second, func() {
				p.send(string(c.send))
				p.all()
			})
			e := heard.wait(t, KindTLSRequiredUnmet, 1)
			require.Equal(t, ReasonTimeout, e.Reason, c.why)
			require.Equal(t, c.stage, e.Stage, c.why)
		})
	}
}

func TestAfterHandshakeTimeouts(t *testing.T) {
	inBubble(t, forAll(t, tlsPreferred), func(t *testing.T, m *memory, heard *events) {
		p := m.dial(t, someone)
		forever(p)
		in, conn := p.starttls(clientTLS())
		forever(in)
		require.NoError(t, conn.Handshake())
		// The client's Finished message lifts the limit of the handshake.
		time.Sleep(4 * time.Minute)
		in.say(ehlo, ehloInTLS)
		elapsed(t, 10*time.Minute, func() { require.Empty(t, in.all()) })
		require.Empty(t, heard.of(KindTLSFailed))
		require.Len(t, heard.of(KindTimeout), 1)
	})
	inBubble(t, forAll(t, tlsPreferred), func(t *testing.T, m *memory, heard *events) {
		p := m.dial(t, someone)
		forever(p)
		in, conn := p.starttls(clientTLS())
		forever(in)
		require.NoError(t, conn.Handshake())
		elapsed(t, 5*time.Minute, func() { p.all() })
		require.Equal(t, ReasonTimeout, heard.wait(t, KindTLSFailed, 1).Reason)
	})
	o := forAll(t, tlsPreferred)
	o.MaxConnAge = time.Minute
	inBubble(t, o, func(t *testing.T, m *memory, heard *events) {
		p := m.dial(t, someone)
		forever(p)
		elapsed(t, time.Minute, func() {
			in, _ := p.starttls(clientTLS())
			forever(in)
			in.say(ehlo, ehloInTLS)
			require.Empty(t, in.all())
		})
	})
}

func TestWriteTimeout(t *testing.T) {
	inBubble(t, forAll(t, tlsNo), func(t *testing.T, m *memory, heard *events) {
		p := m.dial(t, someone)
		forever(p)
		p.want(greeting)
		elapsed(t, 2*time.Minute, func() {
			p.send("NOOP\r\n") // and never read
			for len(heard.of(KindClosed)) == 0 {
				<-heard.more
			}
		})
	})
}

func TestEarlyTalker(t *testing.T) {
	o := forAll(t, tlsNo)
	o.EarlyTalker = 5 * time.Second
	inBubble(t, o, func(t *testing.T, m *memory, heard *events) {
		p := m.dial(t, someone)
		elapsed(t, 5*time.Second, func() { p.want(greeting) })
		p.say("NOOP\r\n", noop)
		p = m.dial(t, someone)
		elapsed(t, 0, func() {
			p.send("E") // the rest is not read
			p.want(line(ReplyEarlyTalker))
		})
		p = m.dial(t, someone)
		p.Close()
		heard.wait(t, KindClosed, 2)
	})
}

// TestServerReadsEarly: a server that reads before it has greeted, with a deadline of
// its own, gets its timeout and no octets, and one that reads before it has replied
// waits.
func TestServerReadsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		hl, err := NewListener(m, forAll(t, tlsNo))
		require.NoError(t, err)
		t.Cleanup(func() { hl.Close() })
		go func() {
			p := m.dial(t, someone)
			forever(p)
			go p.Write([]byte("NOOP\r\n")) // a pipe holds nothing: this waits
			p.want("220 x\r\n")
			p.want("250-x\r\n250 x\r\n")
		}()
		c, err := hl.Accept()
		require.NoError(t, err)
		c.SetReadDeadline(time.Now().Add(time.Second))
		b := make([]byte, 100)
		_, err = c.Read(b)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		c.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Minute)
			c.Write([]byte("220 x\r\n"))
		}()
		n, err := c.Read(b)
		require.NoError(t, err)
		require.Equal(t, "NOOP\r\n", string(b[:n]))
		read := make(chan error)
		go func() {
			_, err := c.Read(b)
			read <- err
		}()
		synctest.Wait()
		c.SetReadDeadline(time.Now().Add(time.Second)) // interrupts the wait
		require.ErrorIs(t, <-read, os.ErrDeadlineExceeded)
		c.SetReadDeadline(time.Time{})
		c.Write([]byte("250-x\r\n"))
		c.Write([]byte("250 x\r\n"))
	})
}

func TestCloseWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		hl, err := NewListener(m, forAll(t, tlsNo))
		require.NoError(t, err)
		t.Cleanup(func() { hl.Close() })
		go m.dial(t, someone)
		c, err := hl.Accept()
		require.NoError(t, err)
		read := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 10))
			read <- err
		}()
		synctest.Wait()
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		require.True(t, errors.Is(<-read, net.ErrClosed))
		_, err = c.Write([]byte("220 x\r\n"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.Zero(t, hl.Stats().Active)
	})
}
