package smtpserver

import "bytes"

// Gate decides, octets in and verdicts out, what of a clear-text SMTP session may
// reach a server. It does no I/O and knows no time; Conn drives one for every
// connection. Its phases follow the replies of the server rather than a guess at
// how the server read a command.
//
// The caller hands it each complete line of the client (Command) or the octets of a
// message (Data), and each complete reply of the server (Reply). A Gate is not safe
// for concurrent use. The zero Gate is dead: it closes.
type Gate struct {
	policy  *Policy
	options GateOptions
	phase   Phase
	pending verb // of the command whose reply is due; verbOther if none or no matter
	waiting bool // a command has been forwarded and its reply is due
	ehlo    bool // EHLO has been accepted
	offered bool // the server has offered STARTTLS
	dead    Reason

	line  linePlace // where in a line of message data we are
	ended bool      // the end of the data has been handed over
	texts uint32    // how many messages have begun
}

// GateOptions is what a Gate needs to know besides the policy.
type GateOptions struct {
	// NoCertificate says that STARTTLS would fail for lack of a usable certificate.
	NoCertificate bool
	// Adapter says that an adapter inside the server enforces what the filter
	// cannot see. Without one a group with delayed rejection is not offered TLS.
	Adapter bool
}

// Phase is how far a session has come.
type Phase uint8

const (
	PhaseDead      Phase = iota // nothing passes any more
	PhaseGreeting               // the server has not greeted yet
	PhaseCommand                // command lines
	PhaseSASL                   // after 334: one line that is not a command
	PhaseData                   // after 354: message data
	PhaseHandshake              // after 220 to STARTTLS
	PhaseTLS                    // the handshake is complete
	PhaseRejected               // the peer is told that it is not welcome
)

// String returns the name of the phase.
func (p Phase) String() string {
	return enumName(uint8(p), "Phase", "dead", "greeting", "command", "sasl", "data", "handshake", "tls", "rejected")
}

// ActionKind is what becomes of octets.
type ActionKind uint8

const (
	Close       ActionKind = iota // close without a word
	Forward                       // they pass
	Answer                        // they stay here; the peer gets a reply
	AnswerClose                   // the same, and the connection is closed
	Wait                          // the server owes a reply: ask again when it has come
)

// String returns the name of the kind.
func (k ActionKind) String() string {
	return enumName(uint8(k), "ActionKind", "close", "forward", "answer", "answer-close", "wait")
}

// Action is a decision of a Gate. It is comparable.
type Action struct {
	Kind   ActionKind
	Reply  Reply  // with Answer and AnswerClose
	Reason Reason // with Close
}

var (
	forward = Action{Kind: Forward}
	wait    = Action{Kind: Wait}
)

func answer(r Reply) Action { return Action{Kind: Answer, Reply: r} }

// Reset begins a session under a settled policy, as a Table gives it out. Without
// one, and with an access rule that lets nobody in, the Gate is dead.
func (g *Gate) Reset(p *Policy, o GateOptions) {
	*g = Gate{policy: p, options: o}
	if p == nil {
		return
	}
	switch p.Access {
	case Accept, Relay:
		g.phase = PhaseGreeting
	case Reject:
		g.phase = PhaseRejected
		if g.delayed() {
			g.phase = PhaseGreeting
		}
	}
}

// Phase returns how far the session has come.
func (g *Gate) Phase() Phase { return g.phase }

// delayed says whether the peer is rejected, but not before RCPT.
func (g *Gate) delayed() bool {
	return g.policy.Access == Reject && g.policy.Reject != nil && g.policy.Reject.Delayed
}

func (g *Gate) required() bool { return g.policy.TLS == TLSRequired }

// hasSTARTTLS says whether the peer may see STARTTLS in principle.
func (g *Gate) hasSTARTTLS() bool {
	return (g.policy.TLS == TLSPreferred || g.policy.TLS == TLSRequired) && (g.options.Adapter || !g.delayed())
}

// refusesAuth says whether AUTH has no place in clear text.
func (g *Gate) refusesAuth() bool { return g.required() || g.policy.AuthInClear != On }

// Octets returns what a reply of the Gate looks like on the wire. It is shared: do
// not change it.
func (g *Gate) Octets(r Reply) []byte {
	if r == ReplyRejected && g.policy != nil && g.policy.refusal != nil {
		return g.policy.refusal
	}
	if r >= replies {
		return nil
	}
	return replyOctets[r]
}

// Kill ends the session. Its reason is given by every later call.
func (g *Gate) Kill(why Reason) Action {
	if g.phase != PhaseDead {
		g.phase, g.dead = PhaseDead, why
	}
	return Action{Kind: Close, Reason: g.dead}
}

// answerClose ends the session with a reply.
func (g *Gate) answerClose(r Reply, why Reason) Action {
	g.Kill(why)
	return Action{Kind: AnswerClose, Reply: r}
}

// Secured ends the handshake: from now on nothing is looked at.
func (g *Gate) Secured() {
	if g.phase == PhaseHandshake {
		g.phase, g.ehlo = PhaseTLS, false
	}
}

