package dsn

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// text returns the part for people: what happened, and what to do about it.
func (c *composer) text(back returned) []byte {
	var b bytes.Buffer
	say := func(indent, format string, args ...any) {
		wrap(&b, indent, fmt.Sprintf(format, args...))
	}
	say("", "This is the mail system at %s.", c.ReportingMTA)
	failed, delayed, passed := c.with(Failed), c.with(Delayed), append(c.with(Delivered), c.with(Relayed)...)
	if len(failed) > 0 {
		b.WriteString("\r\n")
		say("", "Your message could not be delivered to the recipients below. It will not be tried again. What you can do stands with each of them.")
		c.recipients(&b, failed)
	}
	if len(delayed) > 0 {
		b.WriteString("\r\n")
		say("", "Your message has not been delivered yet to the recipients below. You need not send it again: it is kept here and tried again.")
		c.recipients(&b, delayed)
	}
	if len(passed) > 0 {
		b.WriteString("\r\n")
		say("", "Your message was delivered to the recipients below, or handed to a mail system that sends no confirmations.")
		c.recipients(&b, passed)
	}
	b.WriteString("\r\n")
	if back.data != nil || back.whole {
		what := "The header of your message is attached"
		if back.whole {
			what = "Your message is attached"
		}
		if back.why != "" {
			what += "; the rest is not, since " + back.why
		}
		say("", "%s.", what)
	}
	say("", "If you need help, write to %s and attach this notification.", c.From)
	return b.Bytes()
}

// with returns the recipients of an action.
func (c *composer) with(a Action) []Recipient {
	var found []Recipient
	for _, r := range c.Recipients {
		if r.action() == a {
			found = append(found, r)
		}
	}
	return found
}

func (c *composer) recipients(b *bytes.Buffer, list []Recipient) {
	for i := range list {
		r := &list[i]
		address := r.Address
		if !c.utf8 && !ascii(address) {
			_, address, _ = strings.Cut(c.address("rfc822", address), "; ")
		}
		b.WriteString("\r\n")
		wrap(b, "  ", "<"+c.line(address, 600)+">")
		code := r.code()
		if reason := c.clean(r.Reason, MaxDiagnostic); reason != "" {
			wrap(b, "    ", reason)
		}
		if advice := adviceFor(code, r.action()); advice != "" {
			wrap(b, "    ", advice)
		}
		if text := c.clean(r.Diagnostic, MaxDiagnostic); text != "" {
			host := c.clean(r.RemoteMTA, 255)
			if host == "" {
				host = "The next mail system"
			}
			wrap(b, "    ", host+" said: "+text)
		}
		if r.Action == Delayed && !r.WillRetryUntil.IsZero() {
			wrap(b, "    ", "It is given up on "+r.WillRetryUntil.UTC().Format(time.RFC1123)+" if it has not been delivered by then.")
		}
	}
}

// advice is what a code means for the one who wrote the message, by its last two
// numbers (RFC 3463 and the registry of RFC 5248).
var advice = map[string]string{
	"1.1":  "The address does not exist there. Check how it is spelled.",
	"1.2":  "The domain does not exist or cannot receive mail. Check how it is spelled.",
	"1.3":  "The address is not written as it should be. Check how it is spelled.",
	"1.6":  "The mailbox has moved, and the new address is not known. Ask the recipient for it.",
	"1.10": "The domain accepts no mail at all. Use another address of the recipient.",
	"2.1":  "The mailbox is closed. Use another address of the recipient.",
	"2.2":  "The mailbox is full. Tell the recipient in another way, and send the message again later.",
	"2.3":  "The message is too large for the mailbox. Send a smaller one.",
	"3.4":  "The message is too large for the other mail system. Send a smaller one.",
	"3.5":  "This mail system is not set up as it should be. Its operators have to mend that.",
	"4.1":  "The other mail system does not answer.",
	"4.2":  "The connection to the other mail system broke off.",
	"4.3":  "The domain could not be looked up.",
	"4.4":  "No way to the other mail system was found.",
	"4.6":  "Mail for the recipient goes round in circles. Only the operators can change that.",
	"4.7":  "The time for which messages are kept is over. Try again, or reach the recipient in another way.",
	"6.1":  "The other mail system does not accept this kind of content.",
	"6.3":  "The message would have to be converted, and that is not possible. Send it as plain text.",
	"7.1":  "The other mail system does not accept the message. Its own words say why.",
	"7.4":  "The way to the other mail system has to be encrypted, and it offers no encryption. Nothing was sent in clear text.",
	"7.5":  "The way to the other mail system has to be encrypted, and it did not prove that it is the right one. Nothing was sent to it. If the message is urgent, reach the recipient in another way and tell the operators.",
	"7.10": "The message has to be encrypted on its way, and is not. Only the operators can change that.",
	"7.30": "You asked that the message be encrypted on its whole way (REQUIRETLS), and the next mail system cannot promise that. Send it without that wish, or use another address.",
}

// adviceFor returns the advice for a code.
func adviceFor(code string, a Action) string {
	if a == Delivered || a == Relayed {
		return ""
	}
	if text, ok := advice[code[2:]]; ok {
		return text
	}
	switch code[0] {
	case '4':
		return "The other mail system could not take the message at the time."
	}
	return "The other mail system does not accept the message."
}

// wrap writes a text in lines of moderate length, with long words whole: none here is
// longer than a line of mail can be.
func wrap(b *bytes.Buffer, indent, text string) {
	at := 0
	for word := range strings.FieldsSeq(text) {
		if at > 0 && at+1+len(word) > softLine {
			b.WriteString("\r\n")
			at = 0
		}
		if at == 0 {
			b.WriteString(indent)
			at = len(indent)
		} else {
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	b.WriteString("\r\n")
}
