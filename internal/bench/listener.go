package main

import (
	"crypto/tls"
	"net"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/smtpserver"
)

const bareServer = "go-smtp without a filter"

// listenerRows are whole sessions of a sender in another process: EHLO, with TLS
// also STARTTLS and EHLO again, ten messages of 10 KiB, QUIT. The floor is the
// same server without the filter before it.
func listenerRows() []row {
	var rows []row
	for _, k := range []struct {
		name  string
		tls   bool
		clock clock
		limit float64
	}{
		{"Listener, session in clear text", false, bothEnds, 1.03},
		{"Listener, session in clear text, our end alone", false, ownCPU, 0},
		{"Listener, session with TLS", true, bothEnds, 1.03},
		{"Listener, session with TLS, our end alone", true, ownCPU, 0},
	} {
		r := row{name: k.name, clock: k.clock, allocs: anyAllocs, setup: func() []contender {
			end := newHelper()
			filtered, bare := newReceiver(true), newReceiver(false)
			mine := filtered.sessions(us, ours, end, k.tls)
			mine.close = func() {
				end.close()
				filtered.close()
				bare.close()
			}
			return []contender{mine, bare.sessions(bareServer, floor, end, k.tls)}
		}}
		if k.limit > 0 {
			r.limit, r.limitOf, r.more = k.limit, bareServer, 16
		}
		rows = append(rows, r)
	}
	return rows
}

// receiver is an SMTP server on loopback.
type receiver struct {
	server *smtp.Server
	addr   string
	roots  []byte
}

// source is the certificate of a receiver.
type source struct{ cert tls.Certificate }

func (s *source) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &s.cert, nil }

// newReceiver starts go-smtp, behind a Listener that has a table of 1,000
// entries and takes TLS and clear text, or on its own.
func newReceiver(filtered bool) *receiver {
	root := testpki.NewRoot("Root")
	cert := &source{root.Intermediate("Intermediate").Leaf([]string{"mx.receiver.example"}).TLS()}
	var listener net.Listener = must(net.Listen("tcp4", "127.0.0.1:0"))
	r := &receiver{addr: listener.Addr().String(), roots: pemOf(root.Cert)}
	config := &tls.Config{GetCertificate: cert.GetCertificate, SessionTicketsDisabled: true}
	if filtered {
		groups := append(netGroups(thousand), smtpserver.SenderGroup{Name: "all", Senders: []string{"ALL"}})
		table := must(smtpserver.Compile(groups, smtpserver.Policy{Access: smtpserver.Accept, TLS: smtpserver.TLSPreferred, MaxConnsPerIP: -1}))
		filter := must(smtpserver.NewListener(listener, smtpserver.Options{Table: table, Certificate: cert}))
		listener, config = filter, filter.TLSConfig()
	}
	r.server = newServer(config)
	go r.server.Serve(listener)
	return r
}

func (r *receiver) close() { r.server.Close() }

func (r *receiver) sessions(name string, k kind, end *helper, secure bool) contender {
	return contender{
		name: name, kind: k, end: end,
		run:    func(n int) { end.do(order{Do: "sessions", Addr: r.addr, N: n, TLS: secure, Roots: r.roots}) },
		answer: func() string { return "accepted" }, // anything else ends the program
	}
}
