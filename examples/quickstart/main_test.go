package main

import (
	"bytes"
	"context"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// output runs the program as main does.
func output(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(t.Context(), args, strings.NewReader(stdin), &out, &err)
	return status, out.String(), err.String()
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "message.eml")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

const small = "From: a@sender.example\nSubject: small\n\nText.\n.\nbehind a dot\n"

func TestTable(t *testing.T) {
	status, out, errs := output(t, "")
	require.Equal(t, exitAsExpected, status, "%s%s", out, errs)
	require.Empty(t, errs, "progress is for terminals")
	_, destinations := lab.Destinations()
	require.GreaterOrEqual(t, len(destinations), 12)
	for _, d := range destinations {
		require.Contains(t, out, d.Domain)
	}
	for _, mode := range allModes() {
		require.Contains(t, out, mode.String())
	}
	// One cell of each kind, by hand.
	for _, want := range []string{
		"tls: dane", "tls: mta-sts", "tls: mta-sts, name", "tls: name", "clear", "- mx not in policy",
		"- tlsa mismatch", "- dnssec bogus", "- tlsa lookup failed", "- no starttls", "- starttls refused", "- no handshake", "- cert untrusted", "- cert name",
		"octet for octet",
	} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "\x1b", "plain text in a pipe")
	require.NotContains(t, out, "│")
	require.NotContains(t, out, "WRONG")
}

// TestSettings: the table follows the settings, and the expectation with it.
func TestSettings(t *testing.T) {
	for _, args := range [][]string{
		{"-dane", "mandatory"},
		{"-dane", "none", "-sts", "off"},
		{"-dane", "none"},
		{"-resolver", "stub"},
		{"-fallback", "always"},
		{"-fallback", "before-220"},
		{"-mode", "preferred,6"},
	} {
		status, out, errs := output(t, "", append(args, "-color", "always")...)
		require.Equal(t, exitAsExpected, status, "%v\n%s%s", args, out, errs)
		require.Contains(t, out, "│")
		require.Contains(t, out, "\x1b[")
	}
}

func TestMessage(t *testing.T) {
	for why, args := range map[string][]string{
		"LF line ends": {"-message", file(t, small)},
		"standard input, CRLF, no line end at the end": {"-message", "-"},
	} {
		status, out, errs := output(t, strings.TrimSuffix(strings.ReplaceAll(small, "\n", "\r\n"), "\r\n"), append(args, "-mode", "preferred")...)
		require.Equal(t, exitAsExpected, status, "%s\n%s%s", why, out, errs)
	}
}

// TestBuiltin: the built-in message has what makes transfer hard, and is a
// message that could be given with -message.
func TestBuiltin(t *testing.T) {
	same, err := normalize(builtin)
	require.NoError(t, err)
	require.Equal(t, builtin, same, "every line end is CRLF")
	require.Contains(t, string(builtin), "\r\n.\r\n", "a dot alone")
	require.Contains(t, string(builtin), "filename=", "attachments")
	require.True(t, bytes.ContainsFunc(builtin, func(r rune) bool { return r >= 0x80 }), "8-bit text")
}

func TestExplain(t *testing.T) {
	_, destinations := lab.Destinations()
	for _, d := range destinations {
		status, out, errs := output(t, "", "-explain", strings.ToUpper(d.Domain)+".")
		require.Equal(t, exitAsExpected, status, "%s%s", out, errs)
		require.Contains(t, out, d.Story)
		for _, mode := range allModes() {
			require.Contains(t, out, "\n"+mode.String()+": ")
		}
		if d.MX == "secure" || d.MX == "insecure" {
			require.Regexp(t, `(?m)^  (P|E)\d+: .*(RFC \d+ section|AsyncOS chapter)`, out, "the row and where it comes from")
			require.Contains(t, out, "Decision: ")
		}
	}
}

func TestBadInput(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	for _, tc := range []struct {
		why   string
		args  []string
		names string // what the line must name
	}{
		{"no such file", []string{"-message", "/nonexistent/mail.eml"}, "/nonexistent/mail.eml"},
		{"a directory", []string{"-message", t.TempDir()}, "directory"},
		{"empty", []string{"-message", file(t, "")}, "empty"},
		{"no header", []string{"-message", file(t, "just text\n")}, "RFC 5322"},
		{"no author", []string{"-message", file(t, "Subject: x\n\ntext\n")}, "From"},
		{"NUL", []string{"-message", file(t, "From: a@b\n\na\x00b\n")}, "line 3"},
		{"lone CR", []string{"-message", file(t, "From: a@b\n\na\rb\n")}, "line 3"},
		{"line too long for SMTP", []string{"-message", file(t, "From: a@b\n\n"+strings.Repeat("x", 999)+"\n")}, "998"},
		{"message too large", []string{"-message", file(t, "From: a@b\n\n"+strings.Repeat("x\n", maxMessage))}, "larger"},
		{"unknown destination", []string{"-explain", "nosuch.example"}, "nosuch.example"},
		{"unknown resolver", []string{"-resolver", "oracle"}, "oracle"},
		{"busy port", []string{"-dns", busy.Addr().String()}, busy.Addr().String()},
		{"an address that others could see", []string{"-dns", "0.0.0.0:0"}, "loopback"},
		{"not an address", []string{"-dns", "resolver"}, "loopback"},
		{"unknown mode", []string{"-mode", "sometimes"}, "sometimes"},
		{"mode to inherit", []string{"-mode", "default"}, "mode"},
		{"DANE to inherit", []string{"-dane", "default"}, "-dane"},
		{"unknown DANE setting", []string{"-dane", "perhaps"}, "perhaps"},
		{"unknown colour", []string{"-color", "blue"}, "blue"},
		{"unknown flag", []string{"-frobnicate"}, "frobnicate"},
		{"an argument", []string{"partner.example"}, "partner.example"},
	} {
		status, out, errs := output(t, "", tc.args...)
		require.Equal(t, exitUsage, status, tc.why)
		require.Empty(t, out, tc.why)
		require.Equal(t, 1, strings.Count(errs, "\n"), "%s: one line, got %q", tc.why, errs)
		require.Contains(t, errs, tc.names, tc.why)
	}
}

