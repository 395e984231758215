//go:build interop

package interop

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A sender is a Postfix that takes mail for everybody and delivers it, with DNSSEC from resolver.
type sender struct {
	submission string
	conf       string
	log        *Log
}

// startSender starts one. port is that of all mail hosts, and policy what stands in smtp_tls_policy_maps.
// more are further lines of main.cf.
func startSender(t testing.TB, resolver netip.AddrPort, port uint16, caFile, policy string, more ...string) *sender {
	t.Helper()
	needRoot(t)
	postfix := program(t, "postfix", "postfix")
	dir := tempDir(t)
	conf := makeDir(t, -1, -1, 0o755, dir, "conf")
	makeDir(t, -1, -1, 0o755, dir, "queue")
	makeDir(t, lookupUser(t, "postfix"), -1, 0o700, dir, "data")
	s := &sender{conf: conf, submission: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(t, netip.MustParseAddr("127.0.0.1"))).String()}
	writeFile(t, 0o644, fmt.Sprintf(`compatibility_level = 3.7
maillog_file = /dev/stdout
queue_directory = %[1]s/queue
data_directory = %[1]s/data
myhostname = mta.sender.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_tcp_port = %[2]d
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane
smtp_tls_loglevel = 1
smtp_tls_CAfile = %[3]s
smtp_tls_policy_maps = %[4]s
default_destination_concurrency_failed_cohort_limit = 0
smtp_connection_cache_on_demand = no
%[5]s
`, dir, port, caFile, policy, strings.Join(more, "\n")), conf, "main.cf")
	writeFile(t, 0o644, fmt.Sprintf(`%s inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
smtp unix - - n - 20 smtp
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
`, s.submission), conf, "master.cf")
	addr := servePort53(t, resolver)
	ns := namespace{files: map[string]string{"/etc/resolv.conf": fmt.Sprintf("nameserver %s\noptions timeout:5 attempts:2\n", addr)}}
	s.log = start(t, ns.command(t, dir, postfix, "-c", conf, "start-fg"))
	s.log.Wait(t, 0, regexp.MustCompile(`daemon started`), 1)
	return s
}

// done matches the line about a recipient.
var done = regexp.MustCompile(`smtp\[\d+\]: .* to=<postmaster@([^>]+)>, relay=([^,\[]*).* status=(\w+) (.*)$`)

// A fate is what became of the mail for a domain.
type fate struct {
	relay  string // host
	status string // sent, deferred or bounced
	reason string
}

// send sends one message to all domains and returns what became of it.
func (s *sender) send(t testing.TB, id string, domains []string) map[string]fate {
	t.Helper()
	mark := s.log.Mark()
	var to []string
	for _, d := range domains {
		to = append(to, "postmaster@"+d)
	}
	text := fmt.Sprintf("From: sender@sender.example\r\nMessage-ID: <%s@sender.example>\r\nSubject: policy\r\n\r\nHello.\r\n", id)
	require.NoError(t, smtp.SendMail(s.submission, nil, "sender@sender.example", to, []byte(text)))
	fates := map[string]fate{}
	for _, line := range s.log.Wait(t, mark, done, len(domains)) {
		if m := done.FindStringSubmatch(line); m != nil {
			fates[m[1]] = fate{relay: m[2], status: m[3], reason: m[4]}
		}
	}
	return fates
}

// A service is our policy service for Postfix, the program itself, in a namespace where resolv.conf names a name server.
type service struct {
	unix, inet, line string // where it answers
	table            string // file
	program          string
	cmd              *exec.Cmd
	log              *Log
}

