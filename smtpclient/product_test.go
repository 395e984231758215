package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// trouble is what is wrong with a mail host: a fault of the connection, a
// certificate, a kind of TLS, and what a Dial must find there.
type trouble struct {
	name      string
	host      lab.Host
	easy      tlspolicy.TLSOutcome // under the opportunistic profile
	strict    tlspolicy.TLSOutcome // under the strict one
	chain     tlspolicy.ChainOutcome
	named     bool // the certificate has the names of domain and host
	old       bool // below TLS 1.2
	late      bool // with TLS 1.3: refused when our side of the handshake has ended, as a client certificate is
	lost      bool // the session ends before MAIL
	mute      bool // no SMTP session at all
	again     bool // the second connection to the address is as bad
	stalls    bool
	handshake bool // the TLS version makes a difference
}

// troubles returns the rows of the fault matrix, without what they say of how a
// Dial ends, and some more. The first is none.
func troubles() (all []trouble) {
	rows := faultRows()
	extra := func(f lab.Fault, easy tlspolicy.TLSOutcome, later ...lab.Fault) {
		rows = append(rows, faultRow{host: lab.Host{Fault: f, Later: later}, after: ends{tls: easy}, demand: ends{tls: easy}})
	}
	for _, f := range []lab.Fault{lab.ResetAt(lab.AtTLSEHLO), lab.Junk(lab.AtTLSEHLO), lab.Endless(lab.AtTLSEHLO), lab.MixedCodes(lab.AtTLSEHLO),
		lab.HugeLine(lab.AtTLSEHLO, 64<<10), lab.NUL(lab.AtTLSEHLO), lab.BareCR(lab.AtTLSEHLO), lab.TLSEHLOCode(421), lab.TLSEHLOCode(554), lab.TLSEHLOCode(354)} {
		extra(f, tlspolicy.TLSEstablished)
	}
	rows = append(rows, faultRow{host: lab.Host{Fault: lab.Drip(lab.AtHandshake, 50*time.Millisecond)}, quick: true,
		after: ends{tls: tlspolicy.TLSHandshakeFailed}, demand: ends{tls: tlspolicy.TLSHandshakeFailed}})
	for _, f := range []lab.Fault{lab.Greeting(421), lab.Greeting(554), lab.HangUpAt(lab.AtGreeting), lab.ResetAt(lab.AtEHLO), lab.Junk(lab.AtEHLO), lab.Refused()} {
		extra(lab.HandshakeAlert(), tlspolicy.TLSHandshakeFailed, f)
		extra(lab.Injected("250 2.0.0 ok\r\n", false), tlspolicy.TLSHandshakeFailed, f)
	}
	for _, f := range []lab.Fault{lab.NoESMTP(500), lab.NoSTARTTLS(), lab.STARTTLSCode(554)} { // no harm to a second connection
		extra(lab.HandshakeEOF(), tlspolicy.TLSHandshakeFailed, f)
	}
	for _, row := range rows {
		t := trouble{host: row.host, easy: row.after.tls, strict: row.demand.tls, stalls: row.quick, handshake: !row.short}
		t.name = t.host.Fault.String()
		if len(t.host.Later) > 0 {
			t.name += fmt.Sprintf(", then %v", t.host.Later[0])
		}
		if t.host.Cert.Kind != lab.CertGood {
			t.name += fmt.Sprintf(", certificate %v", t.host.Cert.Kind)
		}
		if h := t.host.TLS; h.Suites != nil || h.ClientAuth != lab.NoClientCert || h.Max != 0 {
			t.name += fmt.Sprintf(", TLS %+v", h)
		}
		switch t.host.Fault.At {
		case lab.AtConnect, lab.AtGreeting, lab.AtEHLO:
			t.mute = t.easy == tlspolicy.TLSUnknown
		case lab.AtTLSEHLO:
			t.lost = true
		}
		if len(t.host.Later) > 0 {
			switch f := t.host.Later[0]; f.At {
			case lab.AtConnect, lab.AtGreeting:
				t.again = true
			case lab.AtEHLO:
				t.again = f != lab.NoESMTP(500) && f != lab.NoSTARTTLS()
			}
		}
		t.chain, t.named = tlspolicy.ChainUntrusted, true
		switch t.host.Cert.Kind {
		case lab.CertGood:
			t.chain = tlspolicy.ChainOK
		case lab.CertWrongName:
			t.chain, t.named = tlspolicy.ChainOK, false
		case lab.CertExpired, lab.CertNotYetValid:
			t.chain = tlspolicy.ChainExpired
		}
		t.old = t.host.TLS.Max == tls.VersionTLS10
		t.late = t.host.TLS.ClientAuth == lab.RefuseClientCert
		all = append(all, t)
	}
	return all
}

