// Netsmtp shows what an existing program gains, and how few lines it takes: net/smtp,
// emersion/go-smtp and wneessen/go-mail, each before and after, each as a file to copy
// from.
//
//	go run ./examples/netsmtp
//
// All of it runs on an Internet of its own, on loopback only. There the programs send
// a message to three domains: one where all is well, and two that protect themselves,
// by MTA-STS and by DANE, while somebody on the way takes STARTTLS out of what their
// mail hosts say. The programs "before" hand the message to him in clear text; those
// "after" keep it.
//
// Exit status: 0 if it came out so, 1 if not.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/smtpclient"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "netsmtp:", err)
		os.Exit(1)
	}
}

// secret is what nobody else should read.
const secret = "The launch code is 00000000."

// patience is how long one delivery may take.
const patience = time.Minute

// world has one domain without fault, and two that are under attack.
func world() lab.World {
	return lab.World{Domains: []lab.Domain{
		{Name: "honest.example", Hosts: []lab.Host{{Name: "mx.honest.example"}}, Policy: &lab.Policy{}},
		{Name: "attacked-sts.example", Hosts: []lab.Host{{Name: "mx.attacked-sts.example", Fault: lab.NoSTARTTLS()}}, Policy: &lab.Policy{}},
		{Name: "attacked-dane.example", DNSSEC: lab.Signed,
			Hosts: []lab.Host{{Name: "mx.attacked-dane.example", Fault: lab.MangledSTARTTLS(), TLSA: []lab.TLSA{lab.TLSAMatch}}}},
	}}
}

// programs are the three libraries.
var programs = []struct {
	library string
	before  func(context.Context, network, string, string, []byte) error
	after   func(context.Context, *smtpclient.Dialer, string, string, []byte) error
}{
	{"net/smtp", netSMTPBefore, netSMTPAfter},
	{"emersion/go-smtp", goSMTPBefore, goSMTPAfter},
	{"wneessen/go-mail", goMailBefore, goMailAfter},
}

// outcome is what became of a message: what the program says, and what the mail host
// holds.
type outcome struct {
	err    error
	taken  bool // the mail host has the message
	inTLS  bool // and got it over TLS
	reason string
}

// String returns the outcome in words.
func (o outcome) String() string {
	switch {
	case o.taken && o.inTLS:
		return "sent over TLS"
	case o.taken:
		return "SENT IN CLEAR TEXT"
	case o.reason != "":
		return "deferred: " + o.reason
	}
	return fmt.Sprintf("failed: %v", o.err)
}

// errUnexpected is an outcome that is not what the package comment says.
var errUnexpected = errors.New("this did not come out as it should")

// run starts the lab, lets every program send to every domain, and looks into the
// mailboxes.
func run(ctx context.Context, out io.Writer) error {
	l, err := lab.Start(world())
	if err != nil {
		return err
	}
	defer l.Close()
	dialer, err := newDialer(l)
	if err != nil {
		return err
	}
	n := labNetwork(l)
	fine := true
	for _, p := range programs {
		for _, domain := range []string{"honest.example", "attacked-sts.example", "attacked-dane.example"} {
			from, to, message := "alice@sender.example", "bob@"+domain, []byte("Subject: hello\r\n\r\n"+secret+"\r\n")
			attacked := domain != "honest.example"
			before, err := try(ctx, l, domain, func(ctx context.Context) error { return p.before(ctx, n, from, to, message) })
			if err != nil {
				return err
			}
			after, err := try(ctx, l, domain, func(ctx context.Context) error { return p.after(ctx, dialer, from, to, message) })
			if err != nil {
				return err
			}
			fine = fine && before.taken && before.inTLS == !attacked && after.taken == !attacked && after.inTLS == !attacked &&
				(after.reason != "") == attacked
			if _, err := fmt.Fprintf(out, "%-16s  %-21s  before: %-18s  after: %s\n", p.library, domain, before, after); err != nil {
				return err
			}
		}
	}
	if !fine {
		return errUnexpected
	}
	return nil
}

// try lets one program send to one domain.
func try(ctx context.Context, l *lab.Lab, domain string, send func(context.Context) error) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	host := l.Host("mx." + domain)
	host.Forget()
	o.err = send(ctx)
	var refused *smtpclient.Error
	if errors.As(o.err, &refused) && refused.Temporary() {
		o.reason = refused.Reason.String()
	}
	if err := host.Idle(ctx); err != nil {
		return o, err
	}
	for _, m := range host.Mailbox() {
		o.taken, o.inTLS = true, m.TLS != nil
	}
	return o, nil
}
