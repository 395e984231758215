//go:build interop

package dnssec

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// startUnbound starts an unbound over the authoritative server of a tree, with the given modules. It is stopped with the
// test.
func startUnbound(t *testing.T, tree *dnstest.Tree, names []string, authority netip.AddrPort, modules string) netip.AddrPort {
	program, err := exec.LookPath("unbound")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("unbound is not installed: apt-get install unbound")
		}
		t.Skip("unbound is not installed: apt-get install unbound")
	}
	dir := t.TempDir()
	anchor := filepath.Join(dir, "root.key")
	require.NoError(t, os.WriteFile(anchor, []byte(tree.RootAnchor()), 0o600))
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := netip.MustParseAddrPort(packets.LocalAddr().String())
	require.NoError(t, packets.Close())

	var config strings.Builder
	fmt.Fprintf(&config, `server:
	interface: 127.0.0.1
	port: %d
	access-control: 127.0.0.0/8 allow
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	do-daemonize: no
	verbosity: 1
	num-threads: 1
	module-config: %q
	trust-anchor-file: %q
	trust-anchor-signaling: no
	do-not-query-localhost: no
	do-ip6: no
	ede: yes
	unblock-lan-zones: yes
	qname-minimisation: no
	aggressive-nsec: no
	target-fetch-policy: "0 0 0 0 0"
remote-control:
	control-enable: no
`, addr.Port(), dir, modules, anchor)
	// The delegations name port 53, so every zone is a stub on the port of our server.
	zones := make(map[string]bool)
	for _, name := range names {
		for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
			if zone := name[off:]; !zones[zone] && tree.Lookup(zone) != nil {
				zones[zone] = true
				fmt.Fprintf(&config, "stub-zone:\n\tname: %q\n\tstub-addr: %s@%d\n", zone, authority.Addr(), authority.Port())
			}
		}
	}
	fmt.Fprintf(&config, "stub-zone:\n\tname: \".\"\n\tstub-addr: %s@%d\n", authority.Addr(), authority.Port())
	file := filepath.Join(dir, "unbound.conf")
	require.NoError(t, os.WriteFile(file, []byte(config.String()), 0o600))

	cmd := exec.Command(program, "-d", "-c", file)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ready, ended := make(chan bool, 1), make(chan struct{})
	var log strings.Builder
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "start of service") {
				ready <- true
			}
		}
		close(ready)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		cmd.Wait()
	})
	require.True(t, <-ready, "unbound did not start:\n%s", &log)
	return addr
}

// opinion is what is compared.
type opinion struct {
	Verdict   string // "secure", "insecure" or "error"
	Outcome   Outcome
	Canonical string
	Records   string
}

// opinionOf asks unbound.
func opinionOf(t *testing.T, server netip.AddrPort, name string, typ Type) opinion {
	q := new(dns.Msg).SetQuestion(name, uint16(typ))
	q.SetEdns0(4096, true)
	m, _, err := new(dns.Client).Exchange(q, server.String())
	if err == nil && m.Truncated {
		m, _, err = (&dns.Client{Net: "tcp"}).Exchange(q, server.String())
	}
	require.NoError(t, err)
	o := opinion{Verdict: "insecure", Canonical: name}
	if m.AuthenticatedData {
		o.Verdict = "secure"
	}
	switch m.Rcode {
	case dns.RcodeSuccess:
		o.Outcome = NoData
	case dns.RcodeNameError:
		o.Outcome = NXDomain
	default:
		return opinion{Verdict: "error"}
	}
	for followed := true; followed && typ != TypeCNAME; {
		followed = false
		for _, r := range m.Answer {
			if c, ok := r.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, o.Canonical) {
				o.Canonical, followed = strings.ToLower(c.Target), true
			}
		}
	}
	var found []string
	for _, r := range m.Answer {
		if r.Header().Rrtype == uint16(typ) && strings.EqualFold(r.Header().Name, o.Canonical) {
			wire := make([]byte, 4096)
			r.Header().Name = "."
			n, err := dns.PackRR(r, wire, 0, nil, false)
			require.NoError(t, err)
			found = append(found, string(canonicalData(typ, wire[11:n])))
			o.Outcome = Found
		}
	}
	slices.Sort(found)
	o.Records = fmt.Sprintf("%x", found)
	return o
}

// ourOpinion is that of a Validator.
func ourOpinion(a *Answer, err error) opinion {
	if err != nil {
		return opinion{Verdict: "error"}
	}
	o := opinion{Verdict: a.Security.String(), Outcome: a.Outcome, Canonical: a.Canonical}
	var found []string
	for _, r := range a.Records {
		found = append(found, string(canonicalData(a.Type, r.Data)))
	}
	slices.Sort(found)
	o.Records = fmt.Sprintf("%x", found)
	return o
}