// with returns the trouble of a host of the kind k that has the fault of t.
func (t trouble) with(k trouble) trouble {
	t.name += " at a host with " + k.name
	whole := t
	t.chain, t.named, t.old = k.chain, k.named, k.old
	if t.easy == tlspolicy.TLSEstablished {
		t.easy = k.easy
	}
	if t.strict == tlspolicy.TLSEstablished {
		t.strict = k.strict
	}
	if t.late = k.late && k.host.TLS.Max == tls.VersionTLS13; t.late {
		t.easy, t.strict = whole.easy, whole.strict
	}
	return t
}

// fate is how a Dial must end.
type fate struct {
	refused []tlspolicy.Decision // of the attempts that policy ended, in order
	session tlspolicy.Decision   // of the session; zero: there is none
	whole   tlspolicy.Decision   // about the domain; zero: none
}

// foretell applies tlspolicy to declared facts. counted are the decisions that reports
// tell of, whatever became of the connection.
func foretell(s tlspolicy.Settings, p *published, t trouble) (f fate, counted []tlspolicy.Decision) {
	if p.mx != tlspolicy.DANEUnknown {
		f.whole, _ = tlspolicy.PlanDomain(s, p.mx)
		return f, append(counted, f.whole)
	}
	r := tlspolicy.Plan(s, p.dane, p.sts)
	if d, skip := r.Skip(); skip {
		f.refused = append(f.refused, d)
		return f, append(counted, d)
	}
	if t.mute {
		return f, nil
	}
	o := tlspolicy.Outcome{TLS: t.easy}
	if r.StrictTLS() {
		o.TLS = t.strict
	}
	switch {
	case r.Kind() == tlspolicy.KindClear:
	case o.TLS == tlspolicy.TLSUnknown: // the session died before there was a finding
		return f, nil
	case o.TLS == tlspolicy.TLSEstablished:
		o.Chain, o.OldTLS, o.DANEMatch = t.chain, t.old, p.match
		o.STSName, o.VerifyName, o.HostedName = t.named, t.named, t.named
	}
	d := r.Decide(o)
	if t.late && o.TLS == tlspolicy.TLSEstablished && d.Action != tlspolicy.Next {
		d = r.Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSHandshakeFailed})
	}
	switch d.Action {
	case tlspolicy.DeliverClear:
		f.session = d
	case tlspolicy.DeliverVerified, tlspolicy.DeliverUnverified:
		if !t.lost {
			f.session = d
		}
	case tlspolicy.ReconnectClear:
		f.refused = append(f.refused, d)
		if !t.again {
			f.session = r.AfterReconnect().Decide(tlspolicy.Outcome{})
		}
	default:
		f.refused = append(f.refused, d)
	}
	return f, append(counted, d)
}

