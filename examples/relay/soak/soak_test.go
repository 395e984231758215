//go:build interop && linux

package soak

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
)

const (
	relayAddress = "127.0.0.1:2525"
	pickyAddress = "203.0.113.200:25"
	// total is how many deliveries the relay makes at a time, and clients how many
	// connections hand mail in.
	total   = 20
	clients = 8
)

// settings is the relay's configuration. What stands in capitals is filled in.
const settings = `
hostname = "relay.soak.example"
[[listener]]
name = "smtp"
address = "` + relayAddress + `"
certificate = "own"
[[group]]
name = "LOCAL"
senders = ["127.0.0.1"]
policy = "relayed"
[policy-defaults]
tls = "required"
max-message-size = "4 MiB"
[policy.relayed]
access = "relay"
[destinations]
default = { mode = "preferred", dane = "opportunistic", mta-sts = "off" }
"verified.example" = { mode = "required-verify-hosted" }
[trust]
system = "none"
custom = ["ROOTS"]
[resolver]
kind = "validator"
servers = ["RESOLVER"]
anchors = "ANCHORS"
[spool]
directory = "SPOOL"
min-free = "0"
[queue]
first-retry = "1s"
longest-retry = "LONGEST"
lifetime = "1h"
delay-warning = "none"
per-domain = 5
total = 20
idle-connection = "IDLE"
[alerts]
log = true
[certificate.own]
self-signed = ["relay.soak.example"]
`

// configuration fills settings in.
func (n *network) configuration(pairs ...string) string {
	return n.fill(settings, append(pairs, "LONGEST", "2s", "IDLE", "5s")...)
}

// fill fills a configuration in; the first of two pairs with the same name counts.
func (n *network) fill(text string, pairs ...string) string {
	return strings.NewReplacer(append(pairs, "ROOTS", n.roots, "RESOLVER", n.resolver.String(), "ANCHORS", n.anchors)...).Replace(text)
}

// hostOf is a domain with one mail host.
func hostOf(domain string, signed lab.DNSSEC, h lab.Host) lab.Domain {
	h.Name = "mx." + domain
	return lab.Domain{Name: domain, DNSSEC: signed, Hosts: []lab.Host{h}}
}

// soakDomains are the destinations of the soak.
func soakDomains() []lab.Domain {
	match, requireTLS := []lab.TLSA{lab.TLSAMatch}, []string{"REQUIRETLS"}
	return []lab.Domain{
		hostOf("dane.example", lab.Signed, lab.Host{Cert: lab.Cert{Kind: lab.CertSelfSigned}, TLSA: match, TLSKeywords: requireTLS}),
		hostOf("return.example", lab.Signed, lab.Host{Cert: lab.Cert{Kind: lab.CertSelfSigned}, TLSA: match, TLSKeywords: requireTLS}),
		hostOf("flaky.example", lab.Signed, lab.Host{TLSA: match}),
		hostOf("mismatch.example", lab.Signed, lab.Host{TLSA: []lab.TLSA{lab.TLSAMismatch}}),
		hostOf("verified.example", lab.Unsigned, lab.Host{}),
		hostOf("short.example", lab.Signed, lab.Host{TLSA: match}),
		hostOf("plain.example", lab.Unsigned, lab.Host{Fault: lab.NoSTARTTLS()}),
		hostOf("dead.example", lab.Unsigned, lab.Host{Fault: lab.Refused()}),
		hostOf("refusing.example", lab.Unsigned, lab.Host{Fault: lab.Fault{At: lab.AtMAIL, Send: "550 5.7.1 Not from you\r\n"}}),
		{Name: "picky.example", MX: []lab.MX{{Host: "mx.picky.example", Pref: 10}}, Records: []string{"mx A 203.0.113.200"}},
	}
}

