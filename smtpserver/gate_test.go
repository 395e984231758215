package smtpserver

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// settled returns p as a Table would give it out.
func settled(t testing.TB, p Policy) *Policy {
	t.Helper()
	or(&p.Access, Accept)
	s, problems := p.settle("group", Policy{})
	require.Empty(t, problems)
	return s
}

// greeted returns a gate in the command phase, after EHLO if ehlo is true.
func greeted(t testing.TB, p Policy, o GateOptions, ehlo bool) *Gate {
	t.Helper()
	g := new(Gate)
	g.Reset(settled(t, p), o)
	require.Equal(t, PhaseGreeting, g.Phase())
	require.Equal(t, forward, g.Reply(220))
	if ehlo {
		require.Equal(t, forward, g.Command([]byte("EHLO client.example\r\n"), false))
		require.Equal(t, forward, g.Reply(250))
	}
	return g
}

func closes(r Reply) Action { return Action{Kind: AnswerClose, Reply: r} }

func TestGateCommand(t *testing.T) {
	no, preferred, required := Policy{TLS: TLSNo}, Policy{TLS: TLSPreferred}, Policy{TLS: TLSRequired}
	auth := Policy{TLS: TLSPreferred, AuthInClear: On}
	delayed := Policy{Access: Reject, TLS: TLSPreferred, Reject: &Rejection{Delayed: true}}
	for _, c := range []struct {
		why    string
		policy Policy
		line   string
		want   Action
	}{
		{"a command", preferred, "MAIL FROM:<a@example.com>\r\n", forward},
		{"no setting cares for ordinary commands", no, "mail FROM:<a@example.com>\r\n", forward},
		{"an extension", no, "XCLIENT ADDR=192.0.2.1\r\n", forward},
		{"octets above 127 are the server's business", no, "MAIL FROM:<\xc3\xa4@example.com> SMTPUTF8\r\n", forward},

		// Row 1.
		{"LF alone", preferred, "NOOP\n", closes(ReplyBareNewline)},
		{"a CR within", preferred, "NOOP\rMAIL FROM:<a@example.com>\r\n", closes(ReplyBareNewline)},
		{"two CRs", preferred, "NOOP\r\r\n", closes(ReplyBareNewline)},
		{"CR alone", preferred, "\r", closes(ReplyBareNewline)},
		{"nothing", preferred, "", closes(ReplyBareNewline)},
		{"an LF within, should the caller cut badly", preferred, "NOOP\nRSET\r\n", closes(ReplyBareNewline)},
		{"before 530", required, "MAIL\n", closes(ReplyBareNewline)},
		// Row 3.
		{"a ClientHello", no, "\x16", closes(ReplyClientHello)},
		{"a ClientHello with a line end in it", required, "\x16\x03\x01\r\n", closes(ReplyClientHello)},
		// Row 4.
		{"NUL", preferred, "NOOP \x00\r\n", answer(ReplySyntax)},
		{"NUL before 530", required, "MAIL \x00\r\n", answer(ReplySyntax)},
		{"NUL in STARTTLS", preferred, "STARTTLS\x00\r\n", answer(ReplySyntax)},
		// Row 5.
		{"a web client", preferred, "GET / HTTP/1.1\r\n", closes(ReplyHTTP)},
		{"a web client, required", required, "post / HTTP/1.1\r\n", closes(ReplyHTTP)},
		{"all of them", no, "CONNECT mx.example.com:25 HTTP/1.1\r\n", closes(ReplyHTTP)},
		// Row 6.
		{"setting No", no, "STARTTLS\r\n", answer(ReplyNoSTARTTLS)},
		{"setting No, with a parameter", no, "STARTTLS x\r\n", answer(ReplyNoSTARTTLS)},
		{"a parameter", preferred, "STARTTLS x\r\n", answer(ReplySTARTTLSParameter)},
		{"trailing blanks are none", preferred, "starttls  \r\n", forward},
		{"a good one", required, "StartTLS\r\n", forward},
		{"a delayed rejection without an adapter", delayed, "STARTTLS\r\n", answer(ReplyNoSTARTTLS)},
		// Row 7.
		{"go-smtp takes it for STARTTLS", preferred, "STARTTLSX\r\n", answer(ReplySyntax)},
		{"and this", preferred, "starttls\tx\r\n", answer(ReplySyntax)},
		{"with setting No", no, "STARTTLS-NOW\r\n", answer(ReplySyntax)},
		{"longer than any verb", no, "STARTTLS" + strings.Repeat("X", 100) + "\r\n", answer(ReplySyntax)},
		{"go-smtp folds U+017F to S", preferred, "\u017ftarttls\r\n", answer(ReplySyntax)},
		// Row 8.
		{"HELO", required, "HELO client.example\r\n", answer(ReplyTLSFirst)},
		{"MAIL", required, "MAIL FROM:<a@example.com>\r\n", answer(ReplyTLSFirst)},
		{"RSET", required, "RSET\r\n", answer(ReplyTLSFirst)},
		{"VRFY", required, "VRFY a\r\n", answer(ReplyTLSFirst)},
		{"HELP", required, "HELP\r\n", answer(ReplyTLSFirst)},
		{"AUTH", required, "AUTH PLAIN AGEAYg==\r\n", answer(ReplyTLSFirst)},
		{"BDAT", required, "BDAT 5 LAST\r\n", answer(ReplyTLSFirst)},
		{"unknown", required, "FOO\r\n", answer(ReplyTLSFirst)},
		{"malformed", required, " EHLO client.example\r\n", answer(ReplyTLSFirst)},
		{"empty", required, "\r\n", answer(ReplyTLSFirst)},
		{"EHLO with a tab is not EHLO", required, "EHLO\tclient.example\r\n", answer(ReplyTLSFirst)},
		{"EHLOX is not EHLO", required, "EHLOX\r\n", answer(ReplyTLSFirst)},
		{"EHLO", required, "ehlo client.example\r\n", forward},
		{"NOOP", required, "NOOP\r\n", forward},
		{"QUIT", required, "quit\r\n", forward},
		// Row 9.
		{"empty", preferred, "\r\n", answer(ReplySyntax)},
		{"a leading blank", preferred, " NOOP\r\n", answer(ReplySyntax)},
		{"a tab", preferred, "MAIL\tFROM:<a@example.com>\r\n", answer(ReplySyntax)},
		{"a colon", preferred, "Subject: test\r\n", answer(ReplySyntax)},
		{"16 letters", preferred, "XABCDEFGHIJKLMN0\r\n", forward},
		{"17 letters", preferred, "XABCDEFGHIJKLMN01\r\n", answer(ReplySyntax)},
		// Rows 10 and 11.
		{"BDAT", preferred, "BDAT 5 LAST\r\n", closes(ReplyBDAT)},
		{"BDAT with setting No", no, "bdat 0\r\n", closes(ReplyBDAT)},
		{"AUTH", preferred, "AUTH PLAIN\r\n", answer(ReplyAuth)},
		{"AUTH where it may", auth, "AUTH PLAIN\r\n", forward},
		// Delayed rejection.
		{"MAIL", delayed, "MAIL FROM:<a@example.com>\r\n", forward},
		{"RCPT", delayed, "rcpt TO:<b@example.com>\r\n", answer(ReplyRejected)},
		{"DATA", delayed, "DATA\r\n", answer(ReplyBadSequence)},
		{"BDAT", delayed, "BDAT 5\r\n", closes(ReplyBDAT)},
	} {
		g := greeted(t, c.policy, GateOptions{}, true)
		require.Equal(t, c.want, g.Command([]byte(c.line), false), "%s: %q", c.why, c.line)
		if c.want.Kind == AnswerClose {
			require.Equal(t, PhaseDead, g.Phase())
			require.Equal(t, Close, g.Command([]byte("NOOP\r\n"), false).Kind, "nothing after a close")
			require.Equal(t, Close, g.Reply(250).Kind)
		}
	}
}

