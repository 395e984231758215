package mtasts

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func floorPin(mx ...string) Pin {
	return Pin{Kind: PinFloor, Policy: &Policy{Mode: ModeEnforce, MX: mx}}
}

func TestPinValidate(t *testing.T) {
	enforce := &Policy{Mode: ModeEnforce, MX: []string{"mx.example.com"}}
	for _, tc := range []struct {
		why   string
		pin   Pin
		valid bool
	}{
		{"forgotten", Pin{}, false},
		{"off needs nothing", Pin{Kind: PinOff}, true},
		{"fixed", Pin{Kind: PinFixed, Policy: enforce}, true},
		{"fixed to testing", Pin{Kind: PinFixed, Policy: &Policy{Mode: ModeTesting, MX: enforce.MX}}, true},
		{"fixed to none", Pin{Kind: PinFixed, Policy: &Policy{Mode: ModeNone}}, true},
		{"fixed to nothing", Pin{Kind: PinFixed}, false},
		{"fixed to no mode", Pin{Kind: PinFixed, Policy: &Policy{MX: enforce.MX}}, false},
		{"fixed to no host", Pin{Kind: PinFixed, Policy: &Policy{Mode: ModeEnforce}}, false},
		{"floor", Pin{Kind: PinFloor, Policy: enforce}, true},
		{"floor without policy", Pin{Kind: PinFloor}, false},
		{"a floor of testing holds nothing up", Pin{Kind: PinFloor, Policy: &Policy{Mode: ModeTesting, MX: enforce.MX}}, false},
		{"bad pattern", Pin{Kind: PinFloor, Policy: &Policy{Mode: ModeEnforce, MX: []string{"mx.*.example"}}}, false},
		{"unknown kind", Pin{Kind: 9, Policy: enforce}, false},
	} {
		err := tc.pin.Validate()
		if tc.valid {
			require.NoError(t, err, tc.why)
			continue
		}
		require.ErrorIs(t, err, ErrPin, tc.why)
	}
}

func TestPinOff(t *testing.T) {
	w := newWorld()
	w.Pins = Pins{"example.com": {Kind: PinOff}}
	r := w.lookup(t)
	require.Equal(t, OutcomeNone, r.Outcome)
	require.Equal(t, SourcePinned, r.Source)
	require.Equal(t, ModeNone, r.Policy.Mode)
	require.False(t, r.Match("mx.example.com"))
	require.Zero(t, w.dns.count("example.com"), "discovers nothing")
	require.Equal(t, []EventKind{EventPinApplied}, w.events())
	r, changed, err := w.Recheck(t.Context(), "Example.COM.")
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, SourcePinned, r.Source)
	require.Zero(t, w.dns.count("example.com"))
}

func TestPinFixed(t *testing.T) {
	w := newWorld()
	until := w.clock.Now().Add(time.Hour)
	pin := Pin{Kind: PinFixed, Policy: &Policy{Mode: ModeEnforce, MX: []string{"fixed.example.net"}}, Until: until}
	w.Pins = Pins{"example.com": pin}
	r := w.lookup(t)
	require.Equal(t, OutcomeEnforce, r.Outcome)
	require.Equal(t, SourcePinned, r.Source)
	require.Same(t, pin.Policy, r.Policy)
	require.Equal(t, until, r.Expires)
	require.True(t, r.Match("fixed.example.net"))
	require.Zero(t, w.dns.count("example.com"), "discovers nothing")
	w.clock.add(time.Hour - 1)
	require.Equal(t, SourcePinned, w.lookup(t).Source)
	w.clock.add(1)
	r = w.lookup(t)
	require.Equal(t, SourceFresh, r.Source, "the pin has ended")
	require.False(t, r.Match("fixed.example.net"))
}

func TestPinFloor(t *testing.T) {
	w := newWorld()
	pin := floorPin("*.example.com", "mx.other.example")
	w.Pins = Pins{"example.com": pin}
	w.dns.set("example.com")
	r := w.lookup(t)
	require.Equal(t, OutcomeEnforce, r.Outcome, "the first lookup cannot be forged away")
	require.Equal(t, SourcePinned, r.Source)
	require.Same(t, pin.Policy, r.Policy)
	require.Equal(t, ReasonRecordAbsent, r.Reason)
	require.ErrorIs(t, r.Err, ErrNoRecord)
	require.Empty(t, r.Report)

	w.clock.add(time.Hour)
	w.dns.set("example.com", "v=STSv1; id=1;")
	w.setBody("")
	r = w.lookup(t)
	require.Equal(t, SourcePinned, r.Source)
	require.Equal(t, ReportFetchError, r.Report, "a failed GET is still reported")

	w.clock.add(time.Hour)
	w.setBody("version: STSv1\nmode: enforce\nmx: mx.example.com\nmx: mx.example.net\nmax_age: 86400\n")
	w.events()
	r = w.lookup(t)
	require.Equal(t, SourceFresh, r.Source)
	for host, want := range map[string]bool{
		"mx.example.com":   true,  // both
		"mx.example.net":   false, // the policy alone
		"mx.other.example": false, // the pin alone
		"mx2.example.com":  false, // the pin alone
	} {
		require.Equal(t, want, r.Match(host), host)
	}
	require.Contains(t, w.events(), EventPinApplied)

	w.clock.add(time.Hour)
	w.dns.set("example.com", "v=STSv1; id=2;")
	w.setBody("version: STSv1\nmode: testing\nmx: mx.example.com\nmax_age: 86400\n")
	r, changed, err := w.Recheck(t.Context(), "example.com")
	require.NoError(t, err)
	require.True(t, changed, "from both policies to the pin's alone")
	require.Equal(t, SourcePinned, r.Source)
	require.True(t, r.Match("mx.other.example"))
	w.clock.add(time.Hour)
	_, changed, err = w.Recheck(t.Context(), "example.com")
	require.NoError(t, err)
	require.False(t, changed)
}