// startService builds and starts one. table is the content of its destination table.
func startService(t testing.TB, w *world, nameserver netip.Addr, table string) *service {
	t.Helper()
	dir := tempDir(t)
	s := &service{program: filepath.Join(dir, "smtpsec-postfix"), unix: filepath.Join(dir, "policy")}
	run(t, ".", program(t, "go", "golang"), "build", "-o", s.program, "../../examples/postfix")
	s.table = writeFile(t, 0o644, table, dir, "destinations")
	ns := namespace{files: map[string]string{"/etc/resolv.conf": fmt.Sprintf("nameserver %s\noptions timeout:5 attempts:2\n", nameserver)}}
	s.cmd = ns.command(t, dir, s.program, "-table", s.table, "-cache", filepath.Join(dir, "cache"), "-port", strconv.Itoa(int(w.port)), "-allow-prefix", "127.0.0.0/8",
		"-listen", "unix:"+s.unix, "-listen", "inet:127.0.0.1:0", "-listen-tcp", "127.0.0.1:0")
	s.cmd.Env = append(s.cmd.Environ(), "SSL_CERT_FILE="+w.pki.roots, "SSL_CERT_DIR=/nonexistent")
	s.log = start(t, s.cmd)
	address := func(protocol string) string {
		match := regexp.MustCompile(`msg=listening protocol=` + protocol + ` address=(127\S+)`)
		for _, line := range s.log.Wait(t, 0, match, 1) {
			if m := match.FindStringSubmatch(line); m != nil {
				return m[1]
			}
		}
		return ""
	}
	s.inet, s.line = address("socketmap"), address("tcp")
	return s
}

// reload gives it another table.
func (s *service) reload(t testing.TB, table string) {
	t.Helper()
	require.NoError(t, os.WriteFile(s.table, []byte(table), 0o644))
	// The first process of the namespace is a shell, and the program its child.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.cmd.Process.Pid))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
	require.NoError(t, err)
	mark := s.log.Mark()
	require.NoError(t, syscall.Kill(pid, syscall.SIGHUP))
	s.log.Wait(t, mark, regexp.MustCompile(`msg="table reloaded"`), 1)
}

// ask sends a socketmap request and returns the reply.
func (s *service) ask(t testing.TB, key string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.inet)
	require.NoError(t, err)
	defer conn.Close()
	request := "policy " + key
	_, err = fmt.Fprintf(conn, "%d:%s,", len(request), request)
	require.NoError(t, err)
	var n int
	r := bufio.NewReader(conn)
	_, err = fmt.Fscanf(r, "%d:", &n)
	require.NoError(t, err)
	reply := make([]byte, n)
	_, err = io.ReadFull(r, reply)
	require.NoError(t, err)
	return string(reply)
}

// publish serves the policies of all sites that have one, at port 443, and gives them to the dialer of w as well. mx
// are patterns for single domains, instead of the site's host.
func publish(t testing.TB, w *world, mx map[string]string) {
	t.Helper()
	policies := mtasts.Policies{}
	for _, s := range w.sites {
		if s.sts == "" {
			continue
		}
		p := &mtasts.Policy{Mode: map[string]mtasts.PolicyMode{"enforce": mtasts.ModeEnforce, "testing": mtasts.ModeTesting}[s.sts],
			MaxAge: 24 * time.Hour, MX: []string{cmp.Or(mx[s.label], s.host())}}
		policies[s.domain()] = p
		w.policies.SetPolicy(s.domain(), p.String())
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(w.policyAddr(), 443).String())
	require.NoError(t, err)
	server := &http.Server{Handler: &mtasts.Publisher{Source: policies}, ReadTimeout: time.Minute, TLSConfig: &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c := w.pki.ca.Leaf([]string{hello.ServerName}).TLS()
			return &c, nil
		},
	}}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		server.Close()
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
}

