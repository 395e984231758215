package smtpserver

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// gateRun drives a gate with the octets of a client in given pieces and the reply
// codes of a server, as Conn does, and writes down what happened.
type gateRun struct {
	t          testing.TB
	gate       Gate
	pieces     [][]byte
	codes      []int
	held       []byte
	transcript []string
	data       []byte // message data forwarded since the last entry
	split      bool   // the run has come to where segmentation may matter: behind STARTTLS
}

func (r *gateRun) note(format string, args ...any) {
	r.flush()
	r.transcript = append(r.transcript, fmt.Sprintf(format, args...))
}

func (r *gateRun) flush() {
	if len(r.data) > 0 {
		r.transcript = append(r.transcript, fmt.Sprintf("data %q", r.data))
		r.data = nil
	}
}

func (r *gateRun) more() bool {
	if len(r.pieces) == 0 {
		return false
	}
	r.held = append(r.held, r.pieces[0]...)
	r.pieces = r.pieces[1:]
	return true
}

// reply gives the next code, and says whether the session goes on in clear text.
func (r *gateRun) reply() bool {
	code := 250
	if len(r.codes) > 0 {
		code, r.codes = r.codes[0], r.codes[1:]
	}
	a := r.gate.Reply(code)
	r.note("reply %d: %v", code, a)
	require.Contains(r.t, []ActionKind{Forward, Close}, a.Kind)
	return a.Kind == Forward && r.gate.Phase() != PhaseHandshake
}

func (r *gateRun) run() {
	defer r.flush()
	for steps := 0; steps < 10_000; steps++ {
		if r.gate.Phase() == PhaseGreeting || r.gate.waiting {
			if !r.reply() {
				return
			}
			continue
		}
		if r.gate.Phase() == PhaseData {
			n, a := r.gate.Data(r.held)
			require.LessOrEqual(r.t, n, len(r.held))
			require.False(r.t, r.gate.required(), "no data before TLS")
			r.data, r.held = append(r.data, r.held[:n]...), r.held[n:]
			switch {
			case a.Kind != Forward:
				require.Zero(r.t, n)
				r.note("%v", a)
				return
			case r.gate.ended:
				require.True(r.t, bytes.HasSuffix(r.data, []byte(".\r\n")), "%q", r.data)
				if !r.reply() {
					return
				}
			case n == 0 && !r.more():
				return
			}
			continue
		}
		if len(r.held) > 0 && beginsRecord(r.held) && r.gate.Phase() == PhaseCommand {
			r.note("%v", r.gate.Command(r.held[:1], true))
			return
		}
		lf := bytes.IndexByte(r.held, '\n')
		if lf < 0 {
			if !r.more() {
				return
			}
			continue
		}
		line, more := r.held[:lf+1], lf+1 < len(r.held)
		r.held = r.held[lf+1:]
		sasl := r.gate.Phase() == PhaseSASL
		a := r.gate.Command(line, more)
		v, _ := parseVerb(bytes.TrimRight(line, "\r\n"))
		if !sasl && v == verbSTARTTLS && (a.Kind == Forward || a.Reply == ReplySTARTTLSInjection) {
			r.split = true
			r.note("STARTTLS goes on")
			if a.Kind == AnswerClose {
				return
			}
			require.False(r.t, more)
			require.Equal(r.t, wait, r.gate.Command([]byte("NOOP\r\n"), false))
			return
		}
		if a.Kind == Forward {
			require.True(r.t, bytes.HasSuffix(line, []byte("\r\n")))
			require.NotContains(r.t, string(line[:len(line)-2]), "\r")
			if !sasl {
				require.NotContains(r.t, []verb{verbMalformed, verbBDAT, verbHTTP, verbSTARTTLSLonger}, v)
				require.NotContains(r.t, string(line), "\x00")
				if r.gate.required() {
					require.Contains(r.t, []verb{verbEHLO, verbNOOP, verbQUIT}, v, "%q", line)
				}
				require.False(r.t, v == verbAUTH && r.gate.refusesAuth())
			}
		}
		r.note("%q: %v", line, a)
		if a.Kind == AnswerClose || a.Kind == Close {
			return
		}
	}
}

// fuzzCodes are the codes a byte stands for.
var fuzzCodes = []int{220, 250, 354, 334, 221, 235, 421, 454, 501, 550, 554, 0}

func fuzzPolicy(b byte) Policy {
	p := Policy{Access: Accept, TLS: TLSNo + TLS(b%3)}
	if b&4 != 0 {
		p.AuthInClear = On
	}
	if b&8 != 0 {
		p.Access, p.Reject = Reject, &Rejection{Delayed: true}
	}
	if b&16 != 0 {
		p.BareNewline = On
	}
	return p
}

