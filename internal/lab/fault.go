package lab

import (
	"fmt"
	"strings"
	"time"
)

// Phase is a moment in the life of a connection to a mail host at which a
// [Fault] strikes. In every phase but AtConnect, AtHandshake and AtOctet the fault
// takes the place of the host's reply to that command.
type Phase uint8

const (
	Healthy     Phase = iota // zero value: never
	AtConnect                // the TCP connection itself: Reset and HangUp refuse it, Stall leaves it hanging
	AtGreeting               // the 220 line
	AtEHLO                   // the reply to EHLO in clear
	AtHELO                   // the reply to HELO in clear
	AtSTARTTLS               // the reply to STARTTLS
	AtHandshake              // behind the 220, once the ClientHello is in: instead of the server's flight
	AtTLSEHLO                // the reply to EHLO or HELO inside TLS
	AtMAIL                   // the reply to MAIL, in clear or inside TLS
	AtOctet                  // after Fault.After octets have left the host, whatever they were
)

var phaseNames = [...]string{"healthy", "connect", "greeting", "EHLO", "HELO", "STARTTLS", "handshake", "EHLO inside TLS", "MAIL", "octet"}

// String returns the phase in words.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// Then is what a host does after it has sent [Fault].Send.
type Then uint8

const (
	GoOn   Then = iota // zero value: carry on as if nothing had happened
	HangUp             // end of file for the client; what it still sends is thrown away
	Reset              // TCP reset
	Stall              // say nothing more, swallow what comes, until the client or the lab closes
	Repeat             // send Send again and again until the client closes
)

var thenNames = [...]string{"go on", "hang up", "reset", "stall", "repeat"}

// String returns the action in words.
func (t Then) String() string {
	if int(t) < len(thenNames) {
		return thenNames[t]
	}
	return fmt.Sprintf("then %d", uint8(t))
}

// Fault is one thing that is wrong with a mail host. It is a comparable value;
// the zero Fault is none. The constructors below name the usual ones; the fields
// let a test script any other.
type Fault struct {
	Name string // for messages; "" = composed from the fields
	At   Phase  // when
	Send string // octets sent in place of the regular ones, as they are
	// Keep sends the regular reply first and Send behind it: in the same segment, or
	// with Split in a second one right after.
	Keep, Split bool
	Then        Then
	// Drop removes a keyword from the EHLO reply in clear, and the host then answers
	// that command with 502. Add puts a line there.
	Drop, Add string
	// Every slows what the host sends in this phase down to one octet per interval;
	// 0 = at once. AtHandshake without Send that is the server's flight.
	Every time.Duration
	// After is for AtOctet: how many octets the client still gets, TLS records included.
	After int
}

