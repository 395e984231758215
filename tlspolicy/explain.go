package tlspolicy

import (
	"cmp"
	"strconv"
	"strings"
	"unicode"
)

// Explanation holds what [Explain] puts into words: the values that led to one
// decision. Leave out what was not reached; the text ends there.
type Explanation struct {
	Domain string // recipient domain, "" if the delivery has none
	// Host is the MX host or next hop. It is empty for a Decision that
	// [PlanDomain] made about the whole domain.
	Host string

	Settings Settings // as Plan got them
	Origin   Origin   // as the table gave it

	DANE       DANEState // of the host; of the MX lookup if Host is empty
	DANEDetail string    // a few words on what was found, or ""
	STS        STSState
	STSPolicy  string // id of the MTA-STS policy, or ""
	STSDetail  string // a few words on what was found, or ""

	Requirement   Requirement
	Outcome       Outcome
	OutcomeDetail string // a few words on what went wrong, or ""
	Decision      Decision
}

// maxDetail bounds what one text of a peer or of the DNS adds to an explanation,
// in octets: enough for a name of full length.
const maxDetail = 256

// Explain returns why a host or connection was treated as it was: a line for
// each step, with the row of the decision tables in front (P for what is known
// before connecting, N for connections without a TLS session, E for those
// with one) and the rule's source behind, then the decision, and what would make
// it pass if it did not. The lines end in "\n". The text is for people; its
// wording may change.
//
// Texts of others are cut to 256 octets and lose their control characters, so
// that the result can be shown on a terminal.
func Explain(e Explanation) string {
	domain := cmp.Or(printable(e.Domain), "the destination")
	host := cmp.Or(printable(e.Host), "the host")
	policy := "the MTA-STS policy of " + domain
	if e.STSPolicy != "" {
		policy = "the MTA-STS policy " + printable(e.STSPolicy)
	}
	w := explainer{Explanation: e, words: strings.NewReplacer("{domain}", domain, "{host}", host,
		"{policy}", policy, "{mode}", e.Settings.Mode.String(), "{fallback}", e.Settings.Fallback.String())}
	w.settings()
	if e.Settings.resolved() {
		w.plan()
	}
	w.outcome()
	w.decision()
	return w.text.String()
}

// explainer writes the lines of one explanation.
type explainer struct {
	Explanation
	words *strings.Replacer
	text  strings.Builder
}

// line writes "row: sentence: detail (source)." with the words filled in. Row,
// detail and source may be empty. The detail comes after the replacement, so
// that no peer can make it say anything about words of ours.
func (w *explainer) line(row, sentence, detail, source string) {
	if row != "" {
		w.text.WriteString(row + ": ")
	}
	w.text.WriteString(w.words.Replace(sentence))
	if detail = printable(detail); detail != "" {
		w.text.WriteString(" [" + detail + "]")
	}
	if source != "" {
		w.text.WriteString(" (" + source + ")")
	}
	w.text.WriteString(".\n")
}

// settings writes which entry governs, and where it has each field from.
func (w *explainer) settings() {
	s, o := w.Settings, w.Origin
	subject := "The entry " + strconv.Quote(o.Entry()) + " governs "
	if o.Match == MatchDefault {
		subject = "The default entry governs "
	}
	if w.Domain == "" {
		subject += "{host}"
	} else {
		subject += "{domain}"
	}
	source := chapterTable
	mode, dane, sts := from(o.Mode), from(o.DANE), from(o.MTASTS)
	switch {
	case s.message&requireTLS != 0: // it may have raised any of the three
		subject, source = subject+", with REQUIRETLS", source+", and RFC 8689 section 4.2.1"
		mode, dane, sts = "", "", ""
	case s.message&tlsOptional != 0:
		subject, source = subject+`, with "TLS-Required: No"`, source+", and RFC 8689 section 4.2.2"
		if s.message&overrideLocal != 0 {
			mode = ""
		}
	}
	w.line("", subject+": mode "+s.Mode.String()+mode+", DANE "+s.DANE.String()+dane+
		", MTA-STS "+s.MTASTS.String()+sts+", fallback "+s.Fallback.String()+from(o.Fallback),
		"", source)
}

// from tells where a field comes from if not from the entry itself.
func from(s Source) string {
	switch s {
	case SourceEntry:
		return ""
	case SourceDefault:
		return " by default entry"
	}
	return " built in"
}

