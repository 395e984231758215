package smtpserver

import "fmt"

// Reply numbers the replies that the filter itself gives. The zero value is
// ReplyNone. Codes and enhanced codes are fixed, as is the text of ReplyTLSFirst,
// which RFC 3207 section 4 prescribes.
type Reply uint8

const (
	ReplyNone              Reply = iota
	ReplyTLSFirst                // 530: TLS is required and this command is not for clear text
	ReplyNoSTARTTLS              // 502: STARTTLS is not for this peer
	ReplySTARTTLSParameter       // 501: STARTTLS has no parameters
	ReplySTARTTLSEarly           // 503: STARTTLS before a successful EHLO
	ReplyNoCertificate           // 454: there is no usable certificate now
	ReplySTARTTLSInjection       // 554, close: octets behind STARTTLS
	ReplySyntax                  // 500: no command
	ReplyTooLong                 // 500, close: a line without end
	ReplyBareNewline             // 521, close: CR or LF that is not CRLF
	ReplyClientHello             // 521, close: TLS where SMTP belongs
	ReplyBDAT                    // 502, close: BDAT in clear text
	ReplyAuth                    // 538: AUTH in clear text
	ReplyHTTP                    // 421, close: a web client
	ReplyTooManyBad              // 421, close: too many refused commands
	ReplyTooManyConns            // 421, close: too many connections from one address
	ReplyFull                    // 421, close: too many connections
	ReplyTimeout                 // 421, close
	ReplyEarlyTalker             // 554, close: the peer spoke before the greeting
	ReplyRejected                // what the policy says, 554 or 550 by default
	ReplyBadSequence             // 503: a command of a rejected peer
	ReplyBye                     // 221, close
	replies                      // their number
)

var replyLines = [replies]string{
	ReplyTLSFirst:          "530 5.7.0 Must issue a STARTTLS command first\r\n",
	ReplyNoSTARTTLS:        "502 5.5.1 STARTTLS is not available\r\n",
	ReplySTARTTLSParameter: "501 5.5.4 STARTTLS takes no parameters\r\n",
	ReplySTARTTLSEarly:     "503 5.5.1 Send EHLO first\r\n",
	ReplyNoCertificate:     "454 4.7.0 TLS is not available at the moment\r\n",
	ReplySTARTTLSInjection: "554 5.5.1 Nothing may follow STARTTLS before its reply\r\n",
	ReplySyntax:            "500 5.5.2 Syntax error, command not recognized\r\n",
	ReplyTooLong:           "500 5.5.2 Line too long\r\n",
	ReplyBareNewline:       "521 5.5.2 Lines end with CR LF, which stand nowhere else\r\n",
	ReplyClientHello:       "521 5.5.2 This port speaks SMTP, TLS starts with STARTTLS\r\n",
	ReplyBDAT:              "502 5.5.1 BDAT is not available before TLS\r\n",
	ReplyAuth:              "538 5.7.11 Encryption is required for authentication\r\n",
	ReplyHTTP:              "421 4.7.0 This is not a web server\r\n",
	ReplyTooManyBad:        "421 4.7.0 Too many bad commands\r\n",
	ReplyTooManyConns:      "421 4.7.0 Too many connections from your address\r\n",
	ReplyFull:              "421 4.3.2 Too many connections, try again later\r\n",
	ReplyTimeout:           "421 4.4.2 Timeout\r\n",
	ReplyEarlyTalker:       "554 5.5.1 Wait for the greeting\r\n",
	ReplyRejected:          "554 5.7.1 Access denied\r\n",
	ReplyBadSequence:       "503 5.5.1 No mail is taken here\r\n",
	ReplyBye:               "221 2.0.0 Bye\r\n",
}

// replyOctets has the same as what a connection writes.
var replyOctets = func() (octets [replies][]byte) {
	for r, line := range replyLines {
		octets[r] = []byte(line)
	}
	return octets
}()

// Code returns the reply code, 0 for ReplyNone. That of ReplyRejected is its
// default; a policy may say another.
func (r Reply) Code() int {
	if r >= replies || r == ReplyNone {
		return 0
	}
	line := replyLines[r]
	return int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
}

// String returns the reply without its CRLF, "" for ReplyNone.
func (r Reply) String() string {
	if r >= replies || r == ReplyNone {
		return ""
	}
	line := replyLines[r]
	return line[:len(line)-2]
}

// refusal returns the reply line of a rejection.
func (r Rejection) refusal() []byte {
	return fmt.Appendf(nil, "%d %d.7.1 %s\r\n", r.Code, r.Code/100, r.Text)
}

// appendGreeting writes the banner in place of a greeting of the server, whose host
// name it keeps if it has none of its own. The greeting has no enhanced code (RFC
// 2034 section 4).
func (b *Banner) appendGreeting(dst, server []byte) []byte {
	dst = fmt.Appendf(dst, "%d ", b.Code)
	if b.Host != "" {
		dst = append(dst, b.Host...)
	} else {
		dst = append(dst, greetingHost(server)...)
	}
	return fmt.Appendf(dst, " %s\r\n", b.Text)
}

// greetingHost returns the first word behind the code of a greeting.
func greetingHost(greeting []byte) []byte {
	if len(greeting) < 4 {
		return nil
	}
	word := greeting[4:]
	for i, c := range word {
		if c <= ' ' {
			return word[:i]
		}
	}
	return word
}
