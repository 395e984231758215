package lab

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// policyPath is where a policy is found (RFC 8461 section 3.2).
const policyPath = "/.well-known/mta-sts.txt"

// policyLimit is the size in octets that an oversized policy is one octet above.
const policyLimit = 64 << 10

// PolicyFault is what is wrong with a policy host. What is wrong with its certificate
// is said in [Policy].Cert.
type PolicyFault uint8

const (
	PolicyGood        PolicyFault = iota // zero value: 200, text/plain, the policy
	PolicyOversized                      // a well-formed policy of 65537 octets
	PolicyMalformed                      // 200 and a text that is no policy
	PolicyEmpty                          // 200 and nothing
	PolicyNotFound                       // 404
	PolicyServerError                    // 500 with the policy as its body
	PolicyRedirect                       // 302 to another path of the host, where the policy is
	PolicyWrongType                      // text/html
	PolicyNoType                         // no Content-Type at all
	PolicyGzip                           // Content-Encoding: gzip, though nobody asked for it
	PolicyUnframed                       // neither Content-Length nor chunked: ends when the host closes
	PolicyCut                            // closes in the middle of the promised body
	PolicyStall                          // takes the request and never answers
	PolicyStallBody                      // sends headers and the first octet, and no more
	PolicyOldTLS                         // speaks TLS 1.1 at most
	PolicyTLSAlert                       // answers every ClientHello with an alert
	PolicyRefused                        // refuses TCP connections
	PolicyBlackhole                      // TCP connections never come about
	policyFaults                         // how many there are
)

var policyFaultNames = [policyFaults]string{
	"good", "oversized", "malformed", "empty", "404", "500", "redirect", "wrong type", "no type", "gzip", "unframed", "cut",
	"stall", "stall in the body", "old TLS", "TLS alert", "refused", "blackhole",
}

// String returns the fault in words.
func (f PolicyFault) String() string {
	if f < policyFaults {
		return policyFaultNames[f]
	}
	return fmt.Sprintf("policy fault %d", uint8(f))
}

// PolicyHost is a running MTA-STS policy host. It is safe for concurrent use.
type PolicyHost struct {
	name      string
	addrs     []netip.Addr
	authority *authority
	listener  net.Listener
	server    *http.Server
	serving   chan struct{} // closed when Serve has returned
	closed    chan struct{}
	conns     sync.WaitGroup

	mu        sync.Mutex // guards what follows
	text      string
	fault     PolicyFault
	gets      int
	dials     int
	leaf      *testpki.Leaf
	presented tls.Certificate
}

func newPolicyHost(domain string, p *Policy, text string, a *authority) (*PolicyHost, error) {
	h := &PolicyHost{
		name:      "mta-sts." + domain,
		addrs:     p.Addrs,
		authority: a,
		serving:   make(chan struct{}),
		closed:    make(chan struct{}),
		text:      text,
		fault:     p.Fault,
	}
	if err := h.SetCert(p.Cert); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lab: policy host %s: %w", h.name, err)
	}
	h.listener = listener
	h.server = &http.Server{
		Handler:  http.HandlerFunc(h.serve),
		ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(c net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				h.conns.Add(1)
				select {
				case <-h.closed: // net/http may have looked for open connections before
					c.Close()
				default:
				}
			case http.StateClosed, http.StateHijacked:
				h.conns.Done()
			}
		},
	}
	go func() {
		defer close(h.serving)
		h.server.Serve(tls.NewListener(listener, h.tlsConfig()))
	}()
	return h, nil
}

func (h *PolicyHost) tlsConfig() *tls.Config {
	plain := &tls.Config{
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			presented := h.presented
			return &presented, nil
		},
	}
	old := plain.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	plain.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		switch h.current() {
		case PolicyOldTLS:
			return old, nil
		case PolicyTLSAlert:
			return nil, fmt.Errorf("lab: policy host %s refuses TLS", h.name)
		}
		return nil, nil
	}
	return plain
}

// Name returns the name of the host, mta-sts.<domain>.
func (h *PolicyHost) Name() string { return h.name }

// URL returns where the policy is.
func (h *PolicyHost) URL() string { return "https://" + h.name + policyPath }

