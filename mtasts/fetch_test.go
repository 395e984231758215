package mtasts

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smtpsec/smtpsec/internal/ssrf"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

const goodBody = "version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 604800\n"

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

// requireReason fails unless err is a fetch error of that reason.
func requireReason(t *testing.T, reason string, err error, why string) {
	t.Helper()
	var failed *fetchError
	require.ErrorAs(t, err, &failed, why)
	require.Equal(t, reason, failed.reason, "%s: %v", why, err)
}

func TestFetchReplies(t *testing.T) {
	const ok, plain = "HTTP/1.1 200 OK\r\n", "Content-Type: text/plain\r\n"
	full := strings.Repeat("#", maxBody-len(goodBody)-1) + "\n" + goodBody
	length := func(s string) string { return fmt.Sprintf("Content-Length: %d\r\n", len(s)) }
	chunked := func(s string) string {
		return fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(s), s)
	}
	for _, tc := range []struct{ why, reply, body, reason string }{
		{"good", reply("", goodBody), goodBody, ""},
		{"chunked", ok + plain + chunked(goodBody), goodBody, ""},
		{"HTTP/1.0 with length", "HTTP/1.0 200 OK\r\n" + plain + length(goodBody) + "\r\n" + goodBody, goodBody, ""},
		{"media type in another case, with parameters", ok + "Content-Type: Text/PLAIN ; charset=utf-8\r\n" + length(goodBody) + "\r\n" + goodBody, goodBody, ""},
		{"media type with malformed parameters", ok + "Content-Type: text/plain;;=\"\r\n" + length(goodBody) + "\r\n" + goodBody, goodBody, ""},
		{"identity coding", reply("Content-Encoding: identity\r\n", goodBody), goodBody, ""},
		{"five interim replies", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 5) + reply("", goodBody), goodBody, ""},
		{"65536 octets", reply("", full), full, ""},
		{"65536 octets, chunked", ok + plain + chunked(full), full, ""},
		{"gzip without label is taken as it is", reply("", zipped(goodBody)), zipped(goodBody), ""},
		{"octets behind the length are not read", reply("", goodBody) + "mx: evil.example\n", goodBody, ""},

		{"201", strings.Replace(reply("", goodBody), "200 OK", "201 Created", 1), "", ReasonStatus},
		{"203", strings.Replace(reply("", goodBody), "200 OK", "203 Changed", 1), "", ReasonStatus},
		{"206", strings.Replace(reply("", goodBody), "200 OK", "206 Partial", 1), "", ReasonStatus},
		{"404", strings.Replace(reply("", goodBody), "200 OK", "404 Not Found", 1), "", ReasonStatus},
		{"500", strings.Replace(reply("", goodBody), "200 OK", "500 No", 1), "", ReasonStatus},
		{"301 with a good body", strings.Replace(reply("Location: /elsewhere\r\n", goodBody), "200 OK", "301 Moved", 1), "", ReasonRedirect},
		{"302 to itself", strings.Replace(reply("Location: https://mta-sts.example.com/.well-known/mta-sts.txt\r\n", goodBody), "200 OK", "302 Found", 1), "", ReasonRedirect},
		{"308", strings.Replace(reply("Location: /x\r\n", goodBody), "200 OK", "308 Moved", 1), "", ReasonRedirect},
		{"304", "HTTP/1.1 304 Not Modified\r\n\r\n", "", ReasonRedirect},
		{"HTML", ok + "Content-Type: text/html\r\n" + length(goodBody) + "\r\n" + goodBody, "", ReasonMediaType},
		{"octet stream", ok + "Content-Type: application/octet-stream\r\n" + length(goodBody) + "\r\n" + goodBody, "", ReasonMediaType},
		{"media type that begins alike", ok + "Content-Type: text/plainer\r\n" + length(goodBody) + "\r\n" + goodBody, "", ReasonMediaType},
		{"no media type", ok + length(goodBody) + "\r\n" + goodBody, "", ReasonMediaType},
		{"gzip with label", reply("Content-Encoding: gzip\r\n", zipped(goodBody)), "", ReasonContentCoding},
		{"label of gzip, plain body", reply("Content-Encoding: gzip\r\n", goodBody), "", ReasonContentCoding},
		{"second coding header", reply("Content-Encoding: identity\r\nContent-Encoding: br\r\n", goodBody), "", ReasonContentCoding},
		{"close-delimited", ok + plain + "\r\n" + goodBody, "", ReasonUnframed},
		{"close-delimited, HTTP/1.0", "HTTP/1.0 200 OK\r\n" + plain + "\r\n" + goodBody, "", ReasonUnframed},
		{"65537 octets", reply("", full+"#"), "", ReasonTooLarge},
		{"65537 octets, chunked", ok + plain + chunked(full+"#"), "", ReasonTooLarge},
		{"endless length", ok + plain + "Content-Length: 9000000000\r\n\r\n" + goodBody, "", ReasonTooLarge},
		{"huge header", ok + plain + "X: " + strings.Repeat("x", maxHeader) + "\r\n" + length(goodBody) + "\r\n" + goodBody, "", ReasonTooLarge},
		{"six interim replies", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 6) + reply("", goodBody), "", ReasonTooLarge},
		{"closed inside the body", ok + plain + "Content-Length: 1000\r\n\r\n" + goodBody, "", ReasonBodyRead},
		{"closed inside a chunk", ok + plain + "Transfer-Encoding: chunked\r\n\r\nff\r\n" + goodBody, "", ReasonBodyRead},
		{"closed before the last chunk", ok + plain + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(goodBody), goodBody), "", ReasonBodyRead},
		{"closed inside the header", ok + plain, "", ReasonBodyRead},
		{"closed at once", "", "", ReasonBodyRead},
		{"not HTTP", "220 mail.example.com ESMTP\r\n", "", ReasonBodyRead},
		{"two lengths", ok + plain + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + goodBody, "", ReasonBodyRead},
		{"empty", reply("", ""), "", ReasonEmpty},
		{"empty, chunked", ok + plain + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", ReasonEmpty},
	} {
		h := newPolicyHost(t, octets(tc.reply))
		body, err := labFetcher(h).get(t.Context(), "example.com")
		require.EqualValues(t, 1, h.requests.Load(), "%s: one request, nothing followed", tc.why)
		if tc.reason == "" {
			require.NoError(t, err, tc.why)
			require.Equal(t, tc.body, string(body), tc.why)
			continue
		}
		requireReason(t, tc.reason, err, tc.why)
		require.Nil(t, body, tc.why)
	}
}

