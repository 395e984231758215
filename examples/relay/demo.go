//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/internal/lab"
)

// A world is where names and connections lead: out into the Internet, or into one
// that is made up.
type world struct {
	resolver dnssec.Resolver
	dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil: this host's
	roots    *x509.CertPool                                                       // nil: what the file trusts
	prefixes []netip.Prefix                                                       // of hosts that are not on the Internet
	lab      *lab.Lab                                                             // nil: the world is real
}

// openWorld makes the resolver that the file asks for, or the lab.
func openWorld(ctx context.Context, c *config.Config, log *slog.Logger) (*world, error) {
	if c.Resolver.Kind != config.ResolverLab {
		resolver, err := c.Resolver.Open(ctx, log)
		return &world{resolver: resolver}, err
	}
	declared, _ := lab.Destinations()
	declared.Domains = append(declared.Domains, lab.Domain{Name: demoRefusing, Hosts: []lab.Host{{Name: "mx." + demoRefusing,
		Fault: lab.Fault{At: lab.AtMAIL, Send: "550 5.1.1 No such user here\r\n"}}}})
	l, err := lab.Start(declared)
	if err != nil {
		return nil, err
	}
	return labWorld(l), nil
}

func labWorld(l *lab.Lab) *world {
	return &world{resolver: l.Resolver(), dial: l.DialContext, roots: l.Roots(), lab: l,
		prefixes: append(lab.Prefixes(), netip.MustParsePrefix("127.0.0.0/8"))}
}

func (w *world) close() {
	if w.lab != nil {
		_ = w.lab.Close()
	}
}

// demoRefusing is a domain of the demo whose host says 550 to everything.
const (
	demoRefusing = "refusing-mail.example"
	demoSender   = "alice@good.example" // whose mail host gets the bounces
)

// demoMail is what the demo sends itself, and why it is worth looking at.
var demoMail = []struct{ to, what string }{
	{"bob@dane.example", "DANE: self-signed certificate, named by a TLSA record"},
	{"bob@sts.example", "MTA-STS: certificate for a host that the policy names"},
	{"bob@good.example", "required-verify in the destination table"},
	{"bob@plain.example", "mode no in the destination table: clear text"},
	{"bob@dane-mismatch.example", "TLSA record that does not match: not delivered"},
	{"bob@sts-mx.example", "MX host that the MTA-STS policy does not name"},
	{"bob@" + demoRefusing, "host that says 550: bounces"},
	{"bob@nowhere.example", "domain that DNSSEC proves not to exist: bounces"},
}

// inject sends the demo mail to the relay's own port, as a client would.
func (r *relay) inject() error {
	at := r.fronts[0].listener.Addr().String()
	// The demo's certificate is made anew at each start.
	c, err := smtp.DialStartTLS(at, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer c.Close()
	for _, m := range demoMail {
		text := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%d@demo.example>\r\nDate: %s\r\n\r\nHello.\r\n",
			demoSender, m.to, m.what, time.Now().UnixNano(), time.Now().Format(time.RFC1123Z))
		if err := c.SendMail(demoSender, []string{m.to}, strings.NewReader(text)); err != nil {
			return fmt.Errorf("%s: %w", m.to, err)
		}
	}
	return c.Quit()
}

// tell prints what became of the demo mail: what the mail hosts hold, and what waits.
func (r *relay) tell(l *lab.Lab, out io.Writer) {
	fate := map[string]string{}
	for _, host := range l.Hosts() {
		for _, m := range host.Mailbox() {
			how := "in clear text"
			if m.TLS != nil {
				how = "over " + tls.VersionName(m.TLS.Version)
			}
			if m.From == "" {
				for _, d := range demoMail {
					if strings.Contains(string(m.Data), d.to) {
						fate[d.to] = "bounced: the DSN lies with " + host.Name()
					}
				}
				continue
			}
			for _, to := range m.To {
				fate[to] = "delivered " + how
			}
		}
	}
	for e, err := range r.spool.All() {
		for i := 0; err == nil && i < len(e.Recipients); i++ {
			fate[e.Recipients[i].Address] = "waits: " + e.Recipients[i].LastError
		}
	}
	fmt.Fprintln(out, "\nWhat became of the mail that the demo has sent itself:")
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, m := range demoMail {
		fmt.Fprintf(w, "  %s\t%s\n  \t  %s\n", m.to, m.what, printable(fate[m.to]))
	}
	w.Flush()
	config := r.setup.Load().config
	fmt.Fprintf(out, "\nSend more:      swaks --server %s --tls --from %s --to bob@signed.example\nThe queue:      go run ./examples/relay -config %s -queue\n",
		r.fronts[0].listener.Addr(), demoSender, config.Path)
	if r.web != nil {
		fmt.Fprintf(out, "The metrics:    curl http://%s/metrics\n", r.web.Addr())
	}
	fmt.Fprintln(out, "Ctrl-C ends it.")
}
