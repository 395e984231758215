package mtasts

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
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/internal/ssrf"
)

const (
	// maxBody is the largest policy file: RFC 8461 section 3.3 asks for a
	// limit and suggests 64 KiB.
	maxBody = 64 << 10
	// maxHeader bounds the header of the reply, status lines of interim
	// replies included.
	maxHeader = 16 << 10
	// maxInterim bounds the 1xx replies before the reply proper.
	maxInterim = 5

	policyHostPrefix = "mta-sts."                 // RFC 8461 section 3.3
	policyPath       = "/.well-known/mta-sts.txt" // RFC 8461 section 3.2
	defaultUserAgent = "smtpsec-mtasts"
)

// FetchConfig says how policy files are fetched. The zero value asks public
// policy hosts, verified with the system's roots. Nothing in it turns the
// verification of certificates off.
type FetchConfig struct {
	// RootCAs are the roots that vouch for policy hosts; nil: the system's.
	RootCAs *x509.CertPool
	// AllowPrefixes opens addresses that are not globally routable, for a lab
	// or a site whose resolvers show it inside addresses; nil: none.
	AllowPrefixes []netip.Prefix
	// DialContext makes the TCP connection; nil: a net.Dialer. It is given an
	// address that has been resolved and allowed, or the name of the policy
	// host if it is set and Client.Resolver cannot look up addresses. The
	// remote address of what it returns is judged too, before the handshake;
	// behind a proxy that is the proxy's.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Transport replaces connection, TLS and HTTP; nil: they are done as RFC
	// 8461 section 3.3 wants them. Then RootCAs, AllowPrefixes, DialContext,
	// ConnectTimeout, HandshakeTimeout and the bound of the header's size are
	// without effect: to verify the policy host, to keep away from inside
	// addresses and to follow no redirect are the caller's duty.
	Transport http.RoundTripper

	// Timeout bounds the whole GET, the body included; 0: 60 s.
	Timeout time.Duration
	// ConnectTimeout bounds the TCP connection over all addresses; 0: 10 s.
	ConnectTimeout time.Duration
	// HandshakeTimeout bounds the TLS handshake; 0: 10 s.
	HandshakeTimeout time.Duration
	// HeaderTimeout bounds the wait for the reply's header; 0: 20 s.
	HeaderTimeout time.Duration

	// AnyMediaType accepts policies that are not text/plain, which RFC 8461
	// section 3.2 says senders SHOULD check.
	AnyMediaType bool
	// UserAgent is sent with the GET; empty: "smtpsec-mtasts".
	UserAgent string
}

func (c FetchConfig) withDefaults() FetchConfig {
	def(&c.Timeout, 60*time.Second)
	def(&c.ConnectTimeout, 10*time.Second)
	def(&c.HandshakeTimeout, 10*time.Second)
	def(&c.HeaderTimeout, 20*time.Second)
	if c.UserAgent == "" {
		c.UserAgent = defaultUserAgent
	}
	return c
}

// fetchError is a failed GET: which Reason, and what went wrong.
type fetchError struct {
	reason string
	err    error
}

