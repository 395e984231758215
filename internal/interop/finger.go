//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Finger is Postfix's posttls-finger, which connects to mail hosts as Postfix's own client would and tells what came
// of it. It asks the name server in /etc/resolv.conf on port 53; in its namespace that file names our resolver.
type Finger struct {
	namespace namespace
	dir       string
	path      string
	Version   string
}

// NewFinger returns one that asks resolver. caFile is a PEM file with the trusted roots.
func NewFinger(t testing.TB, resolver netip.AddrPort, caFile string) *Finger {
	t.Helper()
	needRoot(t)
	f := &Finger{dir: tempDir(t), path: program(t, "posttls-finger", "postfix")}
	addr := servePort53(t, resolver)
	f.namespace.files = map[string]string{"/etc/resolv.conf": fmt.Sprintf("nameserver %s\noptions timeout:5 attempts:2\n", addr)}
	writeFile(t, 0o644, fmt.Sprintf("compatibility_level = 3.7\nmyhostname = mta.sender.example\nsmtp_tls_CAfile = %s\n", caFile), f.dir, "main.cf")
	writeFile(t, 0o644, "", f.dir, "master.cf")
	f.Version = strings.TrimSpace(run(t, f.dir, program(t, "postconf", "postfix"), "-c", f.dir, "-h", "mail_version"))
	return f
}

// Look connects to the mail hosts of a domain at a TLS security level of Postfix. names are what the certificate is
// compared with, if that is not up to the level. It returns what posttls-finger says.
func (f *Finger) Look(t testing.TB, level, caFile, domain string, port uint16, names ...string) string {
	t.Helper()
	args := append([]string{"-c", "-a", "ipv4", "-l", level, "-F", caFile, "-L", "summary,certmatch", "-t", "10", "-T", "10",
		fmt.Sprintf("%s:%d", domain, port)}, names...)
	cmd := f.namespace.command(t, f.dir, f.path, args...)
	cmd.Env = append(cmd.Environ(), "MAIL_CONFIG="+f.dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // its status tells nothing that its words do not
		t.Fatalf("posttls-finger: %v", err)
	}
	return string(out)
}

// fingered is the line about a TLS session.
var fingered = regexp.MustCompile(`(?m)^posttls-finger: (Anonymous|Untrusted|Trusted|Verified) TLS connection established to`)

// Trust returns the word of posttls-finger for a session: Anonymous, Untrusted, Trusted (a path to a root, no name
// compared or none that fits) or Verified, and "" if there is no session.
func Trust(said string) string {
	match := fingered.FindStringSubmatch(said)
	if match == nil {
		return ""
	}
	return match[1]
}

// servePort53 answers at port 53 of a loopback address of its own with what resolver says. The C library has no way
// to name another port.
func servePort53(t testing.TB, resolver netip.AddrPort) netip.Addr {
	t.Helper()
	var addr netip.Addr
	var packets net.PacketConn
	var listener net.Listener
	var err error
	for i := range byte(100) {
		addr = netip.AddrFrom4([4]byte{127, 53, 3, i + 1})
		at := netip.AddrPortFrom(addr, 53).String()
		if packets, err = net.ListenPacket("udp", at); err != nil {
			continue
		}
		if listener, err = net.Listen("tcp", at); err == nil {
			break
		}
		packets.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		packets.Close()
		listener.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			query := make([]byte, 4096)
			n, client, err := packets.ReadFrom(query)
			if err != nil {
				return
			}
			group.Go(func() {
				server, err := net.Dial("udp", resolver.String())
				if err != nil {
					return
				}
				defer server.Close()
				server.SetDeadline(time.Now().Add(5 * time.Second))
				reply := make([]byte, 65535)
				if _, err := server.Write(query[:n]); err != nil {
					return
				}
				if n, err := server.Read(reply); err == nil {
					packets.WriteTo(reply[:n], client)
				}
			})
		}
	})
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer client.Close()
				server, err := net.Dial("tcp", resolver.String())
				if err != nil {
					return
				}
				defer server.Close()
				defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
				group.Go(func() {
					io.Copy(server, client)
					server.(*net.TCPConn).CloseWrite()
				})
				io.Copy(client, server)
			})
		}
	})
	return addr
}
