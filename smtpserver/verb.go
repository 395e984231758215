package smtpserver

import "bytes"

// verb is what the filter needs to know of a command.
type verb uint8

const (
	verbOther verb = iota // well formed, and nothing to the filter
	verbMalformed
	verbEHLO
	verbHELO
	verbNOOP
	verbQUIT
	verbSTARTTLS
	verbSTARTTLSLonger // STARTTLSX: some servers take it for STARTTLS
	verbAUTH
	verbBDAT
	verbRCPT
	verbDATA
	verbHTTP
)

// maxVerb is the longest verb that passes. RFC 5321 has none above 8 octets.
const maxVerb = 16

// parseVerb reads the verb of a command line without its CRLF. parameter says
// whether anything but blanks follows it.
func parseVerb(line []byte) (v verb, parameter bool) {
	word := line
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		word = line[:i]
		parameter = len(bytes.TrimLeft(line[i:], " ")) > 0
	}
	const starttls = "STARTTLS"
	if len(word) > len(starttls) && foldedEqual(word[:len(starttls)], starttls) {
		return verbSTARTTLSLonger, parameter
	}
	if len(word) == 0 || len(word) > maxVerb {
		return verbMalformed, parameter
	}
	var upper [maxVerb]byte
	for i, c := range word {
		switch {
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		default:
			return verbMalformed, parameter
		}
		upper[i] = c
	}
	switch string(upper[:len(word)]) {
	case "EHLO":
		return verbEHLO, parameter
	case "HELO":
		return verbHELO, parameter
	case "NOOP":
		return verbNOOP, parameter
	case "QUIT":
		return verbQUIT, parameter
	case starttls:
		return verbSTARTTLS, parameter
	case "AUTH":
		return verbAUTH, parameter
	case "BDAT":
		return verbBDAT, parameter
	case "RCPT":
		return verbRCPT, parameter
	case "DATA":
		return verbDATA, parameter
	case "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS":
		return verbHTTP, parameter
	}
	return verbOther, parameter
}

// foldedEqual compares b with an upper-case ASCII word without regard to case.
// Unlike bytes.EqualFold it takes no other letter for one of ASCII.
func foldedEqual(b []byte, upper string) bool {
	if len(b) != len(upper) {
		return false
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}
