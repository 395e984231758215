package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/smtp"
	"strings"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

const plainDial = "net/smtp: connect, STARTTLS, QUIT"

// dialRows open a session to a mail host in another process and end it with
// QUIT: TCP over loopback, EHLO, STARTTLS, handshake, EHLO. DNS is answered
// from a map. The floor is net/smtp, which checks the certificate anew each
// time if it checks it at all, and decides nothing.
func dialRows() []row {
	kinds := []struct {
		name  string
		clock clock
		mode  tlspolicy.Mode
		again bool // TLS sessions are resumed
		limit float64
	}{
		{"Dial, Preferred", bothEnds, tlspolicy.Preferred, false, 1.05},
		{"Dial, Preferred, our end alone", ownCPU, tlspolicy.Preferred, false, 0},
		{"Dial, Required-Verify-Hosted", bothEnds, tlspolicy.RequiredVerifyHosted, false, 1.05},
		{"Dial, Required-Verify-Hosted, TLS resumed", bothEnds, tlspolicy.RequiredVerifyHosted, true, 1.05},
	}
	var rows []row
	for _, k := range kinds {
		r := row{name: k.name, clock: k.clock, allocs: anyAllocs, setup: func() []contender {
			h := newMailHosts(1)
			sessions, cache := -1, tls.ClientSessionCache(nil)
			if k.again {
				sessions, cache = 0, tls.NewLRUClientSessionCache(1)
			}
			config := &tls.Config{ServerName: mailHostName(0), ClientSessionCache: cache, RootCAs: poolOf(h.roots)}
			if k.mode == tlspolicy.Preferred {
				config.InsecureSkipVerify = true
			}
			return []contender{h.dial(h.dialer(k.mode, sessions, 0)), h.plain(config)}
		}}
		if k.limit > 0 {
			r.limit, r.limitOf, r.more = k.limit, plainDial, 60
		}
		rows = append(rows, r)
	}
	return rows
}

// mailHosts are destinations whose mail hosts live in a helper.
type mailHosts struct {
	end   *helper
	addr  string
	roots []byte
	names remembered
}

func newMailHosts(destinations int) *mailHosts {
	h := &mailHosts{end: newHelper(), names: remembered{}}
	served := h.end.do(order{Do: "serve", N: destinations})
	h.addr, h.roots = served.Addr, served.Roots
	h.know(destinations)
	return h
}

// know fills DNS.
func (h *mailHosts) know(destinations int) {
	for i := range destinations {
		host := mailHostName(i) + "."
		h.names.put(destinationName(i)+".", dnssec.TypeMX, append(binary.BigEndian.AppendUint16(nil, 10), wireName(host)...))
		h.names.put(host, dnssec.TypeA, []byte{192, 0, 2, 1})
		h.names.put(host, dnssec.TypeAAAA)
	}
}

// dialer knows no MTA-STS and no DANE: their price has rows of its own. chains is
// PoolOptions.CacheEntries.
func (h *mailHosts) dialer(mode tlspolicy.Mode, sessions, chains int) *smtpclient.Dialer {
	settings := tlspolicy.BuiltIn()
	settings.Mode = mode
	return &smtpclient.Dialer{
		Hostname: "mta.sender.example", Resolver: h.names, Sessions: sessions,
		Policy: must(tlspolicy.NewTable(settings, nil)),
		Trust:  must(tlspolicy.NewPoolVerifier(poolOf(h.roots), tlspolicy.PoolOptions{CacheEntries: chains})),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, h.addr)
		},
	}
}

func (h *mailHosts) dial(d *smtpclient.Dialer) contender {
	ctx := context.Background()
	var decision tlspolicy.Decision
	return contender{
		name: us, kind: ours, end: h.end, close: h.end.close,
		run: func(n int) {
			for range n {
				s := must(d.Dial(ctx, destinationName(0)))
				decision = s.Decision()
				check(s.Quit(ctx))
			}
		},
		answer: func() string { return matched(decision.Action != tlspolicy.DeliverClear) },
	}
}

// plain is the least that gives the same session.
func (h *mailHosts) plain(config *tls.Config) contender {
	var encrypted bool
	return contender{
		name: plainDial, kind: floor, end: h.end,
		run: func(n int) {
			for range n {
				conn := must(net.Dial("tcp4", h.addr))
				c := must(smtp.NewClient(conn, mailHostName(0)))
				check(c.Hello("mta.sender.example"))
				check(c.StartTLS(config))
				_, encrypted = c.TLSConnectionState()
				check(c.Quit())
			}
		},
		answer: func() string { return matched(encrypted) },
	}
}

// remembered is a resolver that has all answers, as one with a warm cache.
type remembered map[dnssec.Question]*dnssec.Answer

func (m remembered) put(name string, t dnssec.Type, data ...[]byte) {
	a := &dnssec.Answer{Name: name, Type: t, Outcome: dnssec.NoData, Canonical: name, Final: dnssec.Insecure, Security: dnssec.Insecure}
	for _, d := range data {
		a.Outcome = dnssec.Found
		a.Records = append(a.Records, dnssec.Record{Data: d})
	}
	m[dnssec.Question{Name: name, Type: t}] = a
}

func (m remembered) Lookup(_ context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	if a := m[dnssec.Question{Name: name, Type: t}]; a != nil {
		return a, nil
	}
	return nil, &dnssec.Error{Kind: dnssec.KindServFail, Name: name, Type: t}
}

// wireName writes a name with its final dot as DNS messages have it.
func wireName(name string) (wire []byte) {
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label != "" {
			wire = append(append(wire, byte(len(label))), label...)
		}
	}
	return append(wire, 0)
}
