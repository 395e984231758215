//go:build interop

package interop

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

// numbers is how much is measured: with SMTPSEC_NUMBERS=1 as much as docs/relay.md reports, else as little as shows
// that the measurement works.
func numbers() (messages, rounds, connections, queued int) {
	if os.Getenv("SMTPSEC_NUMBERS") != "" {
		return 4000, 3, 1000, 100_000
	}
	return 100, 1, 50, 500
}

const (
	// loadClients is how many connections hand mail in at a time, and loadEach how many
	// messages each takes over before the next one is opened.
	loadClients = 8
	loadEach    = 25
	// loadDeliveries is how many deliveries either mail server makes at a time.
	loadDeliveries = 20
)

// TestRelayThroughput compares the relay with Postfix: the same messages of 4 KiB over STARTTLS in, over verified TLS
// out to the same host, spools on the same file system, every message synced before it is acknowledged.
func TestRelayThroughput(t *testing.T) {
	messages, rounds, _, _ := numbers()
	w := newWorld(t, 90, []site{{label: "good", cert: "good"}})
	sink := startSink(t, w)
	contestants := []struct {
		name  string
		start func(trace string) netip.AddrPort
	}{
		{"relay", func(trace string) netip.AddrPort { return loadedRelay(t, w, trace) }},
		{"Postfix, sessions reused", func(trace string) netip.AddrPort { return loadedPostfix(t, w, true, trace) }},
		{"Postfix, sessions not reused", func(trace string) netip.AddrPort { return loadedPostfix(t, w, false, trace) }},
	}
	rates := make([][]float64, len(contestants))
	var table strings.Builder
	fmt.Fprintf(&table, "%d messages of 4 KiB a round, messages per second:\n%-30s %s\n", messages, "", "taken in, delivered, connections to the host")
	for round := range rounds {
		for i, c := range contestants {
			at := c.start("")
			taken, delivered, connections := sink.measure(t, at, messages)
			rates[i] = append(rates[i], delivered)
			fmt.Fprintf(&table, "%-30s %7.0f %7.0f %5d   (round %d)\n", c.name, taken, delivered, connections, round+1)
		}
	}
	for i, c := range contestants {
		fmt.Fprintf(&table, "%-30s %.2f of the relay\n", c.name, median(rates[i])/median(rates[0]))
	}
	if _, err := exec.LookPath("strace"); err == nil {
		for _, c := range contestants {
			file := filepath.Join(tempDir(t), "trace")
			_, _, _ = sink.measure(t, c.start(file), 50)
			calls, err := os.ReadFile(file)
			require.NoError(t, err)
			n := len(regexp.MustCompile(`f(?:data)?sync\(`).FindAll(calls, -1))
			require.GreaterOrEqual(t, n, 50, "%s: every message must be synced", c.name)
			fmt.Fprintf(&table, "%-30s %.1f syncs a message\n", c.name, float64(n)/50)
		}
	}
	t.Log(table.String())
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// TestRelayMemory tells how much memory the relay has with nothing to do, with many connections, and with many
// messages in its queue.
func TestRelayMemory(t *testing.T) {
	_, _, connections, queued := numbers()
	w := newWorld(t, 91, []site{{label: "good", cert: "good"}})
	at, pid, _ := startLoaded(t, w, tempDir(t), "")
	empty := resident(t, pid)
	open := make([]*gosmtp.Client, connections)
	for i := range open {
		var err error
		open[i], err = submit(at)
		require.NoError(t, err)
	}
	busy := resident(t, pid)
	for _, c := range open {
		c.Close()
	}

	dir := inMemory(t)
	fillSpool(t, filepath.Join(dir, "spool"), queued)
	_, pid, log := startLoaded(t, w, dir, "")
	log.Wait(t, 0, regexp.MustCompile(fmt.Sprintf(`spool read" messages=%d`, queued)), 1)
	full := resident(t, pid)
	each := func(more, n, unit int) float64 { return float64(more) / 1024 * float64(unit) / float64(n) }
	t.Logf("resident memory: %d KiB idle", empty)
	t.Logf("%d KiB with %d connections inside TLS: %.1f MiB for a thousand", busy, connections, each(busy-empty, connections, 1000))
	t.Logf("%d KiB with %d messages in the queue: %.1f MiB for a hundred thousand", full, queued, each(full-empty, queued, 100_000))
}

// inMemory is tempDir on a file system in memory, if there is one: a hundred thousand messages are synced one by one.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "smtpsec-interop-")
	if err != nil {
		return tempDir(t)
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// fillSpool puts messages into a spool that are to be tried in an hour, for a thousand domains.
func fillSpool(t *testing.T, dir string, n int) {
	t.Helper()
	s, err := spool.Open(dir, spool.Options{})
	require.NoError(t, err)
	defer s.Close()
	var next atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n && !t.Failed(); i = int(next.Add(1)) {
				writer, err := s.Create(1 << 20)
				if err == nil {
					_, err = io.WriteString(writer, "Subject: waits\r\n\r\nHello.\r\n")
				}
				if err == nil {
					err = writer.Commit(&spool.Envelope{Sender: "sender@good.example", Recipients: []spool.Recipient{
						{Address: fmt.Sprintf("r%d@d%d.example", i, i%1000), NextAttempt: time.Now().Add(time.Hour)}}})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// resident returns the resident memory of a process in KiB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, m)
	n, err := strconv.Atoi(string(m[1]))
	require.NoError(t, err)
	return n
}

// A sink is a mail host that takes everything over TLS and keeps nothing.
type sink struct {
	got, connections atomic.Int64
	want             atomic.Int64
	done             chan struct{} // gets a value when want is reached
}

func startSink(t *testing.T, w *world) *sink {
	t.Helper()
	k := &sink{done: make(chan struct{}, 1)}
	at := w.listeners[0]
	cert, err := tls.LoadX509KeyPair(at.CertFile, at.KeyFile)
	require.NoError(t, err)
	s := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return drain{k}, nil }))
	s.Domain, s.TLSConfig, s.ErrorLog = at.Name, &tls.Config{Certificates: []tls.Certificate{cert}}, log.New(io.Discard, "", 0)
	l, err := net.Listen("tcp", at.Addr.String())
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(counted{l, k})
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return k
}

type counted struct {
	net.Listener
	sink *sink
}

func (c counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	c.sink.connections.Add(1)
	return conn, err
}

type drain struct{ *sink }

func (drain) Reset()                                 {}
func (drain) Logout() error                          { return nil }
func (drain) Mail(string, *gosmtp.MailOptions) error { return nil }
func (drain) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (d drain) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if d.got.Add(1) == d.want.Load() {
		d.done <- struct{}{}
	}
	return nil
}

