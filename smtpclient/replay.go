package smtpclient

import (
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// heldLine bounds how much of an unfinished command line the replay connection
// keeps back: the longest command line of RFC 5321 section 4.5.3.1.4. A longer
// line is none that it answers.
const heldLine = 512

// replayConn lets a client library believe that it has just connected. It makes
// up the greeting, answers the first EHLO from the reply that the dialer
// recorded, and refuses STARTTLS. From MAIL on it is a plain pipe.
//
// A local answer takes its place behind the answers to the commands that went
// to the server before it, so a client may pipeline. Reading and writing may
// happen in two goroutines.
type replayConn struct {
	net.Conn // *tls.Conn or *link
	close    func() error

	ehlo     string // the argument of EHLO that is answered locally
	ehloText string // with what

	mu      sync.Mutex
	plain   bool        // MAIL was seen: nothing is looked at any more
	known   bool        // an EHLO or HELO was seen: no further one is answered
	sent    int         // lines that went to the server
	got     int         // replies of the server that the client has read to the end
	answers []localText // local answers not yet read, in order
	held    []byte      // an unfinished line that may yet be answered locally
	passing bool        // in the middle of a line that goes to the server

	scan  replyScan
	extra []byte // read from the server behind the place of a local answer

	inRead   bool // a Read is inside Conn.Read
	woken    bool // its deadline was moved to the past to get it out
	deadline time.Time
}

// localText is an answer made here; it is due when got has reached after.
type localText struct {
	after int
	text  []byte
}

// replyScan finds the ends of replies in the server's bytes.
type replyScan struct {
	col  int  // octets of the line seen so far, at most 4
	more bool // the fourth is a hyphen
}

// next returns how many bytes of b lead up to and include the end of the next
// reply, or len(b) and false.
func (s *replyScan) next(b []byte) (int, bool) {
	for i, c := range b {
		switch {
		case c == '\n':
			last := !s.more
			s.col, s.more = 0, false
			if last {
				return i + 1, true
			}
		case s.col == 3:
			s.more = c == '-'
			s.col++
		case s.col < 3:
			s.col++
		}
	}
	return len(b), false
}

func newReplayConn(conn net.Conn, host, ehlo string, esmtp bool, ext Extensions) *replayConn {
	r := &replayConn{Conn: conn, ehlo: ehlo}
	greeting := printable([]byte(host), peerText)
	r.answers = []localText{{0, []byte("220 " + greeting + " ESMTP\r\n")}}
	var lines []string
	lines = append(lines, greeting)
	if esmtp {
		for keyword, params := range ext.All() {
			if keyword == "STARTTLS" {
				continue // whether to use TLS has been decided
			}
			lines = append(lines, strings.TrimRight(keyword+" "+params, " "))
		}
	}
	var b strings.Builder
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		b.WriteString("250" + sep + line + "\r\n")
	}
	r.ehloText = b.String()
	return r
}

// refusal answers STARTTLS.
const refusal = "502 5.5.1 TLS has been decided on already\r\n"

// Write passes p on, less the commands that are answered here.
func (r *replayConn) Write(p []byte) (int, error) {
	r.mu.Lock()
	if r.plain {
		r.mu.Unlock()
		return r.Conn.Write(p)
	}
	out := make([]byte, 0, len(r.held)+len(p))
	kept := len(r.held) // octets of earlier writes in out or held
	for i, c := range p {
		if r.plain {
			out = append(out, p[i:]...)
			break
		}
		if r.passing {
			out = append(out, c)
			if c == '\n' {
				r.passing = false
				r.sent++
			}
			continue
		}
		r.held = append(r.held, c)
		if c == '\n' || len(r.held) <= len("STARTTLS ") || len(r.held) == heldLine {
			out = r.command(out)
		}
	}
	r.mu.Unlock()
	if len(out) == 0 {
		return len(p), nil
	}
	n, err := r.Conn.Write(out)
	if err == nil {
		return len(p), nil
	}
	return max(0, min(n-kept, len(p))), err
}

