package tlsrpt

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/ssrf"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// receiverHost starts an https server with a certificate for a name, and returns a
// target of that name and a sender that finds it.
func receiverHost(t testing.TB, name string, handler http.Handler, mods ...testpki.Mod) (Target, *HTTPSender) {
	t.Helper()
	root := testpki.NewRoot("root")
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{root.Leaf([]string{name}, mods...).TLS()}}
	server.StartTLS()
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	target, _, problem := parseTarget("https://" + name + ":" + u.Port() + "/tlsrpt?x=%2C")
	require.Empty(t, problem)
	return target, &HTTPSender{RootCAs: testpki.Pool(root), AllowPrefixes: loopback,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, u.Host)
		}}
}

func TestHTTPSender(t *testing.T) {
	var got *Report
	var uri, media, encoding string
	target, sender := receiverHost(t, "reports.r.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uri, media, encoding = r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Content-Encoding")
		(&Receiver{Accept: func(_ context.Context, r *Report, _ []Warning) error { got = r; return nil }}).ServeHTTP(w, r)
	}))
	zipped, err := exampleReport().Gzip()
	require.NoError(t, err)
	unverified, err := sender.Send(t.Context(), target, zipped)
	require.NoError(t, err)
	require.NoError(t, unverified)
	require.Equal(t, exampleReport(), got)
	require.Equal(t, "/tlsrpt?x=%2C", uri)
	require.Equal(t, TypeGzip, media)
	require.Empty(t, encoding)
}

func TestHTTPStatus(t *testing.T) {
	for _, tc := range []struct {
		status    int
		ok, final bool
	}{
		{200, true, false}, {201, true, false}, {204, true, false}, {301, false, true}, {307, false, true}, {400, false, true}, {404, false, true},
		{408, false, false}, {410, false, true}, {425, false, false}, {429, false, false}, {500, false, false}, {503, false, false},
	} {
		hits := new(atomic.Int32)
		target, sender := receiverHost(t, "r.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hits.Add(1)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(tc.status)
		}))
		_, err := sender.Send(t.Context(), target, []byte("x"))
		require.Equal(t, tc.ok, err == nil, "%d: %v", tc.status, err)
		require.Equal(t, tc.final, permanent(err), "%d", tc.status)
		require.Equal(t, int32(1), hits.Load(), "no redirect is followed")
	}
}

func TestHTTPCertificates(t *testing.T) {
	hits := 0
	count := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ })
	expired := testpki.Valid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	target, sender := receiverHost(t, "r.example", count, expired)
	unverified, err := sender.Send(t.Context(), target, nil)
	require.NoError(t, err)
	result, _ := ResultOf(unverified)
	require.Equal(t, CertificateExpired, result)
	sender.Strict = true
	unverified, err = sender.Send(t.Context(), target, nil)
	require.ErrorIs(t, err, ErrUnverified)
	require.Error(t, unverified)
	require.False(t, permanent(err), "it may be renewed")
	require.Equal(t, 1, hits)
	sender.RootCAs = x509.NewCertPool()
	target.Host = "other.example"
	_, err = sender.Send(t.Context(), target, nil)
	require.ErrorIs(t, err, ErrUnverified)
}

