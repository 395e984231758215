package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// Ports of the lab's hosts, as callers see them, unless Host.Port says otherwise.
const (
	PortSMTP  = 25
	PortHTTPS = 443
)

// endpoint is a host as the dialer sees it.
type endpoint interface {
	dial(ctx context.Context) (*net.TCPConn, error)
}

// conn is a connection into the lab. It tells the address that was dialed, not the
// one on loopback behind it.
type conn struct {
	*net.TCPConn
	remote net.Addr
}

func (c *conn) RemoteAddr() net.Addr { return c.remote }

// DialContext connects to a host of the lab, as net.Dialer.DialContext connects to
// one of the Internet. network is tcp, tcp4 or tcp6; address is an address or a
// host name and a port. Names are asked of the lab's resolver, and their addresses
// tried in turn. An address or port where nobody listens refuses (ECONNREFUSED); a
// host with the fault Blackhole answers never. Errors are *net.OpError.
func (l *Lab) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(remote net.Addr, err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: remote, Err: err}
	}
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return fail(nil, net.UnknownNetworkError(network))
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return fail(nil, err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return fail(nil, &net.AddrError{Err: "port must be a number", Addr: address})
	}
	addrs, err := l.addrsOf(ctx, network, host)
	if err != nil {
		return fail(nil, err)
	}
	var last error
	for _, addr := range addrs {
		remote := net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(port)))
		c, err := l.dialAddr(ctx, netip.AddrPortFrom(addr, uint16(port)))
		if err == nil {
			return &conn{TCPConn: c, remote: remote}, nil
		}
		if _, last = fail(remote, err); ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

// addrsOf returns the addresses of host that network allows; never an empty list.
func (l *Lab) addrsOf(ctx context.Context, network, host string) ([]netip.Addr, error) {
	addrs := make([]netip.Addr, 1)
	var err error
	if addrs[0], err = netip.ParseAddr(host); err != nil {
		if addrs, err = l.lookup(ctx, host); err != nil {
			return nil, err
		}
	}
	fit := addrs[:0]
	for _, a := range addrs {
		a = a.Unmap()
		if network == "tcp" || a.Is4() == (network == "tcp4") {
			fit = append(fit, a)
		}
	}
	if len(fit) == 0 {
		return nil, &net.AddrError{Err: "no suitable address", Addr: host}
	}
	return fit, nil
}

func (l *Lab) dialAddr(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e, ok := l.endpoints[to]
	if !ok || l.isClosed() {
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	c, err := e.dial(ctx)
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return nil, os.NewSyscallError("connect", errno)
	}
	return c, err // a context's error as it is: net.OpError asks it whether it is a timeout
}

// dialLoopback connects to a real listener.
func dialLoopback(ctx context.Context, to net.Addr) (*net.TCPConn, error) {
	c, err := new(net.Dialer).DialContext(ctx, to.Network(), to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