func TestFetchRequest(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	h := newPolicyHost(t, octets(reply("Set-Cookie: a=b\r\n", goodBody)))
	f := labFetcher(h)
	for range 2 {
		_, err := f.get(t.Context(), "example.com")
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, h.accepted.Load(), "no second use of a connection")
	h.mu.Lock()
	defer h.mu.Unlock()
	require.Equal(t, "GET", h.last.Method)
	require.Equal(t, "mta-sts.example.com", h.last.Host)
	require.Equal(t, "/.well-known/mta-sts.txt", h.last.RequestURI)
	require.Equal(t, "HTTP/1.1", h.last.Proto)
	h.last.Header.Del("Connection")
	require.Equal(t, http.Header{"Accept": {"text/plain"}, "User-Agent": {"smtpsec-mtasts"}}, h.last.Header)
}

func TestFetchUserAgentAndAnyMediaType(t *testing.T) {
	h := newPolicyHost(t, octets("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
	f := labFetcher(h)
	f.AnyMediaType, f.UserAgent = true, "test/1"
	body, err := f.get(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, "x", string(body))
	h.mu.Lock()
	defer h.mu.Unlock()
	require.Equal(t, "test/1", h.last.UserAgent())
}

func TestFetchTLS(t *testing.T) {
	now := time.Now()
	good := []string{"mta-sts.example.com"}
	for _, tc := range []struct {
		why, reason string
		config      *tls.Config
	}{
		{"good", "", &tls.Config{Certificates: []tls.Certificate{leafFor(good...)}}},
		{"TLS 1.2", "", &tls.Config{Certificates: []tls.Certificate{leafFor(good...)}, MaxVersion: tls.VersionTLS12}},
		{"wildcard for the left-most label", "", &tls.Config{Certificates: []tls.Certificate{leafFor("*.example.com")}}},
		{"expired", ReasonCert, &tls.Config{Certificates: []tls.Certificate{root().Leaf(good, testpki.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour))).TLS()}}},
		{"not yet valid", ReasonCert, &tls.Config{Certificates: []tls.Certificate{root().Leaf(good, testpki.Valid(now.Add(time.Hour), now.Add(2*time.Hour))).TLS()}}},
		{"other name", ReasonCert, &tls.Config{Certificates: []tls.Certificate{leafFor("example.com")}}},
		{"common name alone", ReasonCert, &tls.Config{Certificates: []tls.Certificate{root().Leaf(nil, ages, testpki.CommonName(good[0])).TLS()}}},
		{"partial wildcard", ReasonCert, &tls.Config{Certificates: []tls.Certificate{leafFor("mta-*.example.com")}}},
		{"wildcard over two labels", ReasonCert, &tls.Config{Certificates: []tls.Certificate{leafFor("*.com")}}},
		{"self-signed", ReasonCert, &tls.Config{Certificates: []tls.Certificate{testpki.SelfSigned(good, ages).TLS()}}},
		{"unknown root", ReasonCert, &tls.Config{Certificates: []tls.Certificate{testpki.NewRoot("Other", ages).Leaf(good, ages).TLS()}}},
		{"TLS 1.1", ReasonTLS, &tls.Config{Certificates: []tls.Certificate{leafFor(good...)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}},
		{"handshake alert", ReasonTLS, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }}},
	} {
		h := newTLSPolicyHost(t, tc.config, octets(reply("", goodBody)))
		body, err := labFetcher(h).get(t.Context(), "example.com")
		if tc.reason == "" {
			require.NoError(t, err, tc.why)
			require.Equal(t, goodBody, string(body), tc.why)
			continue
		}
		requireReason(t, tc.reason, err, tc.why)
		require.Zero(t, h.requests.Load(), "%s: nothing was asked", tc.why)
	}
}