// flake returns a random thing that goes wrong with a host.
func flake() lab.Fault {
	switch rand.IntN(12) {
	case 0:
		return lab.Refused()
	case 1:
		return lab.Greeting(421)
	case 2:
		return lab.HangUpAt(lab.AtEHLO)
	case 3:
		return lab.ResetAt(lab.AtSTARTTLS)
	case 4:
		return lab.HandshakeReset()
	case 5:
		return lab.DropInsideTLS()
	case 6:
		return lab.Fault{At: lab.AtMAIL, Send: "450 4.2.1 Come again\r\n"}
	case 7:
		return lab.HangUpAt(lab.AtMAIL)
	case 8, 9:
		return lab.ResetAfter(rand.IntN(6000))
	}
	return lab.Fault{}
}

// newPicky starts the host that has an opinion of each recipient.
func newPicky(t *testing.T, n *network) *host {
	leaf := n.root.Leaf([]string{"mx.picky.example"}).TLS()
	var mu sync.Mutex
	seen := map[string]bool{}
	first := func(to string) bool {
		mu.Lock()
		defer mu.Unlock()
		was := seen[to]
		seen[to] = true
		return !was
	}
	h := &host{
		cert: func() *tls.Certificate { return &leaf },
		rcpt: func(to string) error {
			switch {
			case strings.HasPrefix(to, "no."):
				return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "Nobody of that name"}
			case strings.HasPrefix(to, "later.") && first(to):
				return &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "Come again"}
			}
			return nil
		},
		lose: func(to []string) bool {
			return slices.ContainsFunc(to, func(to string) bool { return losing(to) && first(to) })
		},
	}
	h.listen(t, "mx.picky.example", pickyAddress)
	return h
}

// TestSoak sends mail through a relay whose hosts fail in many ways, kills the relay again and again, takes its disk
// away, and gives it broken files to read. In the end every message that was acknowledged must be in one place.
func TestSoak(t *testing.T) {
	if !inside(t) {
		return
	}
	messages, kills, disk, wait := 2000, 10, "size=192m", time.Minute
	switch size := os.Getenv("SMTPSEC_SOAK"); size {
	case "":
	case "full":
		messages, kills, disk, wait = 50_000, 50, "size=1g", 10*time.Minute
	default:
		_, err := fmt.Sscanf(size, "%d/%d", &messages, &kills)
		require.NoError(t, err, `SMTPSEC_SOAK is "full" or messages/kills`)
	}
	seed := rand.Uint64()
	n := connect(t, soakDomains()...)
	n.trustLab(t, "mx.verified.example")
	n.Host("mx.verified.example").Forget()
	picky := newPicky(t, n)
	p := build(t, smallDisk(t, disk)+"/spool", n.configuration())
	p.start()
	began := time.Now()

	l := &ledger{acknowledged: map[int]string{}, unknown: map[int]bool{}, refused: map[int]int{}}
	run := &load{ledger: l, seed: seed, want: messages}
	sending, enough := context.WithCancel(t.Context())
	defer enough()
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() { run.send(sending, enough, i%2 == 0, i%4 == 1) })
	}
	faults, heal := context.WithCancel(t.Context())
	defer heal()
	var weather sync.WaitGroup
	weather.Go(func() {
		host := n.Host("mx.flaky.example")
		for ; faults.Err() == nil; time.Sleep(10 * time.Millisecond) {
			host.SetFault(flake(), flake(), flake(), lab.Fault{})
		}
		host.SetFault(lab.Fault{})
	})
	torment(t, p, n, run, kills)
	group.Wait()
	heal()
	weather.Wait()
	p.drain(wait, func(e *spool.Envelope) bool {
		return !slices.ContainsFunc(e.Recipients, func(r spool.Recipient) bool { return r.State == spool.Queued && !waits(r.Address) })
	})
	p.stop()

	boxes := map[string][]lab.Message{"picky.example": picky.Mailbox()}
	for _, h := range n.Hosts() {
		boxes[strings.TrimPrefix(h.Name(), "mx.")] = h.Mailbox()
	}
	a := l.balance(seed, boxes, p.queue())
	lost250 := picky.lost
	for _, c := range n.Host("mx.flaky.example").Connections() {
		if c.Fault.At == lab.AtOctet {
			lost250++
		}
	}
	l.print(t, a, lost250, time.Since(began))
	errs := p.log.errors
	t.Logf("errors in the relay's log: %d, the first ones:\n%s", len(errs), strings.Join(errs[:min(5, len(errs))], "\n"))
	l.check(t, a, lost250, total)
	require.GreaterOrEqual(t, len(l.kills), kills)
	require.NotEmpty(t, l.unknown, "kills must come while mail comes in")
	entries, err := os.ReadDir(p.spool + "/corrupt")
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	require.Empty(t, entries, "nothing may be damaged")
	require.GreaterOrEqual(t, p.log.counts["INFO configuration reloaded"], 1)
	for _, line := range errs {
		require.NotContains(t, line, "panic")
	}
}

