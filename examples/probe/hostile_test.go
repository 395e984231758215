package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
)

// hostileWorld writes to the terminal of whoever looks at it, wherever a domain, a
// mail host or a certificate can put a text.
func hostileWorld() lab.World {
	const evil = "\x1b[2J\u202e\a"
	return lab.World{Domains: []lab.Domain{
		{Name: "names.example", Hosts: []lab.Host{{Name: "mx.names.example", Cert: lab.Cert{
			Kind: lab.CertSelfSigned, Names: []string{"\x1b[2J.names.example", strings.Repeat("a", 5000)}, CommonName: evil}}}},
		{Name: "greeting.example", Hosts: []lab.Host{{Name: "mx.greeting.example", Fault: lab.Fault{At: lab.AtGreeting, Send: "220 " + evil + "\r\n"}}}},
		{Name: "refusal.example", Hosts: []lab.Host{{Name: "mx.refusal.example", Fault: lab.Fault{At: lab.AtSTARTTLS, Send: "454 " + evil + "\r\n"}}}},
		{Name: "endless.example", Hosts: []lab.Host{{Name: "mx.endless.example", Fault: lab.Endless(lab.AtEHLO)}}},
		{Name: "huge.example", Hosts: []lab.Host{{Name: "mx.huge.example", Cert: lab.Cert{Kind: lab.CertHuge}}}},
		{Name: "policy.example", Hosts: []lab.Host{{Name: "mx.policy.example"}},
			Policy: &lab.Policy{Text: "version: STSv1\nmode: enforce\nmx: mx.policy.example\nx: " + evil + "\nmax_age: 86400\n"}},
		{Name: "records.example", DNSSEC: lab.Signed, Hosts: []lab.Host{{Name: "mx.records.example"}}, MX: []lab.MX{{Host: "mx.records.example", Pref: 10}},
			Records: []string{`@ MX 20 \027[2J.records.example.`, `_smtp._tls TXT "v=TLSRPTv1; rua=\027[2J"`, `_mta-sts TXT "v=STSv1; id=\027[2J;"`}},
	}}
}

// TestHostile: nothing that others wrote comes to the terminal or into JSON as it is,
// nor without bound; and the probe sends no mail and takes its leave.
func TestHostile(t *testing.T) {
	w := hostileWorld()
	l, p := inLab(t, w)
	for _, d := range w.Domains {
		r := p.probe(context.Background(), d.Name)
		page := page{width: 80}.render(r)
		require.True(t, printable(string(bytes.ReplaceAll(page, []byte("\n"), nil))), "%s\n%q", d.Name, page)
		text, err := json.Marshal(r)
		require.NoError(t, err)
		require.True(t, printable(string(text)), "%s\n%q", d.Name, text)
		require.Less(t, len(text), 64<<10, d.Name)
		require.NotEqual(t, StatusInvalid, r.Status)
	}
	for _, h := range l.Hosts() {
		require.NoError(t, h.Idle(context.Background()))
		require.Empty(t, h.Mailbox())
		require.LessOrEqual(t, len(h.Connections()), 1, h.Name())
		for _, c := range h.Connections() {
			commands := append(c.Clear, c.Inside...)
			for _, command := range commands {
				require.NotRegexp(t, "(?i)^(MAIL|RCPT|DATA|BDAT|AUTH|VRFY|EXPN)", command, h.Name())
			}
		}
	}
	for _, name := range []string{"names.example", "greeting.example", "policy.example"} {
		c := l.Host("mx." + name).Connections()[0]
		require.Equal(t, "QUIT", c.Inside[len(c.Inside)-1], name)
	}
}
