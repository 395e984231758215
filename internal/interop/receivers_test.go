//go:build interop

package interop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// What becomes of a message: how it is delivered, or the name of the rule that keeps it.
const (
	clear    = "deliver-clear"
	tlsOnly  = "deliver-tls-unverified"
	verified = "deliver-tls-verified"
)

// The sites of each mail server, and what becomes of a message in each mode, with DANE opportunistic and MTA-STS on.
var sites = []struct {
	site
	why                                 string
	preferred, required, verify, hosted string
}{
	{site{label: "plain", tls: NoTLS}, "no STARTTLS", clear, absentTLS, absentTLS, absentTLS},
	{site{label: "good", cert: "good"}, "name of the host in SAN and common name", tlsOnly, tlsOnly, verified, verified},
	{site{label: "selfsigned", cert: "self-signed"}, "no path to a root", tlsOnly, tlsOnly, untrusted, untrusted},
	{site{label: "unknown", cert: "unknown-ca"}, "a root that is not ours", tlsOnly, tlsOnly, untrusted, untrusted},
	{site{label: "expired", cert: "expired"}, "since yesterday", tlsOnly, tlsOnly, untrusted, untrusted},
	{site{label: "wrongname", cert: "wrong-name"}, "good for somebody else", tlsOnly, tlsOnly, wrongName, wrongName},
	{site{label: "tls12", cert: "good", tls: OnlyTLS12}, "the lowest verified version", tlsOnly, tlsOnly, verified, verified},
	{site{label: "tls13", cert: "good", tls: OnlyTLS13}, "the highest version", tlsOnly, tlsOnly, verified, verified},
	{site{label: "asks", cert: "good", ask: true}, "asks for our certificate", tlsOnly, tlsOnly, verified, verified},
	{site{label: "asks12", cert: "good", ask: true, tls: OnlyTLS12}, "the same in another handshake", tlsOnly, tlsOnly, verified, verified},
	{site{label: "daneee", cert: "self-signed", tlsa: "ee"}, "the record is the proof, whatever the mode", verified, verified, verified, verified},
	{site{label: "daneta", cert: "unknown-ca", tlsa: "ta"}, "the same by way of the issuer", verified, verified, verified, verified},
	{site{label: "danemismatch", cert: "good", tlsa: "mismatch"}, "a good certificate does not help", "dane-mismatch", "dane-mismatch", "dane-mismatch", "dane-mismatch"},
	{site{label: "daneplain", tls: NoTLS, tlsa: "mismatch"}, "TLSA records demand TLS", "dane-tls-required-absent", "dane-tls-required-absent", "dane-tls-required-absent", "dane-tls-required-absent"},
	{site{label: "daneunusable", cert: "self-signed", tlsa: "unusable"}, "TLS without authentication", tlsOnly, tlsOnly, untrusted, untrusted},
	{site{label: "unusableplain", tls: NoTLS, tlsa: "unusable"}, "and not without TLS", "dane-unusable-tls-required-absent", absentTLS, absentTLS, absentTLS},
	{site{label: "unsigneddane", zone: "unsigned", cert: "good", tlsa: "mismatch"}, "TLSA records without DNSSEC are none", tlsOnly, tlsOnly, verified, verified},
	{site{label: "unsignedsts", zone: "unsigned", cert: "good", sts: "enforce"}, "MTA-STS needs no DNSSEC", verified, verified, verified, verified},
	{site{label: "unsignedself", zone: "unsigned", cert: "self-signed", sts: "enforce"}, "and is no weaker there", "sts-cert-untrusted", "sts-cert-untrusted", "sts-cert-untrusted", "sts-cert-untrusted"},
	{site{label: "sts", cert: "good", sts: "enforce"}, "passes", verified, verified, verified, verified},
	{site{label: "stsself", cert: "self-signed", sts: "enforce"}, "RFC 8461 section 4.2", "sts-cert-untrusted", "sts-cert-untrusted", "sts-cert-untrusted", "sts-cert-untrusted"},
	{site{label: "stsname", cert: "wrong-name", sts: "enforce"}, "RFC 8461 section 4.1", "sts-cert-name-mismatch", "sts-cert-name-mismatch", "sts-cert-name-mismatch", "sts-cert-name-mismatch"},
	{site{label: "stsplain", tls: NoTLS, sts: "enforce"}, "stripped STARTTLS", "sts-tls-required-absent", "sts-tls-required-absent", "sts-tls-required-absent", "sts-tls-required-absent"},
	{site{label: "ststesting", cert: "self-signed", sts: "testing"}, "reported, not obeyed", tlsOnly, tlsOnly, untrusted, untrusted},
}

const (
	absentTLS = "mode-tls-required-absent"
	untrusted = "mode-cert-untrusted"
	wrongName = "mode-cert-name-mismatch"
)

