package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// output runs the program as main does.
func output(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func file(t testing.TB, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "destinations")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

func TestQuery(t *testing.T) {
	status, out, errs := output(t, "-lab", "-query", "sts.example", "good.example", "dane.example")
	require.Equal(t, exitGood, status, errs)
	require.Empty(t, errs)
	for _, want := range []string{
		"Postfix is told  secure match=mx.sts.example servername=hostname protocols=", "policy_type=sts policy_domain=sts.example", "(row A11)", "P10:",
		"Postfix is told  NOTFOUND", "(row A18)", "Postfix is told  dane-only", "P4:", "valid for        5m0s",
	} {
		require.Contains(t, out, want)
	}
	status, out, _ = output(t, "-lab", "-query", "sts-mx.example")
	require.Equal(t, exitWaits, status)
	require.Contains(t, out, "Postfix is told  TEMP")
	require.Contains(t, out, "P9:")
	status, out, errs = output(t, "-lab", "-query", "no such name")
	require.Equal(t, exitUsage, status)
	require.Empty(t, out)
	require.Equal(t, 1, strings.Count(errs, "\n"), "one clear line: %s", errs)

	table := file(t, "default mode=required\nsts.example mtasts=off mode=required-verify\n")
	status, out, errs = output(t, "-lab", "-table", table, "-query", "good.example", "sts.example")
	require.Equal(t, exitGood, status, errs)
	require.Contains(t, out, "Postfix is told  encrypt")
	require.Contains(t, out, "Postfix is told  secure match=sts.example ")
}

// What nobody could read is no answer; and nothing that is shown moves a terminal.
func TestQueryOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	var errs bytes.Buffer
	require.Equal(t, exitUsage, run(t.Context(), []string{"-lab", "-query", "good.example"}, full, &errs))
	require.Contains(t, errs.String(), "no space left")
	status, out, stderr := output(t, "-lab", "-query", "[IPv6:fe80::1%\x1b[2J]")
	require.Equal(t, exitGood, status, stderr)
	require.NotContains(t, out+stderr, "\x1b")
	for _, args := range [][]string{{"good.example", "no such name"}, {"no such name", "good.example"}, {"sts-mx.example", "no such name"}} {
		status, _, _ = output(t, append([]string{"-lab", "-query"}, args...)...)
		require.Equal(t, exitUsage, status, "the gravest counts: %q", args)
	}
	status, _, _ = output(t, "-lab", "-query", "sts-mx.example", "good.example")
	require.Equal(t, exitWaits, status)
}

// A cache that nobody can write to, or that somebody else has locked, costs no answer.
func TestCacheOfNoUse(t *testing.T) {
	dir := t.TempDir()
	status, _, errs := output(t, "-lab", "-cache", dir, "-query", "sts.example")
	require.Equal(t, exitGood, status, errs)
	var locks []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d.Name() == ".lock" {
			locks = append(locks, path)
		}
		return err
	}))
	require.NotEmpty(t, locks)
	for _, name := range locks {
		lock, err := os.Open(name)
		require.NoError(t, err)
		defer lock.Close()
		require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	}
	status, out, errs := output(t, "-lab", "-cache", dir, "-query", "sts.example")
	require.Equal(t, exitGood, status, errs)
	require.Contains(t, out, "(row A11)")
}

// The unit starts the program with flags that there are, keeps the cache in the folder
// that it has, and does not give up on a resolver that comes later.
func TestUnit(t *testing.T) {
	content, err := os.ReadFile("smtpsec-postfix.service")
	require.NoError(t, err)
	unit := map[string]string{}
	for line := range strings.Lines(string(content)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			unit[name] = value
		}
	}
	command := strings.Fields(unit["ExecStart"])
	o, err := parse(command[1:], io.Discard)
	require.NoError(t, err)
	require.Equal(t, []address{{network: "tcp", at: "127.0.0.1:8461"}}, o.listen)
	require.Equal(t, "/var/lib/"+unit["StateDirectory"], filepath.Dir(o.cache))
	require.True(t, o.dnssec)
	require.Equal(t, "0", unit["StartLimitIntervalSec"], "five failed starts in ten seconds would be the last")
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "-o "+command[0]+" ")
	require.Contains(t, string(readme), " "+o.table+" ")
	require.Contains(t, string(readme), "socketmap:inet:"+o.listen[0].at+":policy\n")
}

func TestAllOfTheLab(t *testing.T) {
	status, out, errs := output(t, "-lab", "-query")
	require.Equal(t, exitWaits, status, errs)
	_, destinations := lab.Destinations()
	for _, d := range destinations {
		require.Contains(t, out, d.Domain+"\n  Postfix is told  ")
	}
}