// results returns what the decisions add to the reports of the domain.
func (p *published) results(s tlspolicy.Settings, decisions []tlspolicy.Decision) (all []result) {
	for _, d := range decisions {
		for policy, r := range d.Counts() {
			all = append(all, result{tlsrpt.PolicyType(policy.String()), tlsrpt.ResultType(r.String())})
		}
		// Where DANE leaves the host to MTA-STS, a policy that is not to be had is
		// its owner's failure, and nothing else is counted but useless TLSA records.
		open := s.DANE == tlspolicy.DANENone || s.DANE == tlspolicy.DANEOpportunistic &&
			(p.dane == tlspolicy.DANEInsecure || p.dane == tlspolicy.DANENoTLSA || p.dane == tlspolicy.DANEUnusable)
		if s.MTASTS == tlspolicy.On && s.Mode != tlspolicy.No && p.mx == tlspolicy.DANEUnknown && open && p.report != tlspolicy.ResultNone {
			all = slices.DeleteFunc(all, func(r result) bool { return r.policy == tlsrpt.PolicyNoPolicyFound })
			all = append(all, result{tlsrpt.PolicySTS, tlsrpt.ResultType(p.report.String())})
		}
	}
	return all
}

// result is what one session adds to the counts of one policy.
type result struct {
	policy tlsrpt.PolicyType
	result tlsrpt.ResultType
}

// productSettings are all settings that can make a difference.
func productSettings() (all []tlspolicy.Settings) {
	for _, mode := range allModes {
		for _, dane := range []tlspolicy.DANE{tlspolicy.DANENone, tlspolicy.DANEOpportunistic, tlspolicy.DANEMandatory} {
			for _, sts := range []tlspolicy.MTASTS{tlspolicy.Off, tlspolicy.On} {
				for _, fallback := range []tlspolicy.Fallback{tlspolicy.FallbackAlways, tlspolicy.FallbackAfter220, tlspolicy.FallbackBefore220} {
					all = append(all, tlspolicy.Settings{Mode: mode, DANE: dane, MTASTS: sts, Fallback: fallback})
					if mode != tlspolicy.Preferred && mode != tlspolicy.PreferredVerify {
						break // has no say; the most permissive one will do
					}
				}
			}
		}
	}
	return all
}

// product is a running world of publications, with the Dialers that deliver to it.
type product struct {
	t        *testing.T
	lab      *lab.Lab
	all      []published
	kinds    []trouble // of the host of each publication
	settings []tlspolicy.Settings

	mu      sync.Mutex
	dialers map[dialerKey]*Dialer
	make    func(s tlspolicy.Settings) *Dialer
	ended   map[tlspolicy.Action]int
	results map[string][]result // collected since they were last taken, by domain
}

// Collect makes the product the Collector of its Dialers.
func (p *product) Collect(s *tlsrpt.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range s.Policies[:s.NPolicies] {
		p.results[s.RecipientDomain] = append(p.results[s.RecipientDomain], result{r.Policy.Type, r.Result})
	}
}

type dialerKey struct {
	settings tlspolicy.Settings
	timeouts Timeouts
}

func startProduct(t *testing.T, kind func(i int) trouble) *product {
	p := &product{t: t, all: publications(), settings: productSettings(), dialers: map[dialerKey]*Dialer{}, ended: map[tlspolicy.Action]int{}, results: map[string][]result{}}
	for i := range p.all {
		p.kinds = append(p.kinds, kind(i))
	}
	p.lab = startLab(t, publish(p.all, func(i int) lab.Host { return p.kinds[i].host }))
	resolver, sts := remembering(t, p.lab), labSTS(p.lab)
	p.make = func(s tlspolicy.Settings) *Dialer {
		d := labDialer(t, p.lab, s)
		d.Resolver, d.MTASTS, d.Reports = resolver, sts, p
		return d
	}
	return p
}

func (p *product) dialer(k dialerKey) *Dialer {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.dialers[k]
	if d == nil {
		d = p.make(k.settings)
		d.Timeouts = k.timeouts
		p.dialers[k] = d
	}
	return d
}

