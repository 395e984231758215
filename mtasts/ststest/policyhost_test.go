package ststest

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/stretchr/testify/require"
)

const (
	domain   = "partner.example"
	goodText = "version: STSv1\nmode: enforce\nmx: *.partner.example\nmax_age: 604800\n"
)

func world(t *testing.T) (*Resolver, *PolicyHost) {
	t.Helper()
	dns, host := new(Resolver), NewPolicyHost()
	t.Cleanup(host.Close)
	dns.SetTXT(domain, "v=STSv1; id=1;")
	host.SetPolicy(domain, goodText)
	return dns, host
}

func lookup(t *testing.T, dns *Resolver, host *PolicyHost, fetch mtasts.FetchConfig) mtasts.Result {
	t.Helper()
	client := &mtasts.Client{Resolver: dns, Fetch: fetch}
	result, err := client.Lookup(t.Context(), domain)
	require.NoError(t, err)
	return result
}

func TestGood(t *testing.T) {
	dns, host := world(t)
	result := lookup(t, dns, host, host.FetchConfig())
	require.Equal(t, mtasts.OutcomeEnforce, result.Outcome, "%v", result.Err)
	require.Equal(t, goodText, string(result.Body))
	require.Equal(t, 1, dns.Queries("Partner.Example."))
	require.Equal(t, 1, host.Gets("Partner.Example."))
	require.Zero(t, dns.Queries("other.example"))
	require.Zero(t, host.Gets("other.example"))
}

// TestFaults: a client names each fault as its comment says.
func TestFaults(t *testing.T) {
	const early, late = 0, 1 // GETs that arrive
	want := map[Fault]struct {
		reason string
		gets   int
	}{
		FaultRefused: {mtasts.ReasonConnect, early}, FaultSilent: {mtasts.ReasonTimeout, early},
		FaultHandshake: {mtasts.ReasonTLS, early}, FaultOldTLS: {mtasts.ReasonTLS, early},
		FaultExpired: {mtasts.ReasonCert, early}, FaultWrongName: {mtasts.ReasonCert, early}, FaultSelfSigned: {mtasts.ReasonCert, early},
		FaultNotFound: {mtasts.ReasonStatus, late}, FaultServerError: {mtasts.ReasonStatus, late},
		FaultRedirect: {mtasts.ReasonRedirect, late}, FaultMediaType: {mtasts.ReasonMediaType, late}, FaultNoType: {mtasts.ReasonMediaType, late},
		FaultGzip: {mtasts.ReasonContentCoding, late}, FaultHiddenGzip: {mtasts.ReasonSyntax, late},
		FaultUnframed: {mtasts.ReasonUnframed, late}, FaultTruncated: {mtasts.ReasonBodyRead, late}, FaultEmpty: {mtasts.ReasonEmpty, late},
		FaultTooLarge: {mtasts.ReasonTooLarge, late}, FaultBigHeader: {mtasts.ReasonTooLarge, late}, FaultInterim: {mtasts.ReasonTooLarge, late},
		FaultHang: {mtasts.ReasonTimeout, late}, FaultDrip: {mtasts.ReasonTimeout, late}, FaultNoHTTP: {mtasts.ReasonBodyRead, late},
	}
	for fault := FaultNone + 1; fault < faults; fault++ {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			require.Contains(t, want, fault)
			dns, host := world(t)
			host.SetFault(domain, fault)
			fetch := host.FetchConfig()
			switch fault { // those that end with the client's patience
			case FaultSilent:
				fetch.HandshakeTimeout = 300 * time.Millisecond
			case FaultHang:
				fetch.HeaderTimeout = 300 * time.Millisecond
			case FaultDrip:
				fetch.Timeout = time.Second
			}
			result := lookup(t, dns, host, fetch)
			require.Equal(t, want[fault].reason, result.Reason, "%v", result.Err)
			require.Nil(t, result.Policy)
			require.Equal(t, want[fault].gets, host.Gets(domain))

			host.SetFault(domain, FaultNone)
			result = lookup(t, dns, host, host.FetchConfig())
			require.Equal(t, mtasts.OutcomeEnforce, result.Outcome, "after the fault: %v", result.Err)
		})
	}
}

