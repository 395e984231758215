//go:build interop

package dnssec

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// opinion is what is compared.
type opinion struct {
	Verdict   string // "secure", "insecure" or "error"
	Outcome   Outcome
	Canonical string
	Records   string
}

// opinionOf asks unbound.
func opinionOf(t testing.TB, server netip.AddrPort, q Question) opinion {
	query := new(dns.Msg).SetQuestion(q.Name, uint16(q.Type))
	query.SetEdns0(4096, true)
	m, _, err := new(dns.Client).Exchange(query, server.String())
	if err == nil && m.Truncated {
		m, _, err = (&dns.Client{Net: "tcp"}).Exchange(query, server.String())
	}
	require.NoError(t, err)
	o := opinion{Verdict: "insecure", Canonical: q.Name}
	if m.AuthenticatedData {
		o.Verdict = "secure"
	}
	switch m.Rcode {
	case dns.RcodeSuccess:
		o.Outcome = NoData
	case dns.RcodeNameError:
		o.Outcome = NXDomain
	default:
		return opinion{Verdict: "error"}
	}
	for followed := true; followed && q.Type != TypeCNAME; {
		followed = false
		for _, r := range m.Answer {
			if c, ok := r.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, o.Canonical) {
				o.Canonical, followed = strings.ToLower(c.Target), true
			}
		}
	}
	var found []string
	for _, r := range m.Answer {
		if r.Header().Rrtype == uint16(q.Type) && strings.EqualFold(r.Header().Name, o.Canonical) {
			wire := make([]byte, 4096)
			r.Header().Name = "."
			n, err := dns.PackRR(r, wire, 0, nil, false)
			require.NoError(t, err)
			found = append(found, string(canonicalData(q.Type, wire[11:n])))
			o.Outcome = Found
		}
	}
	slices.Sort(found)
	o.Records = fmt.Sprintf("%x", found)
	return o
}

// ourOpinion is that of a Resolver.
func ourOpinion(a *Answer, err error) opinion {
	if err != nil {
		return opinion{Verdict: "error"}
	}
	o := opinion{Verdict: a.Security.String(), Outcome: a.Outcome, Canonical: a.Canonical}
	var found []string
	for _, r := range a.Records {
		found = append(found, string(canonicalData(a.Type, r.Data)))
	}
	slices.Sort(found)
	o.Records = fmt.Sprintf("%x", found)
	return o
}

// A difference is a way in which we may differ from somebody else, and why.
type difference struct {
	reason string
	is     func(q Question, a *Answer, ours, theirs opinion) bool // a is nil if there is none, and for an alias by itself
}

// A tally counts how often each difference was met.
type tally struct {
	differences []difference
	seen        []int
}

func newTally(differences []difference) *tally {
	return &tally{differences, make([]int, len(differences))}
}

// explains reports whether there is a reason for a difference.
func (c *tally) explains(q Question, a *Answer, ours, theirs opinion) bool {
	for i, d := range c.differences {
		if d.is(q, a, ours, theirs) {
			c.seen[i]++
			return true
		}
	}
	return false
}

// report fails if a difference did not occur: then it is out of date.
func (c *tally) report(t *testing.T) {
	for i, d := range c.differences {
		t.Logf("%d: %s", c.seen[i], d.reason)
		require.NotZero(t, c.seen[i], d.reason)
	}
}

// againstUnbound compares the answers of r, and the security of each alias on the way, with those of unbound. Unbound is
// asked for each alias by itself, because its AD bit speaks for the whole answer.
func againstUnbound(t *testing.T, r Resolver, reference netip.AddrPort, questions []Question, differences []difference) {
	counts, steps := make(map[string]int), make(map[string]int)
	found := newTally(differences)
	aliases := make(map[Question]opinion)
	for _, q := range questions {
		theirs := opinionOf(t, reference, q)
		counts[theirs.Verdict]++
		a, err := ask(r, q.Name, q.Type)
		if ours := ourOpinion(a, err); ours != theirs && !found.explains(q, a, ours, theirs) {
			t.Errorf("%s %s:\nours:    %+v (%v)\nunbound: %+v", q.Name, q.Type, ours, err, theirs)
		}
		if err != nil {
			continue
		}
		for _, s := range a.Chain {
			alias := Question{s.Owner, s.Type}
			theirs, known := aliases[alias]
			if !known {
				theirs = opinion{Verdict: opinionOf(t, reference, alias).Verdict}
				aliases[alias] = theirs
			}
			steps[theirs.Verdict]++
			ours := opinion{Verdict: "error"}
			if security, err := StepSecurity(t0, r, s); err == nil {
				ours.Verdict = security.String()
			}
			if ours != theirs && !found.explains(alias, nil, ours, theirs) {
				t.Errorf("%s %s, alias %s %s: ours %s, unbound %s", q.Name, q.Type, s.Owner, s.Type, ours.Verdict, theirs.Verdict)
			}
		}
	}
	t.Logf("%d questions: %v, %d aliases: %v", len(questions), counts, len(aliases), steps)
	found.report(t)
}