// measure hands messages to a mail server and waits until they have arrived. It returns how many messages a second
// were taken in and delivered, from the first command on, and the connections that were made for it.
func (k *sink) measure(t *testing.T, at netip.AddrPort, messages int) (taken, delivered float64, connections int64) {
	t.Helper()
	k.got.Store(0)
	k.connections.Store(0)
	k.want.Store(int64(messages))
	text := []byte("From: sender@good.example\r\nTo: postmaster@good.example\r\nSubject: numbers\r\n" +
		"Date: Tue, 24 Nov 2026 08:00:00 +0000\r\nMessage-ID: <numbers@good.example>\r\n\r\n" + strings.Repeat("The quick brown fox jumps over the lazy dog, and so does the mail.\r\n", 60))
	began := time.Now()
	var left atomic.Int64
	left.Store(int64(messages))
	var group sync.WaitGroup
	for range loadClients {
		group.Go(func() {
			for left.Load() > 0 && !t.Failed() {
				c, err := submit(at)
				if err != nil {
					t.Error(err)
					return
				}
				for range loadEach {
					if left.Add(-1) < 0 {
						break
					}
					if err := c.SendMail("sender@good.example", []string{"postmaster@good.example"}, bytes.NewReader(text)); err != nil {
						t.Error(err)
						break
					}
				}
				_ = c.Quit()
			}
		})
	}
	group.Wait()
	in := time.Since(began)
	select {
	case <-k.done:
	case <-time.After(3 * time.Minute):
		require.FailNow(t, "mail has not arrived", "%d of %d", k.got.Load(), messages)
	}
	return float64(messages) / in.Seconds(), float64(messages) / time.Since(began).Seconds(), k.connections.Load()
}

