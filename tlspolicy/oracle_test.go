package tlspolicy_test

import (
	"fmt"
	"strings"

	. "github.com/smtpsec/smtpsec/tlspolicy"
)

// The oracle is a second implementation of the decision tables, which shares
// nothing with the first but the names of the values. Its rules are the three
// tables below: data, read from the top, the first row that applies decides. Its
// cells were taken from the tables that define the behaviour, not from the code;
// where the two disagree, one of them is wrong.
//
// A cell is "*" (anything), "-" (nothing), names with "|" between them, or "!"
// and names (anything but these).

// What is planned before connecting. A row that notes something is not the end: the
// rows below are looked at too.
const planTable = `
row  mode            dane           dane-state   mta-sts  sts-state                              noted  then                reason                   result              policy
P1   no              *              *            *        *                                      *      clear               mode-no                  -                   -
I1   *               !none          unknown      *        *                                      *      skip                input-invalid            -                   -
I2   *               *              *            on       unknown                                *      skip                input-invalid            -                   -
P2   *               !none          bogus        *        *                                      *      skip                dane-bogus               dnssec-invalid      tlsa
P3   *               !none          lookup-error *        *                                      *      skip                dane-lookup-error        tlsa-invalid        tlsa
P4   *               !none          usable       *        *                                      *      dane                -                        -                   tlsa
P5a  *               mandatory      insecure     *        *                                      *      skip                dane-required-insecure   dane-required       tlsa
P5b  *               mandatory      no-tlsa      *        *                                      *      skip                dane-required-no-tlsa    dane-required       tlsa
P6   *               mandatory      unusable     *        *                                      *      skip                dane-required-unusable   tlsa-invalid        tlsa
P7   *               opportunistic  unusable     *        *                                      *      note-floor          -                        -                   -
P9   *               *              *            on       enforce-mx-mismatch                    *      skip                sts-mx-mismatch          validation-failure  sts
P10  *               *              *            on       enforce-mx-match                       *      sts                 -                        -                   sts
P11  *               *              *            on       testing-mx-match|testing-mx-mismatch   *      note-shadow         -                        -                   -
P13a required|required-verify|required-verify-hosted  *  *  *  *                                 floor  mode                -                        -                   tlsa
P13b required|required-verify|required-verify-hosted  *  *  *  *                                 *      mode                -                        -                   no-policy-found
P14  *               *              *            *        *                                      floor  floor               -                        -                   tlsa
P15  preferred|preferred-verify     *  *  *  *                                                   *      opportunistic       -                        -                   no-policy-found
`

// What follows where no TLS session came about. Columns two by two: action and
// reason.
const clearTable = `
row  kind           fallback    absent-action       absent-reason                    refused-action      refused-reason                    failed-action       failed-reason
C1   opportunistic  after-220   deliver-clear       starttls-absent                  next-mx-then-defer  starttls-refused                  reconnect-clear     handshake-failed
C2   opportunistic  always      deliver-clear       starttls-absent                  deliver-clear       starttls-refused                  reconnect-clear     handshake-failed
C3   opportunistic  before-220  deliver-clear       starttls-absent                  deliver-clear       starttls-refused                  next-mx-then-defer  handshake-failed
C4   floor          *           next-mx-then-defer  dane-unusable-tls-required-absent next-mx-then-defer dane-unusable-tls-required-refused next-mx-then-defer dane-unusable-tls-required-handshake-failed
C5   mode           *           next-mx-then-defer  mode-tls-required-absent         next-mx-then-defer  mode-tls-required-refused         next-mx-then-defer  mode-tls-required-handshake-failed
C6   sts            *           next-mx-then-defer  sts-tls-required-absent          next-mx-then-defer  sts-tls-required-refused          next-mx-then-defer  sts-tls-required-handshake-failed
C7   dane           *           next-mx-then-defer  dane-tls-required-absent         next-mx-then-defer  dane-tls-required-refused         next-mx-then-defer  dane-tls-required-handshake-failed
`

