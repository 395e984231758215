package lab

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const goodPolicy = "version: STSv1\r\nmode: enforce\r\nmx: mx.partner.example\r\nmax_age: 604800\r\n"

// startPolicy runs partner.example with one mail host and this policy.
func startPolicy(t *testing.T, p Policy) (*Lab, *PolicyHost) {
	t.Helper()
	l := start(t, World{Domains: []Domain{{Name: "partner.example", Hosts: []Host{{Name: "mx.partner.example"}}, Policy: &p}}})
	return l, l.PolicyHost("partner.example")
}

// fetch gets the policy as a sender would: name resolved in the lab, certificate
// checked, no redirect followed, body as it is.
func fetch(t *testing.T, ctx context.Context, l *Lab, url string) (*http.Response, string, error) {
	t.Helper()
	client := http.Client{
		Transport: &http.Transport{DialContext: l.DialContext, TLSClientConfig: &tls.Config{RootCAs: l.Roots()},
			DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func TestPolicyFaults(t *testing.T) {
	for fault := range policyFaults {
		t.Run(fault.String(), func(t *testing.T) {
			l, h := startPolicy(t, Policy{Fault: fault})
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			stalls := fault == PolicyStall || fault == PolicyStallBody || fault == PolicyBlackhole
			if stalls {
				ctx, cancel = context.WithTimeout(ctx, 4*silence)
				defer cancel()
			}
			response, body, err := fetch(t, ctx, l, h.URL())
			status, kind := 0, ""
			if response != nil {
				status, kind = response.StatusCode, response.Header.Get("Content-Type")
			}
			gets := 1
			switch fault {
			case PolicyGood:
				require.NoError(t, err)
				require.Equal(t, goodPolicy, body)
				require.Equal(t, "text/plain; charset=utf-8", kind)
			case PolicyOversized:
				require.NoError(t, err)
				require.Len(t, body, 65537)
				require.True(t, strings.HasPrefix(body, goodPolicy))
				for line := range strings.Lines(body) {
					require.Regexp(t, `^[a-z_]+: [^ \r\n]+\r\n$`, line)
				}
			case PolicyMalformed:
				require.NoError(t, err)
				require.NotContains(t, body, "version")
			case PolicyEmpty:
				require.NoError(t, err)
				require.Empty(t, body)
			case PolicyNotFound:
				require.Equal(t, http.StatusNotFound, status)
			case PolicyServerError:
				require.Equal(t, http.StatusInternalServerError, status)
				require.Equal(t, goodPolicy, body)
			case PolicyRedirect:
				require.Equal(t, http.StatusFound, status)
				target, err := response.Location()
				require.NoError(t, err)
				_, body, err = fetch(t, ctx, l, target.String())
				require.NoError(t, err)
				require.Equal(t, goodPolicy, body, "who follows finds a policy")
			case PolicyWrongType:
				require.NoError(t, err)
				require.Equal(t, "text/html; charset=utf-8", kind)
			case PolicyNoType:
				require.NoError(t, err)
				require.NotContains(t, response.Header, "Content-Type")
				require.Equal(t, goodPolicy, body)
			case PolicyGzip:
				require.NoError(t, err)
				require.Equal(t, "gzip", response.Header.Get("Content-Encoding"))
				require.Equal(t, compressed(goodPolicy), body)
			case PolicyUnframed:
				require.NoError(t, err)
				require.EqualValues(t, -1, response.ContentLength)
				require.Empty(t, response.TransferEncoding)
				require.Equal(t, goodPolicy, body)
			case PolicyCut:
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			case PolicyStall, PolicyStallBody:
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, fault == PolicyStallBody, response != nil)
			case PolicyOldTLS:
				require.ErrorContains(t, err, "protocol version")
				gets = 0
			case PolicyTLSAlert:
				require.ErrorContains(t, err, "remote error: tls")
				gets = 0
			case PolicyRefused:
				require.ErrorIs(t, err, syscall.ECONNREFUSED)
				gets = 0
			case PolicyBlackhole:
				require.ErrorIs(t, err, context.DeadlineExceeded)
				gets = 0
			default:
				t.Fatal("no check for this fault")
			}
			require.Equal(t, gets, h.Gets())
			if fault != PolicyRedirect {
				require.Equal(t, 1, h.Dials())
			}
		})
	}
	require.Equal(t, "policy fault 99", PolicyFault(99).String())
}

func TestPolicyCertificates(t *testing.T) {
	for _, test := range []struct {
		kind  CertKind
		check func(*testing.T, error)
	}{
		{CertGood, func(t *testing.T, err error) { require.NoError(t, err) }},
		{CertWrongName, isHostname},
		{CertExpired, isExpired},
		{CertSelfSigned, isUnknownAuthority},
	} {
		t.Run(test.kind.String(), func(t *testing.T) {
			l, h := startPolicy(t, Policy{Cert: Cert{Kind: test.kind}})
			_, _, err := fetch(t, context.Background(), l, h.URL())
			test.check(t, err)
			require.NoError(t, h.SetCert(Cert{}))
			_, _, err = fetch(t, context.Background(), l, h.URL())
			require.NoError(t, err)
			require.Error(t, h.SetCert(Cert{Kind: 99}))
		})
	}
}

func TestPolicyText(t *testing.T) {
	d := &Domain{Name: "a.example", Hosts: []Host{{Name: "mx1.a.example"}, {Name: "mx2.a.example"}}}
	for _, test := range []struct {
		name   string
		policy Policy
		text   string
	}{
		{"defaults", Policy{}, "version: STSv1\r\nmode: enforce\r\nmx: mx1.a.example\r\nmx: mx2.a.example\r\nmax_age: 604800\r\n"},
		{"fields", Policy{Mode: "testing", MX: []string{"*.b.example"}, MaxAge: time.Minute}, "version: STSv1\r\nmode: testing\r\nmx: *.b.example\r\nmax_age: 60\r\n"},
		{"own text", Policy{Mode: "testing", Text: "x"}, "x"},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.text, test.policy.text(d)) })
	}
	implicit := &Domain{Name: "b.example", NoMX: true}
	require.Contains(t, (&Policy{}).text(implicit), "mx: b.example\r\n")
}

// A policy and its record change while the lab runs.
func TestSetPolicy(t *testing.T) {
	ctx := context.Background()
	l, h := startPolicy(t, Policy{ID: "first"})
	require.Equal(t, []string{"v=STSv1; id=first;"}, lookupTXT(t, l, "_mta-sts.partner.example"))
	require.NoError(t, l.SetPolicy("partner.example", Policy{Mode: "none", ID: "second"}))
	require.Equal(t, []string{"v=STSv1; id=second;"}, lookupTXT(t, l, "_mta-sts.partner.example"))
	_, body, err := fetch(t, ctx, l, h.URL())
	require.NoError(t, err)
	require.Contains(t, body, "mode: none\r\n")

	h.SetText("anything")
	h.SetFault(PolicyServerError)
	response, body, err := fetch(t, ctx, l, h.URL())
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, response.StatusCode)
	require.Equal(t, "anything", body)
	require.Equal(t, 2, h.Gets())

	require.ErrorContains(t, l.SetPolicy("nobody.example", Policy{}), "nobody.example")
}

func TestPolicyHostServesOnlyThePolicy(t *testing.T) {
	l, h := startPolicy(t, Policy{})
	response, _, err := fetch(t, context.Background(), l, "https://"+h.Name()+"/")
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, response.StatusCode)
	require.Zero(t, h.Gets())
}