func TestGateSTARTTLS(t *testing.T) {
	preferred := Policy{TLS: TLSPreferred}
	starttls := []byte("STARTTLS\r\n")
	g := greeted(t, preferred, GateOptions{}, false)
	require.Equal(t, answer(ReplySTARTTLSEarly), g.Command(starttls, false), "before EHLO")
	require.Equal(t, answer(ReplySTARTTLSEarly), g.Command(starttls, true), "the first reason counts")
	require.Equal(t, forward, g.Command([]byte("EHLO\r\n"), false))
	require.Equal(t, wait, g.Command(starttls, false), "the server owes a reply")
	require.Equal(t, forward, g.Reply(501))
	require.Equal(t, answer(ReplySTARTTLSEarly), g.Command(starttls, false), "the EHLO has been refused")

	g = greeted(t, preferred, GateOptions{}, true)
	require.Equal(t, forward, g.Command([]byte("HELO client.example\r\n"), false))
	require.Equal(t, forward, g.Reply(250))
	require.Equal(t, answer(ReplySTARTTLSEarly), g.Command(starttls, false), "HELO takes EHLO back")

	g = greeted(t, preferred, GateOptions{NoCertificate: true}, true)
	require.Equal(t, answer(ReplyNoCertificate), g.Command(starttls, true))

	g = greeted(t, preferred, GateOptions{}, true)
	require.Equal(t, closes(ReplySTARTTLSInjection), g.Command(starttls, true))

	g = greeted(t, Policy{Access: Reject, TLS: TLSPreferred, Reject: &Rejection{Delayed: true}}, GateOptions{Adapter: true}, true)
	require.Equal(t, forward, g.Command(starttls, false), "an adapter rejects inside TLS")

	g = greeted(t, preferred, GateOptions{}, true)
	require.Equal(t, forward, g.Command(starttls, false))
	require.Equal(t, wait, g.Command([]byte("NOOP\r\n"), false), "nothing more until the reply")
	require.Equal(t, forward, g.Reply(454), "the server has changed its mind")
	require.Equal(t, forward, g.Command([]byte("NOOP\r\n"), false))
	require.Equal(t, forward, g.Reply(250))
	require.Equal(t, forward, g.Command(starttls, false))
	require.Equal(t, forward, g.Reply(220))
	require.Equal(t, PhaseHandshake, g.Phase())
	g.Secured()
	require.Equal(t, PhaseTLS, g.Phase())
	require.Equal(t, forward, g.Command([]byte("anything"), true))
	require.Equal(t, Action{Kind: Close, Reason: ReasonPlaintext}, g.Reply(250), "no way back to clear text")
}

