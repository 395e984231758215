package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// silence is how long a test listens to make sure that nothing comes.
const silence = 50 * time.Millisecond

// requireSilence checks that the host says nothing and does not close.
func requireSilence(t *testing.T, c *client) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(silence)))
	n, err := c.in.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "%d octets came", n)
}

func requireEOF(t *testing.T, c *client) {
	t.Helper()
	got, err := c.closed()
	require.NoError(t, err)
	require.Empty(t, got)
}

func requireReset(t *testing.T, c *client) {
	t.Helper()
	_, err := c.closed()
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// TestFaults looks at each fault with a raw socket.
func TestFaults(t *testing.T) {
	const injected = "250 2.0.0 ok\r\n"
	for _, test := range []struct {
		fault Fault
		check func(t *testing.T, c *client)
	}{
		{Fault{}, func(t *testing.T, c *client) {
			require.Contains(t, c.hello(), "STARTTLS\r\n")
			_, err := c.startTLS(nil)
			require.NoError(t, err)
			c.say("EHLO client.test")
			require.NotContains(t, c.want(250), "STARTTLS")
			c.say("QUIT")
			c.want(221)
			requireEOF(t, c)
		}},
		{NoSTARTTLS(), func(t *testing.T, c *client) {
			require.NotContains(t, c.hello(), "STARTTLS")
			c.say("STARTTLS")
			c.want(502)
			c.say("MAIL FROM:<a@client.test>")
			c.want(250) // all else works
		}},
		{MangledSTARTTLS(), func(t *testing.T, c *client) {
			hello := c.hello()
			require.NotContains(t, hello, "STARTTLS")
			require.Contains(t, hello, "250 XXXXXXXA\r\n")
		}},
		{NoESMTP(500), func(t *testing.T, c *client) {
			c.want(220)
			c.say("EHLO client.test")
			c.want(500)
			c.say("MAIL FROM:<a@client.test>")
			c.want(502) // nobody has introduced himself
			c.say("HELO client.test")
			require.NotContains(t, c.want(250), "STARTTLS")
			c.say("MAIL FROM:<a@client.test>")
			c.want(250)
		}},
		{Greeting(421), func(t *testing.T, c *client) { c.want(421); requireEOF(t, c) }},
		{Greeting(521), func(t *testing.T, c *client) { c.want(521); requireEOF(t, c) }},
		{Greeting(554), func(t *testing.T, c *client) { c.want(554); requireEOF(t, c) }},
		{SilentGreeting(), func(t *testing.T, c *client) { requireSilence(t, c) }},
		{STARTTLSCode(250), refusesSTARTTLS(250)},
		{STARTTLSCode(354), refusesSTARTTLS(354)},
		{STARTTLSCode(454), refusesSTARTTLS(454)},
		{STARTTLSCode(502), refusesSTARTTLS(502)},
		{STARTTLSCode(554), refusesSTARTTLS(554)},
		{STARTTLSCode(421), func(t *testing.T, c *client) {
			c.hello()
			c.say("STARTTLS")
			c.want(421)
			requireEOF(t, c)
		}},
		{Injected(injected, false), func(t *testing.T, c *client) {
			c.hello()
			c.say("STARTTLS")
			c.want(220)
			require.Equal(t, len(injected), c.in.Buffered(), "one segment")
			c.want(250)
			_, err := c.handshake(nil) // for a client that throws the plaintext away
			require.NoError(t, err)
		}},
		{Injected(injected, true), func(t *testing.T, c *client) {
			c.hello()
			c.say("STARTTLS")
			c.want(220)
			c.want(250)
			_, err := c.handshake(nil)
			require.NoError(t, err)
		}},
		{HandshakeGarbage(), func(t *testing.T, c *client) {
			var header tls.RecordHeaderError
			require.ErrorAs(t, failedHandshake(t, c), &header)
			require.Equal(t, "500 5", string(header.RecordHeader[:]))
		}},
		{HandshakeAlert(), func(t *testing.T, c *client) {
			require.ErrorContains(t, failedHandshake(t, c), "remote error: tls: handshake failure")
		}},
		{HandshakeEOF(), func(t *testing.T, c *client) { require.ErrorIs(t, failedHandshake(t, c), io.EOF) }},
		{HandshakeReset(), func(t *testing.T, c *client) { require.ErrorIs(t, failedHandshake(t, c), syscall.ECONNRESET) }},
		{HandshakeStall(), func(t *testing.T, c *client) {
			c.hello()
			c.say("STARTTLS")
			c.want(220)
			require.NoError(t, c.SetDeadline(time.Now().Add(silence)))
			_, err := c.handshake(nil)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}},
		{TLSEHLOCode(502), func(t *testing.T, c *client) {
			c.hello() // the one in clear is answered
			_, err := c.startTLS(nil)
			require.NoError(t, err)
			c.say("EHLO client.test")
			c.want(502)
		}},
		{DropInsideTLS(), func(t *testing.T, c *client) {
			c.hello()
			_, err := c.startTLS(nil)
			require.NoError(t, err)
			c.say("EHLO client.test")
			requireEOF(t, c)
		}},
		{HangUpAt(AtGreeting), requireEOF},
		{HangUpAt(AtEHLO), func(t *testing.T, c *client) { c.want(220); c.say("EHLO client.test"); requireEOF(t, c) }},
		{HangUpAt(AtSTARTTLS), func(t *testing.T, c *client) { c.hello(); c.say("STARTTLS"); requireEOF(t, c) }},
		{HangUpAt(AtMAIL), func(t *testing.T, c *client) { c.hello(); c.say("MAIL FROM:<a@b.test>"); requireEOF(t, c) }},
		{ResetAt(AtGreeting), requireReset},
		{ResetAt(AtEHLO), func(t *testing.T, c *client) { c.want(220); c.say("EHLO client.test"); requireReset(t, c) }},
		{ResetAt(AtTLSEHLO), func(t *testing.T, c *client) {
			c.hello()
			_, err := c.startTLS(nil)
			require.NoError(t, err)
			c.say("EHLO client.test")
			requireReset(t, c)
		}},
		{StallAt(AtEHLO), func(t *testing.T, c *client) { c.want(220); c.say("EHLO client.test"); requireSilence(t, c) }},
		{StallAt(AtHELO), func(t *testing.T, c *client) {
			c.hello()
			c.say("HELO client.test")
			requireSilence(t, c)
		}},
		{StallAt(AtSTARTTLS), func(t *testing.T, c *client) { c.hello(); c.say("STARTTLS"); requireSilence(t, c) }},
		{Endless(AtEHLO), func(t *testing.T, c *client) {
			c.want(220)
			c.say("EHLO client.test")
			for range 10000 {
				line, err := c.in.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, "250-and so on\r\n", line)
			}
		}},
		{MixedCodes(AtEHLO), func(t *testing.T, c *client) {
			c.want(220)
			c.say("EHLO client.test")
			require.Equal(t, "250-mx\r\n554 STARTTLS\r\n", c.want(250))
		}},
		{HugeLine(AtGreeting, 64<<10), func(t *testing.T, c *client) { require.Len(t, c.want(220), 64<<10+2) }},
		{NUL(AtGreeting), func(t *testing.T, c *client) { require.Equal(t, "220 m\x00x\r\n", c.want(220)) }},
		{BareCR(AtEHLO), func(t *testing.T, c *client) {
			c.want(220)
			c.say("EHLO client.test")
			require.Equal(t, "250 m\rx\r\n", c.want(250))
		}},
		{Junk(AtSTARTTLS), func(t *testing.T, c *client) {
			c.hello()
			c.say("STARTTLS")
			got, err := c.closed()
			require.NoError(t, err)
			require.Equal(t, "HTTP/1.1 400 Bad Request\r\n\r\n", got)
		}},
		{Drip(AtGreeting, time.Millisecond), func(t *testing.T, c *client) {
			buffer := make([]byte, 100)
			n, err := c.Read(buffer)
			require.NoError(t, err)
			require.Less(t, n, len("220 mx.partner.example ESMTP Service Ready\r\n"), "not at once")
			require.Equal(t, "220"[:min(3, n)], string(buffer[:min(3, n)]))
			_, err = c.reply()
			require.NoError(t, err, "and in the end all of it")
			c.say("EHLO client.test")
			c.want(250)
		}},
		{Drip(AtTLSEHLO, time.Microsecond), func(t *testing.T, c *client) {
			c.hello()
			_, err := c.startTLS(nil)
			require.NoError(t, err)
			c.say("EHLO client.test")
			n, err := c.Read(make([]byte, 100))
			require.NoError(t, err)
			require.Equal(t, 1, n, "a record for each octet")
			_, err = c.reply()
			require.NoError(t, err)
		}},
		{Drip(AtHandshake, 20*time.Microsecond), func(t *testing.T, c *client) {
			c.hello()
			c.say("STARTTLS")
			c.want(220)
			reads := &readCounter{Conn: c.Conn}
			c.Conn = reads
			_, err := c.handshake(nil)
			require.NoError(t, err)
			require.Greater(t, reads.n, 100, "the flight comes in small pieces")
			c.say("EHLO client.test")
			c.want(250)
		}},
		{Fault{At: AtMAIL, Send: "452 4.3.1 full\r\n"}, func(t *testing.T, c *client) {
			c.hello()
			c.say("MAIL FROM:<a@client.test>")
			c.want(452)
			c.say("QUIT")
			c.want(221)
		}},
	} {
		t.Run(test.fault.String(), func(t *testing.T) {
			l, h := startHost(t, Host{Fault: test.fault})
			c := dial(t, l, h.Name())
			test.check(t, c)
			c.Close()
			require.Equal(t, test.fault, idle(t, h)[0].Fault)
			require.True(t, h.Connections()[0].Closed)
		})
	}
}

