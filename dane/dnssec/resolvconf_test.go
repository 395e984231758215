package dnssec

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseResolvConf(t *testing.T) {
	servers := func(addrs ...string) (list []netip.AddrPort) {
		for _, a := range addrs {
			list = append(list, netip.AddrPortFrom(netip.MustParseAddr(a), 53))
		}
		return list
	}
	for _, c := range []struct {
		text string
		want resolvConf
		why  string
	}{
		{"", resolvConf{}, "empty"},
		{"nameserver 192.0.2.1\nnameserver 2001:db8::1\n", resolvConf{servers: servers("192.0.2.1", "2001:db8::1")}, "both families"},
		{"nameserver fe80::1%eth0", resolvConf{servers: servers("fe80::1%eth0")}, "a zone, and no newline at the end"},
		{"nameserver\t192.0.2.1  # comment\r\n", resolvConf{servers: servers("192.0.2.1")}, "tabs, a tail, CR"},
		{"#nameserver 192.0.2.1\n;nameserver 192.0.2.2\n", resolvConf{}, "comments"},
		{"nameserver example\nnameserver 192.0.2.256\nnameserver\nnameserver 192.0.2.1:53\n", resolvConf{}, "no addresses"},
		{"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
			resolvConf{servers: servers("192.0.2.1", "192.0.2.2", "192.0.2.3")}, "three at most, as in glibc"},
		{"nameserver fe80::1%" + strings.Repeat("x", 100), resolvConf{}, "no zone is that long"},
		{"search example\ndomain example\nsortlist 192.0.2.0\n", resolvConf{}, "not for us"},
		{"options trust-ad", resolvConf{trustAD: true}, ""},
		{"options ndots:2 edns0\toptions trust-ad use-vc", resolvConf{trustAD: true, tcpOnly: true}, "among others"},
		{"options\n", resolvConf{}, "none"},
		{"options trust-ad:0 trust-adx no-trust-ad", resolvConf{}, "not the same option"},
		{"#options trust-ad\nsearch options trust-ad\n", resolvConf{}, "not an options line"},
		{"options timeout:5 attempts:3", resolvConf{timeout: 5 * time.Second, attempts: 3}, ""},
		{"options timeout:100000 attempts:100000", resolvConf{timeout: maxConfTimeout, attempts: maxConfAttempts}, "capped as in glibc"},
		{"options timeout:0 attempts:-1", resolvConf{}, "no use"},
		{"options timeout: attempts:x timeout:99999999999999999999", resolvConf{}, "no numbers"},
	} {
		require.Equal(t, c.want, parseResolvConf([]byte(c.text)), c.why)
	}
}

// A file without end is read to a bound.
func TestResolvConfBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	text := "nameserver 192.0.2.1\n" + strings.Repeat("#\n", maxConfOctets/2) + "nameserver 192.0.2.2\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	conf, _, err := readResolvConf(path)
	require.NoError(t, err)
	require.Len(t, conf.servers, 1)
}

// Nothing in the file makes more servers than three, a server that cannot be used, or a time out of bounds; trust is not
// read out of a text without its word; and lines in front do not change what a line means.
func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 127.0.0.1\noptions trust-ad timeout:3 attempts:2 use-vc\n")
	f.Add("nameserver fe80::1%eth0 \n;x\n#y\noptions")
	f.Fuzz(func(t *testing.T, text string) {
		conf := parseResolvConf([]byte(text))
		require.LessOrEqual(t, len(conf.servers), maxNameservers)
		for _, server := range conf.servers {
			require.True(t, server.IsValid())
			require.EqualValues(t, dnsPort, server.Port())
		}
		require.GreaterOrEqual(t, conf.timeout, time.Duration(0))
		require.LessOrEqual(t, conf.timeout, maxConfTimeout)
		require.LessOrEqual(t, conf.attempts, maxConfAttempts)
		require.GreaterOrEqual(t, conf.attempts, 0)
		if !strings.Contains(text, "trust-ad") {
			require.False(t, conf.trustAD)
		}
		if len(text) < maxConfOctets/2 {
			require.Equal(t, conf, parseResolvConf([]byte("# comment\n\nsearch example\n"+text)))
		}
	})
}