// cell is one delivery of the product.
type cell struct {
	settings tlspolicy.Settings
	trouble  trouble
}

// run makes the deliveries to each publication, one after the other for one, and
// side by side for all: each has a host of its own.
func (p *product) run(cells func(i int) []cell) {
	var wg sync.WaitGroup
	total := 0
	for i := range p.all {
		todo := cells(i)
		total += len(todo)
		wg.Go(func() {
			for _, c := range todo {
				if p.t.Failed() {
					return
				}
				if err := p.deliver(i, c); err != nil {
					p.t.Errorf("%s: %s\n%v\n%s\n%v", p.all[i].domain, p.all[i].text, c.settings, c.trouble.name, err)
				}
			}
		})
	}
	wg.Wait()
	p.t.Logf("%d deliveries to %d domains: %v", total, len(p.all), p.ended)
}

// deliver dials once, sends a message if it may, and compares what happened with
// what policy says to the facts, and with what the host saw.
func (p *product) deliver(i int, c cell) error {
	pub := &p.all[i]
	h := p.lab.Host(pub.host())
	h.Forget()
	h.SetFault(c.trouble.host.Fault, c.trouble.host.Later...)
	key := dialerKey{settings: c.settings}
	if c.trouble.stalls {
		key.timeouts = impatient(c.trouble.host.Fault.At)
	}
	want, counted := foretell(c.settings, pub, c.trouble)
	s, err := p.dialer(key).Dial(context.Background(), pub.domain)
	got, report := fate{}, (*Report)(nil)
	if err == nil {
		got.session, report = s.Decision(), s.Report
		if (s.TLS() == nil) != (got.session.Action == tlspolicy.DeliverClear) {
			return fmt.Errorf("%v, and TLS is %v", got.session, s.TLS())
		}
		if err := trySend(s, pub.domain); err != nil {
			return fmt.Errorf("no message can be sent: %w", err)
		}
	} else {
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Permanent || !strings.HasPrefix(e.Status, "4.") {
			return fmt.Errorf("not a temporary *Error: %w", err)
		}
		report, got.whole = e.Report, e.Report.MX.Decision
	}
	for _, a := range report.Attempts {
		if a.Err != nil && a.Decision.Reason != tlspolicy.ReasonNone {
			got.refused = append(got.refused, a.Decision)
		}
	}
	if !assert.ObjectsAreEqual(want, got) {
		return fmt.Errorf("want %+v\n got %+v\n%s\n%w", want, got, report.Explain(), err)
	}
	p.mu.Lock()
	p.ended[got.session.Action]++
	results := p.results[pub.domain]
	delete(p.results, pub.domain)
	p.mu.Unlock()
	if want := pub.results(c.settings, counted); !assert.ObjectsAreEqual(want, results) {
		return fmt.Errorf("reported %v, want %v\n%s", results, want, report.Explain())
	}
	return checkHost(h, c, want)
}

// checkHost compares what a host saw with what it should have seen.
func checkHost(h *lab.MailHost, c cell, want fate) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.Idle(ctx); err != nil {
		return fmt.Errorf("a connection is left: %w", err)
	}
	inClear := want.session.Action == tlspolicy.DeliverClear
	messages := 0
	if want.session.Action != tlspolicy.Next {
		messages = 1
	}
	box := h.Mailbox()
	if len(box) != messages || messages == 1 && inClear != (box[0].TLS == nil) {
		return fmt.Errorf("messages arrived: %d, wanted: %d, in clear: %v", len(box), messages, inClear)
	}
	connections := h.Connections()
	for n, conn := range connections {
		heard := strings.Join(conn.Clear, "\n") + "\n"
		last := n == len(connections)-1
		if strings.Contains(heard, "MAIL") && !(inClear && last) {
			return fmt.Errorf("MAIL in clear text on connection %d:\n%s", n+1, heard)
		}
		if n > 0 && strings.Contains(heard, "STARTTLS") || n > 1 {
			return fmt.Errorf("connection %d:\n%s", n+1, heard)
		}
		demanded := len(want.refused) > 0 && want.refused[0].Action == tlspolicy.Next
		if demanded && strings.Contains(heard, "HELO mta") && !strings.Contains(heard, "EHLO mta") {
			return fmt.Errorf("HELO where TLS is demanded:\n%s", heard)
		}
	}
	return nil
}

