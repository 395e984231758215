//go:build unix

package main

import (
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
)

// A host is a mail host on loopback, without TLS, that answers as it is told.
type host struct {
	net.Listener
	reply func(line string) string // "": the usual one

	mu    sync.Mutex
	lines []string // commands, and "." for the end of a message
	conns int
}

func newHost(t *testing.T, reply func(line string) string) *host {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &host{Listener: l, reply: reply}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { h.serve(textproto.NewConn(c)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
	return h
}

func (h *host) serve(c *textproto.Conn) {
	defer c.Close()
	h.mu.Lock()
	h.conns++
	h.mu.Unlock()
	_ = c.PrintfLine("220 host")
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		if h.note(line); strings.HasPrefix(line, "QUIT") {
			_ = c.PrintfLine("221 bye")
			return
		}
		reply := h.reply(line)
		switch {
		case reply == "hang up":
			return
		case reply != "":
		case strings.HasPrefix(line, "EHLO"):
			reply = "250-host\r\n250-8BITMIME\r\n250 SMTPUTF8"
		case line == "DATA":
			reply = "354 go on"
		default:
			reply = "250 2.0.0 ok"
		}
		if c.PrintfLine("%s", reply) != nil {
			return
		}
		if line != "DATA" || !strings.HasPrefix(reply, "354") {
			continue
		}
		if _, err := c.ReadDotBytes(); err != nil {
			return
		}
		h.note(".")
		if reply = h.reply("."); reply == "hang up" {
			return
		} else if reply == "" {
			reply = "250 2.0.0 taken"
		}
		_ = c.PrintfLine("%s", reply)
	}
}

func (h *host) note(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
}

// count returns how many lines begin with a word.
func (h *host) count(word string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, line := range h.lines {
		if strings.HasPrefix(line, word) {
			n++
		}
	}
	return n
}

// routed makes the settings lead a domain to hosts of the test.
func routed(domains map[string]*host) []string {
	routes := "[routes]\n"
	for domain, h := range domains {
		routes += `"` + domain + `" = ["[127.0.0.1]:` + h.Addr().String()[len("127.0.0.1:"):] + "\"]\n"
	}
	return []string{"[resolver]\n", routes + "[resolver]\n"}
}

// bracketed returns the recipient that a command names.
func bracketed(line string) string {
	_, rest, _ := strings.Cut(line, "<")
	address, _, _ := strings.Cut(rest, ">")
	return address
}

// TestPartial: each recipient has his own fate, and it is written down.
func TestPartial(t *testing.T) {
	first := true
	h := newHost(t, func(line string) string {
		switch bracketed(line) {
		case "no@there.example":
			return "550 5.1.1 no such user"
		case "later@there.example":
			if first {
				first = false
				return "450 4.2.1 mailbox busy"
			}
		}
		return ""
	})
	b := begin(t, makeLab(t), nil, routed(map[string]*host{"there.example": h})...)
	id := b.send("alice@good.example", nil, "yes@there.example", "no@there.example", "later@there.example")
	b.wait(0, "msg=deferred", id, "to=later@there.example", "450 4.2.1 mailbox busy")
	b.wait(0, "msg=delivered", id, "to=yes@there.example")
	b.wait(0, "msg=bounced", id, "to=no@there.example", "status=5.1.1")
	b.settled(id, func(e *spool.Envelope) bool { return e.Recipients[2].Attempts == 1 })
	e := b.messages()[id]
	require.Equal(t, []spool.State{spool.Delivered, spool.Bounced, spool.Queued},
		[]spool.State{e.Recipients[0].State, e.Recipients[1].State, e.Recipients[2].State})
	require.Equal(t, "450 4.2.1 mailbox busy", e.Recipients[2].LastError)
	require.Greater(t, time.Until(e.Recipients[2].NextAttempt), 20*time.Minute)

	require.NoError(t, b.operator().Wake(id)) // the operator does not want to wait
	b.woken()
	b.wait(0, "msg=delivered", id, "to=later@there.example")
	require.Equal(t, 1, h.count("RCPT TO:<yes@"), "nobody gets it twice")
	require.Equal(t, 2, h.count("."))
}

// settled waits until a message is in the spool as it should be; b.wait alone may be
// a moment early, because a line is logged before the result is on the disk.
func (b *bench) settled(id string, ok func(*spool.Envelope) bool) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		e := b.messages()[id]
		return ok == nil && e == nil || ok != nil && e != nil && ok(e)
	}, 10*time.Second, 5*time.Millisecond)
}

