//go:build interop

package dnstest

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Program returns the path of a program that the test runs. If it is missing, the test is skipped; where CI is set it
// fails. debian is the package to install.
func Program(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") != "":
		t.Fatalf("%s is not installed: apt-get install %s", name, debian)
	default:
		t.Skipf("%s is not installed: apt-get install %s", name, debian)
	}
	return ""
}

// stopGrace is how long a daemon may take to end before it is killed.
const stopGrace = 5 * time.Second

// startDaemon runs a program in the foreground and returns when a line of its standard error contains ready. It is
// stopped with the test, and dies with the test program if that does not come to its end.
func startDaemon(t testing.TB, ready, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan struct{}), make(chan struct{})
	var log strings.Builder // read after ended
	go func() {
		defer close(ended)
		waiting := true
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if waiting && strings.Contains(lines.Text(), ready) {
				waiting = false
				close(started)
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(stopGrace, func() { cmd.Process.Kill() })
		<-ended // its children hold the pipe open, so they have ended too
		cmd.Wait()
		kill.Stop()
	})
	select {
	case <-started:
	case <-ended:
		t.Fatalf("%s did not start:\n%s", program, &log)
	}
}

// freePort returns a port that is free at addr for UDP and TCP.
func freePort(t testing.TB, addr netip.Addr) uint16 {
	t.Helper()
	packets, listener, err := listen(netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	defer listener.Close()
	return packets.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func writeFile(t testing.TB, dir, name, content string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Unbound says what an unbound has to do.
type Unbound struct {
	PassThrough bool                        // hand DNSSEC records on and validate nothing
	Anchors     string                      // trust anchors, the content of a file
	Servers     map[string][]netip.AddrPort // by zone, the root among them; delegations cannot name a port
}

// Start starts it on loopback and returns its address. It is stopped with the test.
func (u Unbound) Start(t testing.TB) netip.AddrPort {
	t.Helper()
	program := Program(t, "unbound", "unbound")
	dir := t.TempDir()
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	addr = netip.AddrPortFrom(addr.Addr(), freePort(t, addr.Addr()))
	modules := "validator iterator"
	if u.PassThrough {
		modules = "iterator"
	}
	var config strings.Builder
	fmt.Fprintf(&config, `server:
	interface: %s
	port: %d
	access-control: 127.0.0.0/8 allow
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	do-daemonize: no
	verbosity: 1
	num-threads: 1
	module-config: %q
	trust-anchor-file: %q
	trust-anchor-signaling: no
	do-not-query-localhost: no
	do-ip6: no
	ede: yes
	val-log-level: 2
	unblock-lan-zones: yes
	qname-minimisation: no
	aggressive-nsec: no
	target-fetch-policy: "0 0 0 0 0"
remote-control:
	control-enable: no
`, addr.Addr(), addr.Port(), dir, modules, writeFile(t, dir, "anchors", u.Anchors))
	for _, zone := range slices.Sorted(maps.Keys(u.Servers)) {
		fmt.Fprintf(&config, "stub-zone:\n\tname: %q\n", zone)
		for _, server := range u.Servers[zone] {
			fmt.Fprintf(&config, "\tstub-addr: %s@%d\n", server.Addr(), server.Port())
		}
	}
	startDaemon(t, "start of service", program, "-d", "-c", writeFile(t, dir, "unbound.conf", config.String()))
	return addr
}

// UnboundFor returns an unbound for a tree of which server serves all zones.
func UnboundFor(tree *Tree, server netip.AddrPort) Unbound {
	u := Unbound{Anchors: tree.RootAnchor(), Servers: make(map[string][]netip.AddrPort)}
	for zone := range tree.current.Load().zones {
		u.Servers[zone] = []netip.AddrPort{server}
	}
	return u
}

// StartNSD starts an NSD that serves zones, given as master files, at each of the loopback addresses, all on the same
// port. It is stopped with the test.
func StartNSD(t testing.TB, zones map[string]string, addrs ...netip.Addr) []netip.AddrPort {
	t.Helper()
	program := Program(t, "nsd", "nsd")
	dir := t.TempDir()
	port := freePort(t, addrs[0])
	var config strings.Builder
	config.WriteString("server:\n")
	servers := make([]netip.AddrPort, len(addrs))
	for i, addr := range addrs {
		servers[i] = netip.AddrPortFrom(addr, port)
		fmt.Fprintf(&config, "\tip-address: %s@%d\n", addr, port)
	}
	fmt.Fprintf(&config, `	server-count: 1
	username: ""
	chroot: ""
	zonesdir: %q
	database: ""
	pidfile: ""
	xfrdfile: ""
	zonelistfile: %q
	rrl-ratelimit: 0
	verbosity: 1
remote-control:
	control-enable: no
`, dir, filepath.Join(dir, "zone.list"))
	for i, zone := range slices.Sorted(maps.Keys(zones)) {
		file := writeFile(t, dir, fmt.Sprintf("%d.zone", i), zones[zone])
		fmt.Fprintf(&config, "zone:\n\tname: %q\n\tzonefile: %q\n", zone, file)
	}
	startDaemon(t, "nsd started", program, "-d", "-c", writeFile(t, dir, "nsd.conf", config.String()))
	return servers
}