// A message really arrives or it does not, and the server's own log says the same of TLS version, SNI and our
// certificate as the session.
func TestReceivers(t *testing.T) {
	for _, mta := range []struct {
		name     string
		network  byte
		start    func(t testing.TB, clientCAs string, domains []string, listeners ...Listener) *Receiver
		keys     []testpki.Mod
		resolver func(dns, testing.TB) dnssec.Resolver
	}{
		{"postfix", 80, StartPostfix, nil, dns.stub},
		{"exim", 81, StartExim, nil, dns.validator},
		{"opensmtpd", 82, StartOpenSMTPD, []testpki.Mod{testpki.Key(testpki.NewRSA(2048))}, dns.stub},
	} {
		t.Run(mta.name, func(t *testing.T) {
			var all []site
			for _, s := range sites {
				all = append(all, s.site)
			}
			w := newWorld(t, mta.network, all, mta.keys...)
			r := mta.start(t, w.pki.roots, w.domains, w.listeners...)
			t.Logf("%s %s", r.Name, r.Version)
			resolver := mta.resolver(w.dns, t)
			var sent []string
			for _, mode := range []tlspolicy.Mode{tlspolicy.Preferred, tlspolicy.Required, tlspolicy.RequiredVerify, tlspolicy.RequiredVerifyHosted} {
				d := w.dialer(t, resolver, tlspolicy.Settings{Mode: mode, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On})
				for _, s := range sites {
					want := map[tlspolicy.Mode]string{tlspolicy.Preferred: s.preferred, tlspolicy.Required: s.required,
						tlspolicy.RequiredVerify: s.verify, tlspolicy.RequiredVerifyHosted: s.hosted}[mode]
					id := fmt.Sprintf("%s.%s", s.label, mode)
					t.Run(id, func(t *testing.T) {
						got := deliver(t, r, d, s.site, id)
						require.Equal(t, want, got, s.why)
						if strings.HasPrefix(got, "deliver-") {
							sent = append(sent, id)
						}
					})
				}
			}
			t.Run("no certificate of ours", func(t *testing.T) { sent = append(sent, withoutCertificate(t, w, r, resolver)...) })
			// Nothing but what was meant to arrive has arrived, and each message says how it came.
			var arrived []string
			for _, m := range r.Messages(t) {
				id := regexp.MustCompile(`(?m)^Message-ID: <(.*)@sender\.example>\r?$`).FindStringSubmatch(m)
				require.NotNil(t, id, m)
				require.Contains(t, m, "Hello "+id[1]+".", "the text must be whole")
				arrived = append(arrived, id[1])
			}
			slices.Sort(arrived)
			slices.Sort(sent)
			require.Equal(t, sent, arrived)
			require.Greater(t, len(sent), 40)
		})
	}
}

// deliver tries to deliver one message, and compares the session with what the server's log says about it. It returns
// the name of the action, or of the reason that there is none.
func deliver(t *testing.T, r *Receiver, d *smtpclient.Dialer, s site, id string) string {
	mark := r.Log.Mark()
	session, err := d.Dial(t.Context(), s.domain())
	if err != nil {
		var refused *smtpclient.Error
		require.ErrorAs(t, err, &refused)
		require.False(t, refused.Permanent, refused)
		lines := r.Log.Wait(t, mark, r.Closed, connections(refused.Report))
		require.Zero(t, r.Saw(lines).Messages, "a message without a session")
		return refused.Reason.String()
	}
	require.NoError(t, send(session, s.domain(), id))
	r.Log.Wait(t, mark, r.Delivered, 1)
	lines := r.Log.Wait(t, mark, r.Closed, connections(session.Report))
	seen, want := r.Saw(lines), Seen{Messages: 1}
	if state := session.TLS(); state != nil {
		want.TLS = map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[state.Version]
		want.Trusted = s.ask
		if r.established.SubexpIndex("sni") >= 0 {
			want.SNI = s.host()
		}
		require.Equal(t, map[TLSUse]string{AnyTLS: "1.3", OnlyTLS12: "1.2", OnlyTLS13: "1.3"}[s.tls], want.TLS)
	}
	require.Equal(t, want, seen, "the server's log:\n%s", strings.Join(lines, "\n"))
	return session.Decision().Action.String()
}

// connections counts those that a Dial made.
func connections(report *smtpclient.Report) (n int) {
	for _, a := range report.Attempts {
		if a.ConnID != 0 {
			n++
		}
	}
	return n
}

// send hands one message over.
func send(session *smtpclient.Session, domain, id string) error {
	defer session.Close()
	c, err := session.NetSMTP()
	if err != nil {
		return err
	}
	if err := c.Mail("sender@sender.example"); err != nil {
		return err
	}
	if err := c.Rcpt("postmaster@" + domain); err != nil {
		return err
	}
	data, err := c.Data()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(data, "From: sender@sender.example\r\nTo: postmaster@%s\r\nSubject: interop\r\nMessage-ID: <%s@sender.example>\r\n\r\nHello %s.\r\n", domain, id, id)
	return errors.Join(err, data.Close(), c.Quit())
}

// withoutCertificate delivers to hosts that ask for a certificate, and has none. It returns the messages delivered.
// OpenSMTPD insists: with TLS 1.3 its alert comes when the client has finished the handshake already.
func withoutCertificate(t *testing.T, w *world, r *Receiver, resolver dnssec.Resolver) (sent []string) {
	d := w.dialer(t, resolver, tlspolicy.Settings{Mode: tlspolicy.Required})
	d.ClientCertificate = nil
	for _, label := range []string{"asks", "asks12"} {
		mark := r.Log.Mark()
		session, err := d.Dial(t.Context(), label+".example")
		if r.Name == "OpenSMTPD" {
			var refused *smtpclient.Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, tlspolicy.ReasonModeTLSHandshakeFailed, refused.Reason)
			var handshake *smtpclient.HandshakeError
			require.ErrorAs(t, err, &handshake)
			require.Equal(t, smtpclient.CauseAlert, handshake.Cause)
			require.Zero(t, r.Saw(r.Log.Wait(t, mark, r.Closed, 1)).Messages)
			continue
		}
		require.NoError(t, err)
		id := label + ".uncertified"
		require.NoError(t, send(session, label+".example", id))
		r.Log.Wait(t, mark, r.Delivered, 1)
		seen := r.Saw(r.Log.Wait(t, mark, r.Closed, 1))
		require.Equal(t, 1, seen.Messages)
		require.False(t, seen.Trusted)
		sent = append(sent, id)
	}
	return sent
}