// trySend sends a message with net/smtp.
func trySend(s *Session, domain string) error {
	defer s.Close()
	c, err := s.NetSMTP()
	if err != nil {
		return err
	}
	if err := errors.Join(c.Mail("alice@sender.example"), c.Rcpt("postmaster@"+domain)); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(w, "Subject: hello\r\n\r\nHello.\r\n")
	return errors.Join(err, w.Close(), c.Quit())
}

// split sorts troubles into those that a host can be given at any time, and the
// kinds of hosts.
func split() (faults, kinds []trouble) {
	for _, t := range troubles() {
		if t.host.Fault != (lab.Fault{}) {
			faults = append(faults, t)
		} else {
			kinds = append(kinds, t)
		}
	}
	return faults, kinds
}

// TestProduct makes deliveries under every mode, DANE setting, MTA-STS setting and
// fallback, to domains that publish every state of DANE and MTA-STS, whose hosts have
// every fault, certificate and kind of TLS. Nothing may be delivered that policy
// forbids, nothing refused that it allows, no failure be permanent, and the reports tell
// of the sessions that policy has decided on and no others.
//
// Each fault meets all settings and each publication does, in pairs that a seed
// chooses. With SMTPSEC_MATRIX=all in the environment every fault meets every
// publication under all settings, which takes long.
func TestProduct(t *testing.T) {
	faults, kinds := split()
	none := kinds[0]
	if os.Getenv("SMTPSEC_MATRIX") == "all" {
		for n, kind := range append(kinds, none) { // none twice: once for each version
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				if kind.host.TLS.Max != 0 && version == tls.VersionTLS12 {
					continue
				}
				k := kind
				if k.host.TLS.Max == 0 {
					k.host.TLS.Max = version
				}
				todo := []trouble{none}
				if n == len(kinds) {
					todo = faults
				}
				t.Run(fmt.Sprintf("%s, up to %s", k.name, tls.VersionName(k.host.TLS.Max)), func(t *testing.T) {
					p := startProduct(t, func(int) trouble { return k })
					p.run(func(int) (cells []cell) {
						for _, f := range todo {
							if !f.handshake && version == tls.VersionTLS12 {
								continue
							}
							for _, s := range p.settings {
								cells = append(cells, cell{s, f.with(k)})
							}
						}
						return cells
					})
				})
			}
		}
		return
	}
	r := rand.New(rand.NewPCG(20, 25))
	p := startProduct(t, func(i int) trouble {
		k := kinds[i%len(kinds)]
		if i%3 != 0 { // most are in order, so that the rest shows
			k = none
		}
		if k.host.TLS.Max == 0 {
			k.host.TLS.Max = []uint16{tls.VersionTLS12, tls.VersionTLS13}[i%2]
		}
		return k
	})
	cells := make([][]cell, len(p.all))
	add := func(i int, s tlspolicy.Settings, f trouble) {
		if f.stalls && r.IntN(8) != 0 {
			f = none
		}
		cells[i] = append(cells[i], cell{s, f.with(p.kinds[i])})
	}
	for n, s := range p.settings {
		for m, f := range faults {
			if !raceEnabled || (n+m)%4 == 0 {
				add(r.IntN(len(p.all)), s, f)
			}
		}
		for i := range p.all {
			add(i, s, none)
		}
	}
	p.run(func(i int) []cell { return cells[i] })
	for a := range tlspolicy.ReconnectClear {
		assert.Positive(t, p.ended[a], a)
	}
}