// A policy that the cache has is obeyed by the next process.
func TestCacheOutlives(t *testing.T) {
	dir := t.TempDir()
	status, _, errs := output(t, "-lab", "-cache", dir, "-query", "sts.example")
	require.Equal(t, exitGood, status, errs)
	found := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if content, err := os.ReadFile(path); err == nil && bytes.Contains(content, []byte("mx: mx.sts.example")) {
				found++
			}
		}
		return err
	}))
	require.Equal(t, 1, found)
}

func TestUsage(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", taken)
	require.NoError(t, err)
	defer l.Close()
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "nothing to do"},
		{[]string{"sts.example"}, "next hops follow -query"},
		{[]string{"-query"}, "which next hop?"},
		{[]string{"-query", "-listen", "inet:127.0.0.1:0", "a.example"}, "one at a time"},
		{[]string{"-listen", "127.0.0.1:8461"}, "want inet:host:port or unix:path"},
		{[]string{"-listen", "unix:"}, "want inet:host:port or unix:path"},
		{[]string{"-listen", "inet:8461"}, "missing port"},
		{[]string{"-listen-tcp", "8461"}, "missing port"},
		{[]string{"-port", "0", "-lab"}, "want 1 to 65535"},
		{[]string{"-lab", "-table", "/nonexistent/destinations"}, "no such file"},
		{[]string{"-lab", "-table", file(t, "a.example mode=strong\n"), "-query", "a.example"}, "line 1"},
		{[]string{"-lab", "-cache", "/dev/null/x", "-query", "a.example"}, "-cache"},
		{[]string{"-lab", "-listen", "unix:" + taken}, "somebody listens there already"},
		{[]string{"-lab", "-metrics", "999.0.0.1:1"}, "999.0.0.1"},
		{[]string{"-nonsense"}, "nonsense"},
	} {
		status, out, errs := output(t, test.args...)
		require.Equal(t, exitUsage, status, "%q: %s", test.args, errs)
		require.Empty(t, out)
		require.Contains(t, errs, test.want, "%q", test.args)
	}
	status, _, errs := output(t, "-help")
	require.Equal(t, exitGood, status)
	require.Contains(t, errs, "-listen inet:host:port")
}

// lines collects what the service logs, and lets wait for a line.
type lines struct {
	mu    sync.Mutex
	text  string
	grown chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(b)
	close(l.grown)
	l.grown = make(chan struct{})
	return len(b), nil
}

func (l *lines) wait(t *testing.T, ended <-chan int, pattern string) []string {
	t.Helper()
	for {
		l.mu.Lock()
		match, grown, text := regexp.MustCompile(pattern).FindStringSubmatch(l.text), l.grown, l.text
		l.mu.Unlock()
		if match != nil {
			return match
		}
		select {
		case <-grown:
		case status := <-ended:
			t.Fatalf("waiting for %q, the program ended with %d: %s", pattern, status, text)
		}
	}
}

// The whole service: three listeners, metrics, a new table on SIGHUP, a wrong one, the end.
func TestService(t *testing.T) {
	dir := t.TempDir()
	table := file(t, "good.example mode=required\n")
	socket := filepath.Join(dir, "policy")
	old, err := net.Listen("unix", socket) // left behind by a process that was killed
	require.NoError(t, err)
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, old.Close())
	ctx, cancel := context.WithCancel(t.Context())
	log := &lines{grown: make(chan struct{})}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"-lab", "-listen", "unix:" + socket, "-listen", "inet:127.0.0.1:0", "-listen-tcp", "127.0.0.1:0", "-metrics", "127.0.0.1:0", "-table", table,
			"-cache", filepath.Join(dir, "cache")}, io.Discard, log)
	}()
	metrics := log.wait(t, ended, `url=(http\S+)`)[1]
	inet := log.wait(t, ended, `protocol=socketmap address=(127\S+)`)[1]
	line := log.wait(t, ended, `protocol=tcp address=(\S+)`)[1]
	ask := func(network, address, request string) string {
		conn, err := net.Dial(network, address)
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, request)
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		if strings.HasSuffix(request, "\n") {
			reply, err := r.ReadString('\n')
			require.NoError(t, err)
			return strings.TrimSuffix(reply, "\n")
		}
		var n int
		_, err = fmt.Fscanf(r, "%d:", &n)
		require.NoError(t, err)
		reply := make([]byte, n)
		_, err = io.ReadFull(r, reply)
		require.NoError(t, err)
		return string(reply)
	}
	const strict = " protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1"
	require.Equal(t, "OK encrypt"+strict, ask("unix", socket, "19:policy good.example,"))
	require.Contains(t, ask("tcp", inet, "25:policy-tlsrpt sts.example,"), " mx_host_pattern=mx.sts.example")
	require.Equal(t, "200 dane-only%20"+strict[1:], ask("tcp", line, "get dane.example\n"))
	require.Equal(t, "500 not%20found", ask("tcp", line, "get plain.example\n"))
	info, err := os.Stat(socket)
	require.NoError(t, err)
	require.EqualValues(t, socketMode, info.Mode().Perm())

	held, err := net.Dial("unix", socket)
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, os.WriteFile(table, []byte("good.example mode=no\n"), 0o600))
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	log.wait(t, ended, "table reloaded")
	_, err = io.WriteString(held, "19:policy good.example,")
	require.NoError(t, err)
	reply := make([]byte, 10)
	_, err = io.ReadFull(held, reply)
	require.NoError(t, err)
	require.Equal(t, "7:OK none,", string(reply), "a connection outlives the reload")
	require.NoError(t, os.WriteFile(table, []byte("good.example mode=nonsense\n"), 0o600))
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	log.wait(t, ended, "the former table stays in force")
	require.Equal(t, "OK none", ask("unix", socket, "19:policy good.example,"))

	response, err := http.Get(metrics)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	response.Body.Close()
	require.Contains(t, string(body), "policymap_answers_total{answer=\"dane-only\"} 1\n")
	cancel()
	require.Equal(t, exitGood, <-ended)
	_, err = os.Stat(socket)
	require.ErrorIs(t, err, os.ErrNotExist, "the socket goes with the service")
}