// What follows on a TLS session. The flags: dane = DANEMatch, sts = STSName,
// name = the name that the mode wants, extra = ExtraFailed, old = OldTLS.
const sessionTable = `
row  kind                 mode                                    chain    dane sts name extra old  action                  reason                   result
E0a  dane|sts             *                                       *        *    *   *    *     1    as-handshake-failed     -                        -
E0b  mode                 required-verify|required-verify-hosted  *        *    *   *    *     1    as-handshake-failed     -                        -
E1   dane                 *                                       *        1    *   *    *     *    deliver-tls-verified    dane-verified            -
E2   dane                 *                                       *        *    *   *    *     *    next-mx-then-defer      dane-mismatch            validation-failure
E3a  sts                  *                                       expired  *    *   *    *     *    next-mx-then-defer      sts-cert-untrusted       certificate-expired
E3b  sts                  *                                       !ok      *    *   *    *     *    next-mx-then-defer      sts-cert-untrusted       certificate-not-trusted
E4   sts                  *                                       *        *    0   *    *     *    next-mx-then-defer      sts-cert-name-mismatch   certificate-host-mismatch
E5a  sts|mode             required-verify|required-verify-hosted  expired  *    *   *    *     *    next-mx-then-defer      mode-cert-untrusted      certificate-expired
E5b  sts|mode             required-verify|required-verify-hosted  !ok      *    *   *    *     *    next-mx-then-defer      mode-cert-untrusted      certificate-not-trusted
E6   sts|mode             required-verify|required-verify-hosted  *        *    *   0    *     *    next-mx-then-defer      mode-cert-name-mismatch  certificate-host-mismatch
E7   sts|mode             required-verify|required-verify-hosted  *        *    *   *    1     *    next-mx-then-defer      mode-cert-invalid        validation-failure
E8a  sts                  required-verify|required-verify-hosted  *        *    *   *    *     *    deliver-tls-verified    sts+mode-verified        -
E8b  mode                 required-verify|required-verify-hosted  *        *    *   *    *     *    deliver-tls-verified    mode-verified            -
E9   sts                  *                                       *        *    *   *    *     *    deliver-tls-verified    sts-verified             -
E10  floor|opportunistic  preferred-verify                        ok       *    *   1    0     0    deliver-tls-verified    mode-verified            -
E11  *                    *                                       *        *    *   *    *     *    deliver-tls-unverified  tls-unauthenticated      -
`

// valueSet is a set of small values.
type valueSet uint64

func (s valueSet) has(v uint8) bool { return v < 64 && s&(1<<v) != 0 }

type namedValue interface {
	~uint8
	fmt.Stringer
}

// valueOf returns the value of the enum whose name is text; "-" is the zero
// value. It panics for a name that no value has: the names are part of the tables.
func valueOf[E namedValue](text string) E {
	if text == "-" {
		return 0
	}
	for i := range 256 {
		if E(i).String() == text {
			return E(i)
		}
	}
	panic(fmt.Sprintf("%T has no value %q", E(0), text))
}

// setOf reads a cell into a set of values.
func setOf[E namedValue](cell string) valueSet {
	if cell == "*" {
		return ^valueSet(0)
	}
	cell, not := strings.CutPrefix(cell, "!")
	var s valueSet
	for _, text := range strings.Split(cell, "|") {
		s |= 1 << valueOf[E](text)
	}
	if not {
		return ^s
	}
	return s
}

// yesNo is a value of a yes-or-no column.
type yesNo uint8

func (f yesNo) String() string { return [...]string{"0", "1"}[f&1] }

func yesNoOf(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// rowsOf cuts a table into rows of cells, without its heading.
func rowsOf(table string, columns int) [][]string {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	var rows [][]string
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		if len(cells) != columns {
			panic(fmt.Sprintf("row has %d cells instead of %d: %s", len(cells), columns, line))
		}
		rows = append(rows, cells)
	}
	return rows
}

type planRow struct {
	id                                      string
	mode, dane, daneState, mtasts, stsState valueSet
	floor                                   valueSet // of yesNo: whether P7 applied
	then                                    string
	reason                                  Reason
	result                                  Result
	policy                                  Policy
}

type clearRow struct {
	id             string
	kind, fallback valueSet
	action         [3]Action // absent, refused, handshake failed
	reason         [3]Reason
}

type sessionRow struct {
	id                          string
	kind, mode, chain           valueSet
	dane, sts, name, extra, old valueSet
	asFailed                    bool
	action                      Action
	reason                      Reason
	result                      Result
}

