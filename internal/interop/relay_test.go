//go:build interop

package interop

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/smtp"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// relaySites are the domains behind the relay. The mail server takes no mail for the last one, though DNS leads there.
var relaySites = []site{
	{label: "good", cert: "good"}, {label: "daneee", cert: "self-signed", tlsa: "ee"}, {label: "refused", cert: "good"},
}

// relaySettings is the relay's configuration, but for its address, routes, authorities, resolver, certificate and key.
// Mail comes in over TLS alone; out it goes with a certificate that is verified, or with DANE.
const relaySettings = `hostname = "relay.example"
[[listener]]
name = "smtp"
address = %q
certificate = "own"
[[group]]
name = "LOCAL"
senders = ["127.0.0.1"]
policy = "relayed"
[policy.relayed]
access = "relay"
tls = "required"
[destinations]
default = { mode = "required-verify-hosted", dane = "opportunistic", mta-sts = "off" }
"daneee.example" = { mode = "preferred", dane = "mandatory", mta-sts = "off" }
[routes]
%s
[trust]
system = "none"
custom = [%q]
[resolver]
kind = "stub"
servers = [%q]
[spool]
directory = "spool"
min-free = "0"
[certificate.own]
file = %q
key = %q
`

// A relayProgram is examples/relay, the program itself. It has a route to each site of a world.
type relayProgram struct {
	addr netip.AddrPort
	log  *Log
}

// startRelay builds and starts one.
func startRelay(t testing.TB, w *world) *relayProgram {
	t.Helper()
	dir := tempDir(t)
	p := &relayProgram{addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(t, netip.MustParseAddr("127.0.0.1")))}
	// OpenSMTPD looks for the address itself in the certificate.
	cert, key := w.pki.files(t, "relay", w.pki.ca.Leaf([]string{"relay.example"}, testpki.Template(func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{p.addr.Addr().AsSlice()}
	})))
	var routes strings.Builder
	for _, s := range w.sites {
		fmt.Fprintf(&routes, "%q = [\"[%s]:%d\"]\n", s.domain(), s.host(), w.port)
	}
	file := writeFile(t, 0o600, fmt.Sprintf(relaySettings, p.addr, routes.String(), w.pki.roots, w.dns.unbound, cert, key), dir, "relay.toml")
	path := filepath.Join(dir, "relay")
	run(t, ".", program(t, "go", "golang"), "build", "-o", path, "../../examples/relay")
	p.log = start(t, namespace{}.command(t, dir, path, "-config", file))
	p.log.Wait(t, 0, regexp.MustCompile(`msg=listening`), 1)
	return p
}

// relayMessage is a message on which something may be changed on the way by whoever is not careful.
var relayMessage = strings.ReplaceAll(`From: Sender <sender@good.example>
To: postmaster@good.example,
	postmaster@daneee.example
Subject: =?utf-8?q?octet_for_octet?=
Date: Tue, 24 Nov 2026 08:00:00 +0000
Message-ID: <relay@good.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit
X-Folded: one
   two	three

.a line that begins with a dot
..
. 
From the beginning of a line
trailing blanks   `+"\t"+`

  Grüße, 日本
`+strings.Repeat("0123456789", 99)+`


`, "\n", "\r\n")

