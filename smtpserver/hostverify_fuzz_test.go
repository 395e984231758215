package smtpserver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzVerifyHost makes worlds of a text and compares the verifier with the rules read
// one after the other. Each line is a PTR target, then how a question for its
// addresses ends: '=' with the peer among others, '!' with others, '?' with a
// failure, anything else: there is no such name. The first octet says the same of
// the PTR question: '?' a failure, '0' nothing, else the lines.
func FuzzVerifyHost(f *testing.F) {
	for _, seed := range []string{"", "?", "0", ".mx.example.com=", ".mx.example.com!", ".mx.example.com?", ".a=\nb?\nc!", ".a b=\nA.=\na=", ".\xff=\n1.2.3.4=",
		".9=\n8=\n7=\n6=\n5=\n4=\n3=\n2=\n1=\n0=\na=\nb?"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, world string, is6 bool) {
		peer, network := netip.MustParseAddr("192.0.2.7"), "ip4"
		if is6 {
			peer, network = netip.MustParseAddr("2001:db8::7"), "ip6"
		}
		dns := &fakeDNS{ptr: map[netip.Addr]fakePTR{}, addrs: map[string]fakeAddrs{}}
		ptr := fakePTR{}
		mode, rest := byte('0'), ""
		if world != "" {
			mode, rest = world[0], world[1:]
		}
		switch mode {
		case '?':
			ptr.err = errServFail
		case '0':
			ptr.err = errNXDomain
		default:
			for line := range strings.SplitSeq(rest, "\n") {
				if line == "" {
					continue
				}
				target, end := line[:len(line)-1], line[len(line)-1]
				ptr.names = append(ptr.names, target)
				key := network + " " + strings.ToLower(strings.TrimSuffix(target, "."))
				switch end { // the last line for a name counts
				case '=':
					dns.addrs[key] = fakeAddrs{addrs: []netip.Addr{peer.Next(), peer}}
				case '!':
					dns.addrs[key] = fakeAddrs{addrs: []netip.Addr{peer.Next(), peer.Prev()}}
				case '?':
					dns.addrs[key] = fakeAddrs{err: errServFail}
				default:
					delete(dns.addrs, key)
				}
			}
		}
		dns.ptr[peer] = ptr
		want := naiveHost(dns, peer, network)
		v := newHostVerifier(dns, 0, nil)
		got := v.verify(t.Context(), peer)
		require.Equal(t, want, got)
		require.LessOrEqual(t, dns.questions(), 1+MaxPTRNames)
		require.Equal(t, got, v.verify(t.Context(), peer), "remembered")
		for _, name := range got.Names {
			require.Empty(t, strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_."), "an octet that needs escaping")
		}
	})
}

// naiveHost reads the rules one after the other.
func naiveHost(dns *fakeDNS, peer netip.Addr, network string) Host {
	ptr := dns.ptr[peer]
	if ptr.err == errServFail {
		return Host{Status: PTRTempFail}
	}
	var good []string
	for _, target := range ptr.names {
		name := strings.ToLower(strings.TrimSuffix(target, "."))
		if naiveHostName(name) && !slices.Contains(good, name) {
			good = append(good, name)
		}
	}
	if len(good) == 0 {
		return Host{Status: NoPTR}
	}
	slices.Sort(good)
	if len(good) > 10 {
		good = good[:10]
	}
	host := Host{Status: PTRMismatch}
	for _, name := range good {
		a := dns.addrs[network+" "+name]
		if a.err != nil && host.Status == PTRMismatch {
			host.Status = PTRTempFail
		}
		if slices.Contains(a.addrs, peer) {
			host.Status = HostVerified
			host.Names = append(host.Names, name)
		}
	}
	return host
}

func naiveHostName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	_, err := netip.ParseAddr(name)
	return err != nil
}
