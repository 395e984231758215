package smtpserver_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/smtp"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/smtpserver"
)

// A table in three groups: who is kept out, who must use TLS, and everybody else.
func ExampleCompile() {
	table, err := smtpserver.Compile([]smtpserver.SenderGroup{
		{Name: "bad", Senders: []string{"198.51.100.0/24"}, Policy: smtpserver.Policy{Access: smtpserver.Reject}},
		{Name: "partners", Senders: []string{".partner.example", "192.0.2.10-20"}, Policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}},
		{Name: "all", Senders: []string{"ALL"}},
	}, smtpserver.Policy{Access: smtpserver.Accept, TLS: smtpserver.TLSPreferred})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, peer := range []string{"198.51.100.7", "192.0.2.15", "203.0.113.1"} {
		group, needHost := table.Lookup(netip.MustParseAddr(peer))
		fmt.Println(peer, group.Name, group.Policy.Access, group.Policy.TLS, needHost)
	}
	// Output:
	// 198.51.100.7 bad reject preferred false
	// 192.0.2.15 partners accept required false
	// 203.0.113.1 all accept preferred true
}

// serve puts a host access table in front of a go-smtp server.
func serve(ln net.Listener, be gosmtp.Backend, table *smtpserver.Table, cert smtpserver.CertificateSource) error {
	filtered, err := smtpserver.NewListener(ln, smtpserver.Options{Table: table, Certificate: cert})
	if err != nil {
		return err
	}
	server := gosmtp.NewServer(be)
	server.Domain = "mail.example.com"
	server.TLSConfig = filtered.TLSConfig()
	return server.Serve(filtered)
}

// A host access table before go-smtp: this peer must start TLS before it may send.
func ExampleNewListener() {
	table, err := smtpserver.Compile([]smtpserver.SenderGroup{
		{Name: "local", Senders: []string{"127.0.0.1"}, Policy: smtpserver.Policy{Access: smtpserver.Accept, TLS: smtpserver.TLSRequired}},
	}, smtpserver.Policy{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	root := testpki.NewRoot("Example Root")
	go serve(ln, backend{}, table, certificate(root.Leaf([]string{"mail.example.com"}).TLS()))

	client, err := smtp.Dial(ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println(client.Mail("a@example.com"))
	fmt.Println(client.StartTLS(&tls.Config{RootCAs: testpki.Pool(root), ServerName: "mail.example.com"}))
	fmt.Println(client.Mail("a@example.com"))
	// Output:
	// 530 "5.7.0 Must issue a STARTTLS command first"
	// <nil>
	// <nil>
}

// certificate is a CertificateSource of one certificate. The sources of package certs
// reload theirs.
type certificate tls.Certificate

func (c certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert := tls.Certificate(c)
	return &cert, nil
}

type backend struct{}

func (backend) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return session{}, nil }

type session struct{}

func (session) Reset()                                 {}
func (session) Logout() error                          { return nil }
func (session) Mail(string, *gosmtp.MailOptions) error { return nil }
func (session) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (session) Data(r io.Reader) error                 { _, err := io.Copy(io.Discard, r); return err }

// A Gate can stand in front of anything that speaks SMTP lines.
func ExampleGate() {
	table, err := smtpserver.Compile([]smtpserver.SenderGroup{
		{Name: "all", Senders: []string{"ALL"}, Policy: smtpserver.Policy{Access: smtpserver.Accept, TLS: smtpserver.TLSRequired}},
	}, smtpserver.Policy{})
	if err != nil {
		fmt.Println(err)
		return
	}
	group, _ := table.Lookup(netip.MustParseAddr("192.0.2.1"))
	var gate smtpserver.Gate
	gate.Reset(group.Policy, smtpserver.GateOptions{})
	gate.Reply(220)
	for _, line := range []string{"MAIL FROM:<a@example.com>\r\n", "EHLO client.example\r\n"} {
		action := gate.Command([]byte(line), false)
		fmt.Printf("%s: %q\n", action.Kind, action.Reply)
	}
	fmt.Printf("%q\n", gate.FilterEHLO(nil, []byte("250-mx.example.com\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")))
	// Output:
	// answer: "530 5.7.0 Must issue a STARTTLS command first"
	// forward: ""
	// "250-mx.example.com\r\n250 STARTTLS\r\n"
}
