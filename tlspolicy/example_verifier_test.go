package tlspolicy_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// What must hold is planned, the certificate is looked at during the handshake,
// and what it proved decides.
func ExampleVerifier_Check() {
	root := testpki.NewRoot("Example Root")
	host := root.Leaf([]string{"mx.provider.example"})

	pool := x509.NewCertPool()
	pool.AddCert(root.Cert)
	trust, err := tlspolicy.NewPoolVerifier(pool, tlspolicy.PoolOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier := tlspolicy.NewVerifier(trust, tlspolicy.VerifyOptions{})

	settings := tlspolicy.BuiltIn()
	settings.Mode = tlspolicy.RequiredVerifyHosted
	requirement := tlspolicy.Plan(settings, tlspolicy.DANEUnknown, tlspolicy.STSUnknown)
	refs, err := tlspolicy.NewReferences(tlspolicy.PeerNames{Domain: "customer.example", MXHost: "mx.provider.example"})
	if err != nil {
		fmt.Println(err)
		return
	}

	var outcome tlspolicy.Outcome
	var identity tlspolicy.Identity
	var finding error
	config := &tls.Config{
		ServerName:         "mx.provider.example",
		InsecureSkipVerify: true, // the check below takes its place
		VerifyConnection: func(cs tls.ConnectionState) error {
			outcome, identity, finding = verifier.Check(requirement, &cs, refs)
			return nil // Decide, not the handshake, says what follows
		},
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go tls.Server(far, &tls.Config{Certificates: []tls.Certificate{host.TLS()}, SessionTicketsDisabled: true}).Handshake()
	if err := tls.Client(near, config).Handshake(); err != nil {
		outcome.TLS = tlspolicy.TLSHandshakeFailed
	}

	decision := requirement.Decide(outcome)
	fmt.Println(decision.Action, decision.Reason, finding)
	fmt.Println(identity.Kind, identity.Name, "by", identity.Via, "secure:", identity.Secure)
	// Output:
	// deliver-tls-verified mode-verified <nil>
	// mx-host mx.provider.example by san secure: false
}

// A host without any name cannot be verified; its requirement skips it where a
// name is needed.
func ExampleNewReferences() {
	requirement := tlspolicy.Plan(tlspolicy.Settings{
		Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220,
	}, tlspolicy.DANEUnknown, tlspolicy.STSUnknown)

	_, err := tlspolicy.NewReferences(tlspolicy.PeerNames{Domain: "[192.0.2.1]"})
	if errors.Is(err, tlspolicy.ErrNoReference) {
		requirement = requirement.WithoutReferences()
	}
	decision, skip := requirement.Skip()
	fmt.Println(skip, decision.Reason)
	// Output: true identity-empty
}
