package ststest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/mtasts"
)

const (
	hostPrefix = "mta-sts."                 // RFC 8461 section 3.3
	policyPath = "/.well-known/mta-sts.txt" // RFC 8461 section 3.2
	// movedPath is where FaultRedirect points, and the policy is.
	movedPath = "/moved/mta-sts.txt"
	// largestBody is what a client takes (RFC 8461 section 3.3 suggests 64 KiB).
	largestBody = 64 << 10
	// dripPause is the time between two octets of FaultDrip.
	dripPause = 50 * time.Millisecond
)

var (
	firstDay = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	lastDay  = time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC)
)

// PolicyHost serves the policies of any number of domains over HTTPS, each at
// https://mta-sts.<domain>/.well-known/mta-sts.txt as far as a client with its
// FetchConfig can tell. It is safe for concurrent use.
type PolicyHost struct {
	listener  net.Listener
	authority *testpki.Authority
	running   sync.WaitGroup
	ctx       context.Context // ends with Close
	stop      context.CancelFunc

	mu    sync.Mutex // guards sites and conns
	sites map[string]*site
	conns map[net.Conn]struct{}
}

// site is the policy host of one domain.
type site struct {
	policy string
	fault  Fault
	gets   int
}

// NewPolicyHost starts a policy host on a loopback port. It panics if there is
// none. The caller calls Close.
func NewPolicyHost() *PolicyHost {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		if listener, err = net.Listen("tcp6", "[::1]:0"); err != nil {
			panic(fmt.Sprintf("ststest: no loopback port: %v", err))
		}
	}
	h := &PolicyHost{
		listener:  listener,
		authority: testpki.NewRoot("ststest", testpki.Valid(firstDay, lastDay)),
		sites:     make(map[string]*site),
		conns:     make(map[net.Conn]struct{}),
	}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			h.running.Go(func() { h.serve(conn) })
		}
	})
	return h
}

// Close ends the policy host and every connection to it, and waits until they
// have ended.
func (h *PolicyHost) Close() {
	h.stop()
	h.listener.Close()
	h.mu.Lock()
	for conn := range h.conns {
		conn.Close()
	}
	h.mu.Unlock()
	h.running.Wait()
}

// at returns the site of a domain. The caller holds the lock.
func (h *PolicyHost) at(domain string) *site {
	domain = fold(domain)
	s := h.sites[domain]
	if s == nil {
		s = new(site)
		h.sites[domain] = s
	}
	return s
}

// SetPolicy sets the policy file of a domain. A domain without one, or with an
// empty one, answers with status 404.
func (h *PolicyHost) SetPolicy(domain, policy string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at(domain).policy = policy
}

// SetFault makes the policy host of a domain fail until another fault is set.
func (h *PolicyHost) SetFault(domain string, fault Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at(domain).fault = fault
}

// Gets returns how many requests for the policy of a domain have arrived. A fault
// that strikes before the request leaves the count as it is.
func (h *PolicyHost) Gets(domain string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at(domain).gets
}

// look returns a copy of the site of a policy host name.
func (h *PolicyHost) look(host string) site {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *h.at(strings.TrimPrefix(fold(host), hostPrefix))
}

// FetchConfig returns what brings a client to this policy host whatever the domain:
// its roots, its loopback address allowed, and a DialContext that connects to it.
// The caller may change the rest, such as the timeouts. FaultRefused needs a
// client whose Resolver has no LookupNetIP, as that of this package.
func (h *PolicyHost) FetchConfig() mtasts.FetchConfig {
	return mtasts.FetchConfig{
		RootCAs:       testpki.Pool(h.authority),
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			if h.look(host).fault == FaultRefused {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: h.listener.Addr(), Err: syscall.ECONNREFUSED}
			}
			return new(net.Dialer).DialContext(ctx, "tcp", h.listener.Addr().String())
		},
	}
}

// serve answers one request on a connection.
func (h *PolicyHost) serve(raw net.Conn) {
	defer raw.Close()
	h.mu.Lock()
	h.conns[raw] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.conns, raw)
		h.mu.Unlock()
	}()
	if h.ctx.Err() != nil {
		return // Close may have looked before
	}
	conn := tls.Server(raw, &tls.Config{GetConfigForClient: h.greet, MinVersion: tls.VersionTLS10})
	if conn.HandshakeContext(h.ctx) != nil {
		return
	}
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	// The policy host is the one of the handshake; a Host that differs is nobody's.
	domain, ok := strings.CutPrefix(conn.ConnectionState().ServerName, hostPrefix)
	if !ok || fold(request.Host) != hostPrefix+domain || request.Method != http.MethodGet {
		io.WriteString(conn, reply("400 Bad Request", "text/plain", "", "no such host\n"))
		conn.Close()
		return
	}
	h.mu.Lock()
	if request.URL.Path == policyPath {
		h.at(domain).gets++
	}
	h.mu.Unlock()
	h.answer(conn, request, h.look(domain))
	conn.Close()
}