// oracle holds the tables as read.
type oracle struct {
	plan    []planRow
	clear   []clearRow
	session []sessionRow

	status [3]Status // of a Next in the columns of the clear table
	column [3]Result

	stsMXMismatch, inputInvalid, stsVerified Reason
	validationFailure, tlsaInvalid           Result
	cryptoFailure                            Status
	verify, hosted                           Mode
	tlsa, sts                                Policy
	modeCert                                 [3]Reason
}

func newOracle(plan, clear, session string) *oracle {
	o := &oracle{
		status:            [3]Status{valueOf[Status]("4.7.4"), valueOf[Status]("4.7.5"), valueOf[Status]("4.7.5")},
		column:            [3]Result{valueOf[Result]("starttls-not-supported"), valueOf[Result]("starttls-not-supported"), valueOf[Result]("validation-failure")},
		stsMXMismatch:     valueOf[Reason]("sts-mx-mismatch"),
		inputInvalid:      valueOf[Reason]("input-invalid"),
		stsVerified:       valueOf[Reason]("sts-verified"),
		validationFailure: valueOf[Result]("validation-failure"),
		tlsaInvalid:       valueOf[Result]("tlsa-invalid"),
		cryptoFailure:     valueOf[Status]("4.7.5"),
		verify:            valueOf[Mode]("required-verify"),
		hosted:            valueOf[Mode]("required-verify-hosted"),
		tlsa:              valueOf[Policy]("tlsa"),
		sts:               valueOf[Policy]("sts"),
		modeCert:          [3]Reason{valueOf[Reason]("mode-cert-untrusted"), valueOf[Reason]("mode-cert-name-mismatch"), valueOf[Reason]("mode-cert-invalid")},
	}
	for _, c := range rowsOf(plan, 11) {
		floor := ^valueSet(0)
		if c[6] == "floor" {
			floor = 1 << 1
		}
		o.plan = append(o.plan, planRow{c[0], setOf[Mode](c[1]), setOf[DANE](c[2]), setOf[DANEState](c[3]), setOf[MTASTS](c[4]), setOf[STSState](c[5]),
			floor, c[7], valueOf[Reason](c[8]), valueOf[Result](c[9]), valueOf[Policy](c[10])})
	}
	for _, c := range rowsOf(clear, 9) {
		row := clearRow{id: c[0], kind: setOf[Kind](c[1]), fallback: setOf[Fallback](c[2])}
		for i := range 3 {
			row.action[i], row.reason[i] = valueOf[Action](c[3+2*i]), valueOf[Reason](c[4+2*i])
		}
		o.clear = append(o.clear, row)
	}
	for _, c := range rowsOf(session, 12) {
		row := sessionRow{id: c[0], kind: setOf[Kind](c[1]), mode: setOf[Mode](c[2]), chain: setOf[ChainOutcome](c[3]),
			dane: setOf[yesNo](c[4]), sts: setOf[yesNo](c[5]), name: setOf[yesNo](c[6]), extra: setOf[yesNo](c[7]), old: setOf[yesNo](c[8])}
		if row.asFailed = c[9] == "as-handshake-failed"; !row.asFailed {
			row.action = valueOf[Action](c[9])
		}
		row.reason, row.result = valueOf[Reason](c[10]), valueOf[Result](c[11])
		o.session = append(o.session, row)
	}
	return o
}

// planned is what the oracle knows about a host before connecting.
type planned struct {
	row      string
	kind     Kind
	mode     Mode
	fallback Fallback
	floor    bool     // P7 applied
	testing  STSState // P11 applied
	policy   Policy
	skip     Decision // kind skip
	reason   Reason   // kind clear
}

// Plan finds what holds for a host. The settings must be resolved.
func (o *oracle) Plan(s Settings, d DANEState, t STSState) planned {
	p := planned{mode: s.Mode, fallback: s.Fallback}
	for i := range o.plan {
		row := &o.plan[i]
		if !row.mode.has(uint8(s.Mode)) || !row.dane.has(uint8(s.DANE)) || !row.daneState.has(uint8(d)) ||
			!row.mtasts.has(uint8(s.MTASTS)) || !row.stsState.has(uint8(t)) || !row.floor.has(yesNoOf(p.floor)) {
			continue
		}
		switch row.then {
		case "note-floor":
			p.floor = true
			continue
		case "note-shadow":
			p.testing = t
			continue
		}
		p.row = row.id
		p.kind = valueOf[Kind](row.then)
		p.policy, p.reason = row.policy, row.reason
		if row.then == "skip" {
			p.skip = Decision{Reason: row.reason, Result: row.result, Policy: row.policy, Status: o.cryptoFailure, TLSA: o.afterP7(p)}
		}
		return p
	}
	panic("no row of the plan table applies")
}