// policySites are those about which answers can differ.
var policySites = []site{
	{label: "plain", tls: NoTLS}, {label: "good", cert: "good"}, {label: "selfsigned", cert: "self-signed"}, {label: "expired", cert: "expired"},
	{label: "wrongname", cert: "wrong-name"}, {label: "domain", cert: "domain"}, {label: "wildcard", cert: "wildcard"},
	{label: "daneee", cert: "self-signed", tlsa: "ee"}, {label: "daneta", cert: "unknown-ca", tlsa: "ta"}, {label: "danemismatch", cert: "good", tlsa: "mismatch"},
	{label: "daneplain", tls: NoTLS, tlsa: "mismatch"}, {label: "daneunusable", cert: "self-signed", tlsa: "unusable"}, {label: "unusableplain", tls: NoTLS, tlsa: "unusable"},
	{label: "unsigneddane", zone: "unsigned", cert: "good", tlsa: "mismatch"},
	{label: "unsignedsts", zone: "unsigned", cert: "good", sts: "enforce"}, {label: "unsignedself", zone: "unsigned", cert: "self-signed", sts: "enforce"},
	{label: "sts", cert: "good", sts: "enforce"}, {label: "stsself", cert: "self-signed", sts: "enforce"}, {label: "stsname", cert: "wrong-name", sts: "enforce"},
	{label: "stsplain", tls: NoTLS, sts: "enforce"}, {label: "stsdomain", cert: "domain", sts: "enforce"}, {label: "stscn", cert: "common-name", sts: "enforce"},
	{label: "ststesting", cert: "self-signed", sts: "testing"}, {label: "stsunlisted", cert: "good", sts: "enforce"},
	{label: "stswild", cert: "good", sts: "enforce"},                              // the policy has *.stswild.example
	{label: "stsdane", cert: "self-signed", tlsa: "ee", sts: "enforce"},           // DANE comes first
	{label: "stsmismatch", cert: "good", tlsa: "mismatch", sts: "enforce"},        // and MTA-STS does not help
	{label: "stsunusable", cert: "self-signed", tlsa: "unusable", sts: "enforce"}, // but does where DANE has no say
	{label: "mixed", cert: "self-signed", also: "daneee"},                         // the first host opportunistic, the second DANE
	{label: "mixedsts", cert: "self-signed", sts: "enforce", also: "daneee"},      // the first host must fail
	{label: "mixedgood", cert: "good", sts: "enforce", also: "daneee"},            // the first host would pass
	{label: "mixedmismatch", cert: "good", sts: "enforce", also: "danemismatch"},  // the second must not be tried at a lower level
	{label: "mixedbad", cert: "self-signed", tlsa: "mismatch", also: "good"},      // the first must fail, the second is opportunistic
	{label: "twohosts", cert: "self-signed", sts: "enforce", also: "sts"},         // the second is not listed
	{label: "mixedunusable", tls: NoTLS, tlsa: "unusable", also: "plain"},         // no TLS: not at the first, as it comes at the second
}

// A policyRound is a table of one default entry.
type policyRound struct {
	name     string
	settings tlspolicy.Settings
	// stricter are the sites to which we would deliver and Postfix with our answer does not, and why.
	stricter map[string]string
	// weaker are the sites to which Postfix delivers and we would not: what its attributes cannot say.
	weaker map[string]string
}

const (
	hostInCN  = "required-verify takes a common name that equals the receiving host, as the AsyncOS chapter has it; our answer names the domain alone"
	twoNames  = "the mode wants the name of the domain and MTA-STS that of the host: A10"
	otherHost = "A5: mail goes to hosts with TLSA records alone, and that one fails"
	commonly  = "without dNSName Postfix takes the common name, whatever the policy (E4 wants a SAN)"
)

