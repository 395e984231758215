//go:build interop

package smtpserver

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// postfixFate is what the log of Postfix says in the end about the message to one
// recipient.
type postfixFate struct{ status, text string }

// postfixSender runs a Postfix that takes mail at in and sends it to out: from
// 127.0.0.N for recipients at N.may.example, which takes TLS if it is offered, and
// N.encrypt.example, which does not send without.
func postfixSender(t *testing.T, in, out string) (fates func(recipients int) map[string]postfixFate) {
	t.Helper()
	postfix := program(t, "postfix")
	owner, err := user.Lookup("postfix")
	if os.Geteuid() != 0 || err != nil {
		if os.Getenv("CI") != "" {
			require.NoError(t, err)
			require.Zero(t, os.Geteuid(), "Postfix wants to be started by root")
		}
		t.Skip("Postfix wants root, and a user of its own")
	}
	dir, err := os.MkdirTemp("", "smtpsec-postfix-") // t.TempDir is closed to other users
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, name := range []string{"conf", "queue", "data"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	uid, err := strconv.Atoi(owner.Uid)
	require.NoError(t, err)
	require.NoError(t, os.Chown(filepath.Join(dir, "data"), uid, -1))
	main := fmt.Sprintf(`compatibility_level = 3.7
maillog_file = /dev/stdout
queue_directory = %[1]s/queue
data_directory = %[1]s/data
myhostname = sender.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_tls_loglevel = 1
smtp_tls_session_cache_database =
`, dir)
	master := in + ` inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
`
	transports := "inline:{"
	for _, level := range []string{"may", "encrypt"} {
		for n := 2; n <= 4; n++ {
			master += fmt.Sprintf("%s%d unix - - n - - smtp -o smtp_tls_security_level=%[1]s -o smtp_bind_address=127.0.0.%[2]d\n", level, n)
			transports += fmt.Sprintf(" {%d.%s.example = %[2]s%[1]d:[127.0.0.1]:%[3]s}", n, level, out)
		}
	}
	main += "transport_maps = " + transports + " }\n"
	for name, content := range map[string]string{"main.cf": main, "master.cf": master} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "conf", name), []byte(content), 0o644))
	}

	// In a namespace for processes nothing outlives the first of them.
	cmd := exec.Command("/bin/sh", "-c", `"$@"; exit $?`, "sh", postfix, "-c", filepath.Join(dir, "conf"), "start-fg")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("no namespaces here: %v", err)
	}
	require.NoError(t, err)
	lines := make(chan string, 10_000)
	go func() {
		defer close(lines)
		for log := bufio.NewScanner(r); log.Scan(); {
			lines <- log.Text()
		}
	}()
	var said []string
	t.Cleanup(func() {
		cmd.Process.Kill()
		for line := range lines {
			said = append(said, line)
		}
		cmd.Wait()
		r.Close()
		if t.Failed() {
			t.Log(strings.Join(said, "\n"))
		}
	})
	patience := time.After(60 * time.Second)
	next := func() string {
		select {
		case line, ok := <-lines:
			require.True(t, ok, "Postfix has stopped")
			said = append(said, line)
			return line
		case <-patience:
			require.FailNow(t, "Postfix says no more")
			return ""
		}
	}
	for !strings.Contains(next(), "daemon started") {
	}
	sent := regexp.MustCompile(`smtp\[\d+\]: .* to=<([^>]*)>.* status=(\w+) (.*)`)
	return func(n int) map[string]postfixFate {
		found := map[string]postfixFate{}
		for len(found) < n {
			if m := sent.FindStringSubmatch(next()); m != nil {
				found[m[1]] = postfixFate{m[2], m[3]}
			}
		}
		return found
	}
}

// TestInteropPostfix has Postfix deliver through the filter with the two security
// levels that senders use, to groups with each of the three settings.
func TestInteropPostfix(t *testing.T) {
	table := compile(t,
		SenderGroup{Name: "no", Senders: []string{"127.0.0.2"}, Policy: Policy{Access: Accept, TLS: TLSNo}},
		SenderGroup{Name: "preferred", Senders: []string{"127.0.0.3"}, Policy: Policy{Access: Accept, TLS: TLSPreferred}},
		SenderGroup{Name: "required", Senders: []string{"127.0.0.4"}, Policy: Policy{Access: Accept, TLS: TLSRequired}},
		SenderGroup{Name: "rest", Senders: []string{"ALL"}, Policy: Policy{Access: TCPRefuse}},
	)
	w := serve(t, Options{Table: table})
	_, out, err := net.SplitHostPort(w.addr)
	require.NoError(t, err)
	free := listen(t)
	in := free.Addr().String()
	require.NoError(t, free.Close())
	fates := postfixSender(t, in, out)

	// The body has what must pass unharmed: dots, a command in a line of its own, a long
	// line, and more octets than any buffer.
	body := "Subject: through the filter\r\n\r\n.\r\n..\r\nSTARTTLS\r\nQUIT\r\n" + strings.Repeat("x", 900) + "\r\n" +
		strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 1000)
	recipients := []string{}
	for _, level := range []string{"may", "encrypt"} {
		for n := 2; n <= 4; n++ {
			recipients = append(recipients, fmt.Sprintf("user@%d.%s.example", n, level))
		}
	}
	c, err := smtp.Dial(in)
	require.NoError(t, err)
	require.NoError(t, c.Hello("client.example"))
	for _, to := range recipients {
		require.NoError(t, c.SendMail("sender@sender.example", []string{to}, strings.NewReader(body)))
	}
	require.NoError(t, c.Quit())

	for to, fate := range fates(len(recipients)) {
		if to == "user@2.encrypt.example" {
			require.Equal(t, "deferred", fate.status, to)
			require.Contains(t, fate.text, "TLS is required, but was not offered", to)
			continue
		}
		require.Equal(t, "sent", fate.status, "%s: %s", to, fate.text)
		require.Contains(t, fate.text, "250 2.0.0 OK: queued", to)
	}
	w.events.wait(t, KindClosed, len(recipients))
	inTLS := map[string]int{}
	for _, e := range w.events.of(KindTLSEstablished) {
		inTLS[e.Group]++
		require.EqualValues(t, tls.VersionTLS13, e.TLSVersion)
	}
	require.Equal(t, map[string]int{"preferred": 2, "required": 2}, inTLS)
	require.Empty(t, w.events.of(KindTLSFailed))
	require.Empty(t, w.events.of(KindTLSRequiredUnmet))
	w.backend.see(func() {
		require.Len(t, w.backend.messages, 5)
		require.NotContains(t, w.backend.rcpts, "user@2.encrypt.example")
		for _, m := range w.backend.messages {
			_, text, ok := strings.Cut(m, "Subject: through the filter\r\n")
			require.True(t, ok)
			require.True(t, strings.HasSuffix(text, strings.TrimPrefix(body, "Subject: through the filter\r\n")), "the body is as it was sent")
		}
	})
}
