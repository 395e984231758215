package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/smtpsec/smtpsec/certs"
)

// An HTTPS server that takes its certificate from a role, and goes on with another
// one without a restart.
func ExampleSource() {
	store, err := certs.OpenStore(certs.StoreOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	source := store.Source(certs.RoleHTTPS)
	fmt.Println("before:", source.Ready())

	demonstration, err := store.Demonstration()
	if err != nil {
		fmt.Println(err)
		return
	}
	findings, err := store.Assign(certs.RoleHTTPS, demonstration.Name)
	fmt.Println(err, findings[len(findings)-1].Code)

	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{GetCertificate: source.GetCertificate}
	server.StartTLS()
	defer server.Close()
	// StartTLS adds a certificate of its own, which a real http.Server does not.
	server.TLS.Certificates = nil

	show := func() {
		conn, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.com"})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer conn.Close()
		fmt.Println("serves", peer(conn).Subject)
	}
	show()

	if _, err := store.CreateSelfSigned("www", certs.Form{CommonName: "www.example.com", Days: 90}); err != nil {
		fmt.Println(err)
		return
	}
	_, err = store.Assign(certs.RoleHTTPS, "www")
	fmt.Println(err)
	show()
	// Output:
	// before: certs: role "https": no certificate is assigned to the role
	// <nil> demonstration
	// serves CN=demonstration.invalid
	// <nil>
	// serves CN=www.example.com
}

func peer(conn *tls.Conn) *x509.Certificate { return conn.ConnectionState().PeerCertificates[0] }