// A load is what the clients do together.
type load struct {
	*ledger
	seed uint64
	want int

	next atomic.Int64 // number of the next parcel
}

// done returns how many messages have been acknowledged.
func (o *load) done() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.acknowledged)
}

// send hands in mail until enough was acknowledged.
func (o *load) send(ctx context.Context, enough context.CancelFunc, pipeline, chunks bool) {
	for ctx.Err() == nil {
		c, err := dial(relayAddress, pipeline)
		if err != nil { // it is dead, and will be back
			time.Sleep(20 * time.Millisecond)
			continue
		}
		c.chunks = chunks
		for range 1 + rand.IntN(30) {
			if ctx.Err() != nil || !o.hand(c, enough) {
				break
			}
		}
		c.Close()
	}
}

// hand hands in one message, and reports whether the connection can be used for another one.
func (o *load) hand(c *client, enough context.CancelFunc) bool {
	p := newParcel(o.seed, int(o.next.Add(1)))
	id, err := c.send(p.sender(), p.options, p.to, p.text())
	o.mu.Lock()
	defer o.mu.Unlock()
	var no *refusal
	switch {
	case errors.As(err, &no):
		o.refused[no.code]++
		return no.code != 421
	case err != nil:
		o.unknown[p.number] = true
		return false
	}
	if o.acknowledged[p.number] = id; len(o.acknowledged) >= o.want {
		enough()
	}
	return true
}

// torment does to the relay what it must survive, spread over the run: kills, some of them while it is starting, a
// full disk, and orders to read a broken file and a good one.
func torment(t *testing.T, p *program, n *network, run *load, kills int) {
	t.Helper()
	var deeds []func()
	kill := func() {
		from := time.Now()
		p.kill()
		run.mu.Lock()
		run.kills = append(run.kills, life{from, time.Now()})
		run.mu.Unlock()
	}
	for i := range kills {
		if i%5 == 4 { // it is killed once more before or while it begins
			continue
		}
		deeds = append(deeds, func() {
			kill()
			if i%5 == 3 {
				p.launch()
				time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
				kill()
			}
			p.start()
		})
	}
	for range max(2, kills/5) {
		deeds = append(deeds, func() {
			free := fill(t, strings.TrimSuffix(p.spool, "/spool"))
			time.Sleep(time.Duration(100+rand.IntN(900)) * time.Millisecond)
			if rand.IntN(2) == 0 { // the end comes while results cannot be written
				kill()
				free()
				p.start()
				return
			}
			free()
		})
	}
	rand.Shuffle(len(deeds), func(i, j int) { deeds[i], deeds[j] = deeds[j], deeds[i] })
	deeds = slices.Insert(deeds, len(deeds)/2, func() {
		good := n.configuration()
		refused := p.log.expect("not reloaded")
		p.configure(strings.Replace(good, `mode = "preferred"`, `mode = "perhaps"`, 1))
		p.signal(syscall.SIGHUP)
		refused()
		reloaded := p.log.expect("configuration reloaded")
		p.configure(n.configuration("LONGEST", "3s"))
		p.signal(syscall.SIGHUP)
		reloaded()
	})
	for i, deed := range deeds {
		at := run.want * (i + 1) / (len(deeds) + 1)
		for last := time.Now(); run.done() < at; time.Sleep(time.Millisecond) {
			require.Less(t, time.Since(last), 10*time.Minute, "no mail goes through\n%s", p.log.tail())
		}
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		deed()
	}
}