// againstUnboundEachWay compares all who can learn about the zones of unbound: a Validator that asks the resolver through,
// which does not validate, one that asks unbound itself with checking disabled, and a Stub.
func againstUnboundEachWay(
	t *testing.T, anchors string, unbound, through netip.AddrPort, questions []Question, ofValidator, ofStub []difference,
) {
	stub, err := NewStub(StubOptions{
		Common: Common{Timeout: 60 * time.Second, Upstream: Upstream{Timeout: patient, Servers: []netip.AddrPort{unbound}}},
		Trust:  TrustAlways,
	})
	require.NoError(t, err)
	for _, by := range []struct {
		name        string
		resolver    Resolver
		differences []difference
	}{
		{"validator over a resolver that does not validate", validatorFor(t, anchors, nil, through), ofValidator},
		{"validator over a resolver that validates", validatorFor(t, anchors, nil, unbound), ofValidator},
		{"stub", stub, ofStub},
	} {
		t.Run(by.name, func(t *testing.T) {
			require.NoError(t, by.resolver.(Checker).Check(t0))
			againstUnbound(t, by.resolver, unbound, questions, by.differences)
		})
	}
}

// everyType returns the questions for names and all of sampleTypes.
func everyType(names []string) []Question {
	var questions []Question
	for _, name := range names {
		for _, typ := range sampleTypes {
			questions = append(questions, Question{dns.CanonicalName(name), typ})
		}
	}
	return questions
}

// A delv is delv of BIND with trust anchors, over a resolver.
type delv struct {
	program, anchors string
	server           netip.AddrPort
}

// newDelv takes DS records as anchors.
func newDelv(t *testing.T, ds string, server netip.AddrPort) delv {
	program := dnstest.Program(t, "delv", "bind9-dnsutils")
	list, err := ParseAnchors(strings.NewReader(ds))
	require.NoError(t, err)
	var anchors strings.Builder
	for _, a := range list {
		fmt.Fprintf(&anchors, "trust-anchors { %s static-ds %d %d %d \"%X\"; };\n", a.Zone, a.KeyTag, a.Algorithm, a.DigestType, a.Digest)
	}
	file := filepath.Join(t.TempDir(), "anchors")
	require.NoError(t, os.WriteFile(file, []byte(anchors.String()), 0o600))
	return delv{program, file, server}
}

// verdict asks it. The second result is all that it says.
func (d delv) verdict(q Question) (string, string) {
	out, _ := exec.Command(d.program, "@"+d.server.Addr().String(), "-p", fmt.Sprint(d.server.Port()),
		"-a", d.anchors, "+root=.", "-q", q.Name, "-t", q.Type.String()).CombinedOutput()
	verdict, failed := "error", false
	for line := range strings.Lines(string(out)) {
		switch line := strings.TrimSpace(line); {
		case strings.HasPrefix(line, ";; resolution failed") && !strings.Contains(line, ": ncache "): // a denial is no failure
			failed = true // the aliases before it are printed all the same
		case strings.HasPrefix(line, "; ") && strings.HasSuffix(line, "fully validated") && verdict != "insecure":
			verdict = "secure" // one line for each part; the least counts
		case strings.HasPrefix(line, "; ") && strings.HasSuffix(line, "unsigned answer"):
			verdict = "insecure"
		}
	}
	if failed {
		verdict = "error"
	}
	return verdict, string(out)
}

// everyDelv has delv asked for every name and type, which takes a quarter of an hour, since it starts anew for each.
var everyDelv = os.Getenv("SMTPSEC_DELV") == "all"

// forDelv chooses what delv is asked: every stride-th name, TLSA and A, unless everyDelv.
func forDelv(names []string, stride int) []Question {
	if everyDelv {
		return everyType(names)
	}
	var some []Question
	for i := 0; i < len(names); i += stride {
		name := dns.CanonicalName(names[i])
		some = append(some, Question{name, TypeTLSA}, Question{name, TypeA})
	}
	return some
}

// againstDelv compares the verdicts of r with those of delv, which has no cache and is slow.
func againstDelv(t *testing.T, r Resolver, d delv, questions []Question, differences []difference) {
	counts := make(map[string]int)
	found := newTally(differences)
	var mu sync.Mutex // guards counts and found
	var asking sync.WaitGroup
	places := make(chan struct{}, 4*runtime.GOMAXPROCS(0))
	for _, q := range questions {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			theirs, said := d.verdict(q)
			a, err := ask(r, q.Name, q.Type)
			ours := ourOpinion(a, err)
			mu.Lock()
			defer mu.Unlock()
			counts[theirs]++
			if ours.Verdict != theirs && !found.explains(q, a, ours, opinion{Verdict: theirs}) {
				t.Errorf("%s %s: ours %s (%v), delv %s:\n%s", q.Name, q.Type, ours.Verdict, err, theirs, said)
			}
		})
	}
	asking.Wait()
	t.Logf("%d questions: %v", len(questions), counts)
	found.report(t)
}