// command looks at the line held so far: it is answered, goes to out, or waits
// for more.
func (r *replayConn) command(out []byte) []byte {
	line := r.held
	whole := line[len(line)-1] == '\n'
	verb, arg, found := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
	verb = strings.ToUpper(verb)
	pass := func() []byte {
		out = append(out, line...)
		r.held = r.held[:0]
		if whole {
			r.sent++
		} else {
			r.passing = true
		}
		return out
	}
	switch {
	case whole && verb == "STARTTLS":
		r.answer(refusal)
	case whole && verb == "EHLO" && !r.known && arg == r.ehlo:
		r.known = true
		r.answer(r.ehloText)
	case whole && (verb == "EHLO" || verb == "HELO"):
		r.known = true
		return pass()
	case verb == "MAIL" && (found || whole):
		// What follows is a transaction, whose data could look like anything.
		r.plain = true
		out = append(out, line...)
		r.held = nil
		return out
	case whole, len(line) >= heldLine, !mayAnswer(verb, found):
		return pass()
	}
	return out
}

// mayAnswer tells whether a line that begins with verb can still become one
// that this side has to look at. found means that the verb is complete.
func mayAnswer(verb string, found bool) bool {
	for _, v := range [...]string{"EHLO", "HELO", "STARTTLS", "MAIL"} {
		if verb == v || !found && strings.HasPrefix(v, verb) {
			return true
		}
	}
	return false
}

// answer queues text as the answer to the line held and gets a Read that waits
// for the server out of there.
func (r *replayConn) answer(text string) {
	r.held = r.held[:0]
	r.answers = append(r.answers, localText{r.sent, []byte(text)})
	if r.inRead && !r.woken {
		r.woken = true
		r.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Read returns local answers when they are due and the server's bytes
// otherwise.
func (r *replayConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if len(r.answers) > 0 && r.answers[0].after <= r.got {
			a := &r.answers[0]
			n := copy(p, a.text)
			if a.text = a.text[n:]; len(a.text) == 0 {
				r.answers = r.answers[1:]
			}
			return n, nil
		}
		if len(r.extra) > 0 {
			n := copy(p, r.extra)
			n = r.count(p[:n])
			r.extra = r.extra[n:]
			return n, nil
		}
		if r.plain && len(r.answers) == 0 {
			r.mu.Unlock()
			n, err := r.Conn.Read(p)
			r.mu.Lock()
			return n, err
		}
		r.inRead = true
		r.mu.Unlock()
		n, err := r.Conn.Read(p)
		r.mu.Lock()
		r.inRead = false
		if r.woken {
			r.woken = false
			r.Conn.SetReadDeadline(r.deadline)
			if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
		}
		if n > 0 {
			used := r.count(p[:n])
			r.extra = append(r.extra, p[used:n]...)
			n = used
		}
		return n, err
	}
}

// count follows the server's replies through b and returns how many bytes the
// client may have before the next local answer is due.
func (r *replayConn) count(b []byte) int {
	used := 0
	for used < len(b) {
		n, end := r.scan.next(b[used:])
		used += n
		if end {
			r.got++
			if len(r.answers) > 0 && r.answers[0].after <= r.got {
				break
			}
		}
	}
	return used
}

// Close closes the connection.
func (r *replayConn) Close() error {
	if r.close != nil {
		return r.close() // bounded, even if the peer has stopped reading
	}
	return r.Conn.Close()
}

// SetDeadline sets both deadlines.
func (r *replayConn) SetDeadline(t time.Time) error {
	if err := r.Conn.SetWriteDeadline(t); err != nil {
		return err
	}
	return r.SetReadDeadline(t)
}

// SetReadDeadline sets the deadline for reading.
func (r *replayConn) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	if r.woken {
		return nil // Read sets it when it has come out
	}
	return r.Conn.SetReadDeadline(t)
}
