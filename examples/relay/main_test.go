//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

// TestDemo runs the demo as its README says, on ports of the system's choice.
func TestDemo(t *testing.T) {
	text, err := os.ReadFile("demo.toml")
	require.NoError(t, err)
	ports := regexp.MustCompile(`"127\.0\.0\.1:\d+"`)
	demo := ports.ReplaceAllString(strings.ReplaceAll(string(text), "../../.cache/relay-demo", "."), `"127.0.0.1:0"`)
	file := filepath.Join(t.TempDir(), "demo.toml")
	require.NoError(t, os.WriteFile(file, []byte(demo), 0o600))
	var out, errs bytes.Buffer
	require.Equal(t, exitDone, run([]string{"-config", file, "-until-idle"}, &out, &errs, nil), errs.String())
	got := regexp.MustCompile(`\s+`).ReplaceAllString(out.String(), " ")
	for _, want := range []string{
		"bob@dane.example DANE: self-signed certificate, named by a TLSA record delivered over TLS 1.3",
		"bob@sts.example MTA-STS: certificate for a host that the policy names delivered over TLS 1.3",
		"clear text delivered in clear text",
		"not delivered waits: mx.dane-mismatch.example: refused by policy: dane-mismatch",
		"does not name waits: mx.sts-mx.example: refused by policy: sts-mx-mismatch",
		"host that says 550: bounces bounced: the DSN lies with mx.good.example",
		"DNSSEC proves not to exist: bounces bounced: the DSN lies with mx.good.example",
	} {
		require.Contains(t, got, want)
	}
	out.Reset()
	require.Equal(t, exitDone, run([]string{"-config", file, "-queue"}, &out, &errs, nil), errs.String())
	require.Contains(t, out.String(), "<bob@sts-mx.example>")
	require.Contains(t, out.String(), "2 messages")
}

func TestBadCommandLines(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.toml"), filepath.Join(dir, "bad.toml")
	require.NoError(t, os.WriteFile(good, []byte(settings), 0o600))
	require.NoError(t, os.WriteFile(bad, []byte(strings.NewReplacer(`tls = "preferred"`, `tls = "sometimes"`, `kind = "lab"`, `kind = "oracle"`).Replace(settings)), 0o600))
	for _, tc := range []struct {
		why    string
		args   []string
		status int
		words  []string
	}{
		{"no file named", nil, exitUsage, []string{"-config"}},
		{"no such flag", []string{"-frobnicate"}, exitUsage, []string{"frobnicate"}},
		{"an argument", []string{"-config", good, "x"}, exitUsage, []string{`"x"`}},
		{"two orders", []string{"-config", good, "-queue", "-flush"}, exitUsage, []string{"at a time"}},
		{"an order and a run", []string{"-config", good, "-queue", "-until-idle"}, exitUsage, []string{"-until-idle"}},
		{"no such file", []string{"-config", dir + "/none.toml"}, exitFailed, []string{"none.toml"}},
		{"two mistakes, told at once", []string{"-config", bad, "-check"}, exitFailed, []string{"sometimes", "oracle"}},
		{"a broken file does not run", []string{"-config", bad}, exitFailed, []string{"sometimes", "oracle"}},
		{"no spool yet", []string{"-config", good, "-queue"}, exitFailed, []string{"spool"}},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, tc.status, run(tc.args, &out, &errs, nil), tc.why)
		for _, w := range tc.words {
			require.Contains(t, errs.String(), w, tc.why)
		}
	}
	var out, errs bytes.Buffer
	require.Equal(t, exitDone, run([]string{"-config", good, "-check"}, &out, &errs, nil))
	require.Contains(t, out.String(), "no mistakes")
	require.Empty(t, errs.String())
}

