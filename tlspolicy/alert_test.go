package tlspolicy_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	. "github.com/smtpsec/smtpsec/tlspolicy"
)

// decisionFor returns a decision with the given reason and action Next.
func decisionFor(r Reason) Decision {
	return Decision{Action: Next, Reason: r, Status: StatusCryptoFailure}
}

func TestAlertsFor(t *testing.T) {
	const domain = "example.com"
	host := func(reasons ...Reason) []HostDecision {
		var hosts []HostDecision
		for i, r := range reasons {
			hosts = append(hosts, HostDecision{"mx" + string(rune('1'+i)) + ".example.net", decisionFor(r)})
		}
		return hosts
	}
	unreached := HostDecision{Host: "mx9.example.net"}
	delivered := HostDecision{"mx8.example.net", Decision{Action: DeliverVerified, Reason: ReasonDANEVerified}}
	inClear := HostDecision{"mx7.example.net", Decision{Action: DeliverClear, Reason: ReasonSTARTTLSAbsent}}
	reconnect := HostDecision{"mx6.example.net", Decision{Action: ReconnectClear, Reason: ReasonHandshakeFailed}}
	const required, daneAll = AlertTLSRequiredFailed, AlertDANEFailedAll
	for _, c := range []struct {
		why   string
		mode  Mode
		hosts []HostDecision
		want  []AlertKind
	}{
		{"nothing was tried", Required, nil, nil},
		{"no host could be reached", Required, []HostDecision{unreached}, nil},
		{"mode", Required, host(ReasonModeTLSAbsent), []AlertKind{required}},
		{"mode, certificate", RequiredVerify, host(ReasonModeCertUntrusted), []AlertKind{required}},
		{"MTA-STS", RequiredVerifyHosted, host(ReasonSTSMXMismatch), []AlertKind{required}},
		{"MTA-STS, the mode demands nothing", Preferred, host(ReasonSTSMXMismatch), nil},
		{"DANE, the mode demands nothing", Preferred, host(ReasonDANEMismatch), []AlertKind{daneAll}},
		{"DANE, the mode demands TLS too", Required, host(ReasonDANEMismatch), []AlertKind{required, daneAll}},
		{"DANE, several hosts", PreferredVerify, host(ReasonDANEBogus, ReasonDANETLSAbsent, ReasonDANELookupError), []AlertKind{daneAll}},
		{"DANE, and a host that could not be reached", Preferred, append(host(ReasonDANEMismatch), unreached), []AlertKind{daneAll}},
		{"DANE at one host, refused STARTTLS at another", Preferred, host(ReasonDANEMismatch, ReasonSTARTTLSRefused), nil},
		{"DANE at one host, mode at another", Required, host(ReasonDANEMismatch, ReasonModeTLSRefused), []AlertKind{required}},
		{"DANE at one host, another could not be reached again in clear", Preferred, append(host(ReasonDANEMismatch), reconnect), nil},
		{"one host delivered", Required, append(host(ReasonDANEMismatch), delivered), nil},
		{"one host delivered in clear", Preferred, append(host(ReasonDANEMismatch), inClear), nil},
		{"our own mistake alone", Required, host(ReasonSettingsInvalid, ReasonInputInvalid), nil},
		{"our own mistake at one host", Required, host(ReasonInputInvalid, ReasonDANEMismatch), []AlertKind{required}},
		{"no name to compare", RequiredVerify, host(ReasonIdentityEmpty), nil},
	} {
		s := BuiltIn()
		s.Mode = c.mode
		var kinds []AlertKind
		for _, a := range AlertsFor(domain, s, c.hosts) {
			kinds = append(kinds, a.Kind)
			require.Equal(t, domain, a.Domain)
			require.Equal(t, s, a.Settings)
			require.NotContains(t, a.Hosts, unreached)
			require.Equal(t, slog.LevelWarn, a.Level())
		}
		require.Equal(t, c.want, kinds, c.why)
	}

	stop, _ := PlanDomain(Recommended(), DANEBogus)
	alerts := AlertsFor(domain, Recommended(), []HostDecision{{Decision: stop}})
	require.Len(t, alerts, 1, "the MX lookup is bogus")
	require.Equal(t, daneAll, alerts[0].Kind)
	stop, _ = PlanDomain(Recommended(), DANELookupError)
	require.Len(t, AlertsFor(domain, Recommended(), []HostDecision{{Decision: stop}}), 1, "it failed")
}

func TestAlertText(t *testing.T) {
	s := Settings{Mode: Required, DANE: DANEOpportunistic, MTASTS: Off, Fallback: FallbackAfter220}
	alerts := AlertsFor("example.com", s, []HostDecision{
		{"mx1.example.net", decisionFor(ReasonDANEMismatch)}, {"mx2.example.net", decisionFor(ReasonDANEBogus)}})
	require.Len(t, alerts, 2)
	require.Equal(t, "TLS is required for the domain (example.com), and mail to it is held back: mx1.example.net dane-mismatch, mx2.example.net dane-bogus", alerts[0].String())
	require.Equal(t, "DANE failed for every host of the domain (example.com), and mail to it is held back: mx1.example.net dane-mismatch, mx2.example.net dane-bogus", alerts[1].String())
	require.Equal(t, "[kind=dane-failed-all domain=example.com settings=mode required, DANE opportunistic, MTA-STS off, fallback after-220 "+
		"hosts=mx1.example.net dane-mismatch, mx2.example.net dane-bogus]", alerts[1].LogValue().String())
	require.Equal(t, "none for the domain (), and mail to it is held back: dane-bogus", Alert{Hosts: []HostDecision{{Decision: decisionFor(ReasonDANEBogus)}}}.String())

	many := Alert{Kind: AlertDANEFailedAll, Domain: "example.com"}
	for range 100 {
		many.Hosts = append(many.Hosts, HostDecision{strings.Repeat("x", 300) + "\n", decisionFor(ReasonDANEBogus)})
	}
	require.Less(t, len(many.String()), 1500)
	require.True(t, strings.HasSuffix(many.String(), ", ..."))
	require.NotContains(t, many.String(), "\n")
	for i, name := range []string{"none", "tls-required-failed", "dane-failed-all"} {
		text, err := AlertKind(i).MarshalText()
		require.NoError(t, err)
		require.Equal(t, name, string(text))
	}
	_, err := AlertKind(3).MarshalText()
	require.Error(t, err)
}