// A reload that comes while the program still starts does not end it, and is not lost.
func TestReloadAtStart(t *testing.T) {
	table := filepath.Join(t.TempDir(), "table")
	require.NoError(t, syscall.Mkfifo(table, 0o600))
	write := func(content string, meanwhile func()) {
		w, err := os.OpenFile(table, os.O_WRONLY, 0) // waits for the program to open it
		require.NoError(t, err)
		meanwhile()
		_, err = io.WriteString(w, content)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := &lines{grown: make(chan struct{})}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"-lab", "-table", table}, io.Discard, log) }()
	write("good.example mode=required\n", func() { require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP)) })
	log.wait(t, ended, "listening")
	write("good.example mode=no\n", func() {})
	log.wait(t, ended, "table reloaded")
	cancel()
	require.Equal(t, exitGood, <-ended)
}

func TestParseTable(t *testing.T) {
	content, err := os.ReadFile("destinations.example")
	require.NoError(t, err)
	table, err := parseTable(bytes.NewReader(content))
	require.NoError(t, err)
	s, origin, err := table.Lookup("eu.bank.example", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.Settings{Mode: tlspolicy.Required, DANE: tlspolicy.DANEMandatory, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways}, s)
	require.Equal(t, ".bank.example", origin.Entry())
	_, origin, err = table.Lookup("broken.example", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.SourceBuiltIn, origin.Mode, "the mode is left to main.cf")

	for _, test := range []struct{ text, want, why string }{
		{"", "", "nothing but defaults"},
		{"default mode=no\n", "", "mode no needs neither policy"},
		{"default mode=no\na.example mode=required dane=mandatory", "", "and an entry may want one"},
		{"a.example\tmode=5 # comment\n\n#b\n", "", "numbers of the AsyncOS chapter"},
		{"a.example\n", "line 1: the destination has no settings", ""},
		{"\n\na.example mode=nonsense\n", "line 3:", ""},
		{"a.example mode=required mode=no\n", "once at most", ""},
		{"a.example required\n", "once at most", ""},
		{"a.example level=secure\n", `"level=secure"`, "not Postfix's own words"},
		{"a.example fallback=always\n", "Postfix decides by itself", "no setting that would do nothing"},
		{"a.example mode=no\nA.example mode=no\na.example mode=no", "line 3: a.example has an entry in line 1 already", ""},
		{"a.example mode=no\nA.example mode=no", "a.example", "the same in another case"},
		{"default mode=no\ndefault mode=no\n", "line 2: there is a default entry already", ""},
		{"a.example mode=no dane=mandatory\n", "a.example", "a contradiction"},
		{"*.example mode=no\n", "*.example", "no wildcard: .example"},
		{"a.example mode=" + strings.Repeat("x", 70_000), "token too long", ""},
	} {
		_, err := parseTable(strings.NewReader(test.text))
		if test.want == "" {
			require.NoError(t, err, test.why)
			continue
		}
		require.ErrorContains(t, err, test.want, test.why)
	}
}

// What is accepted gives every name settings, and more lines cannot make it less strict
// about what is wrong.
func FuzzParseTable(f *testing.F) {
	f.Add("default mode=preferred\na.example mode=required # x\n")
	f.Add(".b.example dane=mandatory mtasts=off\n[192.0.2.1]:25 mode=1")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := parseTable(strings.NewReader(text))
		if err == nil {
			_, _, err := table.Lookup("x.example", tlspolicy.NextHop{})
			require.NoError(t, err)
			if !strings.HasSuffix(text, "\n") {
				text += "\n"
			}
		}
		_, err = parseTable(strings.NewReader(text + "\nx.example nonsense\n"))
		require.Error(t, err)
	})
}
