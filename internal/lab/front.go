package lab

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxLineLength is how long a line of a client may be; far above the 1000 octets
// of RFC 5321 section 4.5.3.1.6, so that any file can be mailed to the lab.
const maxLineLength = 64 << 10

// recordHandshake is the type of a TLS record with handshake messages (RFC 8446
// section 5.1).
const recordHandshake = 22

// errOver is what the mail server behind the front sees once a fault has ended the
// conversation.
var errOver = errors.New("lab: the front has ended this connection")

// front stands between a client and the mail server. It is the net.Conn on which
// go-smtp believes to speak in clear: the front itself offers STARTTLS and does the
// handshake, strikes with the connection's fault, and keeps the record.
//
// One goroutine, the mail server's for this connection, calls Read and Write; any
// goroutine may call kill.
type front struct {
	*net.TCPConn // deadlines and addresses
	host         *MailHost
	fault        Fault
	record       *Connection // guarded by host.mu
	out          io.Writer   // to the client: the wire, or TLS on it
	in           *bufio.Reader
	wire         *wire
	tls          *tls.Conn // nil in clear

	pending []byte // of the client's line, what the mail server has not taken yet
	partial bool   // the line before was cut: more of it follows
	reply   []byte // of the mail server's reply, the lines so far
	verb    string // the command that the next reply answers; "" = the greeting
	data    bool   // between 354 and the end of the message
	muted   bool   // EHLO must come before anything else (RFC 3207 section 4.2)
	over    bool

	end    chan struct{} // closed by kill
	ending sync.Once
}

func newFront(h *MailHost, c *net.TCPConn, fault Fault, record *Connection) *front {
	f := &front{TCPConn: c, host: h, fault: fault, record: record, end: make(chan struct{})}
	f.wire = &wire{TCPConn: c, in: bufio.NewReader(c), front: f, left: -1}
	if fault.At == AtOctet {
		f.wire.left = fault.After
	}
	f.in, f.out = f.wire.in, f.wire
	return f
}

// wire is the TCP connection as the front and TLS use it: octets leaving are
// counted, and what was looked at early is read again.
type wire struct {
	*net.TCPConn
	in    *bufio.Reader
	front *front
	left  int  // octets until the fault strikes; -1 = never
	slow  bool // one octet per Fault.Every
}

func (w *wire) Read(p []byte) (int, error) { return w.in.Read(p) }

func (w *wire) Write(p []byte) (int, error) {
	switch {
	case w.slow:
		return w.front.slowly(p, w.TCPConn)
	case w.left < 0:
		return w.TCPConn.Write(p)
	case len(p) < w.left:
		w.left -= len(p)
		return w.TCPConn.Write(p)
	}
	n, err := w.TCPConn.Write(p[:w.left])
	if err == nil {
		err = w.front.finish(w.front.fault.Then)
	}
	if w.left = -1; err != nil || n == len(p) {
		return n, err
	}
	rest, err := w.TCPConn.Write(p[n:])
	return n + rest, err
}

// Close ends the connection for the mail server.
func (f *front) Close() error {
	if f.tls != nil && !f.over {
		f.tls.Close() // says close_notify first
	}
	f.kill()
	return nil
}

// kill closes the TCP connection and forgets it.
func (f *front) kill() {
	f.ending.Do(func() {
		close(f.end)
		f.TCPConn.Close()
		f.host.gone(f)
	})
}

// Read gives the mail server the client's next line, or a part of it, but not the
// commands that the front answers itself.
func (f *front) Read(p []byte) (int, error) {
	for len(f.pending) == 0 {
		if f.over {
			return 0, io.EOF
		}
		line, err := f.in.ReadSlice('\n')
		if len(line) == 0 {
			return 0, err
		}
		partial := f.partial
		f.partial = line[len(line)-1] != '\n'
		f.noteOctets(line)
		if f.data || partial {
			f.pending = append(f.pending[:0], line...)
			break
		}
		line = bytes.Clone(line) // a handshake reads on
		text := strings.TrimRight(string(line), "\r\n")
		f.noteCommand(text)
		if f.command(text) {
			f.pending = append(f.pending[:0], line...)
		}
	}
	n := copy(p, f.pending)
	f.pending = f.pending[n:]
	return n, nil
}