// Addrs returns the host's addresses.
func (h *PolicyHost) Addrs() []netip.Addr { return slices.Clone(h.addrs) }

// Gets returns how many requests for the policy the host has seen.
func (h *PolicyHost) Gets() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gets
}

// Dials returns how often somebody tried to connect through Lab.DialContext.
func (h *PolicyHost) Dials() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dials
}

// SetText replaces the policy, octet for octet, from the next request on. A policy
// of another content should have another id in DNS: see Lab.SetPolicy.
func (h *PolicyHost) SetText(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = text
}

// SetFault replaces the fault, from the next connection or request on.
func (h *PolicyHost) SetFault(f PolicyFault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// SetCert makes a new certificate with a new key.
func (h *PolicyHost) SetCert(c Cert) error {
	leaf, presented, err := h.authority.issue(c, h.name)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaf, h.presented = leaf, presented
	return nil
}

// Certificate returns the certificate that the host presents now.
func (h *PolicyHost) Certificate() *x509.Certificate {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leaf.Cert
}

func (h *PolicyHost) current() PolicyFault {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fault
}

// dial connects as Lab.DialContext has to.
func (h *PolicyHost) dial(ctx context.Context) (*net.TCPConn, error) {
	h.mu.Lock()
	h.dials++
	fault := h.fault
	h.mu.Unlock()
	switch fault {
	case PolicyRefused:
		return nil, syscall.ECONNREFUSED
	case PolicyBlackhole:
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-h.closed:
			return nil, syscall.ECONNREFUSED
		}
	}
	return dialLoopback(ctx, h.listener.Addr())
}

// elsewhere is where the fault PolicyRedirect leads.
const elsewhere = "/policy.txt"

func (h *PolicyHost) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.URL.Path != policyPath && r.URL.Path != elsewhere {
		http.NotFound(w, r)
		return
	}
	h.mu.Lock()
	text, fault := h.text, h.fault
	if r.URL.Path == policyPath {
		h.gets++
	} else {
		fault = PolicyGood
	}
	h.mu.Unlock()
	header, status := w.Header(), http.StatusOK
	header.Set("Content-Type", "text/plain; charset=utf-8")
	switch fault {
	case PolicyOversized:
		text = padded(text, policyLimit+1)
	case PolicyMalformed:
		text = "this is not the policy you are looking for\r\n"
	case PolicyEmpty:
		text = ""
	case PolicyNotFound:
		http.NotFound(w, r)
		return
	case PolicyServerError:
		status = http.StatusInternalServerError
	case PolicyRedirect:
		header.Set("Location", elsewhere)
		status = http.StatusFound
	case PolicyWrongType:
		header.Set("Content-Type", "text/html; charset=utf-8")
	case PolicyNoType:
		header["Content-Type"] = nil
	case PolicyGzip:
		header.Set("Content-Encoding", "gzip")
		text = compressed(text)
	case PolicyUnframed:
		h.raw(w, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"+text)
		return
	case PolicyCut:
		h.raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(text), text[:len(text)/2]))
		return
	case PolicyStall:
		h.stall(r)
	case PolicyStallBody:
		header.Set("Content-Length", strconv.Itoa(len(text)))
		io.WriteString(w, text[:min(1, len(text))])
		http.NewResponseController(w).Flush()
		h.stall(r)
	}
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// stall waits until the client or the lab gives up, and does not return.
func (h *PolicyHost) stall(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-h.closed:
	}
	panic(http.ErrAbortHandler) // no reply, not even an empty one
}

// raw sends an HTTP reply that net/http would not write, and closes.
func (h *PolicyHost) raw(w http.ResponseWriter, reply string) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	io.WriteString(c, reply)
}

// padded returns policy text with extension fields behind it, n octets in all.
func padded(text string, n int) string {
	const line = "padding: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"
	for len(text)+2*len(line) <= n {
		text += line
	}
	// What is missing now is at least one line long and at most two.
	return text + "padding: " + strings.Repeat("x", n-len(text)-len("padding: \r\n")) + "\r\n"
}

func compressed(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

// close ends everything and waits for it.
func (h *PolicyHost) close() {
	close(h.closed)
	h.server.Close()
	<-h.serving
	h.conns.Wait()
}
