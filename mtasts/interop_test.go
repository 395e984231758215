//go:build interop

package mtasts

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// webSites are the policy hosts that a foreign web server serves, each a virtual
// host mta-sts.<domain>, and what our Client makes of them.
var webSites = []struct {
	why, domain, file string
	outcome           Outcome
	reason            string
}{
	{"plain file, LF, though compression is configured", "good.example", "version: STSv1\nmode: enforce\nmx: *.good.example\nmax_age: 604800\n", OutcomeEnforce, ""},
	{"our canonical text", "canonical.example", weekPolicy().String(), OutcomeEnforce, ""},
	{"as large as may be", "large.example", weekPolicy().String() + "x: " + strings.Repeat("x", maxBody-len(weekPolicy().String())-5) + "\r\n", OutcomeEnforce, ""},
	{"one octet larger", "larger.example", weekPolicy().String() + "x: " + strings.Repeat("x", maxBody-len(weekPolicy().String())-4) + "\r\n", OutcomeFetchError, ReasonTooLarge},
	{"wrong content type", "type.example", weekPolicy().String(), OutcomeFetchError, ReasonMediaType},
	{"redirect to a good policy", "redirect.example", weekPolicy().String(), OutcomeFetchError, ReasonRedirect},
	{"no file", "missing.example", "", OutcomeFetchError, ReasonStatus},
	{"empty file", "empty.example", "-", OutcomeFetchError, ReasonEmpty},
	{"an error page as text", "page.example", "<html>\n<p>404: not found\n", OutcomePolicyInvalid, ReasonSyntax},
	{"certificate without this name", "wrongname.example", weekPolicy().String(), OutcomeWebPKI, ReasonCert},
}

// webServer is a foreign web server that a test has started.
type webServer struct {
	dir  string // readable by everyone
	addr string // where it listens
}

// newWebServer lays out files and certificate, and finds a port.
func newWebServer(t *testing.T) *webServer {
	t.Helper()
	dir := t.TempDir()
	// A server that gives up its rights must still get at its files.
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	var names []string
	for _, site := range webSites {
		if site.domain != "wrongname.example" {
			names = append(names, policyHostPrefix+site.domain)
		}
		path := filepath.Join(dir, site.domain, filepath.Dir(policyPath))
		require.NoError(t, os.MkdirAll(path, 0o755))
		if site.file != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, site.domain, policyPath), []byte(strings.TrimPrefix(site.file, "-")), 0o644))
		}
	}
	leaf := root().Leaf(names, ages)
	var chain bytes.Buffer
	for _, cert := range leaf.Chain() {
		require.NoError(t, pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.TLS().PrivateKey)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "chain.pem"), chain.Bytes(), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return &webServer{dir: dir, addr: l.Addr().String()}
}

// start writes the configuration, runs the server in the foreground and waits
// until it listens. It ends with the test.
func (s *webServer) start(t *testing.T, config, program string, args ...string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "server.conf"), []byte(config), 0o600))
	cmd := exec.Command(program, args...)
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-ended
	})
	// A server of others does not say in one way that it listens.
	for limit := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			require.NoError(t, conn.Close())
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s has ended: %v\n%s", program, err, log)
		case <-time.After(20 * time.Millisecond):
		}
		require.True(t, time.Now().Before(limit), "%s does not listen", program)
	}
}

