package dnssec

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// serverPenalty is how long a server that failed is tried after the others.
const serverPenalty = 30 * time.Second

// A transport puts queries to servers: it knows how to reach one, when to go to the next, and which error to return
// when none answers. It judges no answer.
type transport struct {
	upstream Upstream
	now      func() time.Time
	trace    func(Event)

	mu     sync.Mutex
	failed map[netip.AddrPort]time.Time // when a server failed last
}

func newTransport(c *Common) *transport {
	return &transport{
		upstream: c.Upstream, now: c.Now, trace: c.Trace,
		failed: make(map[netip.AddrPort]time.Time),
	}
}

// A reply is a message from a server that has an answer: its RCODE is NOERROR or NXDOMAIN.
type reply struct {
	*message
	server netip.AddrPort
}

// ask puts q to servers, in the order given but for those that have just failed, until one has an answer. Each is
// tried up to list.tries times, unless what it said was final. The error is the most telling one.
func (t *transport) ask(ctx context.Context, list *serverList, servers []netip.AddrPort, q query) (reply, *Error) {
	servers = t.order(servers)
	var failure *Error
	for range list.tries {
		for i, server := range servers {
			if !server.IsValid() {
				continue // had its say
			}
			m, err := t.askServer(ctx, list, server, q)
			if err == nil {
				t.note(server, true)
				return reply{m, server}, nil
			}
			if ctx.Err() != nil {
				return reply{}, ended(ctx, q, failure)
			}
			failure = moreTelling(failure, err)
			if err.Kind != KindServFail && err.Kind != KindBogus { // these speak of the name, not of the server
				t.note(server, false)
			}
			if err.Kind == KindRefused || err.Kind == KindServFail || err.Kind == KindBogus {
				servers[i] = netip.AddrPort{}
			}
		}
	}
	return reply{}, failure
}

// ended is the error for work whose context ended: what is known about its failure so far, or the lack of time. If it
// was canceled, then because no caller is left, and the error must not be taken for one of the question.
func ended(ctx context.Context, q query, failure *Error) *Error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return canceled(ctx, Question{q.name.String(), q.typ})
	}
	return moreTelling(failure, &Error{
		Kind: KindTimeout, Name: q.name.String(), Type: q.typ, EDE: noEDE, Err: ctx.Err(),
		Reason: "the time for the whole lookup is over",
	})
}

// askServer puts q to one server once, and once more without EDNS if that may be what it stumbled over. An error code
// in the reply becomes an error.
func (t *transport) askServer(ctx context.Context, list *serverList, server netip.AddrPort, q query) (*message, *Error) {
	m, err := t.exchange(ctx, list, server, q, t.upstream.UDPSize)
	if err == nil && m.rcode == rcodeFormErr && !q.do { // RFC 6891 section 7
		m, err = t.exchange(ctx, list, server, q, 0)
	}
	fail := func(kind Kind, reason string) (*message, *Error) {
		return nil, &Error{
			Kind: kind, Name: q.name.String(), Type: q.typ, Reason: reason,
			EDE: m.ede, Server: server,
		}
	}
	switch {
	case err != nil:
		return nil, err
	case m.rcode == rcodeServFail && edeBogus(m.ede):
		return fail(KindBogus, "the resolver says so")
	case m.rcode == rcodeServFail:
		return fail(KindServFail, "SERVFAIL")
	case m.rcode == rcodeRefused:
		return fail(KindRefused, "REFUSED")
	case m.rcode == rcodeNotImp:
		return fail(KindRefused, "NOTIMP")
	case m.rcode == rcodeFormErr:
		return fail(KindRefused, "FORMERR")
	case m.rcode != rcodeSuccess && m.rcode != rcodeNXDomain:
		return fail(KindRefused, "RCODE "+strconv.Itoa(m.rcode))
	case m.rcode == rcodeSuccess && len(m.answer) == 0 && !m.aa && !m.ra:
		return fail(KindRefused, "the server does not recurse") // a referral is no denial
	}
	return m, nil
}

// exchange carries one message to a server and one back, and tells Trace.
func (t *transport) exchange(
	ctx context.Context, list *serverList, server netip.AddrPort, q query, udpSize uint16,
) (*message, *Error) {
	start := time.Now()
	m, err := t.carry(ctx, list, server, q.newMessage(udpSize, t.upstream.Case0x20))
	event := Event{
		Kind: EventQuery, Question: Question{q.name.String(), q.typ}, Server: server, Elapsed: time.Since(start),
	}
	if err != nil {
		err.Name, err.Type, err.Server, err.EDE = event.Question.Name, q.typ, server, noEDE
		event.Err = err
	}
	t.trace(event)
	return m, err
}

// order returns a copy of servers, with those that failed a short time ago at the end.
func (t *transport) order(servers []netip.AddrPort) []netip.AddrPort {
	servers = slices.Clone(servers)
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	penalty := func(server netip.AddrPort) int {
		if at, ok := t.failed[server]; ok && now.Sub(at) < serverPenalty {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(servers, func(a, b netip.AddrPort) int { return cmp.Compare(penalty(a), penalty(b)) })
	return servers
}

// note remembers whether a server answered. Only servers that were configured get here, so the map stays small.
func (t *transport) note(server netip.AddrPort, answered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if answered {
		delete(t.failed, server)
	} else {
		t.failed[server] = t.now()
	}
}
