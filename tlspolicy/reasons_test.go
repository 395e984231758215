package tlspolicy_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// stableReasons are the names of the reasons with their classes, in the order of
// their numbers from 0. Logs, dashboards and stored reports hold both: lines are
// appended here, never changed.
const stableReasons = `
none none
mode-no mode
dane-bogus dane
dane-lookup-error dane
dane-required-insecure dane
dane-required-no-tlsa dane
dane-required-unusable dane
sts-mx-mismatch sts
starttls-absent fallback
starttls-refused fallback
handshake-failed fallback
dane-unusable-tls-required-absent dane
dane-unusable-tls-required-refused dane
dane-unusable-tls-required-handshake-failed dane
mode-tls-required-absent mode
mode-tls-required-refused mode
mode-tls-required-handshake-failed mode
sts-tls-required-absent sts
sts-tls-required-refused sts
sts-tls-required-handshake-failed sts
dane-tls-required-absent dane
dane-tls-required-refused dane
dane-tls-required-handshake-failed dane
dane-verified dane
dane-mismatch dane
sts-cert-untrusted sts
sts-cert-name-mismatch sts
mode-cert-untrusted mode
mode-cert-name-mismatch mode
mode-cert-invalid mode
sts+mode-verified sts
mode-verified mode
sts-verified sts
tls-unauthenticated none
settings-invalid config
input-invalid config
identity-empty config
`

// allReasons returns every reason but ReasonNone.
func allReasons() []tlspolicy.Reason {
	return from(tlspolicy.ReasonModeNo, tlspolicy.ReasonIdentityEmpty)
}

func TestReasonsAreStable(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(stableReasons), "\n")
	for i, line := range lines {
		r := tlspolicy.Reason(i)
		require.Equal(t, line, r.String()+" "+r.Class().String())
		text, err := r.MarshalText()
		require.NoError(t, err)
		require.Equal(t, r.String(), string(text))
	}
	beyond := tlspolicy.Reason(len(lines))
	require.Equal(t, "Reason(37)", beyond.String())
	require.Equal(t, tlspolicy.ClassConfig, beyond.Class(), "what nobody knows is not the peer's doing")
	_, err := beyond.MarshalText()
	require.Error(t, err)
}

func TestEveryReasonIsReached(t *testing.T) {
	reached := map[tlspolicy.Reason]bool{}
	note := func(d tlspolicy.Decision) { reached[d.Reason] = true }
	for r := range requirementsByPlan() {
		for _, o := range outcomes {
			note(r.Decide(o))
			note(r.WithoutReferences().Decide(o))
		}
	}
	note(tlspolicy.Requirement{}.Decide(tlspolicy.Outcome{}))
	note(tlspolicy.Plan(tlspolicy.Settings{}, 0, 0).Decide(tlspolicy.Outcome{}))
	for _, r := range allReasons() {
		require.True(t, reached[r], "%v", r)
	}
	require.Len(t, reached, len(allReasons()))
}
