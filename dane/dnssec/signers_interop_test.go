//go:build interop

package dnssec

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// A signer is a program that signs zones.
type signer uint8

const (
	nobody signer = iota
	bind          // dnssec-signzone of BIND
	ldns          // ldns-signzone of ldns
)

// A foreignZone is a zone that is signed by a program not of ours.
type foreignZone struct {
	by         signer
	algorithm  string // as both programs name it; "" = ECDSAP256SHA256
	nsec3      bool
	optOut     bool
	iterations int
	salt       string
	expired    bool
	noDS       bool
	wrongDS    bool // the DS record in the parent zone matches no key
	records    []string
}

// A foreignTree holds zones by name.
type foreignTree map[string]foreignZone

// parent returns the zone above the one named.
func (tree foreignTree) parent(name string) string {
	for name != "." {
		off, end := dns.NextLabel(name, 0)
		if name = name[off:]; end {
			name = "."
		}
		if _, ok := tree[name]; ok {
			return name
		}
	}
	return ""
}

// sign returns the zones as master files, and the DS records of the root zone. The files of the programs are in dir.
func (tree foreignTree) sign(t *testing.T, dir string, server func(zone string) netip.Addr) (map[string]string, string) {
	signed, ds := make(map[string]string), make(map[string]string)
	var sign func(name string)
	sign = func(name string) {
		zone := tree[name]
		var text strings.Builder
		fmt.Fprintf(&text, "$ORIGIN %s\n$TTL 300\n@ SOA ns hostmaster 1 3600 900 86400 300\n@ NS ns\nns A %s\n", name, server(name))
		for _, line := range zone.records {
			text.WriteString(line + "\n")
		}
		for child, z := range tree {
			if tree.parent(child) != name {
				continue
			}
			sign(child)
			ns := "ns." + child
			fmt.Fprintf(&text, "%s NS %s\n%s A %s\n", child, ns, ns, server(child))
			if !z.noDS {
				text.WriteString(ds[child])
			}
		}
		if zone.by == nobody {
			signed[name] = text.String()
			return
		}
		here := filepath.Join(dir, fmt.Sprint(len(signed)))
		require.NoError(t, os.Mkdir(here, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(here, "zone"), []byte(text.String()), 0o600))
		ds[name] = zone.sign(t, here, name)
		if zone.wrongDS {
			ds[name] = otherDigest(ds[name])
		}
		file, err := os.ReadFile(filepath.Join(here, "signed"))
		require.NoError(t, err)
		signed[name] = string(file)
	}
	sign(".")
	return signed, ds["."]
}

// sign makes keys and signs the file zone in dir. The result is in the file signed; the DS records are returned.
func (z foreignZone) sign(t *testing.T, dir, name string) string {
	run := func(program, debian string, args ...string) string {
		cmd := exec.Command(dnstest.Program(t, program, debian), args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if failed, ok := err.(*exec.ExitError); ok {
			t.Fatalf("%s %s: %v\n%s", program, args, err, failed.Stderr)
		}
		require.NoError(t, err)
		return strings.TrimSpace(string(out))
	}
	begin, end := time.Now().Add(-2*time.Hour), time.Now().AddDate(0, 0, 20)
	if z.expired {
		begin, end = begin.AddDate(0, 0, -40), begin.AddDate(0, 0, -10)
	}
	const date = "20060102150405"
	from, until := begin.UTC().Format(date), end.UTC().Format(date)
	algorithm := z.algorithm
	if algorithm == "" {
		algorithm = "ECDSAP256SHA256"
	}
	kind := []string{"-a", algorithm}
	if strings.HasPrefix(algorithm, "RSA") {
		kind = append(kind, "-b", "2048")
	}
	switch z.by {
	case bind:
		ksk := run("dnssec-keygen", "bind9-utils", append(kind, "-q", "-f", "KSK", name)...)
		run("dnssec-keygen", "bind9-utils", append(kind, "-q", name)...)
		args := []string{"-q", "-S", "-o", name, "-f", "signed", "-s", from, "-e", until, "-P"}
		if z.nsec3 {
			salt := z.salt
			if salt == "" {
				salt = "-"
			}
			args = append(args, "-3", salt, "-H", fmt.Sprint(z.iterations))
		}
		if z.optOut {
			args = append(args, "-A")
		}
		run("dnssec-signzone", "bind9-utils", append(args, "zone")...)
		return run("dnssec-dsfromkey", "bind9-utils", "-a", "SHA-256", "-a", "SHA-384", ksk) + "\n"
	default:
		ksk := run("ldns-keygen", "ldnsutils", append(kind, "-k", name)...)
		zsk := run("ldns-keygen", "ldnsutils", append(kind, name)...)
		args := []string{"-o", name, "-f", "signed", "-i", from, "-e", until}
		if z.nsec3 {
			args = append(args, "-n", "-t", fmt.Sprint(z.iterations))
		}
		if z.salt != "" {
			args = append(args, "-s", z.salt)
		}
		if z.optOut {
			args = append(args, "-p")
		}
		run("ldns-signzone", "ldnsutils", append(args, "zone", ksk, zsk)...)
		return run("ldns-key2ds", "ldnsutils", "-n", "-2", ksk+".key") + "\n"
	}
}

// otherDigest changes each digit of the digests of DS records.
func otherDigest(ds string) string {
	var lines strings.Builder
	for line := range strings.Lines(ds) {
		rr, err := dns.NewRR(line)
		if err != nil {
			panic(err)
		}
		rr.(*dns.DS).Digest = strings.Map(func(c rune) rune {
			return rune("123456789abcdef0"[strings.IndexRune("0123456789abcdef", c)])
		}, strings.ToLower(rr.(*dns.DS).Digest))
		lines.WriteString(rr.String() + "\n")
	}
	return lines.String()
}
