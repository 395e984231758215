//go:build interop

package interop

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/ststest"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A site is a recipient domain with one mail host, mx.<domain>.
type site struct {
	label string
	zone  string // above the domain; "" = example, which is signed, or unsigned
	tls   TLSUse
	cert  string // good, self-signed, expired, wrong-name, ...; see leaf
	ask   bool   // the host asks for a client certificate
	tlsa  string // ee, ta, mismatch or unusable; "" = no record
	sts   string // enforce or testing; "" = no policy
	also  string // label of a site in the same zone whose host is a second MX host; "" = none
}

func (s site) domain() string { return s.label + "." + cmp.Or(s.zone, "example") }
func (s site) host() string   { return "mx." + s.domain() }

// A pki are the authorities of a world and its certificates, in files.
type pki struct {
	dir      string
	root, ca *testpki.Authority // trusted
	stranger *testpki.Authority // below a root that nobody trusts
	roots    string             // PEM file
	client   tls.Certificate    // ours
	keys     []testpki.Mod      // of leaves, if not each has an ECDSA key of its own
}

func newPKI(t testing.TB, keys ...testpki.Mod) *pki {
	root := testpki.NewRoot("Interop Root")
	p := &pki{dir: tempDir(t), root: root, ca: root.Intermediate("Interop CA"), stranger: testpki.NewRoot("Strange Root").Intermediate("Strange CA")}
	p.keys = keys
	p.roots = writeFile(t, 0o644, pemOf(root.Cert), p.dir, "roots.pem")
	p.client = root.Leaf([]string{"mta.sender.example"}, testpki.Template(func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})).TLS()
	return p
}

func pemOf(certs ...*x509.Certificate) (text string) {
	for _, c := range certs {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text
}

// leaf makes the certificate of a site.
func (p *pki) leaf(t testing.TB, s site) *testpki.Leaf {
	names := []string{s.host()}
	switch s.cert {
	case "good":
		return p.ca.Leaf(names, p.keys...)
	case "self-signed":
		return testpki.SelfSigned(names, p.keys...)
	case "expired":
		return p.ca.Leaf(names, append(p.keys, testpki.Valid(time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)))...)
	case "wrong-name":
		return p.ca.Leaf([]string{"elsewhere.example"}, p.keys...)
	case "unknown-ca":
		return p.stranger.Leaf(names, p.keys...)
	case "domain": // for the recipient domain and not for the host
		return p.ca.Leaf([]string{s.domain()}, p.keys...)
	case "wildcard":
		return p.ca.Leaf([]string{"*." + s.domain()}, p.keys...)
	case "common-name": // of the host, and no SAN
		return p.ca.Leaf(nil, append(p.keys, testpki.CommonName(s.host()))...)
	case "other-common-name": // of the host, beside a SAN for somebody else
		return p.ca.Leaf([]string{"elsewhere.example"}, append(p.keys, testpki.CommonName(s.host()))...)
	}
	require.Failf(t, "no such certificate", "%q", s.cert)
	return nil
}

// files writes a chain and its key, and returns where they are.
func (p *pki) files(t testing.TB, name string, leaf *testpki.Leaf) (cert, key string) {
	der, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	require.NoError(t, err)
	cert = writeFile(t, 0o644, pemOf(leaf.Chain()...), p.dir, name+".cert")
	key = writeFile(t, 0o600, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), p.dir, name+".key")
	return cert, key
}

// tlsa is the RDATA that a site publishes for its certificate.
func tlsa(t testing.TB, kind string, leaf *testpki.Leaf) string {
	spki := func(c *x509.Certificate) string { return fmt.Sprintf("%x", sha256.Sum256(c.RawSubjectPublicKeyInfo)) }
	switch kind {
	case "ee":
		return "3 1 1 " + spki(leaf.Cert)
	case "ta":
		return "2 1 1 " + spki(leaf.Issuer.Cert)
	case "mismatch":
		return fmt.Sprintf("3 1 1 %x", sha256.Sum256([]byte("some other key")))
	case "unusable": // no such matching type
		return "3 1 9 00ff"
	}
	require.Failf(t, "no such TLSA record", "%q", kind)
	return ""
}

// A world is everything but the mail server: names, policies and certificates of its sites.
type world struct {
	pki       *pki
	sites     []site
	domains   []string
	listeners []Listener
	port      uint16
	net       byte
	dns       dns
	policies  *ststest.PolicyHost
}

// policyAddr is the address of the policy hosts in DNS. The dialer is led to policies from there.
func (w *world) policyAddr() netip.Addr { return netip.AddrFrom4([4]byte{127, w.net, 255, 1}) }

// newWorld makes the world of a mail server, which is to listen on addresses of the network 127.net.0.0.
func newWorld(t testing.TB, net byte, sites []site, keys ...testpki.Mod) *world {
	w := &world{net: net, pki: newPKI(t, keys...), sites: sites, policies: ststest.NewPolicyHost()}
	t.Cleanup(w.policies.Close)
	addr := netip.AddrFrom4([4]byte{127, net, 0, 1})
	w.port = freePort(t, addr)
	records := map[string][]string{}
	for _, s := range sites {
		add := func(format string, args ...any) {
			zone := cmp.Or(s.zone, "example")
			records[zone] = append(records[zone], fmt.Sprintf(format, args...))
		}
		l := Listener{Name: s.host(), Addr: netip.AddrPortFrom(addr, w.port), TLS: s.tls, AskCert: s.ask}
		add("%s MX 10 mx.%[1]s", s.label)
		if s.also != "" {
			add("%s MX 20 mx.%s", s.label, s.also)
		}
		add("mx.%s A %s", s.label, addr)
		leaf := new(testpki.Leaf)
		if s.tls != NoTLS {
			leaf = w.pki.leaf(t, s)
			l.CertFile, l.KeyFile = w.pki.files(t, s.label, leaf)
		}
		if s.tlsa != "" {
			add("_%d._tcp.mx.%s TLSA %s", w.port, s.label, tlsa(t, s.tlsa, leaf))
		}
		if s.sts != "" {
			add(`_mta-sts.%s TXT "v=STSv1; id=1;"`, s.label)
			add("mta-sts.%s A %s", s.label, w.policyAddr())
			w.policies.SetPolicy(s.domain(), fmt.Sprintf("version: STSv1\r\nmode: %s\r\nmx: %s\r\nmax_age: 86400\r\n", s.sts, s.host()))
		}
		w.domains = append(w.domains, s.domain())
		w.listeners = append(w.listeners, l)
		addr = addr.Next()
	}
	w.dns = startDNS(t, records)
	return w
}

// dialer is a Dialer as an MTA would have it, with everything switched on.
func (w *world) dialer(t testing.TB, resolver dnssec.Resolver, s tlspolicy.Settings) *smtpclient.Dialer {
	table, err := tlspolicy.NewTable(s, nil)
	require.NoError(t, err)
	trust, err := tlspolicy.NewPoolVerifier(testpki.Pool(w.pki.root), tlspolicy.PoolOptions{})
	require.NoError(t, err)
	d := &smtpclient.Dialer{
		Hostname: "mta.sender.example", Policy: table, Resolver: resolver, Trust: trust, Port: w.port, AllowAddr: netip.Addr.IsLoopback,
		MTASTS:            &mtasts.Client{Resolver: dnssec.NetResolver{Resolver: resolver}, Fetch: w.policies.FetchConfig()},
		ClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &w.pki.client, nil },
	}
	require.NoError(t, d.Validate())
	return d
}