var errAlert = errors.New("ststest: a policy host with a fault")

// greet chooses the certificate and the TLS versions for a ClientHello.
func (h *PolicyHost) greet(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	names, valid := []string{hello.ServerName}, testpki.Valid(firstDay, lastDay)
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	switch h.look(hello.ServerName).fault {
	case FaultSilent:
		io.Copy(io.Discard, hello.Conn) // until the client gives up
		return nil, errAlert
	case FaultHandshake:
		return nil, errAlert
	case FaultOldTLS:
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	case FaultExpired:
		valid = testpki.Valid(firstDay, firstDay.Add(24*time.Hour))
	case FaultWrongName:
		names = []string{"elsewhere.example"}
	case FaultSelfSigned:
		config.Certificates = []tls.Certificate{testpki.SelfSigned(names, valid).TLS()}
		return config, nil
	}
	config.Certificates = []tls.Certificate{h.authority.Leaf(names, valid).TLS()}
	return config, nil
}

// reply is a reply with a body and its length.
func reply(status, mediaType, header, body string) string {
	if mediaType != "" {
		header += "Content-Type: " + mediaType + "\r\n"
	}
	return fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, header, len(body), body)
}

// answer writes what the site answers to a request.
func (h *PolicyHost) answer(conn *tls.Conn, request *http.Request, s site) {
	send := func(text string) { io.WriteString(conn, text) }
	const ok, plain = "200 OK", "text/plain"
	moved := s.fault == FaultRedirect && request.URL.Path == movedPath
	if s.policy == "" || request.URL.Path != policyPath && !moved {
		send(reply("404 Not Found", plain, "", "not found\n"))
		return
	}
	switch s.fault {
	case FaultNotFound:
		send(reply("404 Not Found", plain, "", "not found\n"))
	case FaultServerError:
		send(reply("503 Service Unavailable", plain, "", s.policy))
	case FaultRedirect:
		if moved {
			send(reply(ok, plain, "", s.policy))
			return
		}
		send(reply("302 Found", plain, "Location: https://"+request.Host+movedPath+"\r\n", "moved\n"))
	case FaultMediaType:
		send(reply(ok, "text/html", "", s.policy))
	case FaultNoType:
		send(reply(ok, "", "", s.policy))
	case FaultGzip:
		send(reply(ok, plain, "Content-Encoding: gzip\r\n", compress(s.policy)))
	case FaultHiddenGzip:
		send(reply(ok, plain, "", compress(s.policy)))
	case FaultUnframed:
		send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" + s.policy)
	case FaultTruncated:
		whole := reply(ok, plain, "", s.policy)
		send(whole[:len(whole)-1])
	case FaultEmpty:
		send(reply(ok, plain, "", ""))
	case FaultTooLarge:
		body := strings.TrimRight(s.policy, "\r\n") + "\nx: "
		send(reply(ok, plain, "", body+strings.Repeat("x", max(0, largestBody+1-len(body)))))
	case FaultBigHeader:
		send(reply(ok, plain, "X-Filler: "+strings.Repeat("x", 64<<10)+"\r\n", s.policy))
	case FaultInterim:
		for {
			if _, err := io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\n\r\n"); err != nil {
				return
			}
		}
	case FaultHang:
		io.Copy(io.Discard, conn) // until the client gives up
	case FaultDrip:
		h.drip(conn, reply(ok, plain, "", strings.Repeat("x", largestBody)))
	case FaultNoHTTP:
		send("220 mail.example ESMTP\r\n")
	default:
		send(reply(ok, plain, "", s.policy))
	}
}

// drip sends the header of a reply at once and the body slowly.
func (h *PolicyHost) drip(conn net.Conn, reply string) {
	header := strings.Index(reply, "\r\n\r\n") + len("\r\n\r\n")
	if _, err := io.WriteString(conn, reply[:header]); err != nil {
		return
	}
	ticker := time.NewTicker(dripPause)
	defer ticker.Stop()
	for i := header; i < len(reply); i++ {
		select {
		case <-ticker.C:
		case <-h.ctx.Done():
			return
		}
		if _, err := io.WriteString(conn, reply[i:i+1]); err != nil {
			return
		}
	}
}

func compress(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text) // into memory: cannot fail
	w.Close()
	return b.String()
}