// operator returns the spool as an operator's process sees it.
func (b *bench) operator() *spool.Spool {
	b.t.Helper()
	s, err := spool.Attach(b.setup.Load().config.Spool.Dir)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { s.Close() })
	return s
}

// TestRetry: a fault that goes away delays, and no more.
func TestRetry(t *testing.T) {
	l := makeLab(t, one("flaky.example", func(h *lab.Host) {
		h.Fault, h.Later = lab.Greeting(421), []lab.Fault{lab.HandshakeReset(), lab.HangUpAt(lab.AtMAIL), {At: lab.AtMAIL, Send: "451 4.3.0 not now\r\n"}, {}}
	}))
	b := begin(t, l, quick)
	id := b.send("alice@good.example", nil, "bob@flaky.example")
	b.wait(0, "msg=delivered", id)
	b.wait(0, "msg=deferred", id, "421")
	b.wait(0, "msg=deferred", id, "451 4.3.0 not now")
	b.settled(id, nil)
	require.Len(t, l.Host("mx.flaky.example").Mailbox(), 1)
}

// TestRequireTLS: the option goes on to a host that knows it, and to no other.
func TestRequireTLS(t *testing.T) {
	l := makeLab(t,
		one("keeps.example", func(h *lab.Host) { h.TLSKeywords = []string{"REQUIRETLS"} }),
		one("careless.example", nil))
	b := begin(t, l, nil)
	demand := &smtp.MailOptions{RequireTLS: true}
	id := b.send("", demand, "bob@keeps.example")
	b.wait(0, "msg=deferred", id) // unsigned MX, no policy: its name proves nothing
	id = b.send("", demand, "bob@dane.example")
	b.wait(0, "msg=bounced", id, "status=5.7.30")
	require.Empty(t, l.Host("mx.dane.example").Mailbox())
}

// TestRequireTLSKept: over DANE, to a host that offers it.
func TestRequireTLSKept(t *testing.T) {
	l := makeLab(t, lab.Domain{Name: "kept.example", DNSSEC: lab.Signed, Hosts: []lab.Host{
		{Name: "mx.kept.example", TLSA: []lab.TLSA{lab.TLSAMatch}, TLSKeywords: []string{"REQUIRETLS"}}}})
	b := begin(t, l, nil)
	id := b.send("alice@good.example", &smtp.MailOptions{RequireTLS: true}, "bob@kept.example")
	b.wait(0, "msg=delivered", id)
	box := l.Host("mx.kept.example").Mailbox()
	require.Len(t, box, 1)
	require.True(t, box[0].RequireTLS)
}

// TestStaleSession: a session that the host has closed meanwhile costs no attempt.
func TestStaleSession(t *testing.T) {
	var h *host
	h = newHost(t, func(line string) string {
		if strings.HasPrefix(line, "MAIL") && h.count("MAIL") == 2 {
			return "hang up"
		}
		return ""
	})
	b := begin(t, makeLab(t), func(c *config.Config) { c.Queue.ConnIdle = time.Minute }, routed(map[string]*host{"there.example": h})...)
	for range 2 {
		id := b.send("alice@good.example", nil, "bob@there.example")
		b.wait(0, "msg=delivered", id, "attempts=1")
	}
	require.Equal(t, 3, h.count("MAIL"))
}