func FuzzGate(f *testing.F) {
	session := "EHLO x\r\nSTARTTLS x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n"
	good := []byte{0, 1, 1, 1, 2, 1, 4}
	f.Add([]byte(session), []byte{1}, good, byte(1))
	f.Add([]byte(session), []byte{7, 3}, good, byte(2))
	f.Add([]byte("EHLO x\r\nSTARTTLS\r\nMAIL FROM:<>\r\n"), []byte{16, 3}, []byte{0, 1, 0}, byte(1))
	f.Add([]byte("EHLO x\r\nAUTH LOGIN\r\nQQ==\r\nSTARTTLS\r\nNOOP\r\n"), []byte{2}, []byte{0, 1, 3, 3, 5}, byte(4))
	f.Add([]byte("DATA\r\na\n.\r\nMAIL FROM:<>\r\n"), []byte{8, 1}, []byte{0, 2, 1}, byte(16))
	f.Add([]byte("DATA\r\na\r\r\n.\r\r\nb\r\n.\r\n"), []byte{9, 1}, []byte{0, 2, 1}, byte(0))
	f.Add([]byte("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n\x16\x03"), []byte{9, 1}, []byte{0, 1, 1, 2}, byte(9))
	f.Fuzz(func(t *testing.T, client, cuts, replies []byte, setting byte) {
		if len(client) > 4096 {
			return
		}
		policy := settled(t, fuzzPolicy(setting))
		codes := make([]int, len(replies))
		for i, b := range replies {
			codes[i] = fuzzCodes[int(b)%len(fuzzCodes)]
		}
		start := func(pieces [][]byte) *gateRun {
			r := &gateRun{t: t, pieces: pieces, codes: codes}
			r.gate.Reset(policy, GateOptions{})
			r.run()
			return r
		}
		whole := start([][]byte{client})
		cut := start(inPieces(client, cuts))
		require.Equal(t, whole.split, cut.split)
		require.Equal(t, strings.Join(whole.transcript, "\n"), strings.Join(cut.transcript, "\n"), "segmentation must not matter")
	})
}

// inPieces cuts b into pieces of the sizes given, used over and over.
func inPieces(b, sizes []byte) [][]byte {
	var pieces [][]byte
	for i := 0; len(b) > 0; i++ {
		n := 1
		if len(sizes) > 0 {
			n = 1 + int(sizes[i%len(sizes)])
		}
		n = min(n, len(b))
		pieces, b = append(pieces, b[:n]), b[n:]
	}
	return pieces
}

func FuzzFilterEHLO(f *testing.F) {
	f.Add([]byte("250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"), byte(0))
	f.Add([]byte("250-mx\n250-\r\n250 \r\n"), byte(1))
	f.Add([]byte("250-mx\r\n250-AUTH=X\r\n250-X\rSTARTTLS\r\n250 CHUNKING"), byte(2))
	f.Fuzz(func(t *testing.T, reply []byte, setting byte) {
		var g Gate
		g.Reset(settled(t, fuzzPolicy(setting)), GateOptions{NoCertificate: setting&32 != 0})
		in := bytes.Clone(reply)
		once := g.FilterEHLO(nil, reply)
		require.Equal(t, in, reply, "the input stays")
		require.Equal(t, string(once), string(g.FilterEHLO(nil, once)), "filtering again changes nothing")
		if len(once) == 0 {
			return
		}
		n, code, complete := replyEnd(once)
		require.True(t, complete && n == len(once), "one complete reply: %q", once)
		require.Equal(t, 250, code)
		for i, line := range strings.Split(strings.TrimSuffix(string(once), "\r\n"), "\r\n") {
			require.Regexp(t, `^250[- ]`, line)
			if i == 0 {
				continue
			}
			word := strings.ToUpper(line[4:])
			require.NotContains(t, []string{"CHUNKING", "BINARYMIME", "REQUIRETLS"}, word)
			require.False(t, strings.HasPrefix(word, "AUTH ") && g.refusesAuth())
			require.False(t, word == "STARTTLS" && (g.policy.TLS == TLSNo || g.delayed() || g.options.NoCertificate))
		}
	})
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x02ab\x17\x03\x03\x00\x00\x15\x03\x03\x00\x02\x02\x28"), []byte{2})
	f.Add([]byte("EHLO x\r\n"), []byte{0})
	f.Add([]byte("\x16\x03\x01\xff\xffMAIL"), []byte{3, 1})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		type step struct {
			rec record
			at  int
		}
		follow := func(pieces [][]byte) (steps []step, broken bool) {
			var r records
			at := 0
			for _, piece := range pieces {
				for len(piece) > 0 {
					n, rec, state := r.next(piece)
					require.Positive(t, n)
					at += n
					piece = piece[n:]
					switch state {
					case recordBroken:
						return steps, true
					case recordComplete:
						steps = append(steps, step{rec, at})
					default:
						require.Empty(t, piece, "it stops only at the end of a record")
					}
				}
			}
			return steps, false
		}
		whole, broken := follow([][]byte{stream})
		cut, brokenCut := follow(inPieces(stream, cuts))
		require.Equal(t, broken, brokenCut)
		require.Equal(t, whole, cut)
		// A plain reading of the same.
		at := 0
		for _, s := range whole {
			size := int(stream[at+3])<<8 | int(stream[at+4])
			require.True(t, at > 0 || stream[0] == 21 || stream[0] == 22)
			require.True(t, stream[at] >= 20 && stream[at] <= 23 && stream[at+1] == 3 && size <= 1<<14+2048)
			require.Equal(t, at+5+size, s.at)
			require.Equal(t, record{stream[at], size, s.rec.first}, s.rec)
			at = s.at
		}
		rest := stream[at:]
		plausible := (len(rest) < 1 || rest[0] >= 20 && rest[0] <= 23 && (at > 0 || rest[0] == 21 || rest[0] == 22)) && (len(rest) < 2 || rest[1] == 3) &&
			(len(rest) < 5 || int(rest[3])<<8|int(rest[4]) <= 1<<14+2048)
		require.Equal(t, !plausible, broken)
	})
}
