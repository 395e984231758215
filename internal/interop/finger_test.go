//go:build interop

package interop

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A level is a TLS security level of Postfix, and the settings of ours that mean the same.
type level struct {
	name     string
	postfix  string
	names    func(site) []string // what the certificate is compared with; nil = as the level does it
	settings tlspolicy.Settings
	// delivers tells what Postfix does at this level with a session of the given Trust.
	delivers func(trust string) bool
}

var (
	always    = func(string) bool { return true }
	encrypted = func(trust string) bool { return trust != "" }
	proven    = func(trust string) bool { return trust == "Verified" }
)

var levels = []level{
	{"may", "may", nil, tlspolicy.Settings{Mode: tlspolicy.Preferred}, always},
	{"encrypt", "encrypt", nil, tlspolicy.Settings{Mode: tlspolicy.Required}, encrypted},
	{"dane", "dane", nil, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic}, proven},
	{"dane-only", "dane-only", nil, tlspolicy.Settings{Mode: tlspolicy.Required, DANE: tlspolicy.DANEMandatory}, proven},
	{"secure, domain", "secure", func(s site) []string { return []string{s.domain()} }, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}, proven},
	{"secure, domain and host", "secure", func(s site) []string { return []string{s.domain(), s.host()} }, tlspolicy.Settings{Mode: tlspolicy.RequiredVerifyHosted}, proven},
}

// moreSites are hosts about whose names one may differ.
var moreSites = []site{
	{label: "domain", cert: "domain"}, {label: "wildcard", cert: "wildcard"},
	{label: "cn", cert: "common-name"}, {label: "othercn", cert: "other-common-name"},
	{label: "danetaname", cert: "wrong-name", tlsa: "ta"}, {label: "danetaexpired", cert: "expired", tlsa: "ta"},
	{label: "daneename", cert: "wrong-name", tlsa: "ee"}, {label: "daneeexpired", cert: "expired", tlsa: "ee"},
}

// A difference is a way in which we and posttls-finger may differ, and why. Each must occur, or it is out of date.
type difference struct {
	why          string
	level        string
	sites        []string
	ours, theirs bool
}

var differences = []difference{
	{
		"without TLSA records posttls-finger takes level dane for secure, as its manual says; Postfix itself takes it for may, as we do (RFC 7672 section 2.2)",
		"dane", []string{"plain", "selfsigned", "unknown", "expired", "wrongname", "stsself", "stsname", "stsplain", "ststesting", "othercn", "unsignedself"}, true, false,
	},
	{
		"and dane-only for the same; Postfix itself then defers, as we do",
		"dane-only", []string{"domain", "wildcard", "cn", "good", "tls12", "tls13", "asks", "asks12", "sts", "unsigneddane", "unsignedsts"}, false, true,
	},
	{
		"with unusable TLSA records it does the same; Postfix itself takes that for encrypt, as we do (RFC 7672 section 2.2)",
		"dane", []string{"daneunusable"}, true, false,
	},
	{
		"RequiredVerify also takes a common name that equals the receiving host, as the AsyncOS chapter has it",
		"secure, domain", []string{"good", "tls12", "tls13", "asks", "asks12", "danemismatch", "sts", "cn", "othercn", "unsigneddane", "unsignedsts"}, true, false,
	},
}

// Our verdict about each host is that of Postfix at the level that means the same.
func TestAgainstFinger(t *testing.T) {
	all := moreSites
	for _, s := range sites {
		all = append(all, s.site)
	}
	w := newWorld(t, 84, all)
	StartPostfix(t, w.pki.roots, w.domains, w.listeners...)
	finger := NewFinger(t, w.dns.unbound, w.pki.roots)
	t.Logf("posttls-finger %s", finger.Version)
	resolver := w.dns.stub(t)
	seen := make([]map[string]bool, len(differences))
	for _, l := range levels {
		d := w.dialer(t, resolver, l.settings)
		for _, s := range all {
			t.Run(l.name+"/"+s.label, func(t *testing.T) {
				report, err := d.Probe(t.Context(), smtpclient.Target{Domain: s.domain()})
				if report == nil {
					require.NoError(t, err)
				}
				require.Len(t, report.Attempts, 1)
				ours := report.Attempts[0].Decision.Action != tlspolicy.Next
				var names []string
				if l.names != nil {
					names = l.names(s)
				}
				said := finger.Look(t, l.postfix, w.pki.roots, s.domain(), w.port, names...)
				theirs := l.delivers(Trust(said))
				want := theirs
				for i, x := range differences {
					if x.level == l.name && slices.Contains(x.sites, s.label) {
						require.Equal(t, x.theirs, theirs, "%s\n%s", x.why, said)
						want = x.ours
						if seen[i] == nil {
							seen[i] = map[string]bool{}
						}
						seen[i][s.label] = true
					}
				}
				require.Equal(t, want, ours, "posttls-finger says:\n%s\nwe say:\n%s", said, report.Explain())
			})
		}
	}
	for i, x := range differences {
		require.Len(t, seen[i], len(x.sites), "a difference that does not occur: %s", x.why)
	}
}