// differences are all ways in which we may differ from unbound, and why. Each must occur, or it is out of date.
var differences = []struct {
	reason string
	is     func(name string, typ Type, ours, theirs opinion) bool
}{
	{
		"more than 500 NSEC3 iterations: unbound calls the denial insecure, we refuse it; RFC 9276 section 3.2 permits both",
		func(name string, _ Type, ours, theirs opinion) bool {
			return dns.IsSubDomain("iter501.com.", name) && ours.Verdict == "error" && theirs.Verdict == "insecure"
		},
	},
	{
		"algorithm 7 and DS digest 1 use SHA-1: unbound still validates them, we do so only with AllowSHA1 (RFC 9905)",
		func(name string, _ Type, ours, theirs opinion) bool {
			return (dns.IsSubDomain("alg7.com.", name) || dns.IsSubDomain("digest1.com.", name)) && ours.Verdict == "insecure" && theirs.Verdict == "secure"
		},
	},
	{
		"algorithm 16, Ed448: unbound validates it and finds the random signatures of this zone wrong; RFC 8624 section 3.1 leaves it optional, " +
			"so for us the zone is insecure (RFC 4035 section 5.2)",
		func(name string, _ Type, ours, theirs opinion) bool {
			return dns.IsSubDomain("alg16.com.", name) && ours.Verdict == "insecure" && theirs.Verdict == "error"
		},
	},
	{
		"below a DNAME, asked for CNAME or DNAME: unbound takes the unsigned CNAME made from the DNAME for the answer, fails to find a signature, and " +
			"then refuses the name for other types too; RFC 6672 section 5.3.1 has that CNAME never signed",
		func(name string, typ Type, ours, theirs opinion) bool {
			return belowDNAME(name) && theirs.Verdict == "error" && ours.Verdict != "error"
		},
	},
	{
		"the same where the zone has so many NSEC3 iterations that denials are insecure: unbound takes the unsigned CNAME for insecure; the DNAME is signed",
		func(name string, typ Type, ours, theirs opinion) bool {
			ours.Verdict = strings.Replace(ours.Verdict, "secure", "insecure", 1)
			return belowDNAME(name) && typ == TypeCNAME && strings.Contains(name, ".iter") && ours == theirs
		},
	},
	{
		"the same for DNAME in an unsigned zone that leads to a bogus one: unbound does not judge the denial at the target; nothing after an insecure " +
			"alias is excused (RFC 4035 section 5 knows no such exception)",
		func(name string, typ Type, ours, theirs opinion) bool {
			return belowDNAME(name) && typ == TypeDNAME && strings.HasSuffix(name, ".b-dn.ualias.com.") && ours.Verdict == "error"
		},
	},
}

func belowDNAME(name string) bool {
	return strings.Contains(name, ".dn.") || strings.Contains(name, "-dn.")
}

func TestAgainstUnbound(t *testing.T) {
	tree, names := sampleTree(t)
	authority, err := dnstest.ServeAuthoritative(tree, "")
	require.NoError(t, err)
	t.Cleanup(func() { authority.Close() })
	reference := startUnbound(t, tree, names, authority.Addr(), "validator iterator")
	plain := startUnbound(t, tree, names, authority.Addr(), "iterator")
	for _, through := range []struct {
		kind   string
		server netip.AddrPort
	}{{"a resolver that does not validate", plain}, {"a resolver that validates", reference}} {
		t.Run("through "+through.kind, func(t *testing.T) {
			v := newTestValidator(t, tree, nil, through.server)
			require.NoError(t, v.Check(t0))
			counts := make(map[string]int)
			seen := make([]int, len(differences))
			compare := func(name string, typ Type) {
				theirs := opinionOf(t, reference, name, typ)
				a, err := ask(v, name, typ)
				ours := ourOpinion(a, err)
				counts[theirs.Verdict]++
				if ours == theirs {
					return
				}
				for i, d := range differences {
					if d.is(name, typ, ours, theirs) {
						seen[i]++
						return
					}
				}
				t.Errorf("%s %s:\nours:    %+v (%v)\nunbound: %+v", name, typ, ours, err, theirs)
			}
			for _, name := range names {
				for _, typ := range sampleTypes {
					compare(name, typ)
				}
			}
			random := rand.New(rand.NewPCG(1, 2))
			for range 2000 { // names that nobody thought of
				name := names[random.IntN(len(names))]
				for range 1 + random.IntN(3) {
					labels := []string{"mx", "*", "w", "a", "zz", "_tcp", "ent", "child", "dn", "0", "-"}
					if longer := labels[random.IntN(len(labels))] + "." + strings.TrimPrefix(name, "."); len(longer) < 200 {
						name = longer
					}
				}
				compare(name, sampleTypes[random.IntN(len(sampleTypes))])
			}
			t.Log(counts)
			for i, d := range differences {
				t.Logf("%d: %s", seen[i], d.reason)
				require.NotZero(t, seen[i], d.reason)
			}
		})
	}
}