// TestOperate: what operators do beside a running relay is seen by it.
func TestOperate(t *testing.T) {
	l := makeLab(t)
	h := newHost(t, func(string) string { return "" })
	b := begin(t, l, nil, routed(map[string]*host{"there.example": h})...)
	order := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		status := run(append([]string{"-config", b.file}, args...), &out, &errs, nil)
		return status, out.String() + errs.String()
	}
	id := b.send("alice@good.example", nil, "bob@dane-mismatch.example", "eve@sts-mx.example")
	b.settled(id, func(e *spool.Envelope) bool { return e.Recipients[0].Attempts == 1 && e.Recipients[1].Attempts == 1 })
	_, out := order("-queue")
	require.Regexp(t, id+` +\ds +\d+ +<alice@good\.example> +<bob@dane-mismatch\.example> +queued +1 +in (2[789]|3[0123])m +mx\.dane-mismatch\.example: refused by policy`, out)

	status, out := order("-hold", id)
	require.Equal(t, exitDone, status, out)
	_, out = order("-queue")
	require.Equal(t, 2, strings.Count(out, "held"))
	status, out = order("-flush")
	require.Equal(t, exitDone, status, out)
	b.woken() // as the loop does every second
	b.wait(0, "queue run", `id=""`)

	status, out = order("-release", id)
	require.Equal(t, exitDone, status, out)
	b.woken()
	b.settled(id, func(e *spool.Envelope) bool { return e.Recipients[0].Attempts == 2 && e.Recipients[1].Attempts == 2 })

	status, out = order("-remove", id)
	require.Equal(t, exitDone, status, out)
	require.Empty(t, b.messages())
	require.NoError(t, b.operator().Wake(""))
	b.woken()
	b.wait(1, "queue run")
	status, out = order("-remove", id)
	require.Equal(t, exitFailed, status)
	require.Contains(t, out, "no such message")
}

// TestHeld: a message that is held comes up, is not tried, and can be released.
func TestHeld(t *testing.T) {
	h := newHost(t, func(string) string { return "" })
	b := begin(t, makeLab(t), nil, routed(map[string]*host{"there.example": h})...)
	b.stopWork()
	b.workers.Wait()
	id := b.send("alice@good.example", nil, "bob@there.example")
	require.NoError(t, b.operator().Hold(id))
	job := spool.Job{ID: id, Domain: "there.example"}
	again := b.attempt(t.Context(), job)
	require.Greater(t, time.Until(again), time.Hour)
	require.Zero(t, h.count("MAIL"))
	b.queue.Add(job, again)
	require.NoError(t, b.operator().Release(id))
	b.woken()
	require.True(t, b.queue.Busy(), "it is due")
	require.Zero(t, b.attempt(t.Context(), job))
	require.Equal(t, 1, h.count("."))
}

// TestRestart: what one relay has accepted, the next one delivers.
func TestRestart(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil)
	b.stopWork()
	b.workers.Wait()
	id := b.send("alice@good.example", nil, "bob@good.example")
	b.stop(t.Context())
	next := begin(t, l, func(c *config.Config) { c.Spool.Dir = b.setup.Load().config.Spool.Dir })
	next.wait(0, "msg=delivered", id)
}

func TestTwoRelays(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil)
	c := load(t, filepath.Join(t.TempDir(), "other.toml"))
	c.Spool.Dir = b.setup.Load().config.Spool.Dir
	_, err := start(t.Context(), c, labWorld(l), slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, spool.ErrLocked)
	require.ErrorContains(t, err, fmt.Sprint(os.Getpid()))
}

// TestPortTaken: a relay that cannot have its ports leaves nothing behind.
func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	l := makeLab(t)
	dir := t.TempDir()
	for _, edit := range [][]string{
		{"address = \"127.0.0.1:0\"\ncertificate", "address = \"" + taken.Addr().String() + "\"\ncertificate"},
		{"[metrics]\naddress = \"127.0.0.1:0\"", "[metrics]\naddress = \"" + taken.Addr().String() + "\""},
	} {
		c := load(t, filepath.Join(dir, "relay.toml"), edit...)
		_, err = start(t.Context(), c, labWorld(l), slog.New(slog.DiscardHandler))
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	}
	s, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{})
	require.NoError(t, err, "the lock is free again")
	s.Close()
}

// TestReload: a broken file changes nothing, a good one changes what is new, and a
// session that is open feels neither.
func TestReload(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil)
	open := b.raw()
	open.say(250, "MAIL FROM:<alice@good.example>")

	broken := strings.ReplaceAll(strings.ReplaceAll(settings, `access = "accept"`, `access = "perhaps"`), `mode = "preferred"`, `mode = "maybe"`)
	require.NoError(t, os.WriteFile(b.file, []byte(broken), 0o600))
	b.reload()
	b.wait(0, "level=ERROR", "perhaps")
	b.wait(0, "level=ERROR", "maybe")
	b.wait(0, "not reloaded")
	b.raw().say(250, "MAIL FROM:<>")

	// Loopback clients may not relay any more, good.example wants required-verify, and a
	// port is to move, which needs a restart.
	load(t, b.file, `senders = ["127.0.0.1"]`, `senders = ["192.0.2.1"]`, `mode = "preferred"`, `mode = "required-verify"`,
		"address = \"127.0.0.1:0\"\ncertificate", "address = \"127.0.0.1:1\"\ncertificate")
	b.reload()
	b.wait(0, "a restart is needed", "127.0.0.1:1")
	b.wait(0, "configuration reloaded")
	open.say(250, "RCPT TO:<bob@self-signed.example>") // it was let in under the old table
	open.say(354, "DATA")
	require.NoError(t, open.PrintfLine("X: y\r\n\r\nz\r\n."))
	id := strings.Fields(open.want(250, "queued as"))[3]
	b.wait(0, "msg=deferred", id, "mode-cert-untrusted")
	fresh := b.raw()
	fresh.say(250, "MAIL FROM:<alice@good.example>")
	fresh.say(550, "RCPT TO:<bob@good.example>")
	require.Equal(t, map[string]uint64{"failed": 1, "done": 1}, b.metrics.reloads.All())
}