// TestRelay: mail servers of other people's make hand mail to the relay, over TLS that is required, and the relay
// hands it to them, verified or over DANE. The text is the same, octet for octet; what is refused comes back as a DSN.
func TestRelay(t *testing.T) {
	for _, mta := range []struct {
		name     string
		network  byte
		receiver func(t testing.TB, clientCAs string, domains []string, listeners ...Listener) *Receiver
		sender   func(t testing.TB, w *world, relay netip.AddrPort) netip.AddrPort
		keys     []testpki.Mod
	}{
		{"postfix", 87, StartPostfix, postfixSender, nil},
		{"exim", 88, StartExim, eximSender, nil},
		{"opensmtpd", 89, StartOpenSMTPD, opensmtpdSender, []testpki.Mod{testpki.Key(testpki.NewRSA(2048))}},
	} {
		t.Run(mta.name, func(t *testing.T) {
			w := newWorld(t, mta.network, relaySites, mta.keys...)
			receiver := mta.receiver(t, w.pki.roots, slices.DeleteFunc(slices.Clone(w.domains), func(d string) bool { return d == "refused.example" }), w.listeners...)
			relay := startRelay(t, w)
			sender := mta.sender(t, w, relay.addr)
			t.Logf("%s %s", receiver.Name, receiver.Version)

			to := []string{"postmaster@good.example", "postmaster@daneee.example", "nobody@refused.example"}
			require.NoError(t, smtp.SendMail(sender.String(), nil, "sender@good.example", to, []byte(relayMessage)))
			relay.log.Wait(t, 0, regexp.MustCompile(`msg=delivered .* to=postmaster@good\.example .* tls=mode-`), 1)
			relay.log.Wait(t, 0, regexp.MustCompile(`msg=delivered .* to=postmaster@daneee\.example .* tls=dane-verified`), 1)
			relay.log.Wait(t, 0, regexp.MustCompile(`msg=bounced .* to=nobody@refused\.example`), 1)
			relay.log.Wait(t, 0, regexp.MustCompile(`msg=delivered .* to=sender@good\.example`), 1)
			var messages []string
			require.Eventually(t, func() bool {
				messages = receiver.Messages(t)
				return len(messages) == 3
			}, patience, 100*time.Millisecond)

			originals, dsns := 0, 0
			for _, m := range messages {
				m = strings.ReplaceAll(m, "\r\n", "\n")
				require.Regexp(t, `(?m)^\s+by relay\.example `, strings.Replace(m, "by relay.example", "\n by relay.example", 1))
				if strings.Contains(m, "multipart/report") {
					dsns++
					require.Contains(t, m, "\nFinal-Recipient: rfc822; nobody@refused.example\nAction: failed\nStatus: 5.", m)
					require.Contains(t, m, "Message-ID: <relay@good.example>", "the header of the message comes back")
					continue
				}
				originals++
				trace, ok := strings.CutSuffix(m, strings.ReplaceAll(relayMessage, "\r\n", "\n"))
				require.True(t, ok, "octet for octet: %q\nwant %q", m, relayMessage)
				hops := regexp.MustCompile(`(?m)^Received: (?:.+\n)(?:\s+.+\n)*`).FindAllString(trace, -1)
				require.Len(t, hops, 3, "sender, relay and receiver: %s", trace)
				require.Regexp(t, `TLSv?1\.3|TLS1_3`, hops[0], "how it came to the receiver")
				require.Regexp(t, `by relay\.example with (?:ESMTPS|UTF8SMTPS) id \S+\n\t\(TLS1\.3 TLS_\w+\)`, hops[1], "how it came to the relay")
			}
			require.Equal(t, []int{2, 1}, []int{originals, dsns})
		})
	}
}

// postfixSender is a Postfix that gives all mail to the relay, whose certificate it verifies.
func postfixSender(t testing.TB, w *world, relay netip.AddrPort) netip.AddrPort {
	t.Helper()
	s := startSender(t, w.dns.unbound, w.port, w.pki.roots, "", fmt.Sprintf("relayhost = [%s]:%d", relay.Addr(), relay.Port()),
		"smtp_tls_security_level = secure", "smtp_tls_secure_cert_match = relay.example")
	return netip.MustParseAddrPort(s.submission)
}

// senderAddr is where a mail server takes the mail that it is to give to the relay.
func senderAddr(t testing.TB) netip.AddrPort {
	addr := netip.MustParseAddr("127.0.0.1")
	return netip.AddrPortFrom(addr, freePort(t, addr))
}

