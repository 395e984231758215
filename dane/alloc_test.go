package dane

import (
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestAllocs(t *testing.T) {
	p := newBenchmarkPKI(t)
	leaf, root := p.chain[0], p.chain[2]
	ee, ta := ee311(t, leaf), ta211(t, root)
	other := testpki.NewRoot("Other").Cert
	verify := func(want Status, o Options, records ...Record) func() {
		v := verifier(t, o, records...)
		v.Verify(p.chain, p.ids, p.now) // fills the cache, if there is one
		return func() {
			if r := v.Verify(p.chain, p.ids, p.now); r.Status != want {
				t.Error(r)
			}
		}
	}
	text, wire := []byte(ee.String()), ee.AppendWire(nil)
	var r Record
	require.NoError(t, r.UnmarshalText(text))
	for what, f := range map[string]func(){
		"3 1 1 match":             verify(Matched, Options{}, ee),
		"3 1 1 mismatch":          verify(Mismatched, Options{}, damaged(ee)),
		"3 1 1 second of two":     verify(Matched, Options{}, damaged(ee), ee),
		"3 1 2":                   verify(Matched, Options{}, record(t, 3, 1, 2, leaf)),
		"3 0 1":                   verify(Matched, Options{}, record(t, 3, 0, 1, leaf)),
		"3 1 0":                   verify(Matched, Options{}, record(t, 3, 1, 0, leaf)),
		"unusable":                verify(Unusable, Options{}, Record{9, 9, 9, nil}),
		"2 1 1 and 2 0 2, none":   verify(Mismatched, Options{}, ta211(t, other), record(t, 2, 0, 2, other)),
		"2 1 1, known chain":      verify(Matched, Options{Cache: NewChainCache(0, 0)}, ta),
		"2 0 0, known chain":      verify(Matched, Options{Cache: NewChainCache(0, 0)}, record(t, 2, 0, 0, root)),
		"1 1 1, known chain":      verify(Matched, Options{Cache: NewChainCache(0, 0), Profile: ProfileGeneric, Roots: p.roots}, record(t, 1, 1, 1, leaf)),
		"3 1 1 beside others":     verify(Matched, Options{Cache: NewChainCache(0, 0)}, ee, ta, Record{9, 9, 9, nil}),
		"parse text":              func() { _ = r.UnmarshalText(text) },
		"parse wire":              func() { _ = r.UnmarshalBinary(wire) },
		"check":                   func() { _ = r.Check(ProfileSMTP) },
		"name":                    func() { _ = matchName(leaf, p.ids, true) },
		"no name":                 func() { _ = matchName(other, p.ids, true) },
		"text of a usage, parsed": func() { _ = new(Usage).UnmarshalText([]byte("DANE-EE")) },
	} {
		if raceEnabled {
			f()
			continue
		}
		require.Zero(t, testing.AllocsPerRun(100, f), what)
	}
	if !raceEnabled { // one for the data, as the result has to own it
		require.EqualValues(t, 1, testing.AllocsPerRun(100, func() { _, _ = ParseWire(wire) }))
	}
}
