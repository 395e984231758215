package main

import (
	"bytes"
	"fmt"
	"strings"
)

// A page is how a Result is laid out for a person.
type page struct {
	width  int
	colour bool
}

// A tone is what a word means; on a terminal each has a colour.
type tone string

const (
	plain  tone = ""
	bold   tone = "\x1b[1m"
	good   tone = "\x1b[32m" // green
	fair   tone = "\x1b[36m" // cyan
	poor   tone = "\x1b[33m" // yellow
	bad    tone = "\x1b[31m" // red
	severe tone = "\x1b[1;31m"
)

// A writer puts paragraphs on a page. Texts are printable ASCII by now, so that an
// octet is a column.
type writer struct {
	page
	b bytes.Buffer
}

func (p page) writer() *writer { return &writer{page: p} }

func (w *writer) bytes() []byte { return w.b.Bytes() }

func (w *writer) blank() { w.b.WriteByte('\n') }

// paragraph writes text behind a label, wrapped to the width. Further lines stand
// under the beginning of the text, or where the label is too long for that, two
// columns in from it.
func (w *writer) paragraph(label, text string) { w.toned(plain, label, text) }

// toned is paragraph with the label in a colour.
func (w *writer) toned(t tone, label, text string) {
	indent := len(label) - len(strings.TrimLeft(label, " "))
	hang := len(label)
	if hang > w.width/3 {
		hang = indent + 2
	}
	lead := label
	if t != plain && w.colour {
		lead = label[:indent] + string(t) + label[indent:] + "\x1b[0m"
	}
	w.b.WriteString(lead)
	column := len(label)
	fresh := true // nothing of the text stands in the line yet
	for _, word := range strings.Fields(text) {
		room := w.width - column
		if !fresh {
			room--
		}
		if len(word) > room && column > hang {
			w.b.WriteString("\n" + strings.Repeat(" ", hang))
			column, fresh = hang, true
			room = w.width - column
		}
		if !fresh {
			w.b.WriteByte(' ')
			column++
		}
		for len(word) > room { // a digest on a narrow screen
			w.b.WriteString(word[:room] + "\n" + strings.Repeat(" ", hang))
			word, room = word[room:], w.width-hang
			column = hang
		}
		w.b.WriteString(word)
		column += len(word)
		fresh = false
	}
	w.blank()
}

var statusWords = map[Status]struct {
	tone tone
	word string
}{
	StatusOK: {good, "OK"}, StatusMend: {bad, "MEND"}, StatusUnknown: {poor, "UNKNOWN"}, StatusInvalid: {severe, "INVALID"},
}

// render lays a Result out.
func (p page) render(r *Result) []byte {
	w := p.writer()
	s := statusWords[r.Status]
	w.toned(s.tone, s.word+" ", short64(r.Domain)+": "+r.Why)
	if r.Status == StatusInvalid {
		return w.bytes()
	}
	w.paragraph("Asked ", r.Asked.String())
	w.domain(r)
	for i := range r.Hosts {
		w.host(r, &r.Hosts[i])
	}
	w.decisions(r)
	if len(r.Mend) > 0 {
		w.toned(bold, "To mend", "")
	}
	for _, a := range r.Mend {
		t := map[Severity]tone{SeverityError: bad, SeverityWarning: poor, SeverityInfo: fair}[a.Severity]
		w.toned(t, fmt.Sprintf("  %-8s", a.Severity), a.Subject+": "+a.Text+" ["+a.Code+"]")
	}
	for _, n := range r.Notes {
		w.paragraph("  note    ", n)
	}
	return w.bytes()
}

// short64 cuts what was given in place of a domain to a length for a headline.
func short64(text string) string {
	if len(text) > 64 {
		return text[:61] + "..."
	}
	return text
}

func (w *writer) domain(r *Result) {
	w.toned(bold, "Domain", "")
	var hosts []string
	for _, h := range r.MX.Hosts {
		hosts = append(hosts, fmt.Sprintf("%s (%d)", h.Host, h.Pref))
	}
	mx := strings.Join(hosts, ", ")
	switch {
	case r.MX.Null:
		mx = "null MX: the domain takes no mail"
	case r.MX.Implicit:
		mx = "none, so the domain itself is its mail host"
	case mx == "":
		mx = "none"
	}
	if r.MX.Beyond > 0 {
		mx += fmt.Sprintf(" and %d more, which were not looked at", r.MX.Beyond)
	}
	w.paragraph("  MX      ", mx+"; "+worth(r.MX.Lookup))
	w.paragraph("  MTA-STS ", r.MTASTS.String())
	if t := r.TLSRPT; t != nil {
		switch {
		case t.Absent:
			w.paragraph("  reports ", "not asked for")
		case t.Error != "":
			w.paragraph("  reports ", t.Error)
		default:
			w.paragraph("  reports ", t.Record)
		}
	}
}