// readCounter counts reads that brought something.
type readCounter struct {
	net.Conn
	n int
}

func (r *readCounter) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if n > 0 {
		r.n++
	}
	return n, err
}

func refusesSTARTTLS(code int) func(*testing.T, *client) {
	return func(t *testing.T, c *client) {
		require.Contains(t, c.hello(), "STARTTLS\r\n")
		c.say("STARTTLS")
		c.want(code)
		c.say("MAIL FROM:<a@client.test>") // the session goes on in clear
		c.want(250)
	}
}

// failedHandshake gets as far as the 220 and returns what the handshake failed with.
func failedHandshake(t *testing.T, c *client) error {
	t.Helper()
	c.hello()
	_, err := c.startTLS(nil)
	require.Error(t, err)
	return err
}

// A fault that ends the conversation while the client goes on talking: what the
// client sends must be swallowed, so that it sees end of file and no reset.
func TestHangUpSwallows(t *testing.T) {
	l, h := startHost(t, Host{Fault: Greeting(554)})
	c := dial(t, l, h.Name())
	c.want(554)
	c.say("EHLO client.test")
	c.say("QUIT")
	requireEOF(t, c)
}

func TestConnectFaults(t *testing.T) {
	l, h := startHost(t, Host{Fault: Refused(), Later: []Fault{Blackhole(), {}}})
	address := net.JoinHostPort(h.Addrs()[0].String(), "25")

	_, err := l.DialContext(context.Background(), "tcp", address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, address, op.Addr.String())

	ctx, cancel := context.WithTimeout(context.Background(), silence)
	defer cancel()
	_, err = l.DialContext(ctx, "tcp", address)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorAs(t, err, &op)
	require.True(t, op.Timeout())

	dial(t, l, h.Name()).hello()
	dial(t, l, h.Name()).hello() // the last one stays
	require.Equal(t, 4, h.Dials())
	require.Len(t, h.Connections(), 2)
}