func TestGateReply(t *testing.T) {
	preferred := Policy{TLS: TLSPreferred}
	auth := Policy{TLS: TLSPreferred, AuthInClear: On}
	for _, c := range []struct {
		why    string
		policy Policy
		line   string
		code   int
		phase  Phase
		reason Reason
	}{
		{"220 to MAIL", preferred, "MAIL FROM:<>\r\n", 220, PhaseDead, ReasonUnexpected220},
		{"220 to EHLO", preferred, "EHLO x\r\n", 220, PhaseDead, ReasonUnexpected220},
		{"354", preferred, "DATA\r\n", 354, PhaseData, ReasonNone},
		{"354 follows the server, not the verb", preferred, "XDATA\r\n", 354, PhaseData, ReasonNone},
		{"354 in Required", Policy{TLS: TLSRequired}, "NOOP\r\n", 354, PhaseDead, ReasonUnexpectedReply},
		{"334 in Required", Policy{TLS: TLSRequired, AuthInClear: On}, "NOOP\r\n", 334, PhaseDead, ReasonUnexpectedReply},
		{"334 where AUTH is refused", preferred, "XLOGIN\r\n", 334, PhaseDead, ReasonUnexpectedReply},
		{"334", auth, "AUTH PLAIN\r\n", 334, PhaseSASL, ReasonNone},
		{"354 for a rejected peer", Policy{Access: Reject, Reject: &Rejection{Delayed: true}}, "XDATA\r\n", 354, PhaseDead, ReasonUnexpectedReply},
		{"no code", preferred, "NOOP\r\n", 0, PhaseDead, ReasonUnexpectedReply},
		{"a code that no reply has", preferred, "NOOP\r\n", 150, PhaseDead, ReasonUnexpectedReply},
		{"421", preferred, "NOOP\r\n", 421, PhaseCommand, ReasonNone},
	} {
		g := greeted(t, c.policy, GateOptions{}, true)
		require.Equal(t, forward, g.Command([]byte(c.line), false), c.why)
		want := forward
		if c.reason != ReasonNone {
			want = Action{Kind: Close, Reason: c.reason}
		}
		require.Equal(t, want, g.Reply(c.code), c.why)
		require.Equal(t, c.phase, g.Phase(), c.why)
	}
	g := greeted(t, auth, GateOptions{}, true)
	g.Command([]byte("AUTH LOGIN\r\n"), false)
	g.Reply(334)
	require.Equal(t, closes(ReplyBareNewline), g.Command([]byte("dXNlcg==\n"), true))
	g = greeted(t, auth, GateOptions{}, true)
	g.Command([]byte("AUTH LOGIN\r\n"), false)
	g.Reply(334)
	require.Equal(t, forward, g.Command([]byte("STARTTLS\r\n"), true), "whatever it says")
	require.Equal(t, Action{Kind: Close, Reason: ReasonUnexpected220}, g.Reply(220), "it was no STARTTLS")

	for _, c := range []struct {
		why    string
		policy Policy
		code   int
		want   Action
	}{
		{"a second answer begins no message", auth, 354, Action{Kind: Close, Reason: ReasonUnexpectedReply}},
		{"nor AUTH", auth, 334, Action{Kind: Close, Reason: ReasonUnexpectedReply}},
		{"a timeout of the server", Policy{TLS: TLSRequired}, 421, forward},
		{"the server saw two commands in one", Policy{TLS: TLSRequired}, 250, Action{Kind: Close, Reason: ReasonUnexpectedReply}},
		{"which Preferred does not mind", preferred, 250, forward},
	} {
		g := greeted(t, c.policy, GateOptions{}, true)
		g.Command([]byte("NOOP\r\n"), false)
		require.Equal(t, forward, g.Reply(250), c.why)
		require.Equal(t, c.want, g.Reply(c.code), c.why)
	}
	g = greeted(t, auth, GateOptions{}, true)
	g.Command([]byte("DATA\r\n"), false)
	g.Reply(354)
	g.Data([]byte(".\r\n"))
	require.Equal(t, Close, g.Reply(354).Kind, "a message is no reason for another")

	for _, code := range []int{354, 334} {
		g := new(Gate)
		g.Reset(settled(t, auth), GateOptions{})
		require.Equal(t, wait, g.Command([]byte("EHLO x\r\n"), false), "before the greeting")
		require.Equal(t, Close, g.Reply(code).Kind)
	}
}

