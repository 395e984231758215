package smtpserver

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// accepted returns both ends of a connection whose server the test plays itself.
func accepted(t *testing.T, p Policy) (client *peer, server net.Conn, heard *events) {
	t.Helper()
	o := forAll(t, p)
	hl, heard := filter(t, o)
	client = dial(t, hl.Addr().String())
	server, err := hl.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	server.SetDeadline(time.Now().Add(20 * time.Second))
	return client, server, heard
}

// write has the server say something.
func write(t *testing.T, server net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(server, text)
	require.NoError(t, err)
}

// TestReplyBeforeEndOfLine: a server that answers before it has the whole line would
// take the rest of it for a command of its own.
func TestReplyBeforeEndOfLine(t *testing.T) {
	for _, p := range []Policy{tlsRequired, tlsPreferred} {
		client, server, heard := accepted(t, p)
		write(t, server, "220 x\r\n")
		client.want("220 x\r\n")
		client.send("NOOP " + strings.Repeat("x", 507) + mail)
		b := make([]byte, 512)
		n, err := io.ReadFull(server, b)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(b[:n]), "NOOP "))
		write(t, server, "500 too long\r\n")
		client.want("500 too long\r\n")
		client.wantEnd()
		client.Close()
		n, err = server.Read(b)
		require.Equal(t, io.EOF, err, "%q", b[:n])
		server.Close()
		require.Equal(t, ReasonUnexpectedReply, heard.wait(t, KindClosed, 1).Reason)
	}
}

// TestReplyBeforeEndOfData: whether a server that refuses a message half way still
// reads the rest of it as data, nobody can say. A body must not become commands.
func TestReplyBeforeEndOfData(t *testing.T) {
	for why, c := range map[string]struct {
		sent string
		size int // octets that the server reads before it replies
	}{
		"the end has not come":         {"a body\r\n" + mail, 8},
		"the end has not been read":    {"a body\r\n" + mail + ".\r\n" + mail, 8},
		"all but the last has been":    {"a body\r\n.\r\n" + mail, 10},
		"the end is there, cut by one": {strings.Repeat("x", 20) + "\r\n.\r\n", 24},
	} {
		for _, reply := range []string{"552 too much\r\n", "421 bye\r\n"} {
			client, server, _ := accepted(t, tlsNo)
			write(t, server, "220 x\r\n")
			client.want("220 x\r\n")
			client.send("DATA\r\n")
			b := make([]byte, 4096)
			n, err := server.Read(b)
			require.NoError(t, err)
			require.Equal(t, "DATA\r\n", string(b[:n]))
			write(t, server, "354 go\r\n")
			client.want("354 go\r\n")
			client.send(c.sent)
			_, err = io.ReadFull(server, b[:c.size])
			require.NoError(t, err)
			write(t, server, reply)
			client.want(reply)
			client.wantEnd()
			client.Close()
			n, err = server.Read(b)
			require.Equal(t, io.EOF, err, "%s: %q", why, b[:n])
		}
	}
	// A reply that would let the session go on is not one to half a message.
	client, server, _ := accepted(t, tlsNo)
	write(t, server, "220 x\r\n")
	client.want("220 x\r\n")
	client.send("DATA\r\n")
	b := make([]byte, 4096)
	_, err := server.Read(b)
	require.NoError(t, err)
	write(t, server, "354 go\r\n")
	client.want("354 go\r\n")
	_, err = io.WriteString(server, "250 already\r\n")
	require.ErrorIs(t, err, net.ErrClosed)
	client.wantEnd()
}

// TestBareNewlinePassTakesBack: under BareNewline the server may see an end where the
// filter sees none. What it has not read by then is commands again.
func TestBareNewlinePassTakesBack(t *testing.T) {
	client, server, _ := accepted(t, Policy{BareNewline: On})
	write(t, server, "220 x\r\n")
	client.want("220 x\r\n")
	client.send("DATA\r\n")
	b := make([]byte, 4096)
	_, err := server.Read(b)
	require.NoError(t, err)
	write(t, server, "354 go\r\n")
	client.want("354 go\r\n")
	client.send("text\n.\nAUTH PLAIN\r\nNOOP\r\n")
	_, err = io.ReadFull(server, b[:len("text\n.\n")])
	require.NoError(t, err)
	write(t, server, "250 ok\r\n")
	n, err := server.Read(b)
	require.NoError(t, err)
	require.Equal(t, "NOOP\r\n", string(b[:n]))
	client.want("250 ok\r\n" + line(ReplyAuth))
}

// TestBrokenReplies: behind a reply that is none, or that changes its mind, nobody
// knows where the server is. It does not reach the client.
func TestBrokenReplies(t *testing.T) {
	for why, reply := range map[string]string{
		"two codes in one reply":   "250-STARTTLS\r\n550 no\r\n",
		"a continuation of others": "250-x\r\n220-x\r\n250 x\r\n",
		"no code":                  "hello\r\n",
		"an empty line":            "\r\n",
		"two digits":               "25 ok\r\n",
		"a code above 599":         "650 x\r\n",
		"a code below 200":         "150 x\r\n",
		"four digits":              "2500 x\r\n",
		"no code at the end":       "250-x\r\nhello\r\n",
		"220 to EHLO":              "220 x\r\n",
	} {
		client, server, _ := accepted(t, tlsPreferred)
		write(t, server, "220 x\r\n")
		client.want("220 x\r\n")
		client.send(ehlo)
		_, err := server.Read(make([]byte, 100))
		require.NoError(t, err)
		_, err = io.WriteString(server, reply)
		require.ErrorIs(t, err, net.ErrClosed, why)
		client.wantEnd()
		_, err = server.Read(make([]byte, 100))
		require.Equal(t, io.EOF, err, why)
	}
	for why, pieces := range map[string][]string{
		"a piece at a time": strings.SplitAfter("250-x\r\n250 STARTTLS\r\n", ""),
		"no text":           {"250-\r\n", "250\r\n"},
		"bare LF":           {"250-x\n250 y\n"},
	} {
		client, server, _ := accepted(t, tlsPreferred)
		write(t, server, "220 x\r\n")
		client.want("220 x\r\n")
		client.send(ehlo)
		_, err := server.Read(make([]byte, 100))
		require.NoError(t, err)
		for _, piece := range pieces {
			write(t, server, piece)
		}
		require.Len(t, client.ehloReply(), 1, why)
	}
}