// submit opens a connection on which mail can be handed in.
func submit(at netip.AddrPort) (*gosmtp.Client, error) {
	c, err := gosmtp.DialStartTLS(at.String(), &tls.Config{InsecureSkipVerify: true}) // its certificate is not the point here
	if err != nil {
		return nil, err
	}
	return c, c.Noop()
}

// traced is the beginning of a command line that writes its syncs to a file; "": not at all.
func traced(file string, args ...string) []string {
	if file == "" {
		return args
	}
	return append([]string{"strace", "-f", "-q", "-e", "trace=fsync,fdatasync", "-o", file}, args...)
}

// loadedRelay starts a relay for the comparison.
func loadedRelay(t *testing.T, w *world, trace string) netip.AddrPort {
	at, _, _ := startLoaded(t, w, tempDir(t), trace)
	return at
}

// startLoaded starts a relay whose spool is in dir, and returns its address, its process and its log.
func startLoaded(t *testing.T, w *world, dir, trace string) (netip.AddrPort, int, *Log) {
	t.Helper()
	at := senderAddr(t)
	cert, key := w.pki.files(t, "relay", w.pki.ca.Leaf([]string{"relay.example"}))
	route := fmt.Sprintf("%q = [\"[%s]:%d\"]\n", w.sites[0].domain(), w.sites[0].host(), w.port)
	settings := fmt.Sprintf(relaySettings, at, route, w.pki.roots, w.dns.unbound, cert, key) +
		fmt.Sprintf("[queue]\nper-domain = %[1]d\ntotal = %[1]d\n", loadDeliveries)
	file := writeFile(t, 0o600, settings, dir, "relay.toml")
	path := filepath.Join(dir, "relay")
	run(t, ".", program(t, "go", "golang"), "build", "-o", path, "../../examples/relay")
	args := traced(trace, path, "-config", file)
	cmd := exec.Command(args[0], args[1:]...)
	if trace != "" { // which the relay must not outlive
		cmd = namespace{}.command(t, dir, args[0], args[1:]...)
	}
	log := start(t, cmd)
	log.Wait(t, 0, regexp.MustCompile(`msg=listening`), 1)
	return at, cmd.Process.Pid, log
}

// loadedPostfix starts a Postfix for the comparison. Its defaults are left alone but for what makes its work the same
// as that of the relay; reuse lets it use TLS sessions for more than one message, which is off by default.
func loadedPostfix(t *testing.T, w *world, reuse bool, trace string) netip.AddrPort {
	t.Helper()
	needRoot(t)
	postfix := program(t, "postfix", "postfix")
	dir := tempDir(t)
	at := senderAddr(t)
	conf := makeDir(t, -1, -1, 0o755, dir, "conf")
	makeDir(t, -1, -1, 0o755, dir, "queue")
	makeDir(t, lookupUser(t, "postfix"), -1, 0o700, dir, "data")
	cert, key := w.pki.files(t, "relay", w.pki.ca.Leaf([]string{"relay.example"}))
	writeFile(t, 0o644, fmt.Sprintf(`compatibility_level = 3.7
maillog_file = /dev/stdout
queue_directory = %[1]s/queue
data_directory = %[1]s/data
myhostname = relay.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = %[2]s, %[3]s
smtp_tcp_port = %[4]d
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = hostname
smtp_tls_CAfile = %[5]s
smtp_tls_connection_reuse = %[6]s
smtp_destination_concurrency_limit = %[7]d
initial_destination_concurrency = %[7]d
`, dir, key, cert, w.port, w.pki.roots, yes(reuse), loadDeliveries), conf, "main.cf")
	writeFile(t, 0o644, fmt.Sprintf(`%s inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
scache unix - - n - 1 scache
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
smtp unix - - n - %d smtp
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
`, at, loadDeliveries), conf, "master.cf")
	ns := namespace{files: map[string]string{"/etc/resolv.conf": fmt.Sprintf("nameserver %s\noptions timeout:5 attempts:2\n", servePort53(t, w.dns.unbound))}}
	args := traced(trace, postfix, "-c", conf, "start-fg")
	log := start(t, ns.command(t, dir, args[0], args[1:]...))
	log.Wait(t, 0, regexp.MustCompile(`daemon started`), 1)
	return at
}
