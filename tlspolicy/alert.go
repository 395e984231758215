package tlspolicy

import "log/slog"

// AlertKind names an occasion to tell the operator that a domain gets no mail.
// Subscribers choose by kind, which are the two switches of the AsyncOS chapter.
type AlertKind uint8

const (
	// AlertNone is the zero value: there is none.
	AlertNone AlertKind = iota
	// AlertTLSRequiredFailed: the mode is one of the three Required ones, no host
	// delivered, and one at least was left because of the mode, MTA-STS or DANE.
	AlertTLSRequiredFailed
	// AlertDANEFailedAll: no host delivered, and DANE is why each one that was
	// skipped or reached was left, or why the whole domain was.
	AlertDANEFailedAll
)

var alertKindNames = [...]string{"none", "tls-required-failed", "dane-failed-all"}

// String returns the stable name of the kind, such as "dane-failed-all".
func (k AlertKind) String() string { return nameOf(alertKindNames[:], uint8(k), "AlertKind") }

// MarshalText returns the name of the kind; an unnamed value is an error.
func (k AlertKind) MarshalText() ([]byte, error) {
	return appendName(nil, alertKindNames[:], uint8(k), "AlertKind")
}

// HostDecision is the last decision about one host of a delivery. For one about
// the whole domain, which [PlanDomain] made, Host is empty. A host that policy
// was not asked about, such as one that could not be reached, has the zero
// Decision and does not count.
type HostDecision struct {
	Host     string
	Decision Decision
}

// Alert tells the operator that a domain gets no mail because of TLS.
type Alert struct {
	Kind     AlertKind
	Domain   string
	Settings Settings
	Hosts    []HostDecision // those that count, in the order given
}

// maxHostsInText bounds how many hosts the text of an alert names.
const maxHostsInText = 5

// AlertsFor returns the alerts that a finished delivery attempt for a domain
// gives rise to: none, one, or one of each kind. Nothing is held back or merged:
// the next attempt that fails in the same way gives the same alerts.
//
// s are the settings that were in force, and hosts what was decided in the end
// about each host.
func AlertsFor(domain string, s Settings, hosts []HostDecision) []Alert {
	byPolicy, byDANE := 0, 0
	var counted []HostDecision
	for _, h := range hosts {
		switch {
		case h.Decision.Reason == ReasonNone:
			continue
		case h.Decision.delivers():
			return nil
		}
		counted = append(counted, h)
		switch h.Decision.Reason.Class() {
		case ClassDANE:
			byDANE++
			byPolicy++
		case ClassMode, ClassSTS:
			byPolicy++
		}
	}
	var alerts []Alert
	if s.Mode.required() && byPolicy > 0 {
		alerts = append(alerts, Alert{AlertTLSRequiredFailed, domain, s, counted})
	}
	if byDANE > 0 && byDANE == len(counted) {
		alerts = append(alerts, Alert{AlertDANEFailedAll, domain, s, counted})
	}
	return alerts
}

// delivers reports whether mail is sent on the session.
func (d Decision) delivers() bool {
	switch d.Action {
	case DeliverClear, DeliverUnverified, DeliverVerified:
		return true
	}
	return false
}

// Level returns the level that alerts are logged at, which is that of warnings.
func (a Alert) Level() slog.Level { return slog.LevelWarn }

// String returns the alert as one line of printable text, with the domain and up
// to five of the hosts and their reasons.
func (a Alert) String() string {
	var b []byte
	switch a.Kind {
	case AlertTLSRequiredFailed:
		b = append(b, "TLS is required for the domain ("...)
	case AlertDANEFailedAll:
		b = append(b, "DANE failed for every host of the domain ("...)
	default:
		b = append(append(b, a.Kind.String()...), " for the domain ("...)
	}
	b = append(appendHost(b, a.Domain), "), and mail to it is held back: "...)
	return string(a.appendHosts(b))
}

// appendHosts appends the hosts and their reasons.
func (a Alert) appendHosts(b []byte) []byte {
	for i, h := range a.Hosts {
		if i > 0 {
			b = append(b, ", "...)
		}
		if i == maxHostsInText {
			return append(b, "..."...)
		}
		if h.Host != "" {
			b = append(appendHost(b, h.Host), ' ')
		}
		b = append(b, h.Decision.Reason.String()...)
	}
	return b
}

// LogValue returns the alert as attributes.
func (a Alert) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("kind", a.Kind.String()),
		slog.String("domain", printable(a.Domain)),
		slog.String("settings", a.Settings.String()),
		slog.String("hosts", string(a.appendHosts(nil))),
	)
}
