package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
)

// TestBadInput: what cannot be looked at gets one line and the right exit status.
func TestBadInput(t *testing.T) {
	long := strings.Repeat("a", 60) + "." + strings.Repeat("b.", 120) + "example" // 308 octets
	for _, c := range []struct {
		why    string
		stdin  string
		args   []string
		status int
		out    string // a line of it, if it is about a domain
		err    string // of the one line on stderr, if it is about the whole
	}{
		{"nothing given", "", nil, exitUsage, "", "no domain given"},
		{"nothing on standard input", "\n  \n# nothing\n", []string{"-lab", "-"}, exitUsage, "", "no domain given"},
		{"an address", "", []string{"-lab", "192.0.2.1"}, exitUsage, "INVALID 192.0.2.1: this is an address", ""},
		{"an address literal", "", []string{"-lab", "[IPv6:2001:db8::1]"}, exitUsage, "INVALID [IPv6:2001:db8::1]: this is an address", ""},
		{"a name of 308 octets", "", []string{"-lab", long}, exitUsage, "INVALID aaaa", ""},
		{"a mail address", "", []string{"-lab", "bob@dane.example"}, exitUsage, "INVALID bob@dane.example: this is no domain name", ""},
		{"an empty argument", "", []string{"-lab", ""}, exitUsage, "INVALID : this is no domain name", ""},
		{"escape sequences", "\x1b[2Jx\u202e.example\n", []string{"-lab", "-"}, exitUsage, `INVALID \x1b[2Jx\u202e.example: this is no domain name`, ""},
		{"a line of 100,000 octets", strings.Repeat("x", 100_000) + "\n", []string{"-lab", "-"}, exitUsage, "INVALID xxxx", ""},
		{"no such flag", "", []string{"-loud"}, exitUsage, "", "-loud"},
		{"no such mode", "", []string{"-mode", "paranoid", "dane.example"}, exitUsage, "", "paranoid"},
		{"a mode to inherit", "", []string{"-mode", "default", "dane.example"}, exitUsage, "", "inherit"},
		{"a DANE setting to inherit", "", []string{"-dane", "default", "dane.example"}, exitUsage, "", "inherit"},
		{"an MTA-STS setting to inherit", "", []string{"-sts", "default", "dane.example"}, exitUsage, "", "inherit"},
		{"a port that is none", "", []string{"-port", "70000", "dane.example"}, exitUsage, "", "-port 70000"},
		{"no parallel look", "", []string{"-parallel", "0", "dane.example"}, exitUsage, "", "-parallel 0"},
		{"too many of them", "", []string{"-parallel", "65", "dane.example"}, exitUsage, "", "want 1 to 64"},
		{"no time", "", []string{"-timeout", "0s", "dane.example"}, exitUsage, "", "-timeout"},
		{"a colour", "", []string{"-color", "blue", "dane.example"}, exitUsage, "", "-color"},
		{"a resolver by name", "", []string{"-resolver", "dns.example", "dane.example"}, exitUsage, "", "address of a server"},
		{"a resolver in the lab", "", []string{"-lab", "-resolver", "validator"}, exitUsage, "", "-resolver"},
		{"a port in the lab", "", []string{"-lab", "-port", "26"}, exitUsage, "", "-port"},
		{"our name is none", "", []string{"-lab", "-helo", "a b"}, exitUsage, "", "-helo"},
		{"a cache that is a file", "", []string{"-lab", "-cache", "/dev/null"}, exitUsage, "", "-cache"},
		{"a domain that is not there", "", []string{"-lab", "nope.example"}, exitMend, "MEND nope.example: returned to its sender: the domain does not exist", ""},
	} {
		status, out, errs := output(t, c.stdin, c.args...)
		require.Equal(t, c.status, status, "%s\n%s%s", c.why, out, errs)
		require.Contains(t, out, c.out, c.why)
		require.Contains(t, errs, c.err, c.why)
		require.True(t, printable(strings.ReplaceAll(out+errs, "\n", "")), "%s: %q", c.why, out+errs)
		if c.err != "" {
			require.Empty(t, out, c.why)
			require.Equal(t, 1, strings.Count(errs, "\n"), "%s: %s", c.why, errs)
		} else {
			require.Empty(t, errs, c.why)
		}
	}
}

// TestOthersGoOn: a bad line does not keep the others from being looked at, and they
// are shown in their order.
func TestOthersGoOn(t *testing.T) {
	status, out, errs := output(t, "DANE.example.\n\n# a comment\n bad name \nsts-mx.example # why\n[192.0.2.1]\nnull.example", "-lab", "-json", "good.example", "-")
	require.Equal(t, exitUsage, status, errs)
	var got []string
	for _, r := range results(t, out) {
		require.Equal(t, Schema, r.Schema)
		got = append(got, r.Domain+" "+string(r.Status))
	}
	require.Equal(t, []string{"good.example ok", "dane.example ok", "bad name invalid", "sts-mx.example mend", "[192.0.2.1] invalid", "null.example mend"}, got)
}