func TestPinFloorOutlastsTheCaller(t *testing.T) {
	w := newWorld()
	pin := floorPin("mx.example.com")
	w.Pins = Pins{"example.com": pin}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := w.Lookup(ctx, "example.com")
	require.NoError(t, err, "there is something to go by")
	require.Same(t, pin.Policy, r.Policy)
	require.ErrorIs(t, r.Err, context.Canceled)
	r, _, err = w.Recheck(ctx, "example.com")
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, OutcomeEnforce, r.Outcome)
}

func TestInvalidPinRefuses(t *testing.T) {
	w := newWorld()
	w.Pins = Pins{"example.com": {}}
	r, err := w.Lookup(t.Context(), "example.com")
	require.ErrorIs(t, err, ErrPin)
	require.Equal(t, OutcomeUnknown, r.Outcome)
	require.EqualError(t, err, `mtasts: pin "example.com": mtasts: invalid pin: kind is not PinOff, PinFixed or PinFloor`)
	_, _, err = w.Recheck(t.Context(), "example.com")
	require.ErrorIs(t, err, ErrPin)
	w.dns.set("other.example", "v=STSv1; id=1;")
	r, err = w.Lookup(t.Context(), "other.example")
	require.NoError(t, err, "other domains go on")
	require.Equal(t, OutcomeEnforce, r.Outcome)
}

// A policy that was cached before its domain was pinned is not refreshed behind
// the operator's back.
func TestPinnedDomainsAreNotRefreshed(t *testing.T) {
	w := newWorld()
	pins := Pins{}
	w.Pins = pins
	w.lookup(t)
	pins["example.com"] = Pin{Kind: PinOff}
	w.clock.add(25 * time.Hour)
	_, err := w.Refresh(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, w.gets.Load())
	pins["example.com"] = floorPin("mx.example.com")
	_, err = w.Refresh(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, w.gets.Load(), "a floor lets discovery run")
}

// TestFloorIsNeverWeaker drives the state machine through random records, files,
// failures and jumps of time. Whatever it serves, under a floor the outcome is
// enforce, a host that matches is one that the pin names, and it is one that the
// discovered policy names wherever that is in mode enforce.
func TestFloorIsNeverWeaker(t *testing.T) {
	hosts := []string{"mx0.example.com", "mx1.example.com", "mx2.example.com", "mx.elsewhere.example", "MX1.Example.COM."}
	pin := floorPin("mx1.example.com", "mx2.example.com")
	seen := map[Source]int{}
	both := 0
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 9))
		m := newMachine()
		m.trace = false
		e, now := entry{Domain: "example.com"}, epoch
		for step := range 400 {
			now = now.Add(time.Duration(random.IntN(10*3600)-600) * time.Second)
			e, _ = m.settle(e, now)
			switch look := seenID(fmt.Sprint(random.IntN(3))); random.IntN(6) {
			case 0:
				e, _, _ = m.observeRecord(e, now, seenFailure(OutcomeNoRecord, ReasonRecordAbsent))
			case 1:
				e, _, _ = m.observeRecord(e, now, seenFailure(OutcomeDNSError, ReasonDNSError))
			case 2:
				e, _ = m.observePolicy(e, unfetched("1", now))
			default:
				e, _, _ = m.observeRecord(e, now, look)
				p := &Policy{Mode: PolicyMode(1 + random.IntN(3)), MaxAge: time.Duration(random.IntN(48)) * time.Hour, MX: hosts[random.IntN(4):4]}
				e, _ = m.observePolicy(e, fetched(look.id, now, p))
			}
			for _, below := range []Result{m.result(&e, now), m.resultFetched(&e, now), {}} {
				why := fmt.Sprintf("seed %d step %d", seed, step)
				r := pin.apply("example.com", below)
				require.NoError(t, pin.Validate())
				require.Equal(t, OutcomeEnforce, r.Outcome, why)
				require.Equal(t, ModeEnforce, r.Policy.Mode, why)
				seen[r.Source]++
				for _, host := range hosts {
					want := pin.Policy.Match(host)
					if below.Outcome == OutcomeEnforce {
						want = want && below.Match(host)
						both++
					}
					require.Equal(t, want, r.Match(host), "%s %s", why, host)
				}
			}
		}
	}
	require.Positive(t, both)
	require.Positive(t, seen[SourcePinned])
	require.Positive(t, seen[SourceStale])
	require.Positive(t, seen[SourceFresh])
}

// What a pin costs a lookup that the cache answers.
func TestAllocsOfPins(t *testing.T) {
	w := newWorld()
	w.Trace = nil
	pins := Pins{}
	w.Pins = pins
	w.lookup(t)
	w.engine.clock = systemAt{w.clock.Now()}
	for why, pin := range map[string]Pin{"floor": floorPin("*.example.com", "mx.other.example"), "fixed": {Kind: PinFixed, Policy: weekPolicy()}} {
		pins["example.com"] = pin
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if r, err := w.Lookup(t.Context(), "example.com"); err != nil || r.Match("mx.nowhere.example") {
				t.Error(r, err)
			}
		}), why)
	}
}

func TestPinKindNames(t *testing.T) {
	require.Equal(t, "unknown off fixed floor PinKind(7)", fmt.Sprint(PinKind(0), PinOff, PinFixed, PinFloor, PinKind(7)))
	require.Equal(t, "pinned", SourcePinned.String())
}