// command looks at a command line and reports whether the mail server shall see
// it.
func (f *front) command(line string) bool {
	verb, _, _ := strings.Cut(line, " ")
	f.verb = strings.ToUpper(verb)
	phase := Healthy
	switch f.verb {
	case "EHLO", "HELO":
		f.muted = false
		phase = f.helloPhase()
	case "STARTTLS":
		f.startTLS()
		return false
	case "BDAT":
		f.say("502 5.5.1 CHUNKING is not offered\r\n")
		return false
	case "MAIL":
		phase = AtMAIL
	}
	if f.muted && f.verb != "QUIT" {
		f.say("503 5.5.1 EHLO first\r\n")
		return false
	}
	if f.strikes(phase) && !f.fault.Keep && (f.fault.Send != "" || f.fault.Then != GoOn) {
		f.strike()
		return false
	}
	return true
}

func (f *front) helloPhase() Phase {
	switch {
	case f.tls != nil:
		return AtTLSEHLO
	case f.verb == "EHLO":
		return AtEHLO
	}
	return AtHELO
}

// Write takes a line of the mail server's reply and passes the reply on when it is
// complete.
func (f *front) Write(p []byte) (int, error) {
	if f.over {
		return 0, errOver
	}
	if len(p) == 0 {
		return 0, nil
	}
	f.reply = append(f.reply, p...)
	last := f.reply[:len(f.reply)-1]
	last = last[bytes.LastIndexByte(last, '\n')+1:]
	if f.reply[len(f.reply)-1] != '\n' || len(last) > 3 && last[3] == '-' {
		return len(p), nil
	}
	reply := f.reply
	f.reply = nil
	if err := f.answer(reply); err != nil {
		return 0, err
	}
	return len(p), nil
}

// answer passes a whole reply of the mail server to the client.
func (f *front) answer(reply []byte) error {
	phase := Healthy
	switch f.verb {
	case "":
		phase, f.verb = AtGreeting, "greeted"
	case "EHLO", "HELO":
		phase = f.helloPhase()
		if f.verb == "EHLO" {
			reply = f.keywords(reply)
		}
	case "MAIL":
		phase = AtMAIL
	case "DATA":
		f.data = bytes.HasPrefix(reply, []byte("354"))
	}
	if !f.strikes(phase) {
		return f.send(reply)
	}
	return f.replyStruck(reply)
}

// replyStruck sends a reply in the phase in which the fault strikes.
func (f *front) replyStruck(reply []byte) error {
	switch {
	case f.fault.Keep && f.fault.Split:
		if err := f.drip(reply); err != nil {
			return err
		}
	case f.fault.Keep:
		if err := f.drip(append(reply, f.fault.Send...)); err != nil {
			return err
		}
		return f.finish(f.fault.Then)
	case f.fault.Send == "" && f.fault.Then == GoOn: // slow, or other keywords
		return f.drip(reply)
	}
	f.strike()
	return nil
}

// keywords edits the EHLO reply: what the front can do goes in, what go-smtp
// offers and the front does not goes out.
func (f *front) keywords(reply []byte) []byte {
	if !bytes.HasPrefix(reply, []byte("250")) {
		return reply
	}
	lines := strings.Split(strings.TrimSuffix(string(reply), "\r\n"), "\r\n")
	for i := range lines {
		lines[i] = lines[i][4:]
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "CHUNKING" })
	if f.tls != nil {
		lines = append(lines, f.host.spec.TLSKeywords...)
	} else {
		lines = append(append(lines, "STARTTLS"), f.host.spec.ClearKeywords...)
		if f.strikes(AtEHLO) {
			head := lines[0]
			lines = slices.DeleteFunc(lines[1:], func(l string) bool {
				keyword, _, _ := strings.Cut(l, " ")
				return f.fault.Drop != "" && strings.EqualFold(keyword, f.fault.Drop)
			})
			lines = append([]string{head}, lines...)
			if f.fault.Add != "" {
				lines = append(lines, f.fault.Add)
			}
		}
	}
	var b bytes.Buffer
	for i, l := range lines {
		separator := byte('-')
		if i == len(lines)-1 {
			separator = ' '
		}
		b.WriteString("250")
		b.WriteByte(separator)
		b.WriteString(l + "\r\n")
	}
	return b.Bytes()
}