// TestTwoCommandsInOne: a server that takes another octet for a line end sees two
// commands in one. Its second answer ends the session where TLS is required.
func TestTwoCommandsInOne(t *testing.T) {
	client, server, _ := accepted(t, tlsRequired)
	write(t, server, "220 x\r\n")
	client.want("220 x\r\n")
	client.send("NOOP x\vMAIL FROM:<a@example.com>\r\n")
	b := make([]byte, 100)
	_, err := server.Read(b)
	require.NoError(t, err)
	_, err = io.WriteString(server, "250 noop\r\n250 mail\r\n")
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = server.Read(b)
	require.Equal(t, io.EOF, err)
	client.want("250 noop\r\n")
	client.wantEnd()
}

// TestTwoGreenLights: a second 220 behind that to STARTTLS is clear text in a
// handshake, in the same write as the first or not.
func TestTwoGreenLights(t *testing.T) {
	for _, apart := range []bool{false, true} {
		client, server, heard := accepted(t, tlsRequired)
		write(t, server, "220 x\r\n")
		client.want("220 x\r\n")
		b := make([]byte, 100)
		client.send(ehlo)
		_, err := server.Read(b)
		require.NoError(t, err)
		write(t, server, "250-x\r\n250 STARTTLS\r\n")
		client.ehloReply()
		client.send("STARTTLS\r\n")
		_, err = server.Read(b)
		require.NoError(t, err)
		if apart {
			write(t, server, "220 go\r\n")
			_, err = io.WriteString(server, "220 go\r\n")
		} else {
			_, err = io.WriteString(server, "220 go\r\n220 go\r\n")
		}
		require.ErrorIs(t, err, net.ErrClosed)
		client.want("220 go\r\n")
		client.wantEnd()
		server.Close()
		require.Equal(t, ReasonPlaintext, heard.wait(t, KindTLSFailed, 1).Reason)
	}
}

// TestHalfClosed: a client that has said all it had to say and closed its side gets
// every reply.
func TestHalfClosed(t *testing.T) {
	w := serve(t, forAll(t, tlsNo))
	p := w.dial()
	p.send(ehlo + mail + rcpt + "DATA\r\n")
	require.NoError(t, p.Conn.(*net.TCPConn).CloseWrite())
	p.want(greeting + ehloNoTLS + mailOK + rcptOK + dataGo)
	w.events.wait(t, KindClosed, 1)
	w.backend.see(func() { require.Empty(t, w.backend.messages, "half a message is none") })
	p = w.dial()
	p.send(ehlo + mail + rcpt + "DATA\r\nx\r\n.\r\nNOOP\r\n")
	require.NoError(t, p.Conn.(*net.TCPConn).CloseWrite())
	p.want(greeting + ehloNoTLS + mailOK + rcptOK + dataGo + queued + noop)
	p.wantEnd()
}

// TestEndAfterReplyArrives: the last reply survives what the client has sent behind
// its command and nobody has read.
func TestEndAfterReplyArrives(t *testing.T) {
	w := serve(t, forAll(t, tlsPreferred))
	w.backend.end = true
	for n, secure := range []bool{false, true} {
		p := w.dial()
		in := p
		if secure {
			in, _ = p.starttls(clientTLS())
		} else {
			p.want(greeting)
		}
		in.send(ehlo)
		in.ehloReply()
		in.send(mail)
		for range 20 { // more than the server reads at a time
			in.send(strings.Repeat("NOOP\r\n", 400))
		}
		require.NoError(t, p.Conn.(*net.TCPConn).CloseWrite())
		w.events.wait(t, KindClosed, n+1)
		in.want(mailOK)
		_, err := io.Copy(io.Discard, in.in) // go-smtp adds a 421 inside TLS
		require.NoError(t, err, "no reset, TLS %t", secure)
	}
}

// TestLingerIsBounded: a client that goes on sending behind its last reply holds the
// server up for half a second, and one that sends without end for 64 KiB.
func TestLingerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		hl, err := NewListener(m, forAll(t, tlsNo))
		require.NoError(t, err)
		t.Cleanup(func() { hl.Close() })
		var p *peer
		dialled := make(chan struct{})
		go func() { p = m.dial(t, someone); close(dialled) }()
		c, err := hl.Accept()
		require.NoError(t, err)
		<-dialled
		forever(p)
		go p.want("220 x\r\n250 x\r\n")
		write(t, c, "220 x\r\n")
		c.(*Conn).EndAfterReply()
		write(t, c, "250 x\r\n")
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for {
				time.Sleep(100 * time.Millisecond)
				if _, err := p.Write([]byte("NOOP\r\n")); err != nil {
					return
				}
			}
		}()
		elapsed(t, drainTime, func() {
			_, err = c.Read(make([]byte, 10))
			require.Equal(t, io.EOF, err)
		})
		elapsed(t, 0, func() {
			_, err = c.Read(make([]byte, 10))
			require.Equal(t, io.EOF, err, "once is enough")
		})
		require.NoError(t, c.Close())
		<-gone
	})
}