// TestNoInsideAddresses: a record does not make us post into our own network.
func TestNoInsideAddresses(t *testing.T) {
	hits := 0
	target, sender := receiverHost(t, "r.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	sender.AllowPrefixes = nil
	_, err := sender.Send(t.Context(), target, nil)
	require.ErrorIs(t, err, ssrf.ErrBlocked, "a dialer of the caller's")
	for _, uri := range []string{"https://127.0.0.1:1/", "https://[::1]:1/", "https://169.254.169.254/", "https://[::ffff:10.0.0.1]/", "https://localhost:1/"} {
		target, _, problem := parseTarget(uri)
		require.Empty(t, problem, uri)
		_, err := new(HTTPSender).Send(t.Context(), target, nil)
		require.ErrorIs(t, err, ssrf.ErrBlocked, uri)
	}
	require.Zero(t, hits)
	for _, bad := range []Target{{}, {URI: "http://r.example/", Scheme: "http"}, {URI: "https://r.example/%zz", Scheme: "https", Host: "r.example"}} {
		_, err := new(HTTPSender).Send(t.Context(), bad, nil)
		require.ErrorIs(t, err, ErrPermanent)
	}
}

// TestHTTPBounds: a receiver that talks without end, or not at all, costs no more
// than the time that is given.
func TestHTTPBounds(t *testing.T) {
	target, sender := receiverHost(t, "r.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				return
			}
		}
	}))
	_, err := sender.Send(t.Context(), target, nil)
	require.NoError(t, err, "the status was 200")
	target, sender = receiverHost(t, "r.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 1<<20))
	}))
	_, err = sender.Send(t.Context(), target, nil)
	require.Error(t, err)
	stop := make(chan struct{})
	target, sender = receiverHost(t, "r.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	sender.Timeout = 50 * time.Millisecond
	_, err = sender.Send(t.Context(), target, nil)
	close(stop)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, permanent(err))
}

func TestReceiver(t *testing.T) {
	zipped, err := exampleReport().Gzip()
	require.NoError(t, err)
	plain, err := exampleReport().MarshalJSON()
	require.NoError(t, err)
	for _, tc := range []struct {
		why, method, media, coding string
		body                       []byte
		status                     int
	}{
		{"gzip", "POST", TypeGzip, "", zipped, 201},
		{"JSON", "POST", TypeJSON, "", plain, 201},
		{"gzip that is called JSON", "POST", "application/json; charset=utf-8", "", zipped, 201},
		{"JSON as content coding gzip", "POST", TypeJSON, "gzip", zipped, 201},
		{"no type", "POST", "", "", plain, 201},
		{"other type", "POST", "text/html", "", plain, 415},
		{"malformed type", "POST", "/;", "", plain, 415},
		{"other coding", "POST", TypeJSON, "br", plain, 415},
		{"other method", "GET", TypeJSON, "", nil, 405},
		{"no report", "POST", TypeJSON, "", []byte("{}"), 400},
		{"empty", "POST", TypeJSON, "", nil, 400},
		{"bomb", "POST", TypeGzip, "", bomb(t, 2<<20), 413},
		{"large", "POST", TypeJSON, "", bytes.Repeat([]byte(" "), 1<<20+1), 413},
		{"refused", "POST", TypeJSON, "", []byte(tolerated(`"i"`, `"refuse"`)), 503},
	} {
		t.Run(tc.why, func(t *testing.T) {
			var accepted, traced int
			h := &Receiver{
				Limits: Limits{Compressed: 1 << 20, Decompressed: 1 << 20},
				Accept: func(_ context.Context, r *Report, _ []Warning) error {
					accepted++
					if r.ID == "refuse" {
						return io.ErrClosedPipe
					}
					return nil
				},
				Trace: func(_ *http.Request, err error) { require.Error(t, err); traced++ },
			}
			server := httptest.NewServer(h)
			defer server.Close()
			for _, chunked := range []bool{false, true} {
				body := io.Reader(bytes.NewReader(tc.body))
				if chunked {
					body = io.MultiReader(body)
				}
				request, err := http.NewRequestWithContext(t.Context(), tc.method, server.URL, body)
				require.NoError(t, err)
				request.Header.Set("Content-Type", tc.media)
				request.Header.Set("Content-Encoding", tc.coding)
				response, err := server.Client().Do(request)
				require.NoError(t, err)
				response.Body.Close()
				require.Equal(t, tc.status, response.StatusCode)
			}
			if tc.status == 201 {
				require.Equal(t, [2]int{2, 0}, [2]int{accepted, traced})
			} else {
				require.Equal(t, 2, traced)
			}
		})
	}
}