func TestGateRejected(t *testing.T) {
	g := new(Gate)
	g.Reset(settled(t, Policy{Access: Reject, Reject: &Rejection{Code: 450, Text: "Later"}}), GateOptions{})
	require.Equal(t, "450 4.7.1 Later\r\n", string(g.Octets(ReplyRejected)))
	require.Equal(t, answer(ReplyBadSequence), g.Command([]byte("EHLO x\r\n"), true))
	require.Equal(t, Close, func() ActionKind { h := *g; return h.Reply(250).Kind }())
	require.Equal(t, closes(ReplyBye), g.Command([]byte("quit\r\n"), true))
	require.Equal(t, Close, g.Command([]byte("NOOP\r\n"), true).Kind)
}

func TestGateZero(t *testing.T) {
	for why, g := range map[string]*Gate{"zero": {}, "no policy": {}, "no access rule": {}, "TCPRefuse": {}} {
		switch why {
		case "no policy":
			g.Reset(nil, GateOptions{})
		case "no access rule":
			g.Reset(&Policy{}, GateOptions{})
		case "TCPRefuse":
			g.Reset(&Policy{Access: TCPRefuse}, GateOptions{})
		}
		require.Equal(t, Close, g.Command([]byte("NOOP\r\n"), false).Kind, why)
		require.Equal(t, Close, g.Reply(220).Kind, why)
		n, a := g.Data([]byte("x"))
		require.Zero(t, n)
		require.Equal(t, Close, a.Kind, why)
	}
	g := new(Gate)
	g.Reset(&Policy{Access: Accept}, GateOptions{})
	g.Reply(220)
	g.Command([]byte("EHLO x\r\n"), false)
	g.Reply(250)
	require.Equal(t, answer(ReplyNoSTARTTLS), g.Command([]byte("STARTTLS\r\n"), false), "TLS unset is No")
	require.Equal(t, answer(ReplyAuth), g.Command([]byte("AUTH PLAIN\r\n"), false))
}

