package policymap

import (
	"fmt"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
)

// Status is the kind of an Answer.
type Status uint8

const (
	// Temp is the zero value: nobody knows, or Postfix cannot do what is needed. Mail
	// waits.
	Temp Status = iota
	// Found: the Answer has a Level.
	Found
	// NotFound: nothing is published, and the table says nothing. Postfix goes by
	// main.cf.
	NotFound
	// Perm: the request makes no sense. Postfix lets mail wait, and warns.
	Perm
)

// String returns the word of the socketmap protocol.
func (s Status) String() string {
	switch s {
	case Found:
		return "OK"
	case NotFound:
		return "NOTFOUND"
	case Perm:
		return "PERM"
	}
	return "TEMP"
}

// Level is a TLS security level of Postfix (TLS_README, "Client TLS security
// levels").
type Level string

// The levels that answers have.
const (
	None     Level = "none"      // clear text
	May      Level = "may"       // TLS if it can be had
	Encrypt  Level = "encrypt"   // TLS, unauthenticated
	DANE     Level = "dane"      // TLSA records decide for each host; may where there are none
	DANEOnly Level = "dane-only" // hosts with usable TLSA records alone
	Secure   Level = "secure"    // a certificate for one of the names in match
)

// minimumTLS is the attribute for TLS 1.2 and up: below it nothing counts as
// authenticated. The spelling with exclusions is read by every Postfix; ">=TLSv1.2"
// only from 3.6 on.
const minimumTLS = " protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1"

// An Answer is what Postfix is told about a next hop, and why. The zero Answer is
// a TEMP without reason.
type Answer struct {
	Status Status
	Level  Level // if Status is Found
	// Match are the names of which the certificate must have one, for Secure.
	Match []string
	// Strict asks for TLS 1.2 or later.
	Strict bool
	// STS is the enforced MTA-STS policy that the answer rests on; nil if it is
	// something else. Its attributes go to those who ask for them.
	STS *STS
	// Row is the row of the table of answers in README.md that decided.
	Row string
	// Why says it in a sentence for operators. Postfix logs it with TEMP and PERM.
	Why string
	// Expires is when the first of the facts behind the answer runs out.
	Expires time.Time

	plain, full string // the texts of an answer that is remembered
	enforced    bool   // a TEMP although, or because, a MTA-STS policy is enforced
}

// STS is a MTA-STS policy as Postfix 3.10 and later want to know it, for TLS reports and to
// compare MX hosts with its patterns.
type STS struct {
	Domain  string
	Policy  *mtasts.Policy
	Expires time.Time
}

// Text returns the value of the table entry: the level and its attributes. With
// attributes those are added that Postfix 3.10 introduced, if there are any; older
// versions would refuse the whole entry. It is "" unless Status is Found.
func (a Answer) Text(attributes bool) string {
	switch {
	case a.Status != Found:
		return ""
	case a.plain == "":
		a.render(time.Now())
	}
	if attributes {
		return a.full
	}
	return a.plain
}

// render writes both texts. now is for the remaining lifetime of the policy.
func (a *Answer) render(now time.Time) {
	var b strings.Builder
	b.WriteString(string(a.Level))
	if a.Level == Secure {
		b.WriteString(" match=" + strings.Join(a.Match, ":"))
		// RFC 8461 section 4.1: SNI is the MX host. Postfix sends none unless told to.
		b.WriteString(" servername=hostname")
	}
	if a.Strict {
		b.WriteString(minimumTLS)
	}
	a.plain = b.String()
	if a.STS != nil {
		a.STS.append(&b, now)
	}
	a.full = b.String()
	if len(a.full) > MaxText {
		a.full = a.plain
	}
}

// append writes the attributes. There must be at least one policy_string and one
// mx_host_pattern, which Postfix 3.10 takes for granted.
//
// The policy is written anew and not quoted from the file: a brace or control
// character in a field that RFC 8461 does not know would be read as the end of the
// attribute.
func (s *STS) append(b *strings.Builder, now time.Time) {
	fmt.Fprintf(b, " policy_type=sts policy_domain=%s policy_ttl=%d", s.Domain, max(0, int64(s.Expires.Sub(now)/time.Second)))
	fmt.Fprintf(b, " { policy_string = version: STSv1 } { policy_string = mode: %s }", s.Policy.Mode)
	for _, mx := range s.Policy.MX {
		fmt.Fprintf(b, " { policy_string = mx: %s }", mx)
	}
	fmt.Fprintf(b, " { policy_string = max_age: %d }", s.Policy.MaxAge/time.Second)
	for _, mx := range s.Policy.MX {
		b.WriteString(" mx_host_pattern=" + mx)
	}
}

// String returns the answer as an operator sees it: the entry, or the word of the
// protocol and the reason.
func (a Answer) String() string {
	switch a.Status {
	case Found:
		return a.Text(false)
	case NotFound:
		return a.Status.String()
	}
	return a.Status.String() + " " + a.Why
}
