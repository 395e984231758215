package tlsrpt

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/smtpsec/smtpsec/internal/ssrf"
)

const (
	// TypeGzip and TypeJSON are the media types of reports (RFC 8460 sections 6.4
	// and 6.5).
	TypeGzip = "application/tlsrpt+gzip"
	TypeJSON = "application/tlsrpt+json"

	// maxReplyHeader and maxReplyBody bound what is read of the reply to a POST,
	// in which nothing but the status matters.
	maxReplyHeader = 16 << 10
	maxReplyBody   = 16 << 10
	// postTime bounds a POST.
	postTime = 60 * time.Second
)

// ErrPermanent is matched by errors of sending that would come again: the target
// is not tried any more. A mail function of the caller may wrap it.
var ErrPermanent = errors.New("target refuses the report")

// ErrUnverified is matched by the error of a Strict HTTPSender whose target has no
// valid certificate.
var ErrUnverified = errors.New("certificate of the report receiver is not valid")

// StatusError is the reply of a report receiver that is no success.
type StatusError struct{ Code int }

// Error returns the error as one line of text.
func (e *StatusError) Error() string {
	return fmt.Sprintf("report receiver answered with status %d", e.Code)
}

// Is reports that the error is ErrPermanent if the status says that another try
// is of no use: a redirect, or 4xx but 408, 425 and 429.
func (e *StatusError) Is(target error) bool {
	return target == ErrPermanent && e.Code >= 300 && e.Code < 500 &&
		e.Code != http.StatusRequestTimeout && e.Code != http.StatusTooEarly && e.Code != http.StatusTooManyRequests
}

// HTTPSender posts reports to https targets (RFC 8460 section 5.4). The zero value
// asks public hosts, with the system's roots. It is safe for concurrent use and
// read-only in use.
//
// It connects to globally routable addresses alone: whoever publishes a record
// chooses the address, which must not lie inside our network. Redirects are not
// followed, and no proxy is used.
type HTTPSender struct {
	// RootCAs vouch for the receivers; nil: the system's.
	RootCAs *x509.CertPool
	// Strict refuses to send to a host without a valid certificate. RFC 8460
	// section 3 lets a report go all the same: it holds no secret, and the
	// certificate may be what it is about.
	Strict bool
	// AllowPrefixes opens addresses that are not globally routable, for a lab;
	// nil: none.
	AllowPrefixes []netip.Prefix
	// DialContext makes the TCP connection; nil: a net.Dialer. The remote address
	// of what it returns is judged too.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout bounds the whole POST; 0: 60 s.
	Timeout time.Duration
	// UserAgent is sent with the POST; empty: "smtpsec-tlsrpt".
	UserAgent string
}

// Send posts a compressed report to an https target. Any 2xx is a success; another
// status is a *StatusError. unverified tells why the certificate of the receiver is
// not valid, also if the report was sent; then err is nil.
func (h *HTTPSender) Send(ctx context.Context, t Target, zipped []byte) (unverified, err error) {
	if t.Scheme != "https" || !t.Usable() {
		return nil, fmt.Errorf("tlsrpt: %q is no https target: %w", clip(t.URI), ErrPermanent)
	}
	timeout := h.Timeout
	if timeout == 0 {
		timeout = postTime
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URI, bytes.NewReader(zipped))
	if err != nil {
		return nil, fmt.Errorf("tlsrpt: %w: %w", ErrPermanent, err)
	}
	request.Header.Set("Content-Type", TypeGzip)
	request.Header.Set("User-Agent", h.UserAgent)
	if h.UserAgent == "" {
		request.Header.Set("User-Agent", "smtpsec-tlsrpt")
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	// A handshake may go on behind a POST whose time is over.
	var verdict atomic.Pointer[error]
	transport := &http.Transport{
		DialContext:            h.dial,
		Protocols:              protocols,
		DisableCompression:     true,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxReplyHeader,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			// Verified below, since a failure need not be the end.
			InsecureSkipVerify: true,
			VerifyConnection: func(state tls.ConnectionState) error {
				bad := h.verify(&state, t.Host)
				if bad == nil {
					return nil
				}
				verdict.Store(&bad)
				if h.Strict {
					return fmt.Errorf("%w: %w", ErrUnverified, bad)
				}
				return nil
			},
		},
	}
	defer transport.CloseIdleConnections()
	// No http.Client: it would follow redirects.
	response, err := transport.RoundTrip(request)
	if bad := verdict.Load(); bad != nil {
		unverified = *bad
	}
	if err != nil {
		return unverified, fmt.Errorf("tlsrpt: POST to %s: %w", t.Host, err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxReplyBody) // the status has said all
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return unverified, fmt.Errorf("tlsrpt: POST to %s: %w", t.Host, &StatusError{response.StatusCode})
	}
	return unverified, nil
}

func (h *HTTPSender) verify(state *tls.ConnectionState, host string) error {
	options := x509.VerifyOptions{Roots: h.RootCAs, DNSName: host, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(options)
	return err
}

// dial makes a TCP connection to an address that may be asked.
func (h *HTTPSender) dial(ctx context.Context, network, address string) (net.Conn, error) {
	guard := ssrf.Guard{Allow: h.AllowPrefixes}
	dial := h.DialContext
	if dial == nil {
		dial = (&net.Dialer{ControlContext: guard.Control}).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := guard.CheckConn(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
