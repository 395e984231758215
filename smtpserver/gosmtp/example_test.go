package gosmtp_test

import (
	"errors"
	"fmt"
	"log"
	"net"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/smtpserver"
	"github.com/smtpsec/smtpsec/smtpserver/gosmtp"
)

// serve puts a host access table before any Backend.
func serve(ln net.Listener, be smtp.Backend, cert smtpserver.CertificateSource) error {
	table, err := smtpserver.Compile([]smtpserver.SenderGroup{
		{Name: "PARTNERS", Senders: []string{"127/8", ".partner.example"}, Policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}},
		{Name: "ALL", Senders: []string{"ALL"}, Policy: smtpserver.Policy{TLS: smtpserver.TLSPreferred}},
	}, smtpserver.Policy{Access: smtpserver.Accept})
	if err != nil {
		return err
	}
	hl, err := smtpserver.NewListener(ln, smtpserver.Options{Table: table, Certificate: cert})
	if err != nil {
		return err
	}
	srv := smtp.NewServer(be)
	if err := gosmtp.Attach(srv, hl); err != nil { // sets srv.TLSConfig, wraps srv.Backend
		return err
	}
	return srv.Serve(hl)
}

func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	cert, _ := pki()
	go serve(ln, &mailbox{}, certificate{cert})

	clear, err := smtp.Dial(ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer clear.Close()
	fmt.Println(clear.Mail("a@partner.example", nil))

	secure, err := smtp.DialStartTLS(ln.Addr().String(), clientConfig())
	if err != nil {
		log.Fatal(err)
	}
	defer secure.Close()
	fmt.Println(secure.SendMail("a@partner.example", []string{"b@here.example"}, strings.NewReader("Subject: hello\r\n\r\nhello\r\n")))
	// Output:
	// SMTP error 530: Must issue a STARTTLS command first
	// <nil>
}

func ExampleAttach() {
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		if conn, ok := smtpserver.FromConn(c.Conn()); ok {
			fmt.Println("sender group:", conn.Group().Name)
		}
		return nil, errors.New("closed today")
	}))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	table, err := smtpserver.Compile(smtpserver.DefaultPublic(), smtpserver.Policy{})
	if err != nil {
		log.Fatal(err)
	}
	hl, err := smtpserver.NewListener(ln, smtpserver.Options{Table: table})
	if err != nil {
		log.Fatal(err)
	}
	err = gosmtp.Attach(srv, hl, gosmtp.Options{
		Local: func(domain string) bool { return domain == "here.example" },
	})
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(hl)
	defer srv.Close()

	c, err := smtp.Dial(ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.Hello("client.example"))
	// Output:
	// sender group: ALL
	// SMTP error 451: closed today
}
