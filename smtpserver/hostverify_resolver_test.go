package smtpserver

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// TestNetResolver verifies peers with the resolver of the standard library over real
// DNS messages.
func TestNetResolver(t *testing.T) {
	zone := map[string][]string{ // answers by question, in the order of the answer section
		"7.2.0.192.in-addr.arpa. PTR": {"7.2.0.192.in-addr.arpa. 60 IN PTR mx.example.com."},
		"mx.example.com. A":           {"mx.example.com. 60 IN A 192.0.2.7"},
		// RFC 2317 section 4: the zone of a customer with less than 256 addresses.
		"8.2.0.192.in-addr.arpa. PTR": {"8.2.0.192.in-addr.arpa. 60 IN CNAME 8.0-15.2.0.192.in-addr.arpa.", "8.0-15.2.0.192.in-addr.arpa. 60 IN PTR alias.example.com."},
		"alias.example.com. A":        {"alias.example.com. 60 IN CNAME real.example.com.", "real.example.com. 60 IN A 192.0.2.8"},
		"9.2.0.192.in-addr.arpa. PTR": {`9.2.0.192.in-addr.arpa. 60 IN PTR bad\032name.example.com.`},
		"10.2.0.192.in-addr.arpa. PTR": {`10.2.0.192.in-addr.arpa. 60 IN PTR bad\032name.example.com.`, "10.2.0.192.in-addr.arpa. 60 IN PTR good.example.com.",
			`10.2.0.192.in-addr.arpa. 60 IN PTR 250\013\010ok.example.com.`},
		"good.example.com. A":              {"good.example.com. 60 IN A 192.0.2.10"},
		"11.2.0.192.in-addr.arpa. PTR":     nil,
		"13.2.0.192.in-addr.arpa. PTR":     {"13.2.0.192.in-addr.arpa. 60 IN PTR broken.example.com."},
		"14.2.0.192.in-addr.arpa. PTR":     {"14.2.0.192.in-addr.arpa. 60 IN PTR six.example.com."},
		"six.example.com. A":               nil,
		"six.example.com. AAAA":            {"six.example.com. 60 IN AAAA 2001:db8::7"},
		reverse(t, "2001:db8::7") + " PTR": {reverse(t, "2001:db8::7") + " 60 IN PTR six.example.com."},
		"17.2.0.192.in-addr.arpa. PTR":     {"17.2.0.192.in-addr.arpa. 60 IN PTR ms.example.com."},
		"ms.example.com. A":                {"ms.example.com. 60 IN A 192.0.2.17", "ms.example.com. 60 IN A 192.0.2.18"},
	}
	rcodes := map[string]int{"12.2.0.192.in-addr.arpa. PTR": dns.RcodeServerFailure, "broken.example.com. A": dns.RcodeServerFailure, "15.2.0.192.in-addr.arpa. PTR": dns.RcodeRefused}
	addr := serveDNS(t, func(question string) ([]string, int) {
		answer, ok := zone[question]
		if !ok && rcodes[question] == 0 {
			return nil, dns.RcodeNameError
		}
		return answer, rcodes[question]
	})
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}}
	v := newHostVerifier(netResolver{resolver}, 0, nil)
	tests := []struct {
		peer, why string
		want      Host
	}{
		{"192.0.2.7", "PTR and A", Host{Names: []string{"mx.example.com"}, Status: HostVerified}},
		{"192.0.2.8", "CNAMEs in both directions: the name is the target of PTR", Host{Names: []string{"alias.example.com"}, Status: HostVerified}},
		{"192.0.2.9", "a malformed name alone", Host{Status: NoPTR}},
		{"192.0.2.10", "a good name between malformed ones", Host{Names: []string{"good.example.com"}, Status: HostVerified}},
		{"192.0.2.11", "no data", Host{Status: NoPTR}},
		{"192.0.2.99", "NXDOMAIN", Host{Status: NoPTR}},
		{"192.0.2.12", "SERVFAIL for PTR", Host{Status: PTRTempFail}},
		{"192.0.2.15", "REFUSED for PTR", Host{Status: PTRTempFail}},
		{"192.0.2.13", "SERVFAIL for A", Host{Status: PTRTempFail}},
		{"192.0.2.14", "only AAAA for an IPv4 peer", Host{Status: PTRMismatch}},
		{"2001:db8::7", "ip6.arpa and AAAA", Host{Names: []string{"six.example.com"}, Status: HostVerified}},
		{"192.0.2.17", "one of several addresses", Host{Names: []string{"ms.example.com"}, Status: HostVerified}},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			require.Equal(t, tt.want, v.verify(t.Context(), netip.MustParseAddr(tt.peer)))
		})
	}
}

func reverse(t *testing.T, addr string) string {
	name, err := dns.ReverseAddr(addr)
	require.NoError(t, err)
	return name
}

// serveDNS answers questions, given as "name. TYPE", with records in text form.
func serveDNS(t *testing.T, answer func(question string) (records []string, rcode int)) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		q := query.Question[0]
		records, rcode := answer(q.Name + " " + dns.TypeToString[q.Qtype])
		reply := new(dns.Msg).SetRcode(query, rcode)
		reply.RecursionAvailable = true
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			reply.Answer = append(reply.Answer, rr)
		}
		_ = w.WriteMsg(reply)
	})
	started := make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: handler, NotifyStartedFunc: func() { close(started) }}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		require.NoError(t, server.Shutdown())
		require.NoError(t, <-done)
	})
	return conn.LocalAddr().String()
}
