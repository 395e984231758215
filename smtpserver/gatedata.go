package smtpserver

import "bytes"

// linePlace is a place in a line of message data.
type linePlace uint8

const (
	lineStart linePlace = iota
	lineDot             // behind a dot at the start
	lineMiddle
)

// Data decides about message data: the first n octets of b pass now. It stops
// behind the end of the data, CRLF.CRLF or a dot in the first line, so that nothing
// stands in the server's buffer behind it; the caller hands in the rest again when
// the server has replied, to Command, or when the server reads on, to Data. A CR at
// the end of b stays back until its successor is known, so n may be 0.
//
// A bare CR or LF ends the session, unless the policy lets it pass: servers differ
// on what it means, and where one sees the end of a message and another does not,
// commands can be smuggled past either (CVE-2023-51764).
func (g *Gate) Data(b []byte) (n int, a Action) {
	if g.phase != PhaseData {
		return 0, g.Kill(ReasonUnexpectedReply)
	}
	if g.policy.BareNewline == On {
		return g.lenientData(b), forward
	}
	if n = g.wholeLines(b); g.ended && n > 0 {
		return n, forward
	}
	for n < len(b) {
		line := b[n:]
		lf := bytes.IndexByte(line, '\n')
		if lf >= 0 {
			line = line[:lf+1]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case lf >= 0 && cr == lf-1 && cr >= 0:
			n += lf + 1
			if g.endLine(line[:cr]) {
				return n, forward
			}
		case lf < 0 && cr < 0:
			g.inLine(line)
			return len(b), forward
		case lf < 0 && cr == len(line)-1:
			g.inLine(line[:cr])
			return n + cr, forward
		default: // a CR without LF, or an LF without CR
			good := cr
			if cr < 0 {
				good = lf
			}
			if n+good == 0 {
				return 0, g.answerClose(ReplyBareNewline, ReasonBareNewline)
			}
			g.inLine(line[:good])
			return n + good, forward
		}
	}
	return n, forward
}

var carriageReturn, lineFeed = []byte{'\r'}, []byte{'\n'}

// wholeLines is the quick way through what nearly all data is made of: lines that end
// with CRLF and have no other CR. It returns how many octets of b are such lines, up
// to the end of the data, and 0 if it cannot say.
//
// Encoded lines are as long as the one before, so that is where it looks for an LF
// first. What it jumped over shows when all of them are counted.
func (g *Gate) wholeLines(b []byte) (n int) {
	if g.ended {
		return 0
	}
	line, ended, lines, lf := g.line, false, 0, 0
	for !ended {
		rest := b[n:]
		if lf >= len(rest) || rest[lf] != '\n' {
			lf = bytes.IndexByte(rest, '\n')
		}
		if lf < 1 || rest[lf-1] != '\r' {
			break
		}
		switch line {
		case lineStart:
			ended = lf == 2 && rest[0] == '.'
		case lineDot:
			ended = lf == 1
		}
		n, line, lines = n+lf+1, lineStart, lines+1
	}
	if n == 0 || bytes.Count(b[:n], carriageReturn) != lines || bytes.Count(b[:n], lineFeed) != lines {
		return 0
	}
	g.line, g.ended = lineStart, ended
	return n
}

// lenientData is Data for policies that let bare CR and LF pass. Lines end with
// CRLF all the same.
func (g *Gate) lenientData(b []byte) (n int) {
	for n < len(b) {
		line := b[n:]
		lf := bytes.IndexByte(line, '\n')
		switch {
		case lf < 0:
			line = bytes.TrimSuffix(line, []byte{'\r'})
			g.inLine(line)
			return n + len(line)
		case lf > 0 && line[lf-1] == '\r':
			n += lf + 1
			if g.endLine(line[:lf-1]) {
				return n
			}
		default:
			g.inLine(line[:lf+1])
			n += lf + 1
		}
	}
	return n
}

// inLine takes note of octets within a line.
func (g *Gate) inLine(b []byte) {
	switch {
	case len(b) == 0:
	case g.line == lineStart && len(b) == 1 && b[0] == '.':
		g.line = lineDot
	default:
		g.line = lineMiddle
	}
}

// endLine takes note of the last octets of a line and its end. It says whether what
// follows must stay back: the data ends here, or it ended before by our count and
// the server, reading on, does not agree. From then on it gets a line at a time.
func (g *Gate) endLine(b []byte) (stop bool) {
	g.inLine(b)
	if g.line == lineDot {
		g.ended = true
	}
	g.line = lineStart
	return g.ended
}