// TestOneQuestion: -mode, -dane and -sts narrow what is asked, and the exit status
// answers it.
func TestOneQuestion(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		count  int
		text   string
	}{
		{[]string{"dane.example"}, exitOK, 36, ""},
		{[]string{"-mode", "required-verify", "dane.example"}, exitOK, 6, ""},
		{[]string{"-mode", "required-verify", "-dane", "mandatory", "-sts", "off", "dane.example"}, exitOK, 1, "delivered over TLS, host authenticated by DANE"},
		{[]string{"-mode", "5", "-dane", "none", "-sts", "off", "dane.example"}, exitMend, 1, "deferred: the certificate is not trusted"},
		{[]string{"-mode", "required-verify", "-dane", "none", "-sts", "off", "expired.example"}, exitMend, 1, "deferred: the certificate is not trusted"},
		{[]string{"-mode", "preferred", "-dane", "none", "-sts", "off", "expired.example"}, exitOK, 1, "delivered over TLS, host not authenticated"},
		{[]string{"dead.example"}, exitUnknown, 36, ""},
	} {
		status, out, errs := output(t, "", append([]string{"-lab", "-json"}, c.args...)...)
		require.Equal(t, c.status, status, "%v\n%s%s", c.args, out, errs)
		r := results(t, out)[0]
		require.Len(t, r.Decisions, c.count, "%v", c.args)
		if c.text != "" {
			require.Equal(t, c.text, r.Decisions[0].Text)
			require.Contains(t, r.Why, c.text)
		}
	}
}

// TestDeadResolver: a resolver that is not there leaves everything unknown, each
// domain for itself.
func TestDeadResolver(t *testing.T) {
	busy, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	at := busy.LocalAddr().String()
	require.NoError(t, busy.Close())
	status, out, errs := output(t, "", "-resolver", at, "one.example", "192.0.2.1", "two.example")
	require.Equal(t, exitUsage, status, errs)
	require.Contains(t, out, "UNKNOWN one.example: the MX lookup failed")
	require.Contains(t, out, "UNKNOWN two.example: the MX lookup failed")
	status, _, _ = output(t, "", "-resolver", at, "one.example")
	require.Equal(t, exitUnknown, status)
}

// TestTimeout: a host that never answers costs the domain its time. What was found
// until then is told, and nothing is made of what was not.
func TestTimeout(t *testing.T) {
	_, p := inLab(t, lab.World{Domains: []lab.Domain{{Name: "black.example", DNSSEC: lab.Signed, Hosts: []lab.Host{
		{Name: "mx.black.example", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.77")}, Cert: lab.Cert{Kind: lab.CertExpired}},
		{Name: "hole.black.example", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.78")}, Fault: lab.Blackhole()},
	}}}})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	dial := p.dial
	p.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "192.0.2.78:25" {
			cancel(nil) // in place of the clock
		}
		return dial(ctx, network, address)
	}
	r := p.probe(ctx, "black.example")
	require.Equal(t, StatusUnknown, r.Status)
	require.Contains(t, r.Why, "interrupted")
	require.Len(t, r.Hosts, 2)
	require.Equal(t, "established", r.Hosts[0].Addresses[0].STARTTLS)
	require.NotEmpty(t, r.Hosts[1].Error)
	require.Empty(t, r.Decisions)
	require.Equal(t, []string{"cert-expired", "tlsa-missing", "sts-missing"}, codes(r))

	p.timeout = 1 // ns: over before it begins
	r = p.probe(t.Context(), "black.example")
	require.Equal(t, StatusUnknown, r.Status)
	require.Contains(t, r.Why, "-timeout")
	require.Empty(t, r.Decisions)
	require.Empty(t, r.Mend)
}

// TestInterrupt: an interrupt in the midst ends the looks that are under way; what was
// ready has been shown.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs bytes.Buffer
	status := run(ctx, append([]string{"-lab", "-json", "-parallel", "2"}, labChoice...), strings.NewReader(""), writerFunc(func(b []byte) (int, error) {
		cancel()
		return out.Write(b)
	}), &errs)
	require.Equal(t, exitUnknown, status)
	require.Contains(t, errs.String(), "interrupted")
	all := results(t, out.String())
	require.NotEmpty(t, all)
	require.Less(t, len(all), len(labChoice))
	require.Equal(t, "dane.example", all[0].Domain)
	require.Equal(t, StatusOK, all[0].Status)
}

// TestBrokenOutput: when nobody reads any more, nothing further is looked at.
func TestBrokenOutput(t *testing.T) {
	var errs bytes.Buffer
	writes := 0
	status := run(t.Context(), []string{"-lab", "-parallel", "1", "good.example", "dane.example", "sts.example"}, strings.NewReader(""), writerFunc(func(b []byte) (int, error) {
		writes++
		return 0, io.ErrClosedPipe
	}), &errs)
	require.Equal(t, exitUnknown, status)
	require.Equal(t, 1, writes)
	require.Contains(t, errs.String(), "output:")
}

// TestBrokenInput: an error of standard input ends the list, and is told.
func TestBrokenInput(t *testing.T) {
	var out, errs bytes.Buffer
	status := run(t.Context(), []string{"-lab", "-"}, io.MultiReader(strings.NewReader("good.example\n"), failing{}), &out, &errs)
	require.Equal(t, exitUnknown, status)
	require.Contains(t, out.String(), "OK good.example")
	require.Contains(t, errs.String(), "standard input: no more")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("no more") }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestCache: with -cache the policies are kept, and where they come from is told.
func TestCache(t *testing.T) {
	dir := t.TempDir()
	for _, source := range []string{"fresh", "cached"} {
		_, out, errs := output(t, "", "-lab", "-json", "-cache", dir, "sts.example")
		require.Empty(t, errs)
		m := results(t, out)[0].MTASTS
		require.Equal(t, source, m.Source)
		require.Equal(t, "enforce", m.Mode)
	}
}

func TestHelp(t *testing.T) {
	status, out, errs := output(t, "", "-help")
	require.Equal(t, exitOK, status)
	require.Empty(t, out)
	for _, flag := range []string{"-mode", "-dane", "-sts", "-json", "-lab", "-resolver", "-timeout", "-parallel"} {
		require.Contains(t, errs, flag)
	}
}
