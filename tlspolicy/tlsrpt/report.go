package tlsrpt

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// Report is a TLS report (RFC 8460 section 4): what one sender saw of one domain
// in one day.
type Report struct {
	Organization string    // who sends the report
	Begin, End   time.Time // first and last second of what it covers, in UTC
	Contact      string    // mail address of the sender; its domain is the submitter
	ID           string    // unique for the submitter, the same if the report is sent again
	Policies     []PolicyReport

	// Extra are the members that RFC 8460 does not define, of a report that was
	// read.
	Extra []Member
}

// PolicyReport is the part of a Report about one policy.
type PolicyReport struct {
	Policy    PolicyInfo
	Successes uint64
	// Failures are the failed sessions. A session that failed in several ways is
	// in several Details, so their sum may be larger.
	Failures uint64
	// Computed tells that the report had no number of failures: Failures is the
	// sum of the Details.
	Computed bool
	Details  []FailureDetail

	Extra []Member
}

// FailureDetail counts the sessions that failed in one way.
type FailureDetail struct {
	Result                ResultType
	SendingIP             netip.Addr // invalid if it is not known, as before a connection
	ReceivingMX           string
	ReceivingHelo         string
	ReceivingIP           netip.Addr
	Count                 uint64
	AdditionalInformation string // URI
	Reason                string

	Extra []Member
}

// Member is a member of a report that RFC 8460 does not define.
type Member struct {
	Name  string // with that of the object around it, such as "summary.other"
	Value json.RawMessage
}

// Domain returns the domain that the report is about, as far as its policies
// agree: the policy domain of the first that is not of type tlsa, otherwise of
// the first.
func (r *Report) Domain() string {
	for i := range r.Policies {
		if p := &r.Policies[i].Policy; p.Type != PolicyTLSA && p.Domain != "" {
			return p.Domain
		}
	}
	if len(r.Policies) > 0 {
		return r.Policies[0].Policy.Domain
	}
	return ""
}

// Submitter returns the domain of the contact, empty if that is no address.
func (r *Report) Submitter() string {
	_, domain, ok := strings.Cut(r.Contact, "@")
	if i := strings.LastIndexByte(domain, '@'); i >= 0 {
		domain = domain[i+1:]
	}
	if !ok {
		return ""
	}
	return domain
}

// Totals returns the sums over all policies. They do not overflow: at the largest
// number they stay.
func (r *Report) Totals() (successes, failures uint64) {
	for i := range r.Policies {
		successes = add(successes, r.Policies[i].Successes)
		failures = add(failures, r.Policies[i].Failures)
	}
	return successes, failures
}

// add adds and stays at the largest number instead of wrapping around.
func add(a, b uint64) uint64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return ^uint64(0)
}

// Sanitized returns a copy for a dashboard or a terminal, without control,
// direction and line-separating characters in any text. All text of a report is
// the word of a stranger, who in turn repeats what mail hosts told him: it still
// must be escaped for HTML. The copy has no Extra.
func (r *Report) Sanitized() *Report {
	c := *r
	c.Organization, c.Contact, c.ID, c.Extra = printable(r.Organization), printable(r.Contact), printable(r.ID), nil
	c.Policies = make([]PolicyReport, len(r.Policies))
	for i := range r.Policies {
		p := r.Policies[i]
		p.Extra = nil
		p.Policy = PolicyInfo{
			Type: PolicyType(printable(string(p.Policy.Type))), Domain: printable(p.Policy.Domain),
			Lines: printables(p.Policy.Lines), MXHosts: printables(p.Policy.MXHosts),
		}
		details := make([]FailureDetail, len(p.Details))
		for j, d := range p.Details {
			d.Extra = nil
			d.Result = ResultType(printable(string(d.Result)))
			d.ReceivingMX, d.ReceivingHelo = printable(d.ReceivingMX), printable(d.ReceivingHelo)
			d.AdditionalInformation, d.Reason = printable(d.AdditionalInformation), printable(d.Reason)
			d.SendingIP, d.ReceivingIP = d.SendingIP.WithZone(""), d.ReceivingIP.WithZone("")
			details[j] = d
		}
		p.Details = details
		c.Policies[i] = p
	}
	return &c
}

// validText reports whether s may stand in I-JSON: UTF-8 without noncharacters (RFC
// 7493 section 2.1).
func validText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, noncharacter)
}

// cleanText returns s as I-JSON may have it.
func cleanText(s string) string {
	if validText(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if noncharacter(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

func cleanTexts(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = cleanText(s)
	}
	return out
}

func noncharacter(r rune) bool { return r&0xfffe == 0xfffe || 0xfdd0 <= r && r <= 0xfdef }

func printables(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = printable(s)
	}
	return out
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ', 0x7f <= r && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufeff', // C0, C1, separators
			'\u200b' <= r && r <= '\u200f', '\u202a' <= r && r <= '\u202e', '\u2060' <= r && r <= '\u206f', // unseen, directions
			noncharacter(r),
			r == '\u061c', r == '\u00ad', 0xe0000 <= r && r <= 0xe007f: // the same, tags
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
