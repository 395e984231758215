package dnssec

import (
	"bufio"
	"bytes"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// Limits of resolv.conf, as in resolv.conf(5) and glibc's resolv.h.
const (
	maxNameservers      = 3
	maxConfTimeout      = 30 * time.Second
	maxConfAttempts     = 5
	maxConfOctets       = 64 << 10 // our own: a real file has a few lines
	resolvConfPath      = "/etc/resolv.conf"
	resolvConfEvery     = 5 * time.Second // how often a change is looked for, as in Go's own resolver
	dnsPort             = 53
	maxNameserverOctets = 64 // our own: an IPv6 address with a zone
)

// A resolvConf is what this package needs of resolv.conf. Search lists are of no use here: every name is absolute.
type resolvConf struct {
	servers  []netip.AddrPort
	timeout  time.Duration // 0 = not set
	attempts int           // 0 = not set
	trustAD  bool          // "options trust-ad": the administrator vouches for the way to the servers
	tcpOnly  bool          // "options use-vc"
}

// parseResolvConf reads the format of resolv.conf(5): lines that it does not know or cannot read are skipped, as every
// reader of this file does.
func parseResolvConf(text []byte) resolvConf {
	var conf resolvConf
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxConfOctets+1)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if len(fields[1]) > maxNameserverOctets || len(conf.servers) == maxNameservers {
				continue
			}
			if addr, err := netip.ParseAddr(fields[1]); err == nil {
				conf.servers = append(conf.servers, netip.AddrPortFrom(addr, dnsPort))
			}
		case "options":
			for _, option := range fields[1:] {
				conf.setOption(option)
			}
		}
	}
	return conf
}

func (c *resolvConf) setOption(option string) {
	switch option {
	case "trust-ad":
		c.trustAD = true
	case "use-vc", "usevc", "tcp":
		c.tcpOnly = true
	}
	name, value, _ := strings.Cut(option, ":")
	number, err := strconv.Atoi(value)
	if err != nil || number <= 0 {
		return
	}
	switch name {
	case "timeout":
		c.timeout = time.Duration(min(number, int(maxConfTimeout/time.Second))) * time.Second
	case "attempts":
		c.attempts = min(number, maxConfAttempts)
	}
}

// readResolvConf reads the file and returns its identity as of the reading, to see later whether it has changed.
func readResolvConf(path string) (resolvConf, os.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return resolvConf{}, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return resolvConf{}, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxConfOctets))
	if err != nil {
		return resolvConf{}, nil, err
	}
	return parseResolvConf(text), info, nil
}

// sameFile reports whether a file looks unchanged.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
