//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
)

// settings is the file of the relays under test. Port 0 lets the system choose.
const settings = `
hostname = "relay.example"
[[listener]]
name = "smtp"
address = "127.0.0.1:0"
certificate = "own"
[[group]]
name = "LOCAL"
senders = ["127.0.0.1"]
policy = "relayed"
[[group]]
name = "ALL"
senders = ["ALL"]
policy = "inbound"
[policy-defaults]
tls = "preferred"
max-message-size = "1 MiB"
[policy.relayed]
access = "relay"
[policy.inbound]
access = "accept"
[relay]
recipient-domains = ["home.example"]
[destinations]
default = { mode = "preferred", dane = "opportunistic", mta-sts = "on" }
[resolver]
kind = "lab"
[mta-sts]
directory = "sts"
[spool]
directory = "spool"
[tls-reports]
organization = "Test"
contact = "reports@relay.example"
directory = "reports"
[metrics]
address = "127.0.0.1:0"
[certificate.own]
self-signed = ["relay.example"]
`

// A bench is a relay under test, the lab it delivers to, and what it logs.
type bench struct {
	*relay
	t     testing.TB
	world *world
	logs  *lines
	file  string
}

// lines is a log that can be waited for.
type lines struct {
	mu     sync.Mutex
	text   strings.Builder
	change chan struct{} // closed at the next line
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.change)
	l.change = make(chan struct{})
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait waits for a line of the log that has all words in it, behind the first skip
// such lines, and returns it.
func (b *bench) wait(skip int, words ...string) string {
	b.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		b.logs.mu.Lock()
		text, change := b.logs.text.String(), b.logs.change
		b.logs.mu.Unlock()
		n := 0
	line:
		for line := range strings.Lines(text) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue line
				}
			}
			if n++; n > skip {
				return line
			}
		}
		select {
		case <-change:
		case <-timeout:
			require.FailNow(b.t, "the log never said it", "%q\n%s", words, text)
		}
	}
}

// makeLab starts a lab with the ready-made destinations and more.
func makeLab(t testing.TB, more ...lab.Domain) *lab.Lab {
	t.Helper()
	declared, _ := lab.Destinations()
	declared.Domains = append(declared.Domains, more...)
	l, err := lab.Start(declared)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// load writes the settings and loads them. edit pairs are replacements.
func load(t testing.TB, file string, edits ...string) *config.Config {
	t.Helper()
	text := strings.NewReplacer(edits...).Replace(settings)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	c, err := config.Load(file)
	require.NoError(t, err)
	return c
}

// begin starts a relay. change may edit the configuration before.
func begin(t testing.TB, l *lab.Lab, change func(*config.Config), edits ...string) *bench {
	t.Helper()
	b := &bench{t: t, world: labWorld(l), logs: &lines{change: make(chan struct{})}, file: filepath.Join(t.TempDir(), "relay.toml")}
	// Hosts of a test may lie on loopback as well as in the lab.
	b.world.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if at, err := netip.ParseAddrPort(address); err == nil && at.Addr().IsLoopback() {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		return l.DialContext(ctx, network, address)
	}
	c := load(t, b.file, edits...)
	if change != nil {
		change(c)
	}
	var err error
	b.relay, err = start(t.Context(), c, b.world, slog.New(slog.NewTextHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		b.stop(ctx)
		if t.Failed() {
			t.Log(b.logs.String())
		}
	})
	return b
}

func (b *bench) address() string { return b.fronts[0].listener.Addr().String() }

// client connects with TLS.
func (b *bench) client() *smtp.Client {
	b.t.Helper()
	c, err := smtp.DialStartTLS(b.address(), &tls.Config{InsecureSkipVerify: true})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { c.Close() })
	return c
}

const text = "From: alice@good.example\r\nMessage-ID: <kept@good.example>\r\nSubject: h\xc3\xa4\r\n\r\n.dot\r\n..\r\nend\r\n"

// send sends a message with options and returns its spool id.
func (b *bench) send(from string, o *smtp.MailOptions, to ...string) string {
	b.t.Helper()
	c := b.client()
	require.NoError(b.t, c.Mail(from, o))
	for _, rcpt := range to {
		require.NoError(b.t, c.Rcpt(rcpt, nil))
	}
	return b.finish(c)
}