// startTLS answers STARTTLS and does the handshake.
func (f *front) startTLS() {
	switch {
	case f.tls != nil:
		f.say("503 5.5.1 TLS is on already\r\n")
		return
	case f.fault.At == AtEHLO && strings.EqualFold(f.fault.Drop, "STARTTLS"):
		f.say("502 5.5.1 command not recognized\r\n")
		return
	case f.strikes(AtSTARTTLS) && !f.fault.Keep && (f.fault.Send != "" || f.fault.Then != GoOn):
		f.strike()
		return
	}
	// What a client sent behind STARTTLS in clear must not be taken for anything
	// said inside TLS (RFC 3207 section 4.2): it is dropped.
	f.in.Discard(f.in.Buffered())
	ready := []byte("220 2.0.0 Ready to start TLS\r\n")
	var err error
	if f.strikes(AtSTARTTLS) {
		err = f.replyStruck(ready)
	} else {
		err = f.send(ready)
	}
	if err != nil || f.over {
		f.over = true
		return
	}
	if f.strikes(AtHandshake) {
		if !f.awaitHello() {
			return
		}
		if f.strike(); f.over {
			return
		}
		f.wire.slow = f.fault.Every > 0 && f.fault.Send == ""
	}
	conn := tls.Server(f.wire, f.host.tlsConfig)
	err = conn.Handshake()
	if f.wire.slow = false; err != nil {
		f.edit(func(c *Connection) { c.HandshakeErr = err })
		f.finish(HangUp) // the alert must arrive: no reset
		return
	}
	state := conn.ConnectionState()
	f.edit(func(c *Connection) { c.TLS = &state })
	f.tls, f.out, f.in = conn, conn, bufio.NewReader(conn)
	f.muted = true
}

// awaitHello waits until the first TLS record is there, without taking it away.
func (f *front) awaitHello() bool {
	head, err := f.in.Peek(5) // type, version, length (RFC 8446 section 5.1)
	if err == nil && head[0] == recordHandshake {
		n := int(head[3])<<8 | int(head[4])
		f.edit(func(c *Connection) { c.Hello = true })
		_, err = f.in.Peek(min(5+n, f.in.Size()))
	}
	f.over = err != nil
	return !f.over
}

// edit changes the record of this connection.
func (f *front) edit(change func(*Connection)) {
	f.host.mu.Lock()
	defer f.host.mu.Unlock()
	change(f.record)
}

func (f *front) noteOctets(line []byte) {
	if f.tls == nil {
		f.edit(func(c *Connection) {
			c.Octets = append(c.Octets, line[:min(len(line), maxOctets-len(c.Octets))]...)
		})
	}
}

func (f *front) noteCommand(line string) {
	line = line[:min(len(line), maxCommand)]
	f.edit(func(c *Connection) {
		switch {
		case len(c.Clear)+len(c.Inside) >= maxCommands:
		case f.tls != nil:
			c.Inside = append(c.Inside, line)
		default:
			c.Clear = append(c.Clear, line)
		}
	})
}

// strikes reports whether the fault strikes in phase p.
func (f *front) strikes(p Phase) bool { return p != Healthy && f.fault.At == p }

// strike sends what the fault sends, and does what it does then.
func (f *front) strike() {
	for {
		if err := f.drip([]byte(f.fault.Send)); err != nil {
			f.over = true
			return
		}
		if f.fault.Then != Repeat {
			break
		}
	}
	f.finish(f.fault.Then)
}

// finish ends the conversation as t says; for GoOn it returns nil at once. Except
// for Reset it returns when the client has closed, or the lab.
func (f *front) finish(t Then) error {
	switch t {
	case GoOn:
		return nil
	case HangUp:
		f.TCPConn.CloseWrite()
		io.Copy(io.Discard, f.TCPConn)
	case Stall:
		io.Copy(io.Discard, f.TCPConn)
	case Reset:
		f.host.dialing.Lock() // the client shall have its connection before it breaks
		f.host.dialing.Unlock()
		f.TCPConn.SetLinger(0)
	}
	f.over = true
	f.kill()
	return errOver
}

// say is send for a reply of the front's own.
func (f *front) say(reply string) { f.send([]byte(reply)) }

func (f *front) send(p []byte) error {
	_, err := f.out.Write(p)
	if err != nil {
		f.over = true
	}
	return err
}

// drip sends p, octet by octet if the fault is slow.
func (f *front) drip(p []byte) error {
	switch {
	case len(p) == 0:
		return nil
	case f.fault.Every == 0:
		return f.send(p)
	}
	_, err := f.slowly(p, f.out)
	f.over = f.over || err != nil
	return err
}

// slowly writes p octet by octet.
func (f *front) slowly(p []byte, to io.Writer) (int, error) {
	ticker := time.NewTicker(f.fault.Every)
	defer ticker.Stop()
	for i := range p {
		select {
		case <-ticker.C:
		case <-f.end:
			return i, errOver
		}
		if _, err := to.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