// afterP7: the tlsa policy then gets tlsa-invalid, whatever else is decided.
func (o *oracle) afterP7(p planned) Result {
	if p.floor {
		return o.tlsaInvalid
	}
	return 0
}

// Decide finds what follows from an outcome, and the row that says so. Cause is
// not looked at here.
func (o *oracle) Decide(p planned, out Outcome) (Decision, string) {
	switch p.kind {
	case KindSkip:
		return p.skip, p.row
	case KindClear: // whatever happened
		return Decision{Action: DeliverClear, Reason: p.reason}, p.row
	}
	d := Decision{Policy: p.policy, TLSA: o.afterP7(p)}
	if out.TLS == TLSUnknown {
		d = Decision{Reason: o.inputInvalid, Status: o.cryptoFailure, TLSA: d.TLSA}
		if p.testing == STSTestingMismatch { // P9 speaks before there is an outcome
			d.Shadow = o.shadow(p, out)
		}
		return d, "I3"
	}
	var row string
	d.Action, d.Reason, d.Result, row = o.apply(p, out)
	if d.Action == Next {
		d.Status = o.cryptoFailure
		if column(out) == 0 {
			d.Status = o.status[0]
		}
	}
	for _, reason := range o.modeCert {
		if d.Reason == reason { // a rule of our own
			d.Policy = PolicyLocal
			switch {
			case p.kind == KindSTS:
				d.Satisfied = PolicySTS
			case !p.floor && p.testing == STSUnknown: // else a policy was found
				d.Satisfied = PolicyNoPolicyFound
			}
		}
	}
	d.Shadow = o.shadow(p, out)
	return d, row
}

// column is the column of the clear table: absent, refused, handshake failed, or
// 3 for a session.
func column(out Outcome) int {
	switch out.TLS {
	case TLSNoESMTP, TLSNotOffered:
		return 0
	case TLSRefused:
		return 1
	case TLSHandshakeFailed:
		return 2
	}
	return 3
}

// apply reads the two tables for what happened after connecting.
func (o *oracle) apply(p planned, out Outcome) (Action, Reason, Result, string) {
	if c := column(out); c < 3 {
		return o.applyClear(p, c)
	}
	name := out.VerifyName
	if p.mode == o.hosted {
		name = out.HostedName
	}
	dane, sts, named := yesNoOf(out.DANEMatch), yesNoOf(out.STSName), yesNoOf(name)
	extra, old := yesNoOf(out.ExtraFailed), yesNoOf(out.OldTLS)
	for i := range o.session {
		row := &o.session[i]
		if !row.kind.has(uint8(p.kind)) || !row.mode.has(uint8(p.mode)) || !row.chain.has(uint8(out.Chain)) || !row.dane.has(dane) ||
			!row.sts.has(sts) || !row.name.has(named) || !row.extra.has(extra) || !row.old.has(old) {
			continue
		}
		if row.asFailed {
			return o.applyClear(p, 2)
		}
		return row.action, row.reason, row.result, row.id
	}
	panic("no row of the session table applies")
}

func (o *oracle) applyClear(p planned, column int) (Action, Reason, Result, string) {
	for i := range o.clear {
		row := &o.clear[i]
		if row.kind.has(uint8(p.kind)) && row.fallback.has(uint8(p.fallback)) {
			return row.action[column], row.reason[column], o.column[column], row.id
		}
	}
	panic("no row of the clear table applies")
}

// shadow is what the tables would have said had a testing policy been enforced,
// with a mode that asks for nothing of its own.
func (o *oracle) shadow(p planned, out Outcome) Shadow {
	switch p.testing {
	case STSTestingMismatch:
		return Shadow{Policy: o.sts, Reason: o.stsMXMismatch, Result: o.validationFailure}
	case STSTestingMatch:
		_, reason, result, _ := o.apply(planned{kind: KindSTS, mode: Preferred, fallback: p.fallback}, out)
		return Shadow{Policy: o.sts, Reason: reason, Result: result}
	}
	return Shadow{}
}