var policyRounds = []policyRound{
	{"main.cf decides about the rest", tlspolicy.Settings{DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On},
		map[string]string{"mixedmismatch": otherHost}, map[string]string{"stscn": commonly}},
	{"preferred", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On},
		map[string]string{"mixedmismatch": otherHost}, map[string]string{"stscn": commonly}},
	{"preferred, no policies", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off}, nil, nil},
	{"preferred, no DANE", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.On}, nil, map[string]string{"stscn": commonly}},
	{"preferred, no MTA-STS", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.Off}, nil, nil},
	{"DANE mandatory", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEMandatory, MTASTS: tlspolicy.On}, nil, nil},
	{"no", tlspolicy.Settings{Mode: tlspolicy.No}, nil, nil},
	{"required", tlspolicy.Settings{Mode: tlspolicy.Required, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On},
		map[string]string{"mixedmismatch": otherHost, "mixedbad": otherHost}, map[string]string{"stscn": commonly}},
	{"required-verify", tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On}, map[string]string{
		"good": hostInCN, "unsigneddane": hostInCN, "unsignedsts": twoNames, "sts": twoNames, "stswild": twoNames, "mixedmismatch": otherHost, "mixedbad": otherHost,
	}, nil},
	{"required-verify, no policies", tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off}, map[string]string{
		"good": hostInCN, "danemismatch": hostInCN, "unsigneddane": hostInCN, "unsignedsts": hostInCN, "sts": hostInCN, "stscn": hostInCN, "stsunlisted": hostInCN,
		"stswild": hostInCN, "stsmismatch": hostInCN, "mixedgood": hostInCN, "mixedmismatch": hostInCN, "mixedbad": hostInCN, "twohosts": hostInCN,
	}, nil},
	{"required-verify-hosted", tlspolicy.Settings{Mode: tlspolicy.RequiredVerifyHosted, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On},
		map[string]string{"mixedmismatch": otherHost, "mixedbad": otherHost}, map[string]string{"stscn": commonly}},
	{"required-verify-hosted, no policies", tlspolicy.Settings{Mode: tlspolicy.RequiredVerifyHosted, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off}, nil, nil},
}

// Postfix with our answers delivers where we would and keeps mail where we would, but for what stands in the rounds.
func TestPolicyService(t *testing.T) {
	w := newWorld(t, 86, policySites)
	publish(t, w, map[string]string{"stsunlisted": "mail.stsunlisted.example", "stswild": "*.stswild.example"})
	r := StartPostfix(t, w.pki.roots, w.domains, w.listeners...)
	resolver := w.dns.stub(t)
	service := startService(t, w, servePort53(t, w.dns.unbound), "")
	s := startSender(t, w.dns.unbound, w.port, w.pki.roots, "socketmap:unix:"+service.unix+":policy")
	t.Logf("Postfix %s", r.Version)
	for i, round := range policyRounds {
		t.Run(round.name, func(t *testing.T) {
			service.reload(t, line(round.settings))
			round.settings.Fallback = tlspolicy.FallbackAlways
			fates := s.send(t, fmt.Sprint(i), w.domains)
			d := w.dialer(t, resolver, round.settings)
			var stricter, weaker []string
			for _, site := range policySites {
				fate := fates[site.domain()]
				answer := service.ask(t, site.domain())
				require.Contains(t, []string{"sent", "deferred"}, fate.status, "%s: %v: nothing may bounce", site.label, fate)
				report, err := d.Probe(t.Context(), smtpclient.Target{Domain: site.domain()})
				if report == nil {
					require.NoError(t, err)
				}
				var hosts []string // to which we would deliver
				for _, a := range report.Attempts {
					if a.Decision.Action != tlspolicy.Next {
						hosts = append(hosts, a.Host)
					}
				}
				t.Logf("%-14s %-9s %-22s %v", site.label, fate.status, fate.relay, answer)
				switch sent := fate.status == "sent"; {
				case sent && !slices.Contains(hosts, fate.relay):
					weaker = append(weaker, site.label)
				case !sent && len(hosts) > 0:
					stricter = append(stricter, site.label)
				}
			}
			require.ElementsMatch(t, labels(round.weaker), weaker, "Postfix delivers where we do not")
			require.ElementsMatch(t, labels(round.stricter), stricter, "Postfix keeps what we deliver")
		})
	}
	t.Run("postmap", func(t *testing.T) {
		service.reload(t, "")
		postmap(t, s.conf, "socketmap:unix:"+service.unix+":policy", "socketmap:inet:"+service.inet+":policy", "tcp:"+service.line)
	})
	t.Run("nobody answers", func(t *testing.T) {
		dead := startSender(t, w.dns.unbound, w.port, w.pki.roots, "socketmap:inet:"+closedPort(t)+":policy")
		for domain, fate := range dead.send(t, "dead", []string{"good.example", "sts.example", "plain.example"}) {
			require.Equal(t, "deferred", fate.status, "%s: %v", domain, fate)
		}
	})
	t.Run("the resolver of the service is dead", func(t *testing.T) {
		nobody := netip.MustParseAddr("127.53.3.254") // servePort53 begins at the other end
		blind := startService(t, w, nobody, "good.example mode=required dane=none mtasts=off\n")
		fates := startSender(t, w.dns.unbound, w.port, w.pki.roots, "tcp:"+blind.line).send(t, "blind", []string{"good.example", "sts.example", "plain.example"})
		require.Equal(t, "deferred", fates["sts.example"].status)
		require.Equal(t, "deferred", fates["plain.example"].status)
		require.Equal(t, "sent", fates["good.example"].status, "this one needs no look-up: %v", fates["good.example"])
	})
	t.Run("Postfix does not ask for DNSSEC", func(t *testing.T) {
		fates := startSender(t, w.dns.unbound, w.port, w.pki.roots, "socketmap:unix:"+service.unix+":policy", "smtp_dns_support_level = enabled").
			send(t, "nodnssec", []string{"daneee.example", "danemismatch.example", "mixedgood.example", "mixedbad.example"})
		for _, domain := range []string{"daneee.example", "danemismatch.example", "mixedgood.example"} {
			require.Equal(t, "deferred", fates[domain].status, "dane-only is no weaker then: %s %v", domain, fates[domain])
		}
		require.Equal(t, fate{"mx.mixedbad.example", "sent", fates["mixedbad.example"].reason}, fates["mixedbad.example"], "but dane becomes may, as the README warns")
	})
}