func TestFetchNamesHostInHandshake(t *testing.T) {
	names := make(chan string, 1)
	h := newTLSPolicyHost(t, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- hello.ServerName
		leaf := exampleLeaf()
		return &leaf, nil
	}}, octets(reply("", goodBody)))
	_, err := labFetcher(h).get(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, "mta-sts.example.com", <-names)
}

func TestFetchVerifiesAtTimeOfClock(t *testing.T) {
	h := newPolicyHost(t, octets(reply("", goodBody)))
	f := labFetcher(h)
	f.clock = &stepClock{now: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)}
	_, err := f.get(t.Context(), "example.com")
	requireReason(t, ReasonCert, err, "the certificate ends in 2190")
	var invalid x509.CertificateInvalidError
	require.ErrorAs(t, err, &invalid, "the cause is kept")
	require.Equal(t, x509.Expired, invalid.Reason)
}

func TestFetchServerThatIsNotTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
			conn.Close()
		}
	}()
	h := newPolicyHost(t, octets(""))
	f := labFetcher(h)
	f.FetchConfig = labConfig(map[string]net.Listener{"192.0.2.10:443": l}).withDefaults()
	_, err = f.get(t.Context(), "example.com")
	requireReason(t, ReasonTLS, err, "clear text")
	var header tls.RecordHeaderError
	require.ErrorAs(t, err, &header, "the cause is kept")
}

func TestFetchBlocksAddresses(t *testing.T) {
	for _, addr := range []string{
		"0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "198.18.0.1", "203.0.113.1", "224.0.0.1",
		"240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "2001:0:a00:1::1",
	} {
		dns := newDNS()
		dns.addrs["mta-sts.example.com."] = []netip.Addr{netip.MustParseAddr(addr)}
		dialed := false
		f := &fetcher{resolver: dns, clock: systemClock{}, FetchConfig: FetchConfig{DialContext: func(context.Context, string, string) (net.Conn, error) {
			dialed = true
			return nil, errors.New("dialed")
		}}.withDefaults()}
		_, err := f.get(t.Context(), "example.com")
		requireReason(t, ReasonBlockedAddress, err, addr)
		require.ErrorIs(t, err, ssrf.ErrBlocked, addr)
		require.False(t, dialed, addr)
	}
}

func TestFetchDefaultDialerIsGuarded(t *testing.T) {
	h := newPolicyHost(t, octets(reply("", goodBody)))
	f := labFetcher(h)
	f.FetchConfig = FetchConfig{}.withDefaults()
	f.resolver.(*fakeDNS).addrs["mta-sts.example.com."] = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	_, err := f.get(t.Context(), "example.com")
	requireReason(t, ReasonBlockedAddress, err, "loopback")
}

