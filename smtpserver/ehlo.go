package smtpserver

import "bytes"

// FilterEHLO appends to dst what the client may see of a complete 250 reply to
// EHLO: without STARTTLS where the peer cannot have it, without AUTH where it is
// refused in clear text, and without CHUNKING, BINARYMIME and REQUIRETLS, which
// have no place before TLS. Everything else stays, in order; nothing is added.
// Lines that do not belong to a 250 reply are dropped.
func (g *Gate) FilterEHLO(dst, reply []byte) []byte {
	if g.policy == nil {
		return dst
	}
	last := -1 // where the separator of the last line stands
	for first := true; len(reply) > 0; {
		line := reply
		if lf := bytes.IndexByte(reply, '\n'); lf >= 0 {
			line, reply = reply[:lf], reply[lf+1:]
		} else {
			reply = nil
		}
		line = bytes.TrimRight(line, "\r")
		text, ok := bytes.CutPrefix(line, []byte("250"))
		if !ok || len(text) > 0 && text[0] != '-' && text[0] != ' ' {
			continue
		}
		if len(text) > 0 {
			text = text[1:]
		}
		if !first && g.hides(text) {
			continue
		}
		first = false
		last = len(dst) + len("250")
		dst = append(dst, "250-"...)
		dst = append(dst, text...)
		dst = append(dst, "\r\n"...)
	}
	if last >= 0 {
		dst[last] = ' '
	}
	return dst
}

// hides says whether the peer may not see a line of the EHLO reply.
func (g *Gate) hides(text []byte) bool {
	keyword := bytes.TrimLeft(text, " \t")
	if i := bytes.IndexAny(keyword, " \t="); i >= 0 { // "AUTH=LOGIN" is an old form of "AUTH LOGIN"
		keyword = keyword[:i]
	}
	switch {
	case foldedEqual(keyword, "STARTTLS"):
		g.offered = true
		return !g.hasSTARTTLS() || g.options.NoCertificate
	case foldedEqual(keyword, "AUTH"):
		return g.refusesAuth()
	}
	return foldedEqual(keyword, "CHUNKING") || foldedEqual(keyword, "BINARYMIME") || foldedEqual(keyword, "REQUIRETLS")
}