// inData returns a gate behind 354.
func inData(t testing.TB, p Policy) *Gate {
	g := greeted(t, p, GateOptions{}, true)
	require.Equal(t, forward, g.Command([]byte("DATA\r\n"), false))
	require.Equal(t, forward, g.Reply(354))
	return g
}

// feed hands octets to a gate in the pieces given, the way Conn does, and returns
// what the server would get by the time it has to reply.
func feed(g *Gate, pieces ...string) (server string, a Action, rest string) {
	held := ""
	for i, piece := range pieces {
		held += piece
		for held != "" {
			n, a := g.Data([]byte(held))
			server, held = server+held[:n], held[n:]
			if a != forward {
				return server, a, held
			}
			if g.ended {
				return server, a, held + strings.Join(pieces[i+1:], "")
			}
			if n == 0 {
				break
			}
		}
	}
	return server, forward, held
}

func TestGateData(t *testing.T) {
	for _, c := range []struct {
		why, in, server string
		want            Action
		rest            string
	}{
		{"a message", "a\r\n.\r\nMAIL\r\n", "a\r\n.\r\n", forward, "MAIL\r\n"},
		{"the empty message", ".\r\nQUIT\r\n", ".\r\n", forward, "QUIT\r\n"},
		{"a dot too few", "a\r\n..\r\n", "a\r\n..\r\n", forward, ""},
		{"a dot at the end of a line", "a.\r\n", "a.\r\n", forward, ""},
		{"STARTTLS is data", "STARTTLS\r\n", "STARTTLS\r\n", forward, ""},
		{"NUL is the server's business", "\x00\r\n", "\x00\r\n", forward, ""},
		{"no end", "a\r\n.", "a\r\n.", forward, ""},
		{"a CR waits for its successor", "a\r", "a", forward, "\r"},
		{"so does that of an end", "a\r\n.\r", "a\r\n.", forward, "\r"},

		{"the end lies where the line before is longer", "0123456789\r\nabc\r\n.\r\nMA\r\n", "0123456789\r\nabc\r\n.\r\n", forward, "MA\r\n"},
		{"a bare LF lies there", "0123456789\r\nab\n.cdefgh\r\n", "0123456789\r\nab", closes(ReplyBareNewline), "\n.cdefgh\r\n"},
		{"a bare CR lies there", "0123456789\r\nab\r.cdefgh\r\n", "0123456789\r\nab", closes(ReplyBareNewline), "\r.cdefgh\r\n"},

		{"LF.LF", "a\n.\nb", "a", closes(ReplyBareNewline), "\n.\nb"},
		{"LF.CRLF", "a\n.\r\nMAIL", "a", closes(ReplyBareNewline), "\n.\r\nMAIL"},
		{"CRLF.LF", "a\r\n.\nMAIL", "a\r\n.", closes(ReplyBareNewline), "\nMAIL"},
		{"CR.CR", "a\r.\rb", "a", closes(ReplyBareNewline), "\r.\rb"},
		{"CRLF.CR", "a\r\n.\rb", "a\r\n.", closes(ReplyBareNewline), "\rb"},
		{"CR CR LF . CR LF", "a\r\r\n.\r\n", "a", closes(ReplyBareNewline), "\r\r\n.\r\n"},
		{"CR.CRLF", "a\r.\r\n", "a", closes(ReplyBareNewline), "\r.\r\n"},
		{"CRLF.CR CRLF", "a\r\n.\r\r\n", "a\r\n.", closes(ReplyBareNewline), "\r\r\n"},
		{"the first octet", "\n", "", closes(ReplyBareNewline), "\n"},
		{"behind the end it is not data", ".\r\n\n", ".\r\n", forward, "\n"},
	} {
		for cut := range len(c.in) + 1 {
			g := inData(t, Policy{})
			server, a, rest := feed(g, c.in[:cut], c.in[cut:])
			require.Equal(t, c.server, server, "%s, cut at %d", c.why, cut)
			require.Equal(t, c.want, a, "%s, cut at %d", c.why, cut)
			if a == forward {
				require.Equal(t, c.rest, rest, c.why)
			}
		}
	}
}

