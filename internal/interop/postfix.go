//go:build interop

package interop

import (
	"fmt"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// StartPostfix starts an instance of Postfix with folders of its own. clientCAs is a PEM file with the authorities of
// client certificates.
func StartPostfix(t testing.TB, clientCAs string, domains []string, listeners ...Listener) *Receiver {
	t.Helper()
	needRoot(t)
	postfix, postconf := program(t, "postfix", "postfix"), program(t, "postconf", "postfix")
	dir := tempDir(t)
	nobody, postfixUser := lookupUser(t, "nobody"), lookupUser(t, "postfix")
	conf, mail := makeDir(t, -1, -1, 0o755, dir, "conf"), makeDir(t, nobody, -1, 0o755, dir, "mail")
	makeDir(t, -1, -1, 0o755, dir, "queue")
	makeDir(t, postfixUser, -1, 0o700, dir, "data")
	var main, master strings.Builder
	fmt.Fprintf(&main, `compatibility_level = 3.7
maillog_file = /dev/stdout
queue_directory = %[1]s/queue
data_directory = %[1]s/data
myhostname = postfix.receiver.example
mydestination =
mynetworks =
alias_maps =
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = %[2]s
virtual_mailbox_base = %[1]s
virtual_mailbox_maps = static:mail/
virtual_minimum_uid = 1
virtual_uid_maps = static:%[3]d
virtual_gid_maps = static:%[3]d
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtpd_tls_CAfile = %[4]s
smtpd_tls_session_cache_database =
`, dir, strings.Join(domains, " "), nobody, clientCAs)
	var names strings.Builder
	for _, l := range listeners {
		options := "-o smtpd_tls_security_level=none"
		if l.TLS != NoTLS {
			options = fmt.Sprintf("-o smtpd_tls_security_level=may -o smtpd_tls_chain_files=%s,%s -o smtpd_tls_ask_ccert=%s -o smtpd_tls_protocols=%s",
				l.KeyFile, l.CertFile, yes(l.AskCert), map[TLSUse]string{AnyTLS: ">=TLSv1.2", OnlyTLS12: ">=TLSv1.2,<=TLSv1.2", OnlyTLS13: ">=TLSv1.3"}[l.TLS])
			// With an entry for the name, Postfix logs the SNI that has chosen it.
			fmt.Fprintf(&names, "%s %s, %s\n", l.Name, l.KeyFile, l.CertFile)
		}
		fmt.Fprintf(&master, "%s inet n - n - - smtpd -o myhostname=%s %s\n", l.Addr, l.Name, options)
	}
	master.WriteString(`cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
`)
	sni := writeFile(t, 0o600, names.String(), conf, "sni")
	fmt.Fprintf(&main, "tls_server_sni_maps = hash:%s\n", sni)
	writeFile(t, 0o644, main.String(), conf, "main.cf")
	writeFile(t, 0o644, master.String(), conf, "master.cf")
	run(t, dir, program(t, "postmap", "postfix"), "-c", conf, "-F", "hash:"+sni)
	r := &Receiver{
		Name: "Postfix", Mailbox: mail,
		Version:   strings.TrimSpace(run(t, dir, postconf, "-c", conf, "-h", "mail_version")),
		Closed:    regexp.MustCompile(`smtpd\[\d+\]: disconnect from`),
		Delivered: regexp.MustCompile(`virtual\[\d+\]: .* status=sent`),

		accepted:    regexp.MustCompile(`cleanup\[\d+\]: .* message-id=`),
		established: regexp.MustCompile(`TLS connection established from \S+(?: to (?P<sni>[^ :]+))?: TLSv(?P<version>\S+) with`),
		trusted:     regexp.MustCompile(`: Trusted TLS connection established`),
	}
	r.Log = start(t, namespace{}.command(t, dir, postfix, "-c", conf, "start-fg"))
	r.Log.Wait(t, 0, regexp.MustCompile(`daemon started`), 1)
	return r
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// lookupUser returns the number of a user.
func lookupUser(t testing.TB, name string) int {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