// TestLostReply: when the host falls silent behind the final dot nobody knows whether
// it has the message. It gets it again: at least once, never lost.
func TestLostReply(t *testing.T) {
	var h *host
	h = newHost(t, func(line string) string {
		if line == "." && h.count(".") == 1 {
			return "hang up"
		}
		return ""
	})
	b := begin(t, makeLab(t), quick, routed(map[string]*host{"there.example": h})...)
	id := b.send("alice@good.example", nil, "bob@there.example")
	b.wait(0, "msg=delivered", id, "attempts=2")
	require.Equal(t, 2, h.count("."))
}

// TestBatches: hosts need not take more than a hundred recipients at once.
func TestBatches(t *testing.T) {
	h := newHost(t, func(string) string { return "" })
	b := begin(t, makeLab(t), nil, append(routed(map[string]*host{"there.example": h}), "[policy-defaults]", "[policy-defaults]\nmax-recipients = 1000")...)
	var to []string
	for i := range 101 {
		to = append(to, fmt.Sprintf("bob%d@there.example", i))
	}
	id := b.send("alice@good.example", nil, to...)
	b.settled(id, nil)
	require.Equal(t, 2, h.count("."))
	require.Equal(t, len(to), h.count("RCPT"))
}

// TestHostileHost: what a host sends without end is not read without end.
func TestHostileHost(t *testing.T) {
	h := newHost(t, func(line string) string {
		if strings.HasPrefix(line, "MAIL") {
			return strings.Repeat("250-"+strings.Repeat("x", 500)+"\r\n", 300) + "250 ok"
		}
		return ""
	})
	b := begin(t, makeLab(t), nil, routed(map[string]*host{"there.example": h})...)
	id := b.send("alice@good.example", nil, "bob@there.example")
	b.wait(0, "msg=deferred", id, "64 KiB")
}

// TestUnfit: a host that lacks what a message needs does not get it mangled.
func TestUnfit(t *testing.T) {
	h := newHost(t, func(line string) string {
		if strings.HasPrefix(line, "EHLO") {
			return "250 host"
		}
		return ""
	})
	b := begin(t, makeLab(t), nil, routed(map[string]*host{"there.example": h})...)
	id := b.send("", &smtp.MailOptions{UTF8: true}, "bob@there.example")
	b.wait(0, "msg=bounced", id, "status=5.6.7")
	id = b.send("", &smtp.MailOptions{Body: smtp.Body8BitMIME}, "bob@there.example")
	b.wait(0, "msg=bounced", id, "status=5.6.3")
	require.Zero(t, h.count("MAIL"))
}

// TestDeadTarget: where no session can be had, a second message does not try at once.
func TestDeadTarget(t *testing.T) {
	l := makeLab(t, one("down.example", func(h *lab.Host) { h.Fault = lab.Refused() }))
	b := begin(t, l, nil)
	for range 3 {
		id := b.send("alice@good.example", nil, "bob@down.example")
		b.wait(0, "msg=deferred", id)
	}
	require.Equal(t, 1, l.Host("mx.down.example").Dials())
}

// TestCorrupt: a damaged message is put aside, never sent in part, and the rest goes on.
func TestCorrupt(t *testing.T) {
	h := newHost(t, func(string) string { return "" })
	b := begin(t, makeLab(t), nil, routed(map[string]*host{"there.example": h})...)
	b.stopWork()
	b.workers.Wait()
	bad := b.send("alice@good.example", nil, "bob@there.example")
	good := b.send("alice@good.example", nil, "bob@there.example")
	flip(t, b.setup.Load().config.Spool.Dir+"/queue/"+bad+".eml")
	stop, cancel := contextOf(t)
	b.workers.Go(func() { b.work(stop, b.background) })
	b.wait(0, "level=ERROR", bad, "corrupt")
	b.wait(0, "msg=delivered", good)
	cancel()
	require.Equal(t, 1, h.count("."), "the host never saw the end of the damaged one")
}
