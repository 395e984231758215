package smtpserver

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

const (
	// DefaultDNSTimeout is the time for all the questions about one peer.
	DefaultDNSTimeout = 5 * time.Second
	// MaxPTRNames is how many names of one peer are looked at, the first ones in
	// alphabetical order: an address has as many PTR records as its owner likes, and
	// each of them costs a query.
	MaxPTRNames = 10

	keepVerified   = 10 * time.Minute // how long verified names are believed, if no TTL says less
	keepUnverified = time.Minute      // how long a failure is
	// maxHostCache bounds the peers that are remembered. An entry has a few hundred
	// octets as a rule, and never more than MaxPTRNames names.
	maxHostCache = 8192
	// maxHostFlights bounds the peers that are asked about at a time, so that a flood
	// of connections does not become a flood of queries. The others wait for their
	// turn as long as their own time lasts.
	maxHostFlights = 512
)

// ptrVerifier finds out which host names of a peer can be believed: those to which
// its PTR records point and whose A or AAAA records lead back to it. It remembers
// what it finds, and asks once for peers that come in crowds.
type ptrVerifier struct {
	resolver Resolver
	timeout  time.Duration
	now      func() time.Time
	slots    chan struct{} // one for each flight that may ask

	mu      sync.Mutex
	flights map[netip.Addr]*hostFlight
	// Two generations make a bounded cache: when the younger is full it becomes the
	// older, and what was the older is forgotten.
	young, old map[netip.Addr]keptHost
}

type keptHost struct {
	host  Host
	until time.Time
}

type hostFlight struct {
	done chan struct{} // closed when host is there
	host Host
}

// newHostVerifier returns a verifier that asks r, or the servers of the system if r
// is nil. A timeout of 0 is DefaultDNSTimeout; with one below 0 it never asks, and
// every peer has status PTRTempFail. If now is nil, it is time.Now.
func newHostVerifier(r Resolver, timeout time.Duration, now func() time.Time) hostVerifier {
	if r == nil {
		r = netResolver{systemResolver()}
	}
	if timeout == 0 {
		timeout = DefaultDNSTimeout
	}
	if now == nil {
		now = time.Now
	}
	return &ptrVerifier{
		resolver: r,
		timeout:  timeout,
		now:      now,
		slots:    make(chan struct{}, maxHostFlights),
		flights:  make(map[netip.Addr]*hostFlight),
		young:    make(map[netip.Addr]keptHost),
	}
}

// verify returns what DNS says about the names of a peer, within the timeout of the
// verifier. If ctx ends before, the status is PTRTempFail, and the question goes on
// for the others who wait for it. A peer without an IP address has HostUnknown, which
// no condition matches. The names are shared: they must not be changed.
func (v *ptrVerifier) verify(ctx context.Context, peer netip.Addr) Host {
	peer = peer.Unmap().WithZone("")
	if !peer.IsValid() {
		return Host{}
	}
	if v.timeout < 0 {
		return Host{Status: PTRTempFail}
	}
	v.mu.Lock()
	if host, ok := v.kept(peer); ok {
		v.mu.Unlock()
		return host
	}
	flight := v.flights[peer]
	if flight == nil {
		flight = &hostFlight{done: make(chan struct{})}
		v.flights[peer] = flight
		go v.fly(peer, flight)
	}
	v.mu.Unlock()

	select {
	case <-flight.done:
		return flight.host
	case <-ctx.Done():
		return Host{Status: PTRTempFail}
	}
}

// kept returns what is remembered of a peer. The caller holds the lock.
func (v *ptrVerifier) kept(peer netip.Addr) (Host, bool) {
	entry, ok := v.young[peer]
	if !ok {
		entry, ok = v.old[peer]
	}
	return entry.host, ok && v.now().Before(entry.until)
}

// fly asks for one peer and tells everybody who waits. It does not belong to the
// connection that came first: that one may close while others wait.
func (v *ptrVerifier) fly(peer netip.Addr, flight *hostFlight) {
	ctx, cancel := context.WithTimeout(context.Background(), v.timeout)
	defer cancel()
	host, keep := Host{Status: PTRTempFail}, time.Duration(0)
	select {
	case v.slots <- struct{}{}:
		host, keep = v.ask(ctx, peer)
		<-v.slots
	case <-ctx.Done(): // nothing was asked, so there is nothing to remember
	}

	v.mu.Lock()
	defer v.mu.Unlock()
	if keep > 0 {
		if len(v.young) >= maxHostCache/2 {
			v.old, v.young = v.young, make(map[netip.Addr]keptHost)
		}
		v.young[peer] = keptHost{host, v.now().Add(keep)}
	}
	flight.host = host
	delete(v.flights, peer)
	close(flight.done)
}

// ask puts the questions, and returns for how long the answer holds.
func (v *ptrVerifier) ask(ctx context.Context, peer netip.Addr) (Host, time.Duration) {
	ptr := receive(ctx, start(func() dnsAnswer[string] {
		names, ttl, err := v.resolver.LookupPTR(ctx, peer)
		return newDNSAnswer(names, ttl, err)
	}))
	keep := ptr.keep(keepVerified)
	if ptr.failed {
		return Host{Status: PTRTempFail}, min(keep, keepUnverified)
	}
	names := wellFormed(ptr.values)
	if len(names) == 0 {
		return Host{Status: NoPTR}, min(keep, keepUnverified)
	}
	return v.lookBack(ctx, peer, names, keep)
}

// lookBack asks for the addresses of all names at once, so that one whose servers
// are silent does not use up the time of the others.
func (v *ptrVerifier) lookBack(ctx context.Context, peer netip.Addr, names []string, keep time.Duration) (Host, time.Duration) {
	network := "ip6"
	if peer.Is4() {
		network = "ip4"
	}
	answers := make([]chan dnsAnswer[netip.Addr], len(names))
	for i, name := range names {
		answers[i] = start(func() dnsAnswer[netip.Addr] {
			addrs, ttl, err := v.resolver.LookupAddrs(ctx, network, name)
			return newDNSAnswer(addrs, ttl, err)
		})
	}
	var verified []string
	failed := false
	for i, name := range names {
		got := receive(ctx, answers[i])
		keep = got.keep(keep)
		failed = failed || got.failed
		if slices.ContainsFunc(got.values, func(a netip.Addr) bool { return a.Unmap().WithZone("") == peer }) {
			verified = append(verified, name)
		}
	}
	switch {
	case len(verified) > 0 && !failed:
		return Host{Names: verified, Status: HostVerified}, keep
	case len(verified) > 0:
		// A name may be missing that another attempt would verify.
		return Host{Names: verified, Status: HostVerified}, min(keep, keepUnverified)
	case failed:
		return Host{Status: PTRTempFail}, min(keep, keepUnverified)
	}
	return Host{Status: PTRMismatch}, min(keep, keepUnverified)
}

// wellFormed returns the host names among the targets of PTR records: in canonical
// form, each once, sorted, so that it does not matter in which order DNS gives them,
// and at most MaxPTRNames. What is left has letters, digits, dots, hyphens and
// underscores only, so that it can be printed.
func wellFormed(targets []string) []string {
	var names []string
	for _, target := range targets {
		if !isASCII(target) {
			continue // DNS has A-labels; to convert these octets would make another name of them
		}
		if name, err := hostname.Parse(target); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), MaxPTRNames)]
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