// TestStop: a message in the middle of DATA is taken in, an attempt that has begun is
// finished, and nobody else is let in.
func TestStop(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	h := newHost(t, func(line string) string {
		if line == "." {
			close(begun)
			<-goOn
		}
		return ""
	})
	b := begin(t, makeLab(t), nil, routed(map[string]*host{"there.example": h})...)
	sent := b.send("alice@good.example", nil, "bob@there.example")
	<-begun
	silent, err := net.Dial("tcp", b.address()) // has not even said EHLO
	require.NoError(t, err)
	defer silent.Close()
	quiet := &raw{t, textproto.NewConn(silent)}
	quiet.want(220, "")
	idle, busy := b.raw(), b.raw()
	busy.say(250, "MAIL FROM:<alice@good.example>")
	busy.say(250, "RCPT TO:<carol@there.example>")
	busy.say(354, "DATA")
	require.NoError(t, busy.PrintfLine("X: y\r\n"))

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		b.stop(context.Background())
	}()
	idle.want(421, "")
	quiet.want(421, "")
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", b.address())
		if err == nil {
			c.Close()
		}
		return err != nil
	}, 10*time.Second, 5*time.Millisecond)
	select {
	case <-stopped:
		require.Fail(t, "it has not waited")
	default:
	}
	require.NoError(t, busy.PrintfLine("rest\r\n."))
	id := strings.Fields(busy.want(250, "queued as"))[3]
	close(goOn)
	<-stopped
	require.Equal(t, 1, h.count("."), "no new attempt")
	s, err := spool.Open(b.setup.Load().config.Spool.Dir, spool.Options{})
	require.NoError(t, err)
	b.relay.spool = s
	all := b.messages()
	require.Len(t, all, 1)
	require.Contains(t, all, id)
	require.NotContains(t, all, sent)
}

// TestStopAtOnce: when the time is over, what is under way is cut off, and is in the
// spool as if it had not been tried.
func TestStopAtOnce(t *testing.T) {
	begun := make(chan struct{})
	never := make(chan struct{})
	h := newHost(t, func(line string) string {
		if line == "." {
			close(begun)
			<-never
		}
		return ""
	})
	defer close(never)
	b := begin(t, makeLab(t), nil, routed(map[string]*host{"there.example": h})...)
	id := b.send("alice@good.example", nil, "bob@there.example")
	<-begun
	busy := b.raw()
	busy.say(250, "MAIL FROM:<>")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.stop(ctx)
	_, err := busy.ReadLine()
	require.Error(t, err)
	s, err := spool.Open(b.setup.Load().config.Spool.Dir, spool.Options{})
	require.NoError(t, err)
	b.relay.spool = s
	require.Zero(t, b.messages()[id].Recipients[0].Attempts)
}

// TestSignals: the program ends by SIGTERM, and SIGHUP reads the file again.
func TestSignals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.toml")
	require.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	signals := make(chan os.Signal, 2)
	logs := &lines{change: make(chan struct{})}
	b := &bench{t: t, logs: logs}
	status := make(chan int)
	go func() { status <- run([]string{"-config", file}, io.Discard, logs, signals) }()
	b.wait(0, "msg=listening")
	signals <- syscall.SIGHUP
	b.wait(0, "configuration reloaded")
	signals <- syscall.SIGTERM
	require.Equal(t, exitDone, <-status)
	b.wait(0, "msg=stopped")
}