// TestFetchRebinding: a dialer that ends up elsewhere than at the address that
// was allowed is caught before the handshake.
func TestFetchRebinding(t *testing.T) {
	h := newPolicyHost(t, octets(reply("", goodBody)))
	f := labFetcher(h)
	f.AllowPrefixes = f.AllowPrefixes[:1] // not loopback, where the lab's listeners are
	_, err := f.get(t.Context(), "example.com")
	requireReason(t, ReasonBlockedAddress, err, "remote address")
	require.Zero(t, h.requests.Load())

	// A resolver without addresses: the dialer resolves, the guard still holds.
	f.resolver = txtOnly{}
	var dialed string
	f.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed = address
		return new(net.Dialer).DialContext(ctx, network, h.Addr().String())
	}
	_, err = f.get(t.Context(), "example.com")
	requireReason(t, ReasonBlockedAddress, err, "remote address of a name")
	require.Equal(t, "mta-sts.example.com:443", dialed)
	f.AllowPrefixes = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	body, err := f.get(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, goodBody, string(body))
}

type txtOnly struct{}

func (txtOnly) LookupTXT(context.Context, string) ([]string, error) { return nil, nil }

func TestFetchTriesEveryAddress(t *testing.T) {
	h := newPolicyHost(t, octets(reply("", goodBody)))
	f := labFetcher(h)
	addr := netip.MustParseAddr
	f.resolver.(*fakeDNS).addrs["mta-sts.example.com."] = []netip.Addr{addr("10.0.0.1"), addr("192.0.2.9"), addr("::ffff:192.0.2.10")}
	_, err := f.get(t.Context(), "example.com")
	require.NoError(t, err, "one blocked, one refused, one that answers")
	f.resolver.(*fakeDNS).addrs["mta-sts.example.com."] = []netip.Addr{addr("10.0.0.1"), addr("192.0.2.9")}
	_, err = f.get(t.Context(), "example.com")
	requireReason(t, ReasonConnect, err, "not every address was blocked")
	many := make([]netip.Addr, 100)
	for i := range many {
		many[i] = addr("192.0.2.200")
	}
	tries := 0
	f.resolver.(*fakeDNS).addrs["mta-sts.example.com."] = many
	f.DialContext = func(context.Context, string, string) (net.Conn, error) { tries++; return nil, errors.New("refused") }
	_, err = f.get(t.Context(), "example.com")
	requireReason(t, ReasonConnect, err, "many addresses")
	require.Equal(t, maxAddresses, tries)
}

func TestFetchDNSFailures(t *testing.T) {
	f := labFetcher(newPolicyHost(t, octets("")))
	dns := f.resolver.(*fakeDNS)
	for _, tc := range []struct {
		why string
		set func()
	}{
		{"NXDOMAIN", func() { delete(dns.addrs, "mta-sts.example.com.") }},
		{"NODATA", func() { dns.addrs["mta-sts.example.com."] = nil }},
		{"SERVFAIL", func() { dns.fail["mta-sts.example.com."] = &net.DNSError{Err: "server misbehaving", IsTemporary: true} }},
	} {
		tc.set()
		_, err := f.get(t.Context(), "example.com")
		requireReason(t, ReasonDNS, err, tc.why)
		var dnsErr *net.DNSError
		require.ErrorAs(t, err, &dnsErr, tc.why)
	}
}

