package smtpserver

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tape is a client that has said everything beforehand, in pieces.
type tape struct {
	script
	pieces [][]byte
	heard  bytes.Buffer
}

func (c *tape) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func (c *tape) Write(p []byte) (int, error) { return c.heard.Write(p) }

// play has a server work on what comes through a filter: it answers each line with
// the next of its codes, and message data up to its end. It returns what server and
// client got.
func play(t *testing.T, hl *Listener, pieces [][]byte, codes []int, size int) (server, client string, split bool) {
	client0 := &tape{pieces: pieces}
	c := hl.enter(client0)
	require.NotNil(t, c)
	defer c.Close()
	required := c.Policy().TLS == TLSRequired
	next := func() int {
		if len(codes) == 0 {
			return 250
		}
		code := codes[0]
		codes = codes[1:]
		return code
	}
	var seen bytes.Buffer
	line, data, p := []byte(nil), false, make([]byte, size)
	sasl := false
	_, err := fmt.Fprintf(c, "%03d-x\r\n", 220)
	require.NoError(t, err)
	if _, err = fmt.Fprintf(c, "%03d x\r\n", 220); err != nil {
		return "", client0.heard.String(), false
	}
	for steps := 0; steps < 100_000; steps++ {
		n, err := c.Read(p)
		seen.Write(p[:n])
		if err != nil {
			break
		}
		require.Positive(t, n)
		line = append(line, p[:n]...)
		if i := bytes.IndexByte(p[:n], '\n'); i >= 0 && !data {
			require.Equal(t, n, i+1, "nothing behind the line: %q", p[:n])
		}
		if data {
			if !bytes.HasSuffix(line, []byte("\r\n.\r\n")) && string(line) != ".\r\n" {
				continue
			}
		} else if !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		if !data && !sasl && required {
			require.Regexp(t, `^(?i:(EHLO|NOOP|QUIT)( .*)?|STARTTLS *)\r\n$`, strings.ToValidUTF8(strings.ReplaceAll(string(line[:len(line)-2]), "\n", "?")+"\r\n", "?"))
		}
		code := next()
		if !data && !sasl && len(line) >= 8 && foldedEqual(line[:8], "STARTTLS") {
			require.Empty(t, strings.TrimRight(string(line[8:len(line)-2]), " "))
			code, split = 220, true
		}
		line, data, sasl = nil, code == 354, code == 334
		if split {
			break
		}
		reply := fmt.Sprintf("%03d-x\r\n%03d STARTTLS\r\n", code, code)
		for len(reply) > 0 {
			n := min(7, len(reply))
			if _, err := io.WriteString(c, reply[:n]); err != nil {
				require.ErrorIs(t, err, net.ErrClosed)
				break
			}
			reply = reply[n:]
		}
	}
	if split {
		io.WriteString(c, "220 go\r\n")
		heard := client0.heard.Len()
		for range 3 { // the server goes on in clear text
			n, _ := c.Read(p)
			if head := p[:min(n, recordHeader)]; !(n >= 2 && isRecordType(head[0]) && head[1] == 3) {
				lf := bytes.IndexByte(head, '\n')
				require.True(t, lf < 0 || lf == n-1 && n <= 2, "no command follows STARTTLS: %q", p[:n])
			}
			io.WriteString(c, "250 ok\r\n")
			require.Equal(t, heard, client0.heard.Len(), "nothing in clear text behind 220")
		}
		_, err := c.Write([]byte("\x16\x03\x03\x00\x00"))
		require.ErrorIs(t, err, net.ErrClosed, "once clear text was written, nothing is")
		return "", "", true
	}
	_, err = c.Write([]byte("250 late\r\n"))
	if c.phase() == PhaseDead {
		require.ErrorIs(t, err, net.ErrClosed)
	}
	return seen.String(), client0.heard.String(), strings.Contains(client0.heard.String(), ReplySTARTTLSInjection.String())
}

func FuzzConn(f *testing.F) {
	session := ehlo + "STARTTLS x\r\n" + mail + rcpt + "DATA\r\nhello\r\n.\r\nNOOP\r\nQUIT\r\n"
	good := []byte{1, 1, 1, 2, 1, 1, 4}
	f.Add([]byte(session), []byte{0}, good, byte(1), byte(200))
	f.Add([]byte(session), []byte{7, 3}, good, byte(2), byte(3))
	f.Add([]byte(ehlo+"STARTTLS\r\n"+mail), []byte{19, 9, 200}, []byte{1, 0}, byte(1), byte(0))
	f.Add([]byte(ehlo+"STARTTLS\r\n\x16\x03\x01\x00\x08NOOP\r\nNOOP\r\n"), []byte{19, 9, 3}, []byte{1, 0}, byte(2), byte(90))
	f.Add([]byte("AUTH LOGIN\r\nQQ==\r\nSTARTTLS\r\nNOOP\r\n"), []byte{2}, []byte{3, 3, 5}, byte(4), byte(11))
	f.Add([]byte("DATA\r\na\n.\r\nMAIL FROM:<>\r\n"), []byte{8, 1}, []byte{2, 1}, byte(0), byte(50))
	f.Add([]byte("DATA\r\n"+strings.Repeat("line\r\n", 300)+".\r\n.\r\nNOOP\r\n"), []byte{250, 255}, []byte{2, 1}, byte(0), byte(255))
	f.Add([]byte(strings.Repeat("x", 3000)+"\r\n"), []byte{255}, []byte{}, byte(0), byte(50))
	listeners := map[byte]*Listener{}
	for b := range byte(32) {
		o := forAll(f, fuzzPolicy(b))
		o.Certificate, o.WriteTimeout = serverCert(), -time.Second
		hl, err := NewListener(newMemory(), o)
		require.NoError(f, err)
		listeners[b] = hl
	}
	f.Fuzz(func(t *testing.T, client, cuts, replies []byte, setting, size byte) {
		if len(client) > 8192 {
			return
		}
		hl := listeners[setting%32]
		codes := make([]int, len(replies))
		for i, b := range replies {
			codes[i] = fuzzCodes[int(b)%(len(fuzzCodes)-1)]
		}
		whole := [][]byte{bytes.Clone(client)}
		if len(client) == 0 {
			whole = nil
		}
		server1, client1, split1 := play(t, hl, whole, codes, 8192)
		server2, client2, split2 := play(t, hl, inPieces(bytes.Clone(client), cuts), codes, 1+int(size)*20)
		if split1 || split2 {
			require.Equal(t, split1, split2)
			return
		}
		if setting%32&16 != 0 {
			return // with bare newlines a server of another opinion may see other ends
		}
		require.Equal(t, server1, server2, "segmentation must not matter")
		require.Equal(t, client1, client2)
	})
}
