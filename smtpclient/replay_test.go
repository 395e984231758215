package smtpclient

import (
	"bufio"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// replayPair returns a replay connection and the server's end, whose lines a
// goroutine collects and answers with "250 <number>".
func replayPair(t testing.TB, ext Extensions, esmtp bool) (client *replayConn, lines func() []string) {
	near, far := net.Pipe()
	done := make(chan []string)
	go func() {
		var got []string
		r := bufio.NewReader(far)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				if line != "" {
					got = append(got, line)
				}
				done <- got
				return
			}
			got = append(got, line)
			// The client may be gone already; what it wrote still counts.
			io.WriteString(far, "250-server\r\n250 "+strings.TrimRight(line, "\r\n")+"\r\n")
		}
	}()
	client = newReplayConn(near, "mx.partner.example", "mta.sender.example", esmtp, ext)
	return client, func() []string {
		near.Close()
		defer far.Close()
		return <-done
	}
}

func TestReplayAnswersTheFirstEHLO(t *testing.T) {
	ext, _ := ehlo(t, "mx", "SIZE 1000", "STARTTLS", "PIPELINING", "=junk")
	c, lines := replayPair(t, ext, true)
	tp := textproto.NewConn(c)
	code, msg, err := tp.ReadResponse(220)
	require.NoError(t, err)
	require.Equal(t, 220, code)
	require.Equal(t, "mx.partner.example ESMTP", msg)

	require.NoError(t, tp.PrintfLine("EHLO mta.sender.example"))
	_, msg, err = tp.ReadResponse(250)
	require.NoError(t, err)
	require.Equal(t, "mx.partner.example\nSIZE 1000\nPIPELINING", msg, "without STARTTLS and without junk")

	require.NoError(t, tp.PrintfLine("STARTTLS"))
	code, _, _ = tp.ReadResponse(220)
	require.Equal(t, 502, code)

	require.NoError(t, tp.PrintfLine("NOOP"))
	_, msg, err = tp.ReadResponse(250)
	require.NoError(t, err)
	require.Equal(t, "server\nNOOP", msg)

	require.NoError(t, tp.PrintfLine("EHLO mta.sender.example"))
	_, msg, err = tp.ReadResponse(250)
	require.NoError(t, err)
	require.Equal(t, "server\nEHLO mta.sender.example", msg, "the second EHLO is a real one")
	require.Equal(t, []string{"NOOP\r\n", "EHLO mta.sender.example\r\n"}, lines())
}

func TestReplayAfterHELO(t *testing.T) {
	c, lines := replayPair(t, Extensions{}, false)
	tp := textproto.NewConn(c)
	_, _, err := tp.ReadResponse(220)
	require.NoError(t, err)
	require.NoError(t, tp.PrintfLine("EHLO mta.sender.example"))
	_, msg, err := tp.ReadResponse(250)
	require.NoError(t, err)
	require.Equal(t, "mx.partner.example", msg)
	require.Empty(t, lines())
}

func TestReplayPassesOn(t *testing.T) {
	tests := []struct {
		name   string
		writes []string
		server string
	}{
		{"another name", []string{"EHLO other.example\r\n"}, "EHLO other.example\r\n"},
		{"after another name no EHLO is answered", []string{"EHLO other.example\r\n", "EHLO mta.sender.example\r\n"},
			"EHLO other.example\r\nEHLO mta.sender.example\r\n"},
		{"HELO", []string{"HELO mta.sender.example\r\n"}, "HELO mta.sender.example\r\n"},
		{"EHLO in pieces", []string{"E", "HL", "O mta.sender", ".example\r", "\n"}, ""},
		{"STARTTLS in pieces, any case, blanks", []string{"sTaRt", "tLs ", "\r", "\n"}, ""},
		{"STARTTLS with LF", []string{"STARTTLS\n"}, ""},
		{"STARTTLS twice", []string{"STARTTLS\r\nSTARTTLS\r\nRSET\r\n"}, "RSET\r\n"},
		{"a verb that begins alike", []string{"STARTUP\r\n", "MAILX\r\n", "EHLOX mta.sender.example\r\n"},
			"STARTUP\r\nMAILX\r\nEHLOX mta.sender.example\r\n"},
		{"MAIL opens the pipe", []string{"mail FROM:<>\r\nSTARTTLS\r\nEHLO mta.sender.example\r\n"},
			"mail FROM:<>\r\nSTARTTLS\r\nEHLO mta.sender.example\r\n"},
		{"MAIL in pieces", []string{"MA", "IL", " FROM:<>\r\n", "STARTTLS\r\n"}, "MAIL FROM:<>\r\nSTARTTLS\r\n"},
		{"overlong line", []string{"EHLO " + strings.Repeat("x", 2000) + "\r\n"}, "EHLO " + strings.Repeat("x", 2000) + "\r\n"},
	}
	for _, test := range tests {
		c, lines := replayPair(t, Extensions{}, true)
		go io.Copy(io.Discard, c)
		for _, w := range test.writes {
			n, err := c.Write([]byte(w))
			require.NoError(t, err, test.name)
			require.Equal(t, len(w), n, test.name)
		}
		require.Equal(t, test.server, strings.Join(lines(), ""), test.name)
	}
}

