//go:build interop

package interop

import (
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/mtasts/ststest"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

const noHandshake = "mode-tls-required-handshake-failed"

// A peculiar server is one that OpenSSL plays: its options, and the chain that it sends.
type peculiar struct {
	label, why                  string
	options                     string
	leaf                        *testpki.Leaf
	chain                       []*x509.Certificate // behind the leaf
	tlsa                        string
	preferred, required, verify string // as in sites
}

// Old versions, odd suites and keys, and chains in every order, from OpenSSL.
func TestOpenSSL(t *testing.T) {
	openssl := program(t, "openssl", "openssl")
	p := newPKI(t)
	rsaKey := testpki.Key(testpki.NewRSA(2048))
	names := func(label string) []string { return []string{"mx." + label + ".example"} }
	ca := []*x509.Certificate{p.ca.Cert}
	var cases []peculiar
	// The same leaf key for all, and the chain of p.ca unless the case has its own.
	add := func(c peculiar, mods ...testpki.Mod) {
		if c.leaf == nil {
			c.leaf = p.ca.Leaf(names(c.label), append([]testpki.Mod{rsaKey}, mods...)...)
		}
		if c.chain == nil {
			c.chain = ca
		}
		cases = append(cases, c)
	}
	for _, c := range []peculiar{
		{"tls10", "encryption nobody should rely on is better than none, where none is the alternative", "-tls1 -cipher ALL:@SECLEVEL=0", nil, nil, "", tlsOnly, noHandshake, noHandshake},
		{"tls11", "the same", "-tls1_1 -cipher ALL:@SECLEVEL=0", nil, nil, "", tlsOnly, noHandshake, noHandshake},
		{"tls12", "", "-tls1_2", nil, nil, "", tlsOnly, tlsOnly, verified},
		{"tls13", "", "-tls1_3", nil, nil, "", tlsOnly, tlsOnly, verified},
		{"rsakx", "no forward secrecy: only where clear text is the alternative", "-tls1_2 -cipher AES128-SHA", nil, nil, "", tlsOnly, noHandshake, noHandshake},
		{"rsakxgcm", "the same with a better cipher", "-tls1_2 -cipher AES256-GCM-SHA384", nil, nil, "", tlsOnly, noHandshake, noHandshake},
		{"cbcsha1", "among the suites of crypto/tls", "-tls1_2 -cipher ECDHE-RSA-AES256-SHA", nil, nil, "", tlsOnly, tlsOnly, verified},
		{"cbcsha256", "not among them", "-tls1_2 -cipher ECDHE-RSA-AES128-SHA256", nil, nil, "", tlsOnly, noHandshake, noHandshake},
		{"chacha12", "", "-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305", nil, nil, "", tlsOnly, tlsOnly, verified},
		{"chacha13", "", "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", nil, nil, "", tlsOnly, tlsOnly, verified},
		{"dhe", "crypto/tls has no finite-field Diffie-Hellman", "-tls1_2 -cipher DHE-RSA-AES256-GCM-SHA384", nil, nil, "", clear, noHandshake, noHandshake},
		{"camellia", "nor Camellia", "-tls1_2 -cipher ECDHE-RSA-CAMELLIA256-SHA384", nil, nil, "", clear, noHandshake, noHandshake},
		{"ccm13", "nor CCM", "-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256", nil, nil, "", clear, noHandshake, noHandshake},
		{"p521group", "a curve that not everybody has", "-tls1_3 -groups P-521", nil, nil, "", tlsOnly, tlsOnly, verified},
		{"x448group", "one that crypto/tls has not", "-tls1_3 -groups X448", nil, nil, "", clear, noHandshake, noHandshake},
		{"noticket", "no resumption", "-tls1_3 -num_tickets 0", nil, nil, "", tlsOnly, tlsOnly, verified},
		{"pss", "no other RSA signatures", "-tls1_2 -sigalgs RSA-PSS+SHA512", nil, nil, "", tlsOnly, tlsOnly, verified},
		{"sha1sig", "the handshake signed with SHA-1, which crypto/tls does not offer", "-tls1_2 -sigalgs RSA+SHA1 -cipher ALL:@SECLEVEL=0", nil, nil, "", clear, noHandshake, noHandshake},
	} {
		add(c)
	}
	add(peculiar{label: "ed25519", preferred: tlsOnly, required: tlsOnly, verify: verified}, testpki.Key(testpki.NewEd25519()))
	add(peculiar{label: "p384", preferred: tlsOnly, required: tlsOnly, verify: verified}, testpki.Key(testpki.NewECDSA(elliptic.P384())))
	add(peculiar{label: "p521", preferred: tlsOnly, required: tlsOnly, verify: verified}, testpki.Key(testpki.NewECDSA(elliptic.P521())))

	// Chains. The intermediate "Crossed CA" has two certificates for one key: of our root, and of one that has expired.
	expired := testpki.NewRoot("Expired Root", testpki.Valid(time.Now().Add(-1000*time.Hour), time.Now().Add(-time.Hour)))
	crossedKey := testpki.Key(testpki.NewECDSA(elliptic.P256()))
	ours, theirs := p.root.Intermediate("Crossed CA", crossedKey), expired.Intermediate("Crossed CA", crossedKey)
	strange := testpki.NewRoot("Strange Root").Intermediate("Crossed CA", crossedKey)
	deep := p.root
	var path []*x509.Certificate
	for i := range 4 {
		deep = deep.Intermediate(fmt.Sprintf("Deep CA %d", i))
		path = append([]*x509.Certificate{deep.Cert}, path...)
	}
	reversed := slices.Clone(path)
	slices.Reverse(reversed)
	mixed := []*x509.Certificate{path[2], p.ca.Cert, path[0], p.stranger.Cert, path[3], path[1], path[0]}
	certs := func(c ...*x509.Certificate) []*x509.Certificate { return c }
	for _, c := range []struct {
		label, why string
		issuer     *testpki.Authority
		chain      []*x509.Certificate
		tlsa       *x509.Certificate // as 2 1 1
		verify     string
	}{
		{"withroot", "the root is sent, too", p.ca, certs(p.ca.Cert, p.root.Cert), nil, verified},
		{"missing", "without the intermediate", p.ca, certs(), nil, untrusted},
		{"deep", "four intermediates", deep, path, nil, verified},
		{"reversed", "in the wrong order, which TLS 1.3 tolerates (RFC 8446 section 4.4.2)", deep, reversed, nil, verified},
		{"mixed", "shuffled, with strangers and a duplicate", deep, mixed, nil, verified},
		{"crossed", "both certificates of the intermediate, ours first", ours, certs(ours.Cert, theirs.Cert, strange.Cert), nil, verified},
		{"crossedlast", "ours last", ours, certs(strange.Cert, theirs.Cert, ours.Cert), nil, verified},
		{"crossedwrong", "the expired path alone", ours, certs(theirs.Cert, expired.Cert), nil, untrusted},
		{"danemixed", "DANE-TA for an intermediate in the middle of a shuffled chain", deep, mixed, path[2], verified},
		{"danecrossed", "DANE-TA for an issuer of which the chain has three certificates", ours, certs(strange.Cert, theirs.Cert, ours.Cert), ours.Cert, verified},
		{"danestray", "DANE-TA for a certificate that is in the chain and has signed nothing there", p.ca, certs(p.ca.Cert, p.stranger.Cert), p.stranger.Cert, "dane-mismatch"},
		{"toomany", "more certificates than are looked at", p.ca, slices.Repeat(ca, 17), nil, untrusted},
	} {
		x := peculiar{label: c.label, why: c.why, leaf: c.issuer.Leaf(names(c.label), rsaKey), chain: c.chain, preferred: tlsOnly, required: tlsOnly, verify: c.verify}
		if c.tlsa != nil {
			x.tlsa = tlsa(t, "ta", &testpki.Leaf{Issuer: &testpki.Authority{Cert: c.tlsa}})
			x.preferred, x.required = c.verify, c.verify
		}
		cases = append(cases, x)
	}
	// A key that crypto/tls does not know.
	run(t, p.dir, openssl, "req", "-x509", "-newkey", "ed448", "-nodes", "-subj", "/CN=mx.ed448.example", "-keyout", "ed448.key", "-out", "ed448.cert")
	cases = append(cases, peculiar{label: "ed448", preferred: clear, required: noHandshake, verify: noHandshake})

	addr := netip.MustParseAddr("127.83.0.1")
	port := freePort(t, addr)
	var records []string
	servers := map[string]*OpenSSLServer{}
	for _, c := range cases {
		records = append(records, fmt.Sprintf("%s MX 10 mx.%[1]s", c.label), fmt.Sprintf("mx.%s A %s", c.label, addr))
		if c.tlsa != "" {
			records = append(records, fmt.Sprintf("_%d._tcp.mx.%s TLSA %s", port, c.label, c.tlsa))
		}
		options := []string{"-cert", p.dir + "/ed448.cert", "-key", p.dir + "/ed448.key"}
		if c.leaf != nil {
			der, err := x509.MarshalPKCS8PrivateKey(c.leaf.Key)
			require.NoError(t, err)
			options = []string{
				"-cert", writeFile(t, 0o644, pemOf(c.leaf.Cert), p.dir, c.label+".cert"),
				"-key", writeFile(t, 0o600, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), p.dir, c.label+".key"),
			}
			if len(c.chain) > 0 {
				options = append(options, "-cert_chain", writeFile(t, 0o644, pemOf(c.chain...), p.dir, c.label+".chain"))
			}
		}
		servers[c.label] = StartOpenSSL(t, netip.AddrPortFrom(addr, port), append(options, strings.Fields(c.options)...)...)
		addr = addr.Next()
	}
	w := &world{pki: p, port: port, dns: startDNS(t, map[string][]string{"example": records}), policies: ststest.NewPolicyHost()}
	t.Cleanup(w.policies.Close)
	resolver := w.dns.stub(t)
	for _, mode := range []tlspolicy.Mode{tlspolicy.Preferred, tlspolicy.Required, tlspolicy.RequiredVerify} {
		d := w.dialer(t, resolver, tlspolicy.Settings{Mode: mode, DANE: tlspolicy.DANEOpportunistic})
		for _, c := range cases {
			t.Run(c.label+"."+mode.String(), func(t *testing.T) {
				want := map[tlspolicy.Mode]string{tlspolicy.Preferred: c.preferred, tlspolicy.Required: c.required, tlspolicy.RequiredVerify: c.verify}[mode]
				require.Equal(t, want, deliverTo(t, servers[c.label], d, c.label, mode), c.why)
			})
		}
	}
}

// deliverTo is deliver for a server of OpenSSL.
func deliverTo(t *testing.T, server *OpenSSLServer, d *smtpclient.Dialer, label string, mode tlspolicy.Mode) string {
	before, mark := len(server.Messages()), server.Log.Mark()
	session, err := d.Dial(t.Context(), label+".example")
	if err != nil {
		var refused *smtpclient.Error
		require.ErrorAs(t, err, &refused)
		require.False(t, refused.Permanent, refused)
		require.Len(t, server.Messages(), before)
		return refused.Reason.String()
	}
	id := label + "." + mode.String()
	require.NoError(t, send(session, label+".example", id))
	messages := server.Messages()
	require.Len(t, messages, before+1)
	require.Contains(t, messages[before], "Hello "+id+".")
	if state := session.TLS(); state != nil {
		version, suite := server.Session(t, mark)
		require.Equal(t, tls.VersionName(state.Version), tls.VersionName(version))
		require.Equal(t, tls.CipherSuiteName(state.CipherSuite), tls.CipherSuiteName(suite))
	}
	return session.Decision().Action.String()
}
