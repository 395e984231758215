//go:build interop && linux

package soak

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// secondHop is the relay that the first one finds by MX and TLSA records.
const secondHop = `
hostname = "mx.chain.example"
[[listener]]
name = "smtp"
address = "203.0.113.77:25"
certificate = "own"
[[group]]
name = "ALL"
senders = ["ALL"]
policy = "inbound"
[policy.inbound]
access = "accept"
tls = "required"
[relay]
recipient-domains = ["chain.example"]
[destinations]
default = { mode = "preferred", dane = "mandatory", mta-sts = "off" }
[routes]
"chain.example" = ["final.example"]
[trust]
system = "none"
custom = ["ROOTS"]
[resolver]
kind = "validator"
servers = ["RESOLVER"]
anchors = "ANCHORS"
[spool]
directory = "SPOOL"
min-free = "0"
[certificate.own]
file = "CERTIFICATE"
`

// TestRollover: mail goes through two relays, the second of which changes its certificate and key in the middle,
// with the records of both published before, and the old one taken out afterwards. Nothing is deferred for it.
func TestRollover(t *testing.T) {
	if !inside(t) {
		return
	}
	const messages = 600
	certificate := filepath.Join(t.TempDir(), "own.pem")
	current, next := testpki.SelfSigned([]string{"mx.chain.example"}), testpki.SelfSigned([]string{"mx.chain.example"})
	n := connect(t,
		lab.Domain{Name: "chain.example", DNSSEC: lab.Signed, MX: []lab.MX{{Host: "mx.chain.example", Pref: 10}},
			Records: []string{"mx 5 A 203.0.113.77", tlsaOf(t, current), tlsaOf(t, next)}},
		hostOf("final.example", lab.Signed, lab.Host{Cert: lab.Cert{Kind: lab.CertSelfSigned}, TLSA: []lab.TLSA{lab.TLSAMatch}}))
	install(t, certificate, current)
	second := build(t, t.TempDir()+"/spool", n.fill(secondHop, "CERTIFICATE", certificate))
	second.start()
	require.Equal(t, current.Cert.RawSubjectPublicKeyInfo, presentedAt(t, "203.0.113.77:25"))
	first := build(t, t.TempDir()+"/spool", strings.Replace(n.configuration(), `dane = "opportunistic"`, `dane = "mandatory"`, 1))
	first.start()

	var sent atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- pour(ctx, messages, &sent) }()
	until := func(n int64) {
		for deadline := time.Now().Add(patience); sent.Load() < n; time.Sleep(time.Millisecond) {
			require.True(t, time.Now().Before(deadline), first.log.tail())
		}
	}
	until(messages / 3)
	reloaded := second.log.expect("configuration reloaded")
	install(t, certificate, next)
	second.signal(syscall.SIGHUP)
	reloaded()
	until(messages * 2 / 3)
	n.Zone("chain.example").Replace("_25._tcp.mx.chain.example.", dns.TypeTLSA, tlsaOf(t, next))
	require.NoError(t, n.Tree().Sign())
	require.NoError(t, <-done)
	for _, p := range []*program{first, second} {
		p.drain(patience, func(*spool.Envelope) bool { return false })
		require.Empty(t, p.log.lines("msg=deferred"), "no message may wait because of a rollover")
		require.Empty(t, p.log.lines("msg=bounced"))
		p.log.count(messages, "msg=delivered")
		require.Len(t, p.log.lines("tls=dane-verified"), messages, "each of them over DANE")
	}
	box := n.Host("mx.final.example").Mailbox()
	require.Len(t, box, messages)
	for _, m := range box {
		require.Regexp(t, `^Received: from relay\.soak\.example .*\r\n\tby mx\.chain\.example with ESMTPS id \S+\r\n\t\(TLS1\.3 TLS_\w+\)`, string(m.Data))
		require.Equal(t, 2, bytes.Count(m.Data, []byte("Received: ")))
	}
	require.Equal(t, next.Cert.RawSubjectPublicKeyInfo, presentedAt(t, "203.0.113.77:25"))
}

// pour hands in messages, over several connections one after the other.
func pour(ctx context.Context, messages int, sent *atomic.Int64) error {
	for int(sent.Load()) < messages && ctx.Err() == nil {
		c, err := dial(relayAddress, true)
		if err != nil {
			return err
		}
		for range min(50, messages-int(sent.Load())) {
			text := fmt.Sprintf("Subject: chain\r\nMessage-ID: <%d@chain.example>\r\n\r\nHello.\r\n", sent.Load())
			if _, err := c.send("alice@chain.example", "", []string{"bob@chain.example"}, []byte(text)); err != nil {
				c.Close()
				return err
			}
			sent.Add(1)
		}
		c.Close()
	}
	return nil
}

// tlsaOf is the record for a certificate's key.
func tlsaOf(t *testing.T, l *testpki.Leaf) string {
	t.Helper()
	record, err := dane.NewRecord(dane.UsageDANEEE, dane.SelectorSPKI, dane.MatchingSHA256, l.Cert)
	require.NoError(t, err)
	return dane.FormatRR("_25._tcp.mx.chain.example.", 1, record)
}

// install puts a certificate and its key where the relay has them, at once.
func install(t *testing.T, file string, l *testpki.Leaf) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(l.Key)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.Cert.Raw})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	require.NoError(t, os.WriteFile(file+".new", text, 0o600))
	require.NoError(t, os.Rename(file+".new", file))
}