// TestOutputFails: what nobody could read is not as it should be.
func TestOutputFails(t *testing.T) {
	var errs bytes.Buffer
	full := writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC })
	require.Equal(t, exitUsage, run(t.Context(), []string{"-mode", "no"}, nil, full, &errs))
	require.Equal(t, "quickstart: output: no space left on device\n", errs.String())
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	require.Equal(t, exitUsage, run(ctx, nil, nil, &out, &errs))
	require.Empty(t, out.String())
	require.Equal(t, "quickstart: interrupted\n", errs.String())
}

func TestHelp(t *testing.T) {
	status, out, errs := output(t, "", "-help")
	require.Equal(t, exitAsExpected, status)
	require.Empty(t, out)
	require.Contains(t, errs, "-explain")
}

func TestHold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := &watcher{until: "dig @127.0.0.1 -p ", then: cancel}
	require.Equal(t, exitAsExpected, run(ctx, []string{"-hold", "-mode", "no"}, nil, seen, seen))
	require.Contains(t, seen.String(), seen.until)
}

// watcher collects output and calls then once it contains until.
type watcher struct {
	bytes.Buffer
	until string
	then  func()
}

func (w *watcher) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if strings.Contains(w.String(), w.until) {
		w.then()
	}
	return n, err
}

// newTrialFor starts a lab with its destinations changed by lie.
func newTrialFor(t *testing.T, lie func([]lab.Destination)) *trial {
	t.Helper()
	world, destinations := lab.Destinations()
	lie(destinations)
	internet, err := lab.Start(world)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, internet.Close()) })
	trial, err := newTrial(internet, &options{settings: tlspolicy.Recommended(), modes: allModes()}, builtin, destinations)
	require.NoError(t, err)
	require.NoError(t, trial.run(t.Context(), func(int, int) {}))
	return trial
}

// TestUnexpected: a cell that differs from the decision tables is found, and so
// is a mailbox that differs from the cells.
func TestUnexpected(t *testing.T) {
	trial := newTrialFor(t, func(d []lab.Destination) {
		for i := range d {
			if d[i].Domain == "self-signed.example" {
				d[i].Hosts[0].Chain = "ok" // it is not
			}
		}
	})
	problems := strings.Join(trial.unexpected(), "\n")
	require.Contains(t, problems, "self-signed.example under required-verify: got next-mx-then-defer (mode-cert-untrusted)")
	require.Contains(t, problems, "self-signed.example under preferred-verify: got deliver-tls-unverified")
	audit := trial.audit()
	require.Contains(t, strings.Join(audit.problems, "\n"), "required-verify@sender.example to postmaster@self-signed.example: missing")

	var out bytes.Buffer
	newScreen(&out, &out, "never").results(trial, audit)
	require.Contains(t, out.String(), "WRONG: ")
	require.NotContains(t, out.String(), "octet for octet")
}

func TestAuditFindsForbiddenMail(t *testing.T) {
	trial := newTrialFor(t, func([]lab.Destination) {})
	require.Empty(t, trial.unexpected())
	require.Empty(t, trial.audit().problems)
	host := trial.internet.Host("mx.plain.example")
	for _, m := range []struct{ why, from, data, want string }{
		{"policy forbids it", "required@sender.example", string(builtin), "forbids"},
		{"second copy", "preferred@sender.example", string(builtin), "second copy"},
	} {
		conn, err := trial.internet.DialContext(t.Context(), "tcp", "mx.plain.example:25")
		require.NoError(t, err)
		client, err := smtp.NewClient(conn, "mx.plain.example")
		require.NoError(t, err)
		require.NoError(t, client.Mail(m.from))
		require.NoError(t, client.Rcpt("postmaster@plain.example"))
		w, err := client.Data()
		require.NoError(t, err)
		_, err = w.Write([]byte(m.data))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.NoError(t, client.Quit())
		require.Contains(t, strings.Join(trial.audit().problems, "\n"), m.want, m.why)
	}
	require.NotEmpty(t, host.Mailbox())

	trial.message = append([]byte("X-Extra: 1\r\n"), trial.message...)
	require.Contains(t, strings.Join(trial.audit().problems, "\n"), "differ from the")
}