func TestFetchPanics(t *testing.T) {
	f := labFetcher(newPolicyHost(t, octets("")))
	f.DialContext = func(context.Context, string, string) (net.Conn, error) { panic("dialer") }
	_, err := f.get(t.Context(), "example.com")
	requireReason(t, ReasonConnect, err, "panic")
	require.ErrorContains(t, err, "dialer")
	f.Transport = roundTrip(func(*http.Request) (*http.Response, error) { panic("transport") })
	_, err = f.get(t.Context(), "example.com")
	require.ErrorContains(t, err, "transport")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestFetchCallersTransport(t *testing.T) {
	f := &fetcher{clock: systemClock{}, resolver: txtOnly{}, FetchConfig: FetchConfig{}.withDefaults()}
	good := func() *http.Response {
		return &http.Response{StatusCode: 200, ProtoMajor: 2, ContentLength: -1, Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(goodBody))}
	}
	for _, tc := range []struct {
		why, reason string
		change      func(*http.Response)
	}{
		{"HTTP/2 is framed by itself", "", func(*http.Response) {}},
		{"HTTP/1 is not", ReasonUnframed, func(r *http.Response) { r.ProtoMajor = 1 }},
		{"decompressed on the way", ReasonContentCoding, func(r *http.Response) { r.Uncompressed = true }},
		{"redirect", ReasonRedirect, func(r *http.Response) { r.StatusCode = 302 }},
	} {
		f.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			require.Equal(t, "https://mta-sts.example.com/.well-known/mta-sts.txt", r.URL.String())
			response := good()
			tc.change(response)
			return response, nil
		})
		_, err := f.get(t.Context(), "example.com")
		if tc.reason == "" {
			require.NoError(t, err, tc.why)
		} else {
			requireReason(t, tc.reason, err, tc.why)
		}
	}
	f.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, x509.UnknownAuthorityError{} })
	_, err := f.get(t.Context(), "example.com")
	requireReason(t, ReasonCert, err, "certificate error of a transport")
	f.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, tls.AlertError(40) })
	_, err = f.get(t.Context(), "example.com")
	requireReason(t, ReasonTLS, err, "alert of a transport")
}

// TestFetchTimes runs every wait to its end, in the fake time of a bubble.
func TestFetchTimes(t *testing.T) {
	header := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 60000\r\n\r\n"
	leaf := exampleLeaf()
	for _, tc := range []struct {
		why    string
		want   time.Duration
		dial   func(ctx context.Context) error
		server func(raw net.Conn)
	}{
		{"no connection", 10 * time.Second, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, nil},
		{"no handshake", 10 * time.Second, nil, func(raw net.Conn) { _, _ = io.Copy(io.Discard, raw) }},
		{"no header", 20 * time.Second, nil, func(raw net.Conn) {
			conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{leaf}})
			_, _ = io.Copy(io.Discard, conn)
		}},
		{"dripping body", 60 * time.Second, nil, func(raw net.Conn) {
			conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{leaf}})
			_, _ = conn.Read(make([]byte, 4096))
			_, err := conn.Write([]byte(header))
			for err == nil {
				time.Sleep(time.Second)
				_, err = conn.Write([]byte("#"))
			}
		}},
		{"dripping header", 20 * time.Second, nil, func(raw net.Conn) {
			conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{leaf}})
			_, _ = conn.Read(make([]byte, 4096))
			_, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nX: "))
			for err == nil {
				time.Sleep(time.Second)
				_, err = conn.Write([]byte("x"))
			}
		}},
		{"body that stops", 60 * time.Second, nil, func(raw net.Conn) {
			conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{leaf}})
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(header + goodBody))
			_, _ = io.Copy(io.Discard, conn)
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			dns := newDNS()
			dns.addrs["mta-sts.example.com."] = []netip.Addr{netip.MustParseAddr("192.0.2.10")}
			var servers sync.WaitGroup
			defer servers.Wait()
			config := labConfig(nil)
			config.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
				if tc.dial != nil {
					return nil, tc.dial(ctx)
				}
				client, server := net.Pipe()
				servers.Go(func() { defer server.Close(); tc.server(server) })
				return addressed{client, netip.MustParseAddrPort(address)}, nil
			}
			f := &fetcher{FetchConfig: config.withDefaults(), resolver: dns, clock: systemClock{}}
			start := time.Now()
			_, err := f.get(t.Context(), "example.com")
			requireReason(t, ReasonTimeout, err, tc.why)
			require.Equal(t, tc.want, time.Since(start), tc.why)
		})
	}
}

// TestFetchTimeoutOfCallersTransport: the bound also holds for a body that knows
// nothing of the context.
func TestFetchTimeoutOfCallersTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetcher{clock: systemClock{}, resolver: txtOnly{}, FetchConfig: FetchConfig{}.withDefaults()}
		f.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			r, w := io.Pipe()
			go func() { _, _ = w.Write([]byte("version: STSv1\n")) }()
			return &http.Response{StatusCode: 200, ProtoMajor: 2, ContentLength: -1, Header: http.Header{"Content-Type": {"text/plain"}}, Body: r}, nil
		})
		start := time.Now()
		_, err := f.get(t.Context(), "example.com")
		requireReason(t, ReasonTimeout, err, "endless body")
		require.Equal(t, time.Minute, time.Since(start))
	})
}
