package lab

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/certname"
)

// TestDestinations finds out the facts of every destination from outside, with
// sockets, crypto/tls, crypto/x509 and the resolver alone, and compares them with
// the declared ones.
func TestDestinations(t *testing.T) {
	w, destinations := Destinations()
	l := start(t, w)
	require.GreaterOrEqual(t, len(destinations), 14)
	seen := map[string]bool{}
	for _, d := range destinations {
		require.False(t, seen[d.Story], "a story of its own")
		seen[d.Story] = true
	}
	for name, resolver := range map[string]dnssec.Resolver{"stub": l.Stub(), "validator": l.Resolver()} {
		for _, d := range destinations {
			t.Run(name+"/"+d.Domain, func(t *testing.T) {
				p := prober{t, l, resolver, d.Domain}
				state, hosts := p.mx()
				require.Equal(t, d.MX, state)
				require.Len(t, hosts, len(d.Hosts))
				for i, host := range hosts {
					require.Equal(t, d.Hosts[i], p.facts(host, state))
				}
			})
		}
	}
}

// A story costs no timeout: what does not come is refused or reset at once.
func TestDestinationsDoNotStall(t *testing.T) {
	w, _ := Destinations()
	for _, d := range w.Domains {
		for _, h := range d.Hosts {
			require.NotEqual(t, Stall, h.Fault.Then, h.Name)
			require.Zero(t, h.Fault.Every, h.Name)
		}
	}
}

// The world may be started again and again, and declared again without a change.
func TestDestinationsAreFresh(t *testing.T) {
	w, one := Destinations()
	for range 2 {
		start(t, w)
	}
	_, two := Destinations()
	require.Equal(t, one, two)
}

// prober looks at one destination.
type prober struct {
	*testing.T
	lab      *Lab
	resolver dnssec.Resolver
	domain   string
}

// state names what an answer or its error is worth.
func state(security dnssec.Security, err error) string {
	switch {
	case errors.Is(err, dnssec.KindBogus):
		return "bogus"
	case err != nil:
		return "lookup-error"
	case security == dnssec.Secure:
		return "secure"
	}
	return "insecure"
}

func (p prober) mx() (string, []string) {
	set, err := dnssec.LookupMX(context.Background(), p.resolver, p.domain)
	if err != nil {
		return state(0, err), nil
	}
	var hosts []string
	for _, mx := range set.Hosts {
		hosts = append(hosts, strings.TrimSuffix(mx.Host, "."))
	}
	return state(set.Answer.Security, nil), hosts
}

func (p prober) facts(host, mx string) Facts {
	f := Facts{Host: host, DANE: p.dane(host, mx), STS: p.sts(host), Chain: "unchecked"}
	var chain []*x509.Certificate
	if f.TLS, chain = p.tls(host); chain == nil {
		return f
	}
	f.Chain = p.chain(chain)
	for _, name := range chain[0].DNSNames {
		f.STSName = f.STSName || certname.Match(name, host)
		f.VerifyName = f.VerifyName || certname.Match(name, p.domain)
	}
	f.HostedName = f.STSName || f.VerifyName
	require.Empty(p, chain[0].Subject.CommonName, "a common name would be another identity")
	f.DANEMatch = p.match(host, chain)
	return f
}

// dane is the state as RFC 7672 section 2.2 finds it, without aliases.
func (p prober) dane(host, mx string) string {
	if mx != "secure" {
		return mx
	}
	addrs, err := dnssec.LookupAddrs(context.Background(), p.resolver, host)
	require.NoError(p, err)
	require.Equal(p, dnssec.Secure, addrs.A.Answer.Security)
	answer, err := p.resolver.Lookup(context.Background(), "_25._tcp."+host, dnssec.TypeTLSA)
	if err != nil {
		return state(0, err)
	}
	require.Equal(p, dnssec.Secure, answer.Security)
	if answer.Outcome != dnssec.Found {
		return "no-tlsa"
	}
	for _, r := range answer.Records {
		if usable(r.Data) {
			return "usable"
		}
	}
	return "unusable"
}

// usable tells whether SMTP can do something with a record (RFC 7672 section 3.1).
func usable(rdata []byte) bool {
	return (rdata[0] == 2 || rdata[0] == 3) && rdata[1] == 1 && rdata[2] == 1 && len(rdata) == 3+sha256.Size
}

// match tells whether the chain satisfies the records as they were declared, also
// where DNS does not give them.
func (p prober) match(host string, chain []*x509.Certificate) bool {
	w, _ := Destinations()
	for _, d := range w.Domains {
		for _, h := range d.Hosts {
			if h.Name != host {
				continue
			}
			for _, t := range h.TLSA {
				text, err := p.lab.Host(host).RData(t)
				require.NoError(p, err)
				fields := strings.Fields(text)
				digest, err := hex.DecodeString(fields[3])
				require.NoError(p, err)
				rdata := append([]byte{fields[0][0] - '0', fields[1][0] - '0', fields[2][0] - '0'}, digest...)
				if !usable(rdata) {
					continue
				}
				for depth, cert := range chain {
					sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
					if (rdata[0] == 3) == (depth == 0) && string(sum[:]) == string(digest) {
						return true
					}
				}
			}
		}
	}
	return false
}

func (p prober) sts(host string) string {
	texts := lookupTXT(p.T, p.lab, "_mta-sts."+p.domain)
	if len(texts) == 0 {
		return "no-policy"
	}
	require.Len(p, texts, 1)
	response, body, err := fetch(p.T, context.Background(), p.lab, "https://mta-sts."+p.domain+"/.well-known/mta-sts.txt")
	if err != nil || response.StatusCode != http.StatusOK {
		return "discovery-error"
	}
	mode, match := "", "mx-mismatch"
	for line := range strings.Lines(body) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch field {
		case "mode":
			mode = value
		case "mx":
			if certname.Match(value, host) {
				match = "mx-match"
			}
		}
	}
	return mode + "-" + match
}

// tls goes as far as it can and returns the outcome, with a session the chain too.
func (p prober) tls(host string) (string, []*x509.Certificate) {
	address := netip.AddrPortFrom(p.lab.Host(host).Addrs()[0], PortSMTP)
	conn, err := p.lab.DialContext(context.Background(), "tcp", address.String())
	if err != nil {
		var op *net.OpError
		require.ErrorAs(p, err, &op)
		return "unreachable", nil
	}
	conn.Close()
	c := dial(p.T, p.lab, host)
	c.want(220)
	c.say("EHLO client.test")
	hello, err := c.reply()
	require.NoError(p, err)
	if strings.HasPrefix(hello, "5") {
		return "no-esmtp", nil
	}
	if !strings.Contains(hello, "STARTTLS\r\n") {
		return "not-offered", nil
	}
	c.say("STARTTLS")
	if answer, err := c.reply(); err != nil || !strings.HasPrefix(answer, "220") {
		require.NoError(p, err)
		return "refused", nil
	}
	if c.in.Buffered() > 0 {
		return "handshake-failed", nil
	}
	session, err := c.handshake(nil)
	if err != nil {
		return "handshake-failed", nil
	}
	return "established", session.PeerCertificates
}

// chain verifies without a name; expired means that the dates are all.
func (p prober) chain(chain []*x509.Certificate) string {
	options := x509.VerifyOptions{Roots: p.lab.Roots(), Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		options.CurrentTime = chain[0].NotBefore.AddDate(0, 0, 1)
		if _, err := chain[0].Verify(options); err == nil {
			return "expired"
		}
	}
	return "untrusted"
}