// TestMetrics: the endpoint speaks the text format, and says what has happened.
func TestMetrics(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil)
	id := b.send("alice@good.example", nil, "bob@dane.example")
	b.settled(id, nil)
	get := func(path string) (int, string) {
		reply, err := http.Get("http://" + b.web.Addr().String() + path)
		require.NoError(t, err)
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		require.NoError(t, err)
		return reply.StatusCode, string(text)
	}
	status, text := get("/metrics")
	require.Equal(t, http.StatusOK, status)
	checkMetrics(t, text)
	for _, want := range []string{
		"\nrelay_messages_received_total 1\n", "\nrelay_recipients_total{result=\"delivered\"} 1\n",
		"\nrelay_delivered_total{rule=\"dane-verified\"} 1\n", "\nrelay_queue_jobs 0\n",
		"\nrelay_group_connections_total{listener=\"smtp\",group=\"LOCAL\"} 1\n",
	} {
		require.Contains(t, text, want)
	}
	status, text = get("/healthz")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ok\n", text)
	b.draining.Store(true)
	status, _ = get("/healthz")
	require.Equal(t, http.StatusServiceUnavailable, status)
}

// checkMetrics holds a text to the rules of the format: HELP, TYPE, then the samples
// of one metric, each label set once, counters named as such.
func checkMetrics(t *testing.T, text string) {
	t.Helper()
	name := `[a-zA-Z_:][a-zA-Z0-9_:]*`
	labels := `\{[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*")*\}`
	help := regexp.MustCompile(`^# HELP (` + name + `) \S.*$`)
	kind := regexp.MustCompile(`^# TYPE (` + name + `) (counter|gauge)$`)
	sample := regexp.MustCompile(`^(` + name + `)(` + labels + `)? \d+$`)
	require.True(t, strings.HasSuffix(text, "\n"))
	seen, current, typed := map[string]bool{}, "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := help.FindStringSubmatch(line); m != nil {
			require.False(t, seen[m[1]], "%s twice", m[1])
			current, typed, seen[m[1]] = m[1], false, true
			continue
		}
		if m := kind.FindStringSubmatch(line); m != nil {
			require.Equal(t, current, m[1])
			require.Equal(t, m[2] == "counter", strings.HasSuffix(m[1], "_total"), m[1])
			typed = true
			continue
		}
		m := sample.FindStringSubmatch(line)
		require.NotNil(t, m, "%q", line)
		require.True(t, typed && m[1] == current, line)
		require.False(t, seen[m[1]+m[2]+" "], "%s twice", line)
		seen[m[1]+m[2]+" "] = true
	}
}

// TestAlerts: the same alert is sent once in a while, by mail and to a command.
func TestAlerts(t *testing.T) {
	l := makeLab(t)
	got := filepath.Join(t.TempDir(), "alert")
	b := begin(t, l, func(c *config.Config) {
		c.Alerts = config.Alerts{Log: true, Mail: []string{"operator@good.example"}, Every: time.Hour,
			Command: []string{"/bin/sh", "-c", `cat >> "$0"; echo end >> "$0"`, got}}
	})
	b.alert("spool-full", "", "no room")
	b.alert("spool-full", "", "no room at all")
	b.alert("other", "x", "second")
	all := ""
	require.Eventually(t, func() bool {
		all = ""
		for _, m := range l.Host("mx.good.example").Mailbox() {
			require.Empty(t, m.From)
			all += string(m.Data)
		}
		return strings.Contains(all, "Subject: relay.example: spool-full") && strings.Contains(all, "Subject: relay.example: other")
	}, 10*time.Second, 5*time.Millisecond)
	require.NotContains(t, all, "at all")
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(got)
		return strings.Contains(string(text), "no room\nend\n") && strings.Contains(string(text), "second\nend\n")
	}, 10*time.Second, 5*time.Millisecond)
	require.EqualValues(t, 2, b.metrics.alerts.All()["spool-full"])
}

// TestMany: a crowd of clients at once; nothing is lost and nothing comes twice.
func TestMany(t *testing.T) {
	l := makeLab(t, one("busy.example", nil))
	b := begin(t, l, func(c *config.Config) { c.Queue.ConnIdle = time.Second })
	const clients, each = 8, 10
	var group sync.WaitGroup
	for range clients {
		c := b.client()
		group.Go(func() {
			for range each {
				if err := c.SendMail("alice@good.example", []string{"bob@busy.example", "eve@dane.example"}, strings.NewReader(text)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	require.Eventually(t, func() bool { return len(b.messages()) == 0 }, 20*time.Second, 10*time.Millisecond)
	require.Len(t, l.Host("mx.busy.example").Mailbox(), clients*each)
	require.Len(t, l.Host("mx.dane.example").Mailbox(), clients*each)
	require.Less(t, len(l.Host("mx.busy.example").Connections()), clients*each/2, "sessions are used again")
}