// eximSender is an Exim that gives all mail to the relay, whose certificate it verifies.
func eximSender(t testing.TB, w *world, relay netip.AddrPort) netip.AddrPort {
	t.Helper()
	tree := fetched(t, "exim")
	dir := tempDir(t)
	at := senderAddr(t)
	makeDir(t, firstUser, firstUser, 0o750, dir, "spool")
	makeDir(t, firstUser, firstUser, 0o755, dir, "log")
	log := newLog()
	for _, name := range []string{"main", "reject", "panic"} {
		readPipe(t, log, filepath.Join(dir, "log", name))
	}
	const inside = "/run/exim"
	file := writeFile(t, 0o644, fmt.Sprintf(`exim_path = %[1]s/usr/sbin/exim4
keep_environment =
primary_hostname = sender.example
spool_directory = %[2]s/spool
log_file_path = %[2]s/log/%%s
pid_file_path =
daemon_smtp_ports =
local_interfaces = %[3]s.%[4]d
disable_ipv6
host_lookup =
rfc1413_hosts =
tls_advertise_hosts =
acl_smtp_rcpt = accept
begin acl
accept:
  accept
begin routers
all:
  driver = manualroute
  route_list = * %[5]s::%[6]d byname
  self = send
  transport = relay
begin transports
relay:
  driver = smtp
  hosts_require_tls = *
  tls_verify_certificates = %[7]s
  tls_verify_hosts = *
`, inside, dir, at.Addr(), at.Port(), relay.Addr(), relay.Port(), w.pki.roots), dir, "exim.conf")
	libraries := inside + "/usr/lib"
	for _, pattern := range []string{"usr/lib/*-linux-gnu", "lib/*-linux-gnu"} {
		dirs, err := filepath.Glob(filepath.Join(tree, pattern))
		require.NoError(t, err)
		for _, d := range dirs {
			libraries += " " + strings.Replace(d, tree, inside, 1)
		}
	}
	n := namespace{
		users: []string{"Debian-exim"}, empty: []string{"/run", "/var/lib"},
		prepare: fmt.Sprintf("mkdir %[1]s\nmount --bind %[2]q %[1]s\nldconfig -C /run/ld.so.cache %[3]s\nmount --bind /run/ld.so.cache /etc/ld.so.cache\nmkdir /var/lib/exim4\ncp %[4]q /var/lib/exim4/config.autogenerated", inside, tree, libraries, file),
	}
	start(t, n.command(t, dir, inside+"/usr/sbin/exim4", "-bdf"))
	log.Wait(t, 0, regexp.MustCompile(`daemon started`), 1)
	return at
}

// opensmtpdSender is an OpenSMTPD that gives all mail to the relay, whose certificate it verifies.
func opensmtpdSender(t testing.TB, w *world, relay netip.AddrPort) netip.AddrPort {
	t.Helper()
	tree := fetched(t, "opensmtpd")
	dir := tempDir(t)
	at := senderAddr(t)
	file := writeFile(t, 0o600, fmt.Sprintf(`listen on %s port %d hostname sender.example
ca roots cert %q
action out relay host "smtp+tls://%s" tls ca roots helo sender.example
match from any for any action out
`, at.Addr(), at.Port(), w.pki.roots, relay), dir, "smtpd.conf")
	const inside = "/run/opensmtpd"
	n := namespace{
		users: []string{"opensmtpd", "opensmtpq"}, empty: []string{"/run", "/var/spool", "/var/lib"},
		prepare: fmt.Sprintf(`mkdir -m 711 /var/spool/smtpd
mkdir %[1]s /var/lib/opensmtpd /var/lib/opensmtpd/empty
mkdir /run/libexec
mount --bind %[2]q %[1]s
mount -t tmpfs tmpfs /usr/libexec
mkdir /usr/libexec/opensmtpd
mount --bind %[1]s/usr/libexec/opensmtpd /usr/libexec/opensmtpd`, inside, tree),
	}
	log := start(t, n.command(t, dir, inside+"/usr/sbin/smtpd", "-d", "-v", "-f", file))
	log.Wait(t, 0, regexp.MustCompile(`smtp: will accept`), 1)
	return at
}
