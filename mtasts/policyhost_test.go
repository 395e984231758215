package mtasts

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// The certificates of the tests are valid in any year, so that a test under a
// fake clock can use them.
var (
	ages = testpki.Valid(time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC))
	root = sync.OnceValue(func() *testpki.Authority { return testpki.NewRoot("Test Root", ages) })
)

// leafFor returns a certificate for policy hosts.
func leafFor(names ...string) tls.Certificate { return root().Leaf(names, ages).TLS() }

var exampleLeaf = sync.OnceValue(func() tls.Certificate { return leafFor("mta-sts.example.com") })

// policyHost is an HTTPS server that answers with octets of the test's choice.
type policyHost struct {
	net.Listener
	tls      *tls.Config
	accepted atomic.Int64 // connections
	requests atomic.Int64
	mu       sync.Mutex
	last     *http.Request
	respond  func(conn net.Conn, r *http.Request)
}

func newPolicyHost(t testing.TB, respond func(net.Conn, *http.Request)) *policyHost {
	t.Helper()
	return newTLSPolicyHost(t, &tls.Config{Certificates: []tls.Certificate{exampleLeaf()}}, respond)
}

func newTLSPolicyHost(t testing.TB, config *tls.Config, respond func(net.Conn, *http.Request)) *policyHost {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &policyHost{Listener: l, tls: config, respond: respond}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.accepted.Add(1)
			running.Go(func() { h.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return h
}

func (h *policyHost) serve(raw net.Conn) {
	defer raw.Close()
	conn := tls.Server(raw, h.tls)
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	h.requests.Add(1)
	h.mu.Lock()
	h.last = r
	h.mu.Unlock()
	h.respond(conn, r)
	conn.Close()
}

// octets answers every request with the same text.
func octets(text string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) { fmt.Fprint(conn, text) }
}

// reply is a well-formed reply with a body.
func reply(header, body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%sContent-Length: %d\r\n\r\n%s", header, len(body), body)
}

// fakeDNS answers from maps and counts. An unknown name does not exist.
type fakeDNS struct {
	mu    sync.Mutex
	txt   map[string][]string
	fail  map[string]error
	addrs map[string][]netip.Addr
	asked map[string]int
}

func newDNS() *fakeDNS {
	return &fakeDNS{txt: map[string][]string{}, fail: map[string]error{}, addrs: map[string][]netip.Addr{}, asked: map[string]int{}}
}

func (d *fakeDNS) set(domain string, rrs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.txt["_mta-sts."+domain+"."] = rrs
	delete(d.fail, "_mta-sts."+domain+".")
}

func (d *fakeDNS) setError(domain string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail["_mta-sts."+domain+"."] = err
}

func (d *fakeDNS) count(domain string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked["_mta-sts."+domain+"."]
}

func (d *fakeDNS) LookupTXT(_ context.Context, name string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[name]++
	if err := d.fail[name]; err != nil {
		return nil, err
	}
	rrs, ok := d.txt[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return rrs, nil
}

func (d *fakeDNS) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[name]++
	if err := d.fail[name]; err != nil {
		return nil, err
	}
	addrs, ok := d.addrs[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return addrs, nil
}

// labConfig maps documentation addresses to listeners on loopback.
func labConfig(hosts map[string]net.Listener) FetchConfig {
	return FetchConfig{
		RootCAs:       testpki.Pool(root()),
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8")},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			l := hosts[address]
			if l == nil {
				return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
			}
			return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
		},
	}
}

// labFetcher is a fetcher for example.com with one policy host.
func labFetcher(h *policyHost) *fetcher {
	dns := newDNS()
	dns.addrs["mta-sts.example.com."] = []netip.Addr{netip.MustParseAddr("192.0.2.10")}
	return &fetcher{FetchConfig: labConfig(map[string]net.Listener{"192.0.2.10:443": h}).withDefaults(), resolver: dns, clock: systemClock{}}
}

// addressed is a connection that claims a remote address, for net.Pipe.
type addressed struct {
	net.Conn
	remote netip.AddrPort
}

func (c addressed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// stepClock is a clock that moves when told to.
type stepClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *stepClock { return &stepClock{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *stepClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *stepClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// NewTimer jumps to the end of the wait.
func (c *stepClock) NewTimer(d time.Duration) (<-chan time.Time, func()) {
	c.add(d)
	ch := make(chan time.Time, 1)
	ch <- c.Now()
	return ch, func() {}
}
