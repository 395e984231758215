package dane

import (
	"testing"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/stretchr/testify/require"
)

// FuzzDiscover: whatever mixture of aliases, securities and failures, every
// outcome is well formed, and a failed query that was needed is never taken for
// "no DANE".
func FuzzDiscover(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{2, 0, 2, 2, 1, 0, 1, 2, 2, 2, 0})
	f.Add([]byte{1, 1, 2, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	f.Fuzz(func(t *testing.T, choices []byte) {
		next := func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := int(choices[0]) % n
			choices = choices[1:]
			return c
		}
		z := newZone()
		kinds := []dnssec.Kind{dnssec.KindBogus, dnssec.KindServFail, dnssec.KindTimeout}
		z.Absent = dnssec.Security(next(3))
		answer := func(name string, ty dnssec.Type, data []byte) {
			a := dnssec.Answer{Outcome: dnssec.Outcome(1 + next(3)), Final: dnssec.Security(next(3))}
			from := name
			for hop := range next(3) {
				to := []string{"one.example.", "two.example."}[hop]
				a.Chain = append(a.Chain, alias(from, to, dnssec.Security(next(3))))
				from = to
			}
			a.Security = a.Final
			for _, s := range a.Chain {
				a.Security = min(a.Security, s.Security)
			}
			if a.Outcome == dnssec.Found {
				a.Records = []dnssec.Record{{Data: data}}
			}
			z.add(name, ty, a)
			if next(4) == 0 {
				z.fail(name, ty, kinds[next(3)])
			}
		}
		answer("mx.example.", dnssec.TypeA, []byte{192, 0, 2, 1})
		answer("mx.example.", dnssec.TypeAAAA, make([]byte, 16))
		answer("mx.example.", dnssec.TypeCNAME, []byte{0})
		for _, base := range []string{"mx.example.", "one.example.", "two.example."} {
			answer("_25._tcp."+base, dnssec.TypeTLSA, [][]byte{usableRDATA, unusableRDATA, {3}}[next(3)])
		}
		var answerMX *dnssec.Answer
		if next(2) == 1 {
			answerMX = mx("example.com.", dnssec.Security(next(3)))
		}
		host := z.discover(SMTPQuery{Host: "mx.example", MX: answerMX})
		wellFormed(t, host, "fuzz")

		failedAddr := 0
		for _, q := range z.asked {
			_, failed := z.Errors[q]
			isAddr := q.Type == dnssec.TypeA || q.Type == dnssec.TypeAAAA
			if failed && isAddr {
				failedAddr++
			}
			if failed && !isAddr {
				require.Contains(t, []Outcome{OutcomeBogus, OutcomeLookupError}, host.Outcome, "a needed query failed")
			}
		}
		if failedAddr == 2 {
			require.Contains(t, []Outcome{OutcomeBogus, OutcomeLookupError}, host.Outcome)
		}
		if failedAddr == 1 {
			require.NotEqual(t, OutcomeNoAddress, host.Outcome)
		}
		if answerMX != nil && answerMX.Security != secure {
			require.Empty(t, z.tlsaAsked(), "no half DANE")
		}
		if host.Outcome == OutcomeUsable {
			set := z.Answers[dnssec.Question{Name: "_25._tcp." + host.Base + ".", Type: dnssec.TypeTLSA}]
			require.Equal(t, secure, set.Security)
			require.NotEmpty(t, z.tlsaAsked())
		}
	})
}