// worth tells what a DNS answer is worth.
func worth(l Lookup) string {
	switch {
	case l.Error != "":
		return "lookup failed: " + l.Error
	case l.Security == "":
		return "not asked for"
	case l.Outcome == "found":
		return l.Security
	}
	return l.Security + ", " + l.Outcome
}

// String returns what there is to say about a policy; a nil MTASTS is one too.
func (m *MTASTS) String() string {
	if m == nil {
		return "not looked at"
	}
	var parts []string
	switch {
	case m.Mode != "":
		parts = append(parts, fmt.Sprintf("mode %s, for %s, max_age %d s, id %s, %s", m.Mode, some(m.MX), m.MaxAge, m.ID, m.Source))
		if m.Expires != nil {
			parts = append(parts, "good until "+m.Expires.Format("2006-01-02 15:04")+" UTC")
		}
	default:
		parts = append(parts, "no policy: "+m.Outcome)
	}
	if m.Error != "" && m.Outcome != "no-record" {
		parts = append(parts, m.Error)
	}
	return strings.Join(parts, "; ")
}

func (w *writer) host(r *Result, h *Host) {
	w.toned(bold, "Host ", fmt.Sprintf("%s (%d)", h.Host, h.Pref))
	var dns []string
	for _, l := range h.Lookups {
		text := l.Type + " " + worth(l)
		if l.Canonical != "" {
			text += " (alias of " + l.Canonical + ")"
		}
		dns = append(dns, text)
	}
	w.paragraph("  DNS     ", strings.Join(dns, "; "))
	state := h.DANE.State
	if h.DANE.Reason != "" {
		state += " (" + h.DANE.Reason + ")"
	}
	w.paragraph("  DANE    ", state)
	for _, t := range h.DANE.Records {
		text := t.Record
		if !t.Usable {
			text += " unusable: " + t.Why
		}
		w.paragraph("    TLSA  ", text)
	}
	if h.MTASTS != "" && h.MTASTS != "no-policy" && h.MTASTS != "unknown" {
		w.paragraph("  MTA-STS ", h.MTASTS)
	}
	if h.Error != "" {
		w.toned(bad, "  failed  ", h.Error)
	}
	for i := range h.Addresses {
		w.address(h, &h.Addresses[i])
	}
}

func (w *writer) address(h *Host, a *Address) {
	switch {
	case a.Version != "":
		text := a.Version + " " + a.Cipher
		if a.Strict == "handshake-failed" {
			text += ", refused by senders who want TLS 1.2"
		}
		w.paragraph("  ", a.Address+" "+text)
	case a.STARTTLS != "":
		w.paragraph("  ", a.Address+" STARTTLS "+a.STARTTLS)
	default:
		w.paragraph("  ", a.Address+" no conversation: stage "+a.Stage)
	}
	if a.Error != "" {
		w.toned(bad, "    error ", a.Error)
	}
	for i, m := range a.TLSA {
		if i < len(h.DANE.Records) {
			verdict := "matches"
			if !m.OK {
				verdict = "does not match: " + m.Why
			}
			w.paragraph("    TLSA  ", short(h.DANE.Records[i].Record)+" "+verdict)
		}
	}
	for i, c := range a.Certificates {
		label := "    cert  "
		text := fmt.Sprintf("for %s; %s %d; until %s; issued by %s", namesOf(&c), c.Key, c.Bits, day(c.NotAfter), named(c.Issuer))
		if i > 0 {
			label = "    ca    "
			text = fmt.Sprintf("%s; until %s", named(c.Subject), day(c.NotAfter))
		}
		w.paragraph(label, text)
	}
	if a.Chain != "" {
		names := "for another name"
		if a.HostName || len(a.Certificates) > 0 && a.Certificates[0].isFor(h.Host) {
			names = "for this host"
		}
		w.paragraph("    check ", "chain "+a.Chain+", "+names)
	}
}