func (e *fetchError) Error() string { return e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

func failf(reason, format string, args ...any) error {
	return &fetchError{reason, fmt.Errorf(format, args...)}
}

// fetcher makes GETs. Its configuration has been filled with defaults.
type fetcher struct {
	FetchConfig
	resolver Resolver
	clock    Clock
	// handshake is told of the TLS of a reply; nil: nobody is.
	handshake func(*tls.ConnectionState)
}

// get fetches the policy file of a normalised domain. The error is a
// *fetchError.
func (f *fetcher) get(ctx context.Context, domain string) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = failf(ReasonConnect, "panic during the fetch: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	host := policyHostPrefix + domain
	transport := f.Transport
	if transport == nil {
		conn, err := f.connect(ctx, host)
		if err != nil {
			return nil, err
		}
		// The exchange over this connection is the only one. At the deadline
		// the TCP connection goes, for crypto/tls would first wait for a peer
		// that reads nothing to take its close_notify.
		defer conn.NetConn().Close()
		stop := context.AfterFunc(ctx, func() { conn.NetConn().Close() })
		defer stop()
		single := f.singleUse(conn)
		defer single.CloseIdleConnections()
		transport = single
	}
	return f.exchange(ctx, abort, transport, host)
}

// singleUse is an HTTP/1.1 transport over one connection, without proxy, cookies,
// decompression, cache and second use.
func (f *fetcher) singleUse(conn net.Conn) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		Protocols:              protocols,
		DisableCompression:     true,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

var errInterim = fmt.Errorf("more than %d interim replies", maxInterim)

var errHeaderTimeout = errors.New("no header in time")

// exchange sends the request and judges the reply by RFC 8461 section 3.3. With
// abort it ends ctx.
func (f *fetcher) exchange(ctx context.Context, abort context.CancelCauseFunc, transport http.RoundTripper, host string) ([]byte, error) {
	interim := 0
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			if interim++; interim > maxInterim {
				return errInterim
			}
			return nil
		},
	})
	request := (&http.Request{
		Method:     http.MethodGet,
		URL:        &url.URL{Scheme: "https", Host: host, Path: policyPath},
		Host:       host,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{"Accept": {"text/plain"}, "User-Agent": {f.UserAgent}},
	}).WithContext(traced)
	// No http.Client: it would follow redirects.
	patience := time.AfterFunc(f.HeaderTimeout, func() { abort(errHeaderTimeout) })
	response, err := transport.RoundTrip(request)
	patience.Stop()
	if err != nil {
		return nil, classify(ctx, err)
	}
	defer response.Body.Close()
	if f.handshake != nil && response.TLS != nil && len(response.TLS.PeerCertificates) > 0 {
		f.handshake(response.TLS)
	}
	if f.Transport != nil { // which may not tie the body to the context
		stop := context.AfterFunc(ctx, func() { response.Body.Close() })
		defer stop()
	}
	if err := f.judge(response); err != nil {
		return nil, err
	}
	// One octet more than allowed tells a body of maximal size from a larger
	// one; a body is never cut and parsed.
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case ctx.Err() != nil:
		return nil, failf(ReasonTimeout, "reading the body: %w", context.Cause(ctx))
	case len(body) > maxBody:
		return nil, failf(ReasonTooLarge, "body exceeds %d octets", maxBody)
	case err != nil:
		return nil, failf(ReasonBodyRead, "reading the body: %w", err)
	case len(body) == 0:
		return nil, failf(ReasonEmpty, "empty body")
	}
	return bytes.Clone(body), nil // ReadAll leaves spare room, and the cache keeps this
}

// judge looks at everything before the body.
func (f *fetcher) judge(r *http.Response) error {
	if r.StatusCode >= 300 && r.StatusCode < 400 {
		// RFC 8461 section 3.3: redirects MUST NOT be followed.
		return failf(ReasonRedirect, "redirect (status %d)", r.StatusCode)
	}
	if r.StatusCode != http.StatusOK {
		return failf(ReasonStatus, "status %d", r.StatusCode)
	}
	if !f.AnyMediaType {
		media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		if !strings.EqualFold(strings.TrimSpace(media), "text/plain") {
			return failf(ReasonMediaType, "media type %q is not text/plain", clip(r.Header.Get("Content-Type")))
		}
	}
	if r.Uncompressed {
		return failf(ReasonContentCoding, "body was compressed")
	}
	for _, coding := range r.Header.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return failf(ReasonContentCoding, "content coding %q", clip(coding))
		}
	}
	// crypto/tls takes a TCP close at a record boundary for the end of the
	// data, so only framing shows that the last mx lines have arrived.
	if r.ProtoMajor == 1 && r.ContentLength < 0 && (len(r.TransferEncoding) == 0 || r.TransferEncoding[0] != "chunked") {
		return failf(ReasonUnframed, "neither Content-Length nor chunked coding")
	}
	if r.ContentLength > maxBody {
		return failf(ReasonTooLarge, "body of %d octets exceeds %d", r.ContentLength, maxBody)
	}
	return nil
}

// classify names the reason of an exchange that brought no reply.
func classify(ctx context.Context, err error) error {
	var netErr net.Error
	var alert tls.AlertError
	switch {
	case ctx.Err() != nil:
		return failf(ReasonTimeout, "waiting for the reply: %w", context.Cause(ctx))
	case isCertificateError(err): // from a transport of the caller's
		return &fetchError{ReasonCert, err}
	case errors.As(err, &alert):
		return &fetchError{ReasonTLS, err}
	case errors.As(err, &netErr) && netErr.Timeout():
		return &fetchError{ReasonTimeout, err}
	case errors.Is(err, errInterim), strings.Contains(err.Error(), "response headers exceeded"):
		return &fetchError{ReasonTooLarge, err} // net/http has no type for it
	}
	return &fetchError{ReasonBodyRead, err}
}

func isCertificateError(err error) bool {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	return errors.As(err, &verification) || errors.As(err, &unknown) || errors.As(err, &invalid) || errors.As(err, &name)
}

func (f *fetcher) guard() ssrf.Guard { return ssrf.Guard{Allow: f.AllowPrefixes} }
