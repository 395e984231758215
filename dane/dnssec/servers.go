package dnssec

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A serverList is the setup that lookups begin with. It is never changed: when resolv.conf changes there is a new
// one, so that its address tells whether the setup is still the same.
type serverList struct {
	servers []netip.AddrPort
	timeout time.Duration // per try
	tries   int
	tcpOnly bool
	trustAD bool   // resolv.conf says so
	file    string // where servers comes from; "" = Upstream.Servers
}

// serverSource holds the current serverList and keeps it up to date.
type serverSource struct {
	upstream Upstream
	path     string // "" = the servers are given and never change

	mu      sync.Mutex
	list    *serverList
	info    os.FileInfo // of the file as last read
	checkAt time.Time   // when to look at the file next
}

// newServerSource takes the servers of u or reads the file that names them. The error is KindUnusable if there is none.
func newServerSource(u Upstream, now time.Time) (*serverSource, *Error) {
	s := &serverSource{upstream: u}
	if u.Servers != nil {
		if len(u.Servers) == 0 {
			return nil, unusable("Upstream.Servers is empty", nil)
		}
		for _, server := range u.Servers {
			if !server.IsValid() || server.Port() == 0 {
				return nil, unusable("Upstream.Servers has an entry without address or port", nil)
			}
		}
		s.list = s.newList(resolvConf{servers: slices.Clone(u.Servers)})
		return s, nil
	}
	s.path = orDefault(u.ResolvConf, resolvConfPath)
	conf, info, err := readResolvConf(s.path)
	if err != nil {
		return nil, unusable("the list of DNS servers cannot be read", err)
	}
	if len(conf.servers) == 0 {
		return nil, unusable(s.path+" has no nameserver line that can be used", nil)
	}
	s.list, s.info, s.checkAt = s.newList(conf), info, now.Add(resolvConfEvery)
	return s, nil
}

func (s *serverSource) newList(conf resolvConf) *serverList {
	u := &s.upstream
	return &serverList{
		servers: conf.servers,
		timeout: orDefault(u.Timeout, orDefault(conf.timeout, defaultTryTimeout)),
		tries:   orDefault(u.Tries, orDefault(conf.attempts, defaultTries)),
		tcpOnly: u.TCPOnly || conf.tcpOnly,
		trustAD: conf.trustAD,
		file:    s.path,
	}
}

// current returns the servers as of now. A file that is gone, cannot be read or names no server is most likely being
// written: what it said before stays in force until it can be read again.
func (s *serverSource) current(now time.Time) *serverList {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" || now.Before(s.checkAt) {
		return s.list
	}
	s.checkAt = now.Add(resolvConfEvery)
	info, err := os.Stat(s.path)
	if err != nil || sameFile(info, s.info) {
		return s.list
	}
	conf, info, err := readResolvConf(s.path)
	if err != nil || len(conf.servers) == 0 {
		return s.list
	}
	s.list, s.info = s.newList(conf), info
	return s.list
}

// unusable is the error for a setup that cannot do the job.
func unusable(reason string, err error) *Error {
	return &Error{Kind: KindUnusable, Reason: reason, EDE: noEDE, Err: err}
}

// distrust says why the AD bit of these servers cannot be believed without being told to; it is empty if it can.
//
// The bit is one bit in a datagram: it counts only over a way that nobody can tamper with (RFC 4035 section 4.9.3).
// That is so on the machine itself, or where the administrator says so with trust-ad.
func (l *serverList) distrust() string {
	for _, server := range l.servers {
		addr := server.Addr().Unmap()
		switch {
		case addr == containerForwarder:
			// Even with trust-ad: container engines copy the options of the host's file, where they were about
			// other servers.
			return server.String() + " is the forwarder of a container engine, which relays to servers anywhere;" +
				" name a validating resolver in Upstream.Servers, or set TrustAlways if this one relays to such a" +
				" resolver over a safe path"
		case l.trustAD || addr.IsLoopback():
		case l.file != "":
			return server.String() + " is not on this machine; run a validating resolver on it and name it in " + l.file +
				", or add \"options trust-ad\" there if the path to " + strconv.Quote(server.Addr().String()) + " is safe"
		default:
			return server.String() + " is not on this machine; set TrustAlways if it validates and the path to it is safe"
		}
	}
	return ""
}

// containerForwarder is where Docker and Podman put their embedded DNS server.
var containerForwarder = netip.AddrFrom4([4]byte{127, 0, 0, 11})