// TestReplayOrder: the answer made here comes in its turn, also if the client
// writes all commands at once and its reader got to work first.
func TestReplayOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ext, _ := ehlo(t, "mx", "SIZE 1000")
		c, lines := replayPair(t, ext, true)
		got := make(chan string)
		go func() {
			all, _ := io.ReadAll(c)
			got <- string(all)
		}()
		synctest.Wait() // the reader is inside the real connection
		_, err := c.Write([]byte("EHLO mta.sender.example\r\n"))
		require.NoError(t, err)
		synctest.Wait()
		_, err = c.Write([]byte("NOOP 1\r\nSTARTTLS\r\nNOOP 2\r\nSTARTTLS\r\n"))
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{"NOOP 1\r\n", "NOOP 2\r\n"}, lines())
		require.Equal(t, "220 mx.partner.example ESMTP\r\n"+
			"250-mx.partner.example\r\n250 SIZE 1000\r\n"+
			"250-server\r\n250 NOOP 1\r\n"+refusal+"250-server\r\n250 NOOP 2\r\n"+refusal, <-got)
	})
}

func TestReplayDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, lines := replayPair(t, Extensions{}, true)
		buf := make([]byte, 512)
		n, err := c.Read(buf)
		require.NoError(t, err)
		require.Equal(t, "220 mx.partner.example ESMTP\r\n", string(buf[:n]))

		start := time.Now()
		require.NoError(t, c.SetDeadline(start.Add(time.Minute)))
		result := make(chan error)
		go func() {
			var got int
			got, err := c.Read(buf)
			if err == nil {
				require.Contains(t, string(buf[:got]), "502")
				_, err = c.Read(buf) // the user's deadline still holds
			}
			result <- err
		}()
		synctest.Wait()
		_, err = c.Write([]byte("STARTTLS\r\n"))
		require.NoError(t, err)
		require.ErrorIs(t, <-result, os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(start))
		require.NoError(t, c.SetReadDeadline(time.Time{}))
		lines()
	})
}

func TestReplayShortReads(t *testing.T) {
	ext, _ := ehlo(t, "mx", "SIZE 1000")
	c, lines := replayPair(t, ext, true)
	n, err := c.Read(nil)
	require.NoError(t, err)
	require.Zero(t, n)
	go c.Write([]byte("NOOP\r\nSTARTTLS\r\nNOOP\r\n"))
	want := "220 mx.partner.example ESMTP\r\n250-server\r\n250 NOOP\r\n" + refusal + "250-server\r\n250 NOOP\r\n"
	var got []byte
	one := make([]byte, 1)
	for len(got) < len(want) {
		n, err := c.Read(one)
		require.NoError(t, err)
		got = append(got, one[:n]...)
	}
	require.Equal(t, want, string(got))
	lines()
}

// FuzzReplay: what reaches the server is what was written, less the EHLO that is
// answered and the STARTTLS that are refused; the client gets one answer for
// each line, in order.
func FuzzReplay(f *testing.F) {
	f.Add("EHLO mta.sender.example\r\nSTARTTLS\r\nMAIL FROM:<>\r\nSTARTTLS\r\n", uint8(3))
	f.Add("EHLO x\r\nEHLO mta.sender.example\r\n", uint8(1))
	f.Add("NOOP\r\nstarttls\r\nEHLO mta.sender.example\r\nNOOP\r\n", uint8(255))
	f.Add("MAIL\nEHLO mta.sender.example\n", uint8(2))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		if len(text) > 4000 {
			return
		}
		var want, answers strings.Builder
		answers.WriteString("220 mx.partner.example ESMTP\r\n")
		known, plain := false, false
		for _, line := range strings.SplitAfter(text, "\n") {
			if !strings.HasSuffix(line, "\n") {
				break // an unfinished line may wait
			}
			trimmed := strings.TrimRight(line, "\r\n")
			verb, arg, _ := strings.Cut(trimmed, " ")
			verb = strings.ToUpper(verb)
			short := len(line) < heldLine
			switch {
			case plain:
			case verb == "MAIL":
				plain = true
			case verb == "STARTTLS" && short:
				answers.WriteString(refusal)
				continue
			case verb == "EHLO" && !known && arg == "mta.sender.example" && short:
				known = true
				answers.WriteString("250 mx.partner.example\r\n")
				continue
			case (verb == "EHLO" || verb == "HELO") && short:
				known = true
			}
			want.WriteString(line)
			answers.WriteString("250-server\r\n250 " + trimmed + "\r\n")
		}
		c, lines := replayPair(t, Extensions{}, true)
		got := make(chan string)
		go func() {
			buf := make([]byte, answers.Len())
			n, _ := io.ReadFull(c, buf)
			got <- string(buf[:n])
			io.Copy(io.Discard, c)
			got <- ""
		}()
		for rest := []byte(text); len(rest) > 0; {
			n := min(max(int(size), 1), len(rest))
			if _, err := c.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		require.Equal(t, answers.String(), <-got)
		require.True(t, strings.HasPrefix(strings.Join(lines(), ""), want.String()))
		<-got
	})
}
