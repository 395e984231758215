//go:build interop && linux

package soak

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// A network is a laboratory that programs outside this process can use: its hosts listen at their own addresses.
type network struct {
	*lab.Lab
	resolver netip.AddrPort // hands DNSSEC records on and validates nothing
	anchors  string         // file with the root key of DNS
	roots    string         // file with the certificate authorities that are trusted
	root     *testpki.Authority
}

// connect starts a laboratory.
func connect(t *testing.T, domains ...lab.Domain) *network {
	t.Helper()
	l, err := lab.Start(lab.World{Domains: domains})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	n := &network{Lab: l, root: testpki.NewRoot("Soak Root"), resolver: l.PlainServer().Addr()}
	dir := t.TempDir()
	n.anchors, n.roots = filepath.Join(dir, "anchors"), filepath.Join(dir, "roots.pem")
	require.NoError(t, os.WriteFile(n.anchors, []byte(l.Tree().RootAnchor()+"\n"), 0o644))
	require.NoError(t, os.WriteFile(n.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.root.Cert.Raw}), 0o644))
	for _, h := range l.Hosts() {
		for _, addr := range h.Addrs() {
			n.bridge(t, netip.AddrPortFrom(addr, lab.PortSMTP))
		}
	}
	return n
}

// trustLab adds the laboratory's own authority to the trusted ones. A chain that it has issued names it.
func (n *network) trustLab(t *testing.T, host string) {
	t.Helper()
	conn, err := n.DialContext(t.Context(), "tcp", net.JoinHostPort(host, "25"))
	require.NoError(t, err)
	defer conn.Close()
	presented := presentedBy(t, conn, host)
	pool := x509.NewCertPool()
	for _, c := range presented {
		pool.AddCert(c)
	}
	chains, err := presented[0].Verify(x509.VerifyOptions{Roots: n.Roots(), Intermediates: pool})
	require.NoError(t, err)
	chain := chains[0]
	f, err := os.OpenFile(n.roots, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	require.NoError(t, pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: chain[len(chain)-1].Raw}))
	require.NoError(t, f.Close())
}

// bridge lets programs connect to a host of the laboratory at its own address.
func (n *network) bridge(t *testing.T, at netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", at.String())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { n.pass(ctx, c.(*net.TCPConn), at) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		all.Wait()
	})
}

// pass connects a caller and a host. What one end says, or that it says no more or breaks off, the other end hears.
func (n *network) pass(ctx context.Context, caller *net.TCPConn, at netip.AddrPort) {
	defer caller.Close()
	host, err := n.DialContext(ctx, "tcp4", at.String())
	if err != nil {
		_ = caller.SetLinger(0)
		return
	}
	defer host.Close()
	defer context.AfterFunc(ctx, func() { caller.Close(); host.Close() })()
	type half interface {
		io.ReadWriteCloser
		CloseWrite() error
		SetLinger(int) error
	}
	to, ok := host.(half)
	if !ok {
		panic(fmt.Sprintf("%T", host))
	}
	carry := func(dst, src half) {
		_, err := io.Copy(struct{ io.Writer }{dst}, struct{ io.Reader }{src})
		if errors.Is(err, syscall.ECONNRESET) {
			_ = dst.SetLinger(0)
			dst.Close()
			return
		}
		_ = dst.CloseWrite()
	}
	var ways sync.WaitGroup
	ways.Go(func() { carry(to, caller) })
	carry(caller, to)
	ways.Wait()
}