// postmap asks for keys of all forms through each kind of table.
func postmap(t *testing.T, conf string, tables ...string) {
	t.Helper()
	path := program(t, "postmap", "postfix")
	const protocols = " protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1"
	for i, table := range tables {
		for _, q := range []struct{ key, want string }{
			{"sts.example", "secure match=mx.sts.example servername=hostname" + protocols},
			{"STS.example", "secure match=mx.sts.example servername=hostname" + protocols},
			{"daneee.example", "dane-only" + protocols},
			{"[mx.daneee.example]", "dane-only" + protocols},
			{"good.example", ""},
			{".example", ""},
			{"stsunlisted.example", "error"},
			{"no such name", "error"},
			{"nosuchdomain.example", "error"},
		} {
			if i > 0 && q.want == "error" && q.key != "stsunlisted.example" {
				continue // postmap sleeps for a second before it says so
			}
			out, err := exec.Command(path, "-c", conf, "-q", q.key, table).CombinedOutput()
			switch q.want {
			case "", "error":
				require.Error(t, err, "%s %s: %s", table, q.key, out)
				require.Equal(t, q.want == "error", len(out) > 0, "postmap speaks of an error, and not of what is not found: %s %s: %s", table, q.key, out)
			default:
				require.NoError(t, err, "%s %s: %s", table, q.key, out)
				require.Equal(t, q.want, strings.TrimSpace(string(out)))
			}
		}
	}
}

// line is a table with settings as its default entry.
func line(s tlspolicy.Settings) string {
	text := "default"
	for name, value := range map[string]fmt.Stringer{"mode": s.Mode, "dane": s.DANE, "mtasts": s.MTASTS} {
		if value.String() != "default" {
			text += " " + name + "=" + value.String()
		}
	}
	return text + "\n"
}

// closedPort returns an address at which nobody listens.
func closedPort(t testing.TB) string {
	addr := netip.MustParseAddr("127.0.0.1")
	return netip.AddrPortFrom(addr, freePort(t, addr)).String()
}

func labels(reasons map[string]string) []string {
	var all []string
	for label := range reasons {
		all = append(all, label)
	}
	return all
}