// check looks every site up with a Client that knows our roots alone.
func (s *webServer) check(t *testing.T) {
	dns := newDNS()
	for _, site := range webSites {
		dns.set(site.domain, "v=STSv1; id=1;")
		dns.addrs[policyHostPrefix+site.domain+"."] = []netip.Addr{netip.MustParseAddr("192.0.2.10")}
	}
	client := &Client{Resolver: dns, Fetch: FetchConfig{
		RootCAs:       testpki.Pool(root()),
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8")},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "192.0.2.10:443" {
				return nil, fmt.Errorf("dials %s", address)
			}
			return new(net.Dialer).DialContext(ctx, network, s.addr)
		},
	}}
	for _, site := range webSites {
		t.Run(site.domain, func(t *testing.T) {
			r, err := client.Lookup(t.Context(), site.domain)
			require.NoError(t, err)
			require.Equal(t, site.outcome, r.Outcome, "%s: %v", site.why, r.Err)
			require.Equal(t, site.reason, r.Reason, "%s: %v", site.why, r.Err)
			if site.outcome == OutcomeEnforce {
				require.Equal(t, site.file, string(r.Body), site.why)
				require.Equal(t, ModeEnforce, r.Policy.Mode, site.why)
				return
			}
			require.Nil(t, r.Policy, site.why)
			require.Error(t, r.Err, site.why)
		})
	}
}

// find returns the path of a program. Without it the test is skipped, or fails if
// this is the run that must be complete.
func find(t *testing.T, program, debian string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: apt-get install %s", program, debian)
	}
	t.Skipf("%s is not installed: apt-get install %s", program, debian)
	return ""
}

func TestInteropNginx(t *testing.T) {
	program := find(t, "nginx", "nginx-light")
	s := newWebServer(t)
	var config strings.Builder
	fmt.Fprintf(&config, `daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	types { text/plain txt; }
	ssl_certificate %[1]s/chain.pem;
	ssl_certificate_key %[1]s/key.pem;
	gzip on;
	gzip_min_length 1;
	gzip_types text/plain;
`, s.dir)
	for _, site := range webSites {
		extra := ""
		switch site.domain {
		case "type.example":
			extra = "types { text/html txt; }"
		case "redirect.example":
			extra = "return 301 https://mta-sts.good.example" + policyPath + ";"
		}
		fmt.Fprintf(&config, "server { listen %s ssl; server_name %s%s; root %s/%[3]s; %[5]s }\n", s.addr, policyHostPrefix, site.domain, s.dir, extra)
	}
	config.WriteString("}\n")
	s.start(t, config.String(), program, "-e", "stderr", "-p", s.dir, "-c", filepath.Join(s.dir, "server.conf"))
	s.check(t)
}

func TestInteropApache(t *testing.T) {
	program := find(t, "apache2", "apache2-bin")
	s := newWebServer(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "mime.types"), []byte("text/plain txt\n"), 0o644))
	var config strings.Builder
	fmt.Fprintf(&config, `ServerRoot %[1]s
DefaultRuntimeDir %[1]s
PidFile %[1]s/pid
ErrorLog %[1]s/error.log
Mutex file:%[1]s default
ServerName localhost
`, s.dir)
	for _, module := range []string{"mpm_event", "authz_core", "mime", "alias", "filter", "deflate", "ssl"} {
		fmt.Fprintf(&config, "LoadModule %s_module /usr/lib/apache2/modules/mod_%[1]s.so\n", module)
	}
	if os.Geteuid() == 0 {
		config.WriteString("User www-data\nGroup www-data\n")
	}
	fmt.Fprintf(&config, `Listen %s
TypesConfig %s/mime.types
SSLSessionCache none
<Directory %[2]s>
	Require all granted
	AddOutputFilterByType DEFLATE text/plain
</Directory>
`, s.addr, s.dir)
	for _, site := range webSites {
		extra := ""
		switch site.domain {
		case "type.example":
			extra = "AddType text/html .txt\n"
		case "redirect.example":
			extra = "Redirect permanent / https://mta-sts.good.example/\n"
		}
		fmt.Fprintf(&config, `<VirtualHost %s>
	ServerName %s%s
	DocumentRoot %s/%[3]s
	SSLEngine on
	SSLCertificateFile %[4]s/chain.pem
	SSLCertificateKeyFile %[4]s/key.pem
	%[5]s</VirtualHost>
`, s.addr, policyHostPrefix, site.domain, s.dir, extra)
	}
	s.start(t, config.String(), program, "-DFOREGROUND", "-f", filepath.Join(s.dir, "server.conf"))
	s.check(t)
}
