//go:build interop

package interop

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// StartOpenSMTPD starts the OpenSMTPD that mta.sh has fetched. clientCAs is a PEM file with the authorities of client
// certificates; a listener that asks for one here insists on it.
//
// The program was built to expect its users and folders at fixed places. They are made in its namespace and exist
// nowhere else.
func StartOpenSMTPD(t testing.TB, clientCAs string, domains []string, listeners ...Listener) *Receiver {
	t.Helper()
	needRoot(t)
	tree := fetched(t, "opensmtpd")
	dir := tempDir(t)
	mail := makeDir(t, lookupUser(t, "nobody"), -1, 0o755, dir, "mail")
	var conf strings.Builder
	fmt.Fprintf(&conf, "ca clients cert %q\n", clientCAs)
	for _, l := range listeners {
		options := ""
		if l.TLS != NoTLS {
			protocols := map[TLSUse]string{AnyTLS: "tlsv1.2,tlsv1.3", OnlyTLS12: "tlsv1.2", OnlyTLS13: "tlsv1.3"}[l.TLS]
			fmt.Fprintf(&conf, "pki %[1]s cert %[2]q\npki %[1]s key %[3]q\n", l.Name, l.CertFile, l.KeyFile)
			options = fmt.Sprintf("tls protocols %q pki %s", protocols, l.Name)
			if l.AskCert {
				options = fmt.Sprintf("tls-require verify protocols %q pki %s ca clients", protocols, l.Name)
			}
		}
		fmt.Fprintf(&conf, "listen on %s port %d %s hostname %s\n", l.Addr.Addr(), l.Addr.Port(), options, l.Name)
	}
	fmt.Fprintf(&conf, `table domains { %s }
table users { "@" = nobody }
action deliver maildir %q user nobody virtual <users>
match from any for domain <domains> action deliver
`, strings.Join(domains, ", "), mail)
	file := writeFile(t, 0o600, conf.String(), dir, "smtpd.conf")
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
	path := inside + "/usr/sbin/smtpd"
	r := &Receiver{
		Name: "OpenSMTPD", Mailbox: mail,
		Closed:    regexp.MustCompile(` smtp disconnected `),
		Delivered: regexp.MustCompile(` mda delivery .* result="?Ok`),

		accepted:    regexp.MustCompile(` smtp message `),
		established: regexp.MustCompile(` smtp tls ciphers=TLSv(?P<version>[0-9.]+):`),
		trusted:     regexp.MustCompile(` smtp cert-check result="verified"`),
	}
	out, _ := n.command(t, dir, path, "-h").CombinedOutput() // the status is that of a mistake, and the usage has the version
	if match := regexp.MustCompile(`version: OpenSMTPD (\S+)`).FindSubmatch(out); match != nil {
		r.Version = string(match[1])
	}
	r.Log = start(t, n.command(t, dir, path, "-d", "-v", "-f", file))
	r.Log.Wait(t, 0, regexp.MustCompile(`smtp: will accept`), 1)
	return r
}