func TestRefusedAtTheListener(t *testing.T) {
	_, h := startHost(t, Host{Fault: Refused()})
	c, err := net.Dial("tcp", h.Listening().String())
	if err == nil { // the reset may come at once or a moment later
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	require.True(t, errors.Is(err, syscall.ECONNRESET), "%v", err)
}

// Each connection meets its own fault.
func TestLater(t *testing.T) {
	l, h := startHost(t, Host{Fault: HandshakeReset(), Later: []Fault{Greeting(554), {}}})
	require.ErrorIs(t, failedHandshake(t, dial(t, l, h.Name())), syscall.ECONNRESET)
	dial(t, l, h.Name()).want(554)
	dial(t, l, h.Name()).hello()
	h.SetFault(NoSTARTTLS())
	require.NotContains(t, dial(t, l, h.Name()).hello(), "STARTTLS")
}

// The reset comes after exactly as many octets as were asked for, wherever that is.
func TestResetAfter(t *testing.T) {
	l, h := startHost(t, Host{})
	c := dial(t, l, h.Name())
	greeting := c.want(220)
	c.say("EHLO client.test")
	clear := greeting + c.want(250)
	c.say("STARTTLS")
	clear += c.want(220)

	for _, n := range []int{0, 1, len(greeting) - 1, len(greeting), len(greeting) + 1, len(clear) - 1, len(clear), len(clear) + 1, len(clear) + 100} {
		h.SetFault(ResetAfter(n))
		c := dial(t, l, h.Name())
		got := make([]byte, n)
		// Everything at once: this client does not look at the replies.
		_, early := c.Write([]byte("EHLO client.test\r\nSTARTTLS\r\n"))
		if n > len(clear) {
			_, err := io.ReadFull(c.in, got[:len(clear)])
			require.NoError(t, err)
			hello := make(chan error, 1)
			go func() { hello <- tls.Client(writeOnly{c.Conn}, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
			require.Error(t, <-hello)
			_, err = io.ReadFull(c.in, got[len(clear):])
			require.NoError(t, err, "%d octets", n)
			require.Equal(t, byte(recordHandshake), got[len(clear)])
		} else {
			_, err := io.ReadFull(c.in, got)
			require.NoError(t, err, "%d octets", n)
		}
		rest, err := c.closed()
		require.Empty(t, rest, "%d octets", n)
		// The system tells of a reset once, to the first who asks.
		require.ErrorIs(t, errors.Join(early, err), syscall.ECONNRESET, "%d octets", n)
		require.Equal(t, clear[:min(n, len(clear))], string(got[:min(n, len(clear))]))
	}
}

// writeOnly lets a handshake send its ClientHello and gives it no answer.
type writeOnly struct{ net.Conn }

func (writeOnly) Read([]byte) (int, error) { return 0, io.EOF }

func TestFaultString(t *testing.T) {
	require.Equal(t, "healthy", Fault{}.String())
	require.Equal(t, "STARTTLS 454", STARTTLSCode(454).String())
	require.Equal(t, `MAIL: "452 full", go on`, Fault{At: AtMAIL, Send: "452 full"}.String())
	require.Equal(t, "phase 99", Phase(99).String())
	require.Equal(t, "then 99", Then(99).String())
	for p := Healthy; p <= AtOctet; p++ {
		require.NotEmpty(t, p.String())
	}
	for a := GoOn; a <= Repeat; a++ {
		require.False(t, strings.HasPrefix(a.String(), "then"))
	}
}