// TestFaultsAreAlone: what makes the client refuse is the fault and nothing else.
func TestFaultsAreAlone(t *testing.T) {
	dns, host := world(t)
	host.SetFault(domain, FaultMediaType)
	fetch := host.FetchConfig()
	fetch.AnyMediaType = true
	require.Equal(t, mtasts.OutcomeEnforce, lookup(t, dns, host, fetch).Outcome)

	host.SetFault(domain, FaultTooLarge)
	body := get(t, host, policyPath)
	require.Len(t, body, largestBody+1)
	_, err := mtasts.ParsePolicy([]byte(body))
	require.NoError(t, err, "too large and otherwise good")

	host.SetFault(domain, FaultRedirect)
	require.Equal(t, goodText, get(t, host, policyPath), "a client that follows finds the policy")
}

// get is a client that is less careful.
func get(t *testing.T, host *PolicyHost, path string) string {
	t.Helper()
	config := host.FetchConfig()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.DialContext, transport.TLSClientConfig.RootCAs = nil, config.DialContext, config.RootCAs
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://mta-sts." + domain + path)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

func TestUnknownPath(t *testing.T) {
	_, host := world(t)
	require.Equal(t, "not found\n", get(t, host, "/"))
	require.Equal(t, "not found\n", get(t, host, movedPath))
	require.Zero(t, host.Gets(domain))
}

// TestCloseEndsHangs: Close waits for nobody's patience.
func TestCloseEndsHangs(t *testing.T) {
	for _, fault := range []Fault{FaultSilent, FaultHang, FaultDrip} {
		dns, host := world(t)
		host.SetFault(domain, fault)
		arrived := make(chan struct{})
		config := host.FetchConfig()
		dial := config.DialContext
		done := make(chan mtasts.Result)
		client := &mtasts.Client{Resolver: dns, Fetch: config}
		client.Fetch.DialContext = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			conn, err = dial(ctx, network, address)
			close(arrived)
			return conn, err
		}
		go func() {
			result, _ := client.Lookup(context.Background(), domain)
			done <- result
		}()
		<-arrived
		host.Close()
		require.Nil(t, (<-done).Policy, fault)
	}
}

func TestTXTFaults(t *testing.T) {
	dns, host := world(t)
	for fault, want := range map[TXTFault]mtasts.Outcome{
		TXTGood:       mtasts.OutcomeEnforce,
		TXTNoData:     mtasts.OutcomeNoRecord,
		TXTServFail:   mtasts.OutcomeDNSError,
		TXTRefused:    mtasts.OutcomeDNSError,
		TXTTimeout:    mtasts.OutcomeDNSError,
		TXTUnreadable: mtasts.OutcomeDNSError,
		TXTPanic:      mtasts.OutcomeDNSError,
	} {
		dns.SetFault(domain, fault)
		require.Equal(t, want, lookup(t, dns, host, host.FetchConfig()).Outcome, fault)
	}
	dns.SetFault(domain, TXTHang)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := dns.LookupTXT(ctx, "_mta-sts."+domain)
	require.ErrorIs(t, err, context.Canceled)
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = dns.LookupTXT(ctx, "_mta-sts."+domain)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	dns.SetFault(domain, TXTGood)
	dns.SetTXT(domain)
	require.Equal(t, mtasts.OutcomeNoRecord, lookup(t, dns, host, host.FetchConfig()).Outcome, "NXDOMAIN")
	dns.SetTXT(domain, "v=STSv1; id=1;", "v=STSv1; id=2;")
	require.Equal(t, mtasts.OutcomeMultipleRecords, lookup(t, dns, host, host.FetchConfig()).Outcome)
	_, err = dns.LookupTXT(t.Context(), domain)
	require.Error(t, err, "no MTA-STS name")
}

func TestFaultNames(t *testing.T) {
	seen := map[string]bool{}
	for f := range faults {
		require.NotEmpty(t, f.String())
		require.False(t, seen[f.String()], f.String())
		seen[f.String()] = true
	}
	require.Equal(t, "hang", TXTHang.String())
	require.Equal(t, "panic", TXTPanic.String())
	require.Equal(t, "fault 200", Fault(200).String())
}