// String returns the name of the fault, or its fields in words.
func (f Fault) String() string {
	if f.Name != "" {
		return f.Name
	}
	if f == (Fault{}) {
		return Healthy.String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v: ", f.At)
	if f.Send != "" {
		fmt.Fprintf(&b, "%.40q, ", f.Send)
	}
	fmt.Fprint(&b, f.Then)
	return b.String()
}

// Refused is a host that refuses TCP connections.
func Refused() Fault { return Fault{Name: "connection refused", At: AtConnect, Then: Reset} }

// Blackhole is a host from which no answer comes: dialing ends with its context.
func Blackhole() Fault { return Fault{Name: "blackhole", At: AtConnect, Then: Stall} }

// Greeting is a host that greets with code (421, 521, 554) and hangs up.
func Greeting(code int) Fault {
	return Fault{Name: fmt.Sprintf("greeting %d", code), At: AtGreeting, Send: reply(code, "no service here"), Then: HangUp}
}

// SilentGreeting is a host that accepts and never says a word.
func SilentGreeting() Fault { return Fault{Name: "silent greeting", At: AtGreeting, Then: Stall} }

// NoESMTP is a host that answers EHLO with a 5xx code and HELO with 250.
func NoESMTP(code int) Fault {
	return Fault{Name: fmt.Sprintf("EHLO %d", code), At: AtEHLO, Send: reply(code, "command not recognized")}
}

// NoSTARTTLS is a host that does not know STARTTLS.
func NoSTARTTLS() Fault { return Fault{Name: "no STARTTLS", At: AtEHLO, Drop: "STARTTLS"} }

// MangledSTARTTLS is a host behind a box that overwrites the keyword with X, as
// some firewalls do.
func MangledSTARTTLS() Fault {
	return Fault{Name: "STARTTLS mangled", At: AtEHLO, Drop: "STARTTLS", Add: "XXXXXXXA"}
}

// STARTTLSCode is a host that offers STARTTLS and answers it with code; 421 is
// followed by a hang-up (RFC 5321 section 3.8).
func STARTTLSCode(code int) Fault {
	f := Fault{Name: fmt.Sprintf("STARTTLS %d", code), At: AtSTARTTLS, Send: reply(code, "not with me")}
	if code == 421 {
		f.Then = HangUp
	}
	return f
}

// Injected is a host on whose way somebody puts plaintext behind the 220 to
// STARTTLS; split puts it into a segment of its own. The host itself then does its
// handshake as ever.
func Injected(plaintext string, split bool) Fault {
	name := "bytes behind the 220"
	if split {
		name += ", split"
	}
	return Fault{Name: name, At: AtSTARTTLS, Send: plaintext, Keep: true, Split: split}
}

// HandshakeGarbage is a host that answers the ClientHello with plaintext.
func HandshakeGarbage() Fault {
	return Fault{Name: "garbage instead of TLS", At: AtHandshake, Send: "500 5.5.2 what was that?\r\n", Then: HangUp}
}

// HandshakeAlert is a host that answers the ClientHello with the fatal alert
// handshake_failure, 40 (RFC 8446 section 6.2).
func HandshakeAlert() Fault {
	return Fault{Name: "alert 40", At: AtHandshake, Send: "\x15\x03\x03\x00\x02\x02\x28", Then: HangUp}
}

// HandshakeEOF, HandshakeReset and HandshakeStall answer the ClientHello with end
// of file, with a TCP reset and not at all.
func HandshakeEOF() Fault { return Fault{Name: "EOF in the handshake", At: AtHandshake, Then: HangUp} }

// HandshakeReset is described with HandshakeEOF.
func HandshakeReset() Fault {
	return Fault{Name: "reset in the handshake", At: AtHandshake, Then: Reset}
}

// HandshakeStall is described with HandshakeEOF.
func HandshakeStall() Fault {
	return Fault{Name: "stall in the handshake", At: AtHandshake, Then: Stall}
}

// TLSEHLOCode is a host that refuses EHLO inside TLS with code.
func TLSEHLOCode(code int) Fault {
	return Fault{Name: fmt.Sprintf("EHLO inside TLS %d", code), At: AtTLSEHLO, Send: reply(code, "not inside TLS")}
}

// DropInsideTLS is a host that closes when EHLO comes inside TLS.
func DropInsideTLS() Fault { return Fault{Name: "drop inside TLS", At: AtTLSEHLO, Then: HangUp} }

// HangUpAt, ResetAt and StallAt end a phase without a reply.
func HangUpAt(p Phase) Fault { return Fault{Name: "EOF at " + p.String(), At: p, Then: HangUp} }

// ResetAt is described with HangUpAt.
func ResetAt(p Phase) Fault { return Fault{Name: "reset at " + p.String(), At: p, Then: Reset} }

// StallAt is described with HangUpAt.
func StallAt(p Phase) Fault { return Fault{Name: "stall at " + p.String(), At: p, Then: Stall} }

// ResetAfter is a host whose connection is reset when n octets have left it.
func ResetAfter(n int) Fault {
	return Fault{Name: fmt.Sprintf("reset after %d octets", n), At: AtOctet, After: n, Then: Reset}
}

// Endless is a host whose reply in phase p is a multi-line reply without an end.
func Endless(p Phase) Fault {
	return Fault{Name: "endless reply at " + p.String(), At: p, Send: codeOf(p) + "-and so on\r\n", Then: Repeat}
}

// MixedCodes is a host whose reply in phase p has lines with different codes.
func MixedCodes(p Phase) Fault {
	return Fault{Name: "mixed codes at " + p.String(), At: p, Send: codeOf(p) + "-mx\r\n554 STARTTLS\r\n"}
}

// HugeLine is a host whose reply in phase p is one line of n octets and a CRLF.
func HugeLine(p Phase, n int) Fault {
	line := codeOf(p) + " "
	line += strings.Repeat("x", max(0, n-len(line))) + "\r\n"
	return Fault{Name: fmt.Sprintf("line of %d octets at %v", n, p), At: p, Send: line}
}

// NUL is a host whose reply in phase p has a NUL octet in it.
func NUL(p Phase) Fault {
	return Fault{Name: "NUL at " + p.String(), At: p, Send: codeOf(p) + " m\x00x\r\n"}
}

// BareCR is a host whose reply in phase p has a CR without LF in it.
func BareCR(p Phase) Fault {
	return Fault{Name: "bare CR at " + p.String(), At: p, Send: codeOf(p) + " m\rx\r\n"}
}

// Junk is a host whose reply in phase p is no SMTP reply at all.
func Junk(p Phase) Fault {
	return Fault{Name: "junk at " + p.String(), At: p, Send: "HTTP/1.1 400 Bad Request\r\n\r\n", Then: HangUp}
}

// Drip is a host whose reply in phase p, or TLS handshake, comes one octet at a time.
func Drip(p Phase, every time.Duration) Fault {
	return Fault{Name: "drip at " + p.String(), At: p, Every: every}
}

// codeOf is the code of a good reply in phase p.
func codeOf(p Phase) string {
	if p == AtGreeting || p == AtSTARTTLS {
		return "220"
	}
	return "250"
}

// reply is a one-line reply; the digit of its enhanced code follows the class
// (RFC 2034 section 4), which only 2xx, 4xx and 5xx have.
func reply(code int, text string) string {
	if class := code / 100; class == 2 || class == 4 || class == 5 {
		return fmt.Sprintf("%d %d.7.0 %s\r\n", code, class, text)
	}
	return fmt.Sprintf("%d %s\r\n", code, text)
}
