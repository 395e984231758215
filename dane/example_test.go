package dane_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

func ExampleParseRecord() {
	for _, text := range []string{
		"3 1 1 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"DANE-TA SPKI SHA2-256 9f86d081",
		"PKIX-EE SPKI SHA2-256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"3 1 1 9f86d0zz",
	} {
		record, err := dane.ParseRecord(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(record.Usage, record.Selector, record.MatchingType, "for mail:", record.Check(dane.ProfileSMTP))
	}
	// Output:
	// DANE-EE SPKI SHA2-256 for mail: none
	// DANE-TA SPKI SHA2-256 for mail: bad digest length
	// PKIX-EE SPKI SHA2-256 for mail: PKIX usage in SMTP
	// dane: TLSA record, offset 12, at "zz": this is not a hex digit
}

// Verify says yes or no and costs nothing; Explain says of each record why.
func ExampleVerifier_Verify() {
	root := testpki.NewRoot("Example Root")
	server := root.Leaf([]string{"mail.example.com"})
	chain := []*x509.Certificate{server.Cert, root.Cert} // from tls.ConnectionState.PeerCertificates

	key, _ := dane.NewRecord(dane.UsageDANEEE, dane.SelectorSPKI, dane.MatchingSHA256, server.Cert)
	old := dane.Record{Usage: dane.UsageDANEEE, Selector: dane.SelectorSPKI, MatchingType: dane.MatchingSHA256, Data: make([]byte, 32)}
	issuer, _ := dane.NewRecord(dane.UsageDANETA, dane.SelectorSPKI, dane.MatchingSHA256, root.Cert)

	verifier, err := dane.NewVerifier([]dane.Record{old, key, issuer}, dane.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	names, _ := dane.NewRefIDs("mail.example.com", "example.com")
	result := verifier.Verify(chain, names, time.Now())
	fmt.Println(result.Status, "by record", result.Index)

	other, _ := dane.NewRefIDs("mail.example.net")
	for _, status := range verifier.Explain(chain, other, time.Now()) {
		fmt.Println(status.Record.Usage, status.Reason)
	}
	// Output:
	// matched by record 1
	// DANE-EE no match
	// DANE-EE none
	// DANE-TA name mismatch
}

// The three verdicts, as a sender of mail tells them apart.
func ExampleResult_Err() {
	cert := testpki.SelfSigned([]string{"mail.example.com"}).Cert
	names, _ := dane.NewRefIDs("mail.example.com")
	good, _ := dane.NewRecord(3, 1, 1, cert)
	for _, record := range []dane.Record{
		good,
		{Usage: 3, Selector: 1, MatchingType: 1, Data: make([]byte, 32)},
		{Usage: 3, Selector: 1, MatchingType: 9, Data: make([]byte, 32)},
	} {
		verifier, _ := dane.NewVerifier([]dane.Record{record}, dane.Options{})
		err := verifier.Verify([]*x509.Certificate{cert}, names, time.Now()).Err()
		switch {
		case err == nil:
			fmt.Println("authenticated")
		case errors.Is(err, dane.ErrUnusable):
			fmt.Println("TLS, but not authenticated by DANE")
		default:
			fmt.Println("not this host; the mail waits")
		}
	}
	// Output:
	// authenticated
	// not this host; the mail waits
	// TLS, but not authenticated by DANE
}

// An operator publishes what his server uses.
func ExampleNewRecord() {
	server := testpki.SelfSigned([]string{"mail.example.com"})
	record, err := dane.NewRecord(dane.UsageDANEEE, dane.SelectorSPKI, dane.MatchingSHA256, server.Cert)
	if err != nil {
		fmt.Println(err)
		return
	}
	owner, _ := dane.OwnerName(25, "tcp", "mail.example.com")
	line := dane.FormatRR(owner, 3600, record)
	fmt.Println(line[:len(line)-64], len(record.Data), "octets")
	fmt.Println(len(dane.Advise([]dane.Record{record}, []*x509.Certificate{server.Cert})), "warnings")
	// Output:
	// _25._tcp.mail.example.com. 3600 IN TLSA 3 1 1  32 octets
	// 0 warnings
}

// Before a key is changed, the records of the old and the new one stand side by
// side, with every digest for each.
func ExampleRolloverSet() {
	current := testpki.SelfSigned([]string{"mail.example.com"})
	next := testpki.SelfSigned([]string{"mail.example.com"}) // has not been used yet

	set, err := dane.RolloverSet(
		[]dane.Params{{Usage: 3, Selector: 1, MatchingType: 1}, {Usage: 3, Selector: 1, MatchingType: 2}},
		dane.Key{Cert: current.Cert},
		dane.Key{SPKI: next.Cert.RawSubjectPublicKeyInfo}, // a key is enough
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, _ := dane.NewVerifier(set, dane.Options{})
	for _, cert := range []*x509.Certificate{current.Cert, next.Cert} {
		fmt.Println(verifier.Verify([]*x509.Certificate{cert}, dane.RefIDs{}, time.Now()).Status)
	}
	// A key that is published with the weaker digest alone does not exist.
	strong, _ := dane.NewRecord(3, 1, 2, current.Cert)
	weak, _ := dane.NewRecord(3, 1, 1, next.Cert)
	verifier, _ = dane.NewVerifier([]dane.Record{strong, weak}, dane.Options{})
	fmt.Println(verifier.Verify([]*x509.Certificate{next.Cert}, dane.RefIDs{}, time.Now()).Status)
	// Output:
	// matched
	// matched
	// mismatched
}

// Discovery asks a resolver that knows what is secure. Here it is a table.
func ExampleDiscoverHost() {
	server := testpki.SelfSigned([]string{"mail.example.com"})
	record, _ := dane.NewRecord(3, 1, 1, server.Cert)
	secure := func(data ...byte) dnssec.Answer {
		return dnssec.Answer{Security: dnssec.Secure, Records: []dnssec.Record{{TTL: 3600, Data: data}}}
	}
	resolver := dnssec.Static{
		Answers: map[dnssec.Question]dnssec.Answer{
			{Name: "mail.example.com.", Type: dnssec.TypeA}:             secure(192, 0, 2, 1),
			{Name: "_25._tcp.mail.example.com.", Type: dnssec.TypeTLSA}: secure(record.AppendWire(nil)...),
			{Name: "plain.example.net.", Type: dnssec.TypeA}:            {Security: dnssec.Insecure, Records: []dnssec.Record{{Data: []byte{192, 0, 2, 2}}}},
		},
		Errors: map[dnssec.Question]error{
			{Name: "broken.example.org.", Type: dnssec.TypeA}:    &dnssec.Error{Kind: dnssec.KindServFail, EDE: -1},
			{Name: "broken.example.org.", Type: dnssec.TypeAAAA}: &dnssec.Error{Kind: dnssec.KindServFail, EDE: -1},
		},
		Absent: dnssec.Secure,
	}
	mx := &dnssec.Answer{Name: "example.com.", Canonical: "example.com.", Outcome: dnssec.Found, Security: dnssec.Secure}
	for _, name := range []string{"mail.example.com", "plain.example.net", "broken.example.org"} {
		host := dane.DiscoverHost(context.Background(), resolver, dane.SMTPQuery{Host: name, MX: mx})
		fmt.Println(host.Host, host.Outcome, host.RefIDs.Names())
	}
	// Output:
	// mail.example.com usable [mail.example.com example.com]
	// plain.example.net insecure []
	// broken.example.org lookup-error []
}

// The Verifier inside crypto/tls: the handshake fails if no record is satisfied.
func ExampleVerifier_TLSConfig() {
	server := testpki.SelfSigned([]string{"mail.example.com"})
	record, _ := dane.NewRecord(3, 1, 1, server.Cert)
	verifier, _ := dane.NewVerifier([]dane.Record{record}, dane.Options{})
	names, _ := dane.NewRefIDs("mail.example.com")
	config, err := verifier.TLSConfig(dane.ClientConfig{RefIDs: names})
	if err != nil {
		fmt.Println(err)
		return
	}
	here, there := net.Pipe()
	go func() {
		conn := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{server.TLS()}})
		_ = conn.Handshake()
	}()
	conn := tls.Client(here, config)
	fmt.Println(conn.Handshake())
	here.Close()
	// Output: <nil>
}