// Command decides about one line of the client, its line end included. more says
// whether further octets of the client are there already. A first octet that begins
// a TLS record may be handed in before the line is complete.
func (g *Gate) Command(line []byte, more bool) Action {
	switch g.phase {
	case PhaseDead:
		return g.Kill(g.dead)
	case PhaseGreeting, PhaseData, PhaseHandshake:
		return wait
	case PhaseTLS:
		return forward
	}
	if g.waiting {
		return wait
	}
	if g.phase == PhaseRejected {
		return g.rejectedCommand(line)
	}
	text := line[:max(len(line)-2, 0)]
	ended := len(line) >= 2 && line[len(line)-1] == '\n' && line[len(line)-2] == '\r'
	switch {
	case g.phase == PhaseCommand && beginsRecord(line):
		return g.answerClose(ReplyClientHello, ReasonClientHello)
	case !ended || bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, '\n') >= 0:
		return g.answerClose(ReplyBareNewline, ReasonBareNewline)
	case g.phase == PhaseSASL:
		return g.forwardCommand(verbOther)
	case bytes.IndexByte(text, 0) >= 0:
		return answer(ReplySyntax)
	}
	v, parameter := parseVerb(text)
	switch {
	case v == verbHTTP:
		return g.answerClose(ReplyHTTP, ReasonHTTP)
	case v == verbSTARTTLS:
		return g.starttls(parameter, more)
	case v == verbSTARTTLSLonger:
		return answer(ReplySyntax)
	case g.required() && v != verbEHLO && v != verbNOOP && v != verbQUIT:
		return answer(ReplyTLSFirst)
	case v == verbMalformed:
		return answer(ReplySyntax)
	case v == verbBDAT:
		// Servers differ on whether they take the chunk of a BDAT that they refuse.
		return g.answerClose(ReplyBDAT, ReasonBDAT)
	case v == verbAUTH && g.refusesAuth():
		return answer(ReplyAuth)
	case g.delayed() && v == verbRCPT:
		return answer(ReplyRejected)
	case g.delayed() && v == verbDATA:
		return answer(ReplyBadSequence)
	}
	return g.forwardCommand(v)
}

// recordHandshake is the type of the TLS record that a ClientHello comes in. No
// command begins with it.
const recordHandshake = 0x16

func beginsRecord(line []byte) bool { return len(line) > 0 && line[0] == recordHandshake }

// starttls decides about STARTTLS (RFC 3207 section 4).
func (g *Gate) starttls(parameter, more bool) Action {
	switch {
	case !g.hasSTARTTLS():
		return answer(ReplyNoSTARTTLS)
	case parameter:
		return answer(ReplySTARTTLSParameter)
	case !g.ehlo:
		return answer(ReplySTARTTLSEarly)
	case g.options.NoCertificate:
		return answer(ReplyNoCertificate)
	case more:
		// Whoever wrote them wants them to be taken for text inside TLS
		// (CVE-2011-0411). To drop them and go on would hide the attack.
		return g.answerClose(ReplySTARTTLSInjection, ReasonInjection)
	}
	return g.forwardCommand(verbSTARTTLS)
}

func (g *Gate) forwardCommand(v verb) Action {
	if v == verbHELO {
		g.ehlo = false
	}
	g.pending, g.waiting = v, true
	return forward
}

// rejectedCommand answers a peer that the server never sees.
func (g *Gate) rejectedCommand(line []byte) Action {
	if beginsRecord(line) {
		return g.answerClose(ReplyClientHello, ReasonClientHello)
	}
	if v, _ := parseVerb(bytes.TrimRight(line, "\r\n")); v == verbQUIT {
		return g.answerClose(ReplyBye, ReasonRejected)
	}
	return answer(ReplyBadSequence)
}

// Reply takes the code of a complete reply of the server, 0 for one that has no code
// or several. Forward lets it pass; Close means that the server is in a state in
// which clear text cannot be trusted.
func (g *Gate) Reply(code int) Action {
	switch g.phase {
	case PhaseDead:
		return g.Kill(g.dead)
	case PhaseRejected:
		return g.Kill(ReasonUnexpectedReply)
	case PhaseHandshake, PhaseTLS:
		return g.Kill(ReasonPlaintext)
	}
	pending, before := g.pending, g.phase
	greeting := before == PhaseGreeting
	unasked := !g.waiting && (before == PhaseCommand || before == PhaseSASL)
	g.pending, g.waiting = verbOther, false
	g.phase = PhaseCommand
	switch {
	case code < 200 || code > 599:
		return g.Kill(ReasonUnexpectedReply)
	case unasked && code < 400 && code != 220 && (g.required() || code/100 == 3):
		// It sees a command where there is none.
		return g.Kill(ReasonUnexpectedReply)
	case code == 220 && pending == verbSTARTTLS:
		g.phase = PhaseHandshake
	case code == 220 && !greeting:
		return g.Kill(ReasonUnexpected220)
	case code == 334:
		if greeting || g.refusesAuth() {
			return g.Kill(ReasonUnexpectedReply)
		}
		g.phase = PhaseSASL
	case code == 354:
		if greeting || before == PhaseData || g.required() || g.delayed() {
			return g.Kill(ReasonUnexpectedReply)
		}
		g.phase, g.line, g.ended = PhaseData, lineStart, false
		g.texts++
	case code == 250 && pending == verbEHLO:
		g.ehlo = true
	}
	return forward
}
