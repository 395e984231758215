package mtasts

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func weekPolicy() *Policy {
	return &Policy{Mode: ModeEnforce, MaxAge: 7 * 24 * time.Hour, MX: []string{"*.example.com"}}
}

func ask(p *Publisher, method, host, target string, header http.Header) *http.Response {
	r := httptest.NewRequest(method, "https://placeholder.example"+target, nil)
	r.Host = host
	if header != nil {
		r.Header = header
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

func TestPublisher(t *testing.T) {
	policy := weekPolicy()
	p := &Publisher{Source: Policies{"example.com": policy, "xn--bcher-kva.example": policy}}
	const host = "mta-sts.example.com"
	for _, tc := range []struct {
		why, method, host, target string
		status                    int
	}{
		{"GET", "GET", host, policyPath, 200},
		{"HEAD", "HEAD", host, policyPath, 200},
		{"port", "GET", host + ":443", policyPath, 200},
		{"final dot", "GET", host + ".", policyPath, 200},
		{"final dot and port", "GET", host + ".:8443", policyPath, 200},
		{"letter case", "GET", "MTA-STS.Example.COM", policyPath, 200},
		{"A-label", "GET", "mta-sts.xn--bcher-kva.example", policyPath, 200},
		{"query is no part of the path", "GET", host, policyPath + "?x=y", 200},
		{"POST", "POST", host, policyPath, 405},
		{"PUT", "PUT", host, policyPath, 405},
		{"OPTIONS", "OPTIONS", host, policyPath, 405},
		{"U-label", "GET", "mta-sts.b\u00fccher.example", policyPath, 404},
		{"no prefix", "GET", "example.com", policyPath, 404},
		{"prefix alone", "GET", "mta-sts.", policyPath, 404},
		{"prefix without dot", "GET", "mta-stsexample.com", policyPath, 404},
		{"prefix twice", "GET", "mta-sts.mta-sts.example.com", policyPath, 404},
		{"two final dots", "GET", host + "..", policyPath, 404},
		{"parent has none", "GET", "mta-sts.sub.example.com", policyPath, 404},
		{"unknown", "GET", "mta-sts.other.example", policyPath, 404},
		{"unknown, POST", "POST", "mta-sts.other.example", policyPath, 404},
		{"address", "GET", "[2001:db8::1]:443", policyPath, 404},
		{"malformed host", "GET", "mta-sts.example.com:1:2", policyPath, 404},
		{"no host", "GET", "", policyPath, 404},
		{"root", "GET", host, "/", 404},
		{"slash behind", "GET", host, policyPath + "/", 404},
		{"letter case of the path", "GET", host, "/.well-known/MTA-STS.txt", 404},
		{"escaped path", "GET", host, "/.well-known/mta%2dsts.txt", 404},
		{"doubled slash is not mended by a redirect", "GET", host, "//.well-known/mta-sts.txt", 404},
		{"dot segment", "GET", host, "/.well-known/./mta-sts.txt", 404},
	} {
		response := ask(p, tc.method, tc.host, tc.target, nil)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, tc.status, response.StatusCode, tc.why)
		require.Empty(t, response.Header.Get("Location"), tc.why)
		switch tc.status {
		case 200:
			require.Equal(t, http.Header{
				"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {strconv.Itoa(len(policy.String()))},
				"Cache-Control": {"max-age=60"}, "X-Content-Type-Options": {"nosniff"},
			}, response.Header, tc.why)
			if tc.method == "GET" {
				require.Equal(t, policy.String(), string(body), tc.why)
			} else {
				require.Empty(t, body, tc.why)
			}
		case 405:
			require.Equal(t, "GET, HEAD", response.Header.Get("Allow"), tc.why)
		}
	}
}

func TestPublisherIgnoresConditionsAndCoding(t *testing.T) {
	p := &Publisher{Source: Policies{"example.com": weekPolicy()}}
	response := ask(p, "GET", "mta-sts.example.com", policyPath, http.Header{
		"If-None-Match": {"*"}, "If-Modified-Since": {"Fri, 01 Jan 2100 00:00:00 GMT"}, "Range": {"bytes=0-3"}, "Accept-Encoding": {"gzip"}, "Accept": {"image/png"},
	})
	require.Equal(t, 200, response.StatusCode)
	require.Empty(t, response.Header.Get("Content-Encoding"))
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, weekPolicy().String(), string(body))
}

type sourceFunc func(context.Context, string) (*Policy, bool, error)

func (f sourceFunc) Policy(ctx context.Context, domain string) (*Policy, bool, error) {
	return f(ctx, domain)
}

// A Source with a policy for whatever name a client chooses fills no memory.
func TestPublisherOfEveryName(t *testing.T) {
	policy := weekPolicy()
	p := &Publisher{Source: sourceFunc(func(context.Context, string) (*Policy, bool, error) { return policy, true, nil })}
	for i := range 2*maxRendered + 1 {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "https://mta-sts.d"+strconv.Itoa(i)+".example.com"+policyPath, nil)
		p.ServeHTTP(w, r)
		require.Equal(t, 200, w.Code)
		require.LessOrEqual(t, len(p.rendered), maxRendered)
	}
}