// finish sends the text of a message whose recipients have been told.
func (b *bench) finish(c *smtp.Client) string {
	b.t.Helper()
	w, err := c.Data()
	require.NoError(b.t, err)
	_, err = w.Write([]byte(text))
	require.NoError(b.t, err)
	reply, err := w.CloseWithResponse()
	require.NoError(b.t, err)
	_, id, ok := strings.Cut(reply.StatusText, "queued as ")
	require.True(b.t, ok, reply.StatusText)
	return strings.TrimSpace(id)
}

// messages returns what the spool holds.
func (b *bench) messages() map[string]*spool.Envelope {
	b.t.Helper()
	all := map[string]*spool.Envelope{}
	for e, err := range b.spool.All() {
		require.NoError(b.t, err)
		all[e.ID] = e
	}
	return all
}

// one is a domain with a healthy mail host.
func one(name string, edit func(*lab.Host)) lab.Domain {
	h := lab.Host{Name: "mx." + name}
	if edit != nil {
		edit(&h)
	}
	return lab.Domain{Name: name, Hosts: []lab.Host{h}}
}

// quick makes attempts follow each other at once.
func quick(c *config.Config) {
	c.Queue.Retry = spool.Retry{First: time.Millisecond, Longest: time.Millisecond, Lifetime: time.Hour, DelayAfter: time.Hour}
}

func TestDelivered(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil)
	for _, tc := range []struct{ domain, rule string }{
		{"dane.example", "dane-verified"},
		{"sts.example", "sts-verified"},
		{"plain.example", "starttls-absent"},
	} {
		id := b.send("alice@good.example", nil, "bob@"+tc.domain)
		line := b.wait(0, "msg=delivered", id)
		require.Contains(t, line, "tls="+tc.rule)
		b.settled(id, nil)
		box := l.Host("mx." + tc.domain).Mailbox()
		require.Len(t, box, 1)
		require.Equal(t, tc.rule != "starttls-absent", box[0].TLS != nil)
		require.Equal(t, "alice@good.example", box[0].From)
		trace, rest, ok := bytes.Cut(box[0].Data, []byte("From:"))
		require.True(t, ok)
		require.Equal(t, text, "From:"+string(rest), "what the client sent, octet for octet")
		require.Regexp(t, `^Received: from localhost \(\[127\.0\.0\.1\]\)\r\n\tby relay\.example with ESMTPS id `+id+
			`\r\n\t\(TLS1\.3 TLS_\w+\)\r\n\tfor <bob@`+tc.domain+`>;\r\n\t\w+, .*\d\r\n$`, string(trace))
	}
	require.NotContains(t, b.logs.String(), "level=ERROR")
}

// TestReuse: two messages to one domain share a session, a third one to another domain
// on the same host does not.
func TestReuse(t *testing.T) {
	l := makeLab(t, one("home.example", nil), lab.Domain{Name: "guest.example", MX: []lab.MX{{Host: "mx.home.example", Pref: 10}}})
	b := begin(t, l, func(c *config.Config) { c.Queue.ConnIdle = time.Minute }, `mode = "preferred"`, `mode = "required-verify-hosted"`)
	for i, to := range []string{"a@home.example", "b@home.example", "c@guest.example"} {
		id := b.send("alice@good.example", nil, to)
		b.wait(0, "msg=delivered", id)
		require.Len(t, l.Host("mx.home.example").Mailbox(), i+1)
	}
	require.Len(t, l.Host("mx.home.example").Connections(), 2, "the name that was checked differs")
}

// flip damages a file without changing its length.
func flip(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	data[len(data)-3] ^= 1
	require.NoError(t, os.WriteFile(name, data, 0o600))
}

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}

// BenchmarkRelay is a message with 1 KiB of text from a client's MAIL to the record of
// its delivery, with TLS on both sides; messages overlap, as they do in life.
func BenchmarkRelay(b *testing.B) {
	l := makeLab(b, one("busy.example", nil))
	r := begin(b, l, func(c *config.Config) { c.Queue.ConnIdle = time.Second })
	message := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("y", 62)+"\r\n", 16)
	c := r.client()
	for b.Loop() {
		if err := c.SendMail("alice@good.example", []string{"bob@busy.example"}, strings.NewReader(message)); err != nil {
			b.Fatal(err)
		}
	}
	require.Eventually(b, func() bool { return len(r.messages()) == 0 }, 20*time.Second, time.Millisecond)
}