// TestGateDataPieces: data that comes whole is looked at in leaps, octet by octet it
// cannot be. What comes of it is the same.
func TestGateDataPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(5321, 2821))
	parts := []string{"\r\n", "\r\n", "\r\n", "xx", "xxxx", ".", "\r", "\n", "\r\n.\r\n"}
	for range 2000 {
		var text strings.Builder
		for range 1 + random.IntN(12) {
			text.WriteString(parts[random.IntN(len(parts)-random.IntN(4))])
		}
		server, a, rest := feed(inData(t, Policy{}), text.String())
		server1, a1, rest1 := feed(inData(t, Policy{}), strings.Split(text.String(), "")...)
		require.Equal(t, server, server1, "%q", text.String())
		require.Equal(t, a, a1, "%q", text.String())
		if a == forward {
			require.Equal(t, rest, rest1, "%q", text.String())
		}
	}
}

func TestGateDataBareNewlinePass(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\rc\r\n.\r\nQUIT\r\n":     "a\nb\rc\r\n.\r\n",
		"a\n.\nb\r\n.\r\nQUIT":         "a\n.\nb\r\n.\r\n",
		"a\n.\r\nb\r\n.\r\nQUIT":       "a\n.\r\nb\r\n.\r\n",
		"a\r\n.\nb\r\n.\r\nQUIT":       "a\r\n.\nb\r\n.\r\n",
		"a\r\r\n.\r\nQUIT":             "a\r\r\n.\r\n", // the second CR and the LF are a line end
		"a\r\n.\r\r\nb\r\n.\r\nQUIT":   "a\r\n.\r\r\nb\r\n.\r\n",
		"a\r\n..\r\nb\r.\r\n.\r\nQUIT": "a\r\n..\r\nb\r.\r\n.\r\n",
	} {
		for cut := range len(in) + 1 {
			server, a, _ := feed(inData(t, Policy{BareNewline: On}), in[:cut], in[cut:])
			require.Equal(t, forward, a)
			require.Equal(t, want, server, "%q cut at %d", in, cut)
		}
	}
}

func TestGateDataServerReadsOn(t *testing.T) {
	g := inData(t, Policy{})
	in := []byte(".\r\none\r\ntwo\r\n")
	n, _ := g.Data(in)
	require.Equal(t, 3, n)
	n, a := g.Data(in[3:])
	require.Equal(t, forward, a)
	require.Equal(t, 5, n, "a server that has not seen the end gets a line at a time")
	require.Equal(t, PhaseData, g.Phase())
	require.Equal(t, forward, g.Reply(250))
	require.Equal(t, PhaseCommand, g.Phase())
}