// plan writes the rows that were passed before connecting.
func (w *explainer) plan() {
	e := &w.Explanation
	if e.Settings.Mode == No {
		w.line("P1", "mode no sends no STARTTLS, and neither DANE nor MTA-STS is evaluated", "", chapterModes)
		return
	}
	if e.Decision.Reason == ReasonInputInvalid && e.Requirement.Kind() == KindSkip {
		return // there is no finding to speak of
	}
	if !w.policies() {
		return
	}
	switch {
	case e.Settings.Mode.required():
		sentence := modeWords[e.Settings.Mode]
		if e.Requirement.SecureMXOnly() {
			sentence += "; a host name out of unprotected DNS does not count"
		}
		w.line("P13", sentence, "", chapterModes)
	case e.Requirement.TLSFloor():
		w.line("P14", "mode {mode} asks for no more, so the TLS that unusable TLSA records call for is required", "", "RFC 7672 section 2.2")
	default:
		w.line("P15", modeWords[e.Settings.Mode], "", chapterModes)
	}
}

// policies writes the rows of DANE and MTA-STS and reports whether the mode
// comes next.
func (w *explainer) policies() bool {
	if w.Settings.message&tlsOptional == 0 {
		return w.dane() && w.sts()
	}
	if w.dane() && w.Host != "" {
		w.sts()
	}
	return w.Host != ""
}

// policyLine writes a row of DANE or MTA-STS.
func (w *explainer) policyLine(row row, detail string) {
	name := row.name
	if w.Settings.message&tlsOptional != 0 {
		name += ", for the report only"
	}
	w.line(name, row.sentence, detail, row.source)
}

// dane writes the row of the DANE finding and reports whether MTA-STS and the
// mode come next.
func (w *explainer) dane() bool {
	e := &w.Explanation
	if e.Settings.DANE == DANENone {
		w.line("", "DANE is none for this destination, so TLSA records have no say", "", "")
		return true
	}
	row := daneRow(e.Settings.DANE, e.DANE)
	if e.Host == "" {
		row = domainRow(e.DANE)
	}
	if row.name == "" {
		return false
	}
	w.policyLine(row, e.DANEDetail)
	return row.goesOn
}

// sts writes the row of the MTA-STS finding and reports whether the mode comes
// next.
func (w *explainer) sts() bool {
	e := &w.Explanation
	if e.Settings.MTASTS == Off {
		w.line("P12", "MTA-STS is off for this destination, so the mode decides", "", chapterSTS)
		return true
	}
	row := stsRow(e.STS)
	if row.name == "" {
		return false
	}
	if e.STS == STSEnforceMatch && e.Settings.Mode.verified() {
		row.sentence += "; mode {mode} asks for its own identity as well"
	}
	w.policyLine(row, e.STSDetail)
	return row.goesOn
}

// outcome writes what happened on the connection, if there was one, and the row
// that it led to.
func (w *explainer) outcome() {
	d := w.Decision
	if d.Reason == ReasonNone {
		return
	}
	if words := outcomeWords(w.Outcome); words != "" && w.Requirement.Kind() > KindClear {
		w.line("", words, w.OutcomeDetail, "")
	}
	row := at(reasonRows[:], d.Reason)
	switch d.Reason {
	case ReasonSTARTTLSRefused, ReasonHandshakeFailed:
		row.sentence += at(fallbackWords[:], d.Action)
	case ReasonModeVerified:
		if !w.Settings.Mode.verified() {
			row.name = "E10"
		}
	case ReasonTLSUnauthenticated:
		row.sentence += at(causeWords[:], d.Cause)
	}
	if row.sentence != "" {
		w.line(row.name, row.sentence, "", row.source)
	}
}

// decision writes what is done, and what would change it.
func (w *explainer) decision() {
	d := w.Decision
	sentence := "Decision: " + d.Action.String() + ", reason " + d.Reason.String()
	if d.Reason == ReasonNone {
		if d.Shadow.Reason == ReasonNone {
			return
		}
		sentence = "Decision: none yet" // PlanDomain had something to report
	}
	if d.Status != StatusNone {
		sentence += ", status " + d.Status.String()
	}
	for policy, result := range d.Counts() {
		sentence += ", reported under " + policy.String() + " as " + cmp.Or(result.String(), "success")
		if policy == d.Shadow.Policy {
			sentence += " (not enforced: " + d.Shadow.Reason.String() + ")"
		}
	}
	w.line("", sentence, "", "")
	if remedy := at(remedies[:], d.Reason); remedy != "" && d.Action == Next {
		w.line("", "It would pass if "+remedy, "", "")
	}
}

// at returns table[i], the zero value for an i that the table does not have.
func at[T any, I ~uint8](table []T, i I) (v T) {
	if int(i) < len(table) {
		v = table[i]
	}
	return v
}

// printable makes a text of others fit for one line on a terminal.
func printable(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