func TestPublisherSourceFails(t *testing.T) {
	var log bytes.Buffer
	p := &Publisher{Logger: slog.New(slog.NewTextHandler(&log, nil)), Source: sourceFunc(func(context.Context, string) (*Policy, bool, error) {
		return nil, false, errors.New("database down")
	})}
	response := ask(p, "GET", "mta-sts.example.com", policyPath, nil)
	require.Equal(t, 503, response.StatusCode, "not 404: an outage is no removal")
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NotContains(t, string(body), "database")
	require.Contains(t, log.String(), "database down")
	p = &Publisher{Source: Policies{"example.com": {Mode: ModeEnforce}}}
	require.Equal(t, 503, ask(p, "GET", "mta-sts.example.com", policyPath, nil).StatusCode, "never half a policy")
}

func TestPublisherRendersOnce(t *testing.T) {
	source := Policies{"example.com": weekPolicy()}
	p := &Publisher{Source: source}
	first, err := p.render("example.com", source["example.com"])
	require.NoError(t, err)
	again, err := p.render("example.com", source["example.com"])
	require.NoError(t, err)
	require.Same(t, &first[0], &again[0])
	next := weekPolicy()
	next.Mode = ModeTesting
	changed, err := p.render("example.com", next)
	require.NoError(t, err)
	require.Equal(t, next.String(), string(changed))
	require.Len(t, p.rendered, 1)
}

// TestPublisherAndClient: what we publish, we fetch.
func TestPublisherAndClient(t *testing.T) {
	policy := weekPolicy()
	server := httptest.NewUnstartedServer(&Publisher{Source: Policies{"example.com": policy}})
	server.TLS = &tls.Config{Certificates: []tls.Certificate{exampleLeaf()}}
	server.StartTLS()
	defer server.Close()
	dns := newDNS()
	record, err := RecordFor(policy)
	require.NoError(t, err)
	dns.set("example.com", record)
	dns.addrs["mta-sts.example.com."] = []netip.Addr{netip.MustParseAddr("192.0.2.10")}
	c := &Client{Resolver: dns, StrictPolicy: true, Fetch: labConfig(map[string]net.Listener{"192.0.2.10:443": server.Listener})}
	r, err := c.Lookup(t.Context(), "example.com")
	require.NoError(t, err)
	require.NoError(t, r.Err)
	require.True(t, policy.Equal(r.Policy))
	id, err := PolicyID(policy)
	require.NoError(t, err)
	require.Equal(t, id, r.ID)
}

func TestPolicyIDAndRecordFor(t *testing.T) {
	a, b := weekPolicy(), weekPolicy()
	b.MX = []string{"*.EXAMPLE.com"}
	ida, err := PolicyID(a)
	require.NoError(t, err)
	idb, err := PolicyID(b)
	require.NoError(t, err)
	require.Equal(t, ida, idb, "same text")
	require.Len(t, ida, 32)
	b.MaxAge++
	_, err = PolicyID(b)
	require.Error(t, err)
	b.MaxAge += time.Second - 1
	idb, err = PolicyID(b)
	require.NoError(t, err)
	require.NotEqual(t, ida, idb)
	text, err := RecordFor(a)
	require.NoError(t, err)
	require.Len(t, text, 45)
	record, err := ParseRecord(text)
	require.NoError(t, err)
	require.Equal(t, ida, record.ID)
	_, err = RecordFor(new(Policy))
	require.Error(t, err)
}

func TestCNAMEs(t *testing.T) {
	got, err := CNAMEs("User.example.", "provider.example")
	require.NoError(t, err)
	require.Equal(t, [2]CNAME{
		{"_mta-sts.user.example.", "_mta-sts.provider.example."},
		{"mta-sts.user.example.", "mta-sts.provider.example."},
	}, got)
	_, err = CNAMEs("a b", "provider.example")
	require.ErrorIs(t, err, ErrDomain)
	_, err = CNAMEs("user.example", "192.0.2.1")
	require.ErrorIs(t, err, ErrDomain)
}

// FuzzPublisher: whatever the request, the status is one of four, 200 comes with
// the whole policy and only for the policy's host and path.
func FuzzPublisher(f *testing.F) {
	for _, s := range [][3]string{
		{"GET", "mta-sts.example.com", policyPath}, {"HEAD", "MTA-STS.EXAMPLE.COM.:1", policyPath + "?a"}, {"POST", "mta-sts.example.com", policyPath},
		{"GET", "mta-sts.example.com:", "/.well-known/../.well-known/mta-sts.txt"}, {"GET", "[::1]", "/"}, {"GET", "mta-sts.\x00", "/%"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	policy := weekPolicy()
	p := &Publisher{Source: Policies{"example.com": policy}}
	f.Fuzz(func(t *testing.T, method, host, target string) {
		r, err := http.NewRequest(method, "https://placeholder.example"+target, nil)
		if err != nil || r.URL.Host != "placeholder.example" {
			return
		}
		r.Host = host
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		require.Contains(t, []int{200, 404, 405}, w.Code)
		require.Empty(t, w.Header().Get("Location"))
		if w.Code != 200 {
			require.NotContains(t, w.Body.String(), "STSv1")
			return
		}
		require.True(t, strings.HasPrefix(strings.ToLower(host), "mta-sts.example.com"))
		require.Equal(t, policyPath, r.URL.Path)
		if r.Method == "HEAD" {
			require.Empty(t, w.Body.String())
			return
		}
		require.Equal(t, "GET", r.Method)
		require.Equal(t, policy.String(), w.Body.String())
	})
}

func BenchmarkPublisher(b *testing.B) {
	policy := weekPolicy()
	p := &Publisher{Source: Policies{"example.com": policy}}
	r := httptest.NewRequest("GET", "https://mta-sts.example.com"+policyPath, nil)
	b.ReportAllocs()
	for b.Loop() {
		p.ServeHTTP(httptest.NewRecorder(), r)
	}
}