func TestGateFilterEHLO(t *testing.T) {
	full := "250-mx.example.com STARTTLS\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-STARTTLS\r\n250-auth PLAIN\r\n" +
		"250-AUTH=LOGIN\r\n250-BinaryMIME\r\n250-REQUIRETLS\r\n250-X-STARTTLS\r\n250-SIZE 100\r\n250 startTLS\r\n"
	bare := "250-mx.example.com STARTTLS\r\n250-PIPELINING\r\n250-X-STARTTLS\r\n250 SIZE 100\r\n"
	for _, c := range []struct {
		why     string
		policy  Policy
		options GateOptions
		in, out string
	}{
		{"setting No", Policy{TLS: TLSNo}, GateOptions{}, full, bare},
		{"setting Required", Policy{TLS: TLSRequired, AuthInClear: On}, GateOptions{}, full,
			"250-mx.example.com STARTTLS\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-X-STARTTLS\r\n250-SIZE 100\r\n250 startTLS\r\n"},
		{"AUTH may stay", Policy{TLS: TLSNo, AuthInClear: On}, GateOptions{}, full,
			"250-mx.example.com STARTTLS\r\n250-PIPELINING\r\n250-auth PLAIN\r\n250-AUTH=LOGIN\r\n250-X-STARTTLS\r\n250 SIZE 100\r\n"},
		{"no certificate", Policy{TLS: TLSRequired}, GateOptions{NoCertificate: true}, full, bare},
		{"delayed rejection", Policy{TLS: TLSRequired, Access: Reject, Reject: &Rejection{Delayed: true}}, GateOptions{}, full, bare},
		{"one line", Policy{}, GateOptions{}, "250 STARTTLS\r\n", "250 STARTTLS\r\n"},
		{"one line is left", Policy{}, GateOptions{}, "250-x\r\n250 STARTTLS\r\n", "250 x\r\n"},
		{"no text", Policy{}, GateOptions{}, "250-\r\n250\r\n", "250-\r\n250 \r\n"},
		{"LF alone", Policy{}, GateOptions{}, "250-x\n250 SIZE\n", "250-x\r\n250 SIZE\r\n"},
		{"a foreign line", Policy{}, GateOptions{}, "250-x\r\nSTARTTLS\r\n250 SIZE\r\n", "250-x\r\n250 SIZE\r\n"},
		{"blanks", Policy{}, GateOptions{}, "250-x\r\n250-  STARTTLS \r\n250-STARTTLS\tx\r\n250 SIZE\r\n", "250-x\r\n250 SIZE\r\n"},
	} {
		var g Gate
		g.Reset(settled(t, c.policy), c.options)
		out := g.FilterEHLO([]byte("before"), []byte(c.in))
		require.Equal(t, "before"+c.out, string(out), c.why)
		require.Equal(t, c.out, string(g.FilterEHLO(nil, []byte(c.out))), "%s, again", c.why)
	}
}

func TestReplies(t *testing.T) {
	for r := ReplyNone + 1; r < replies; r++ {
		line := r.String()
		require.Regexp(t, `^[245][0-9]{2} [245]\.[0-9]\.[0-9]{1,2} [ -~]+$`, line)
		require.Less(t, len(line), 510)
		require.Equal(t, line[0], line[4], "the classes agree: %s", line)
		require.Equal(t, line+"\r\n", string((&Gate{}).Octets(r)))
		require.Equal(t, line[:3], strconv.Itoa(r.Code()))
	}
	require.Empty(t, ReplyNone.String())
	require.Zero(t, ReplyNone.Code())
	require.Zero(t, replies.Code())
	require.Equal(t, "530 5.7.0 Must issue a STARTTLS command first", ReplyTLSFirst.String())
}
