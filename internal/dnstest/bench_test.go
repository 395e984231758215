package dnstest

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

// BenchmarkSign40 signs a lab of forty domains with one P-256 key each.
func BenchmarkSign40(b *testing.B) {
	for b.Loop() {
		tree := NewTree(Options{})
		tree.Zone("com.", ZoneOptions{})
		for i := range 40 {
			tree.Zone(fmt.Sprintf("d%d.com.", i), ZoneOptions{}, content...)
		}
		if err := tree.Sign(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkResign changes one record of one of forty domains.
func BenchmarkResign(b *testing.B) {
	tree := NewTree(Options{})
	for i := range 40 {
		tree.Zone(fmt.Sprintf("d%d.", i), ZoneOptions{}, content...)
	}
	z := tree.Lookup("d7.")
	for i := 0; b.Loop(); i++ {
		z.Replace("mx", dns.TypeTXT, fmt.Sprintf("mx TXT %d", i))
		if err := tree.Sign(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkValidatingReply makes the reply to a signed TLSA two zones below the root.
func BenchmarkValidatingReply(b *testing.B) {
	tree := NewTree(Options{})
	tree.Zone("com.", ZoneOptions{})
	tree.Zone("example.com.", ZoneOptions{}, content...)
	if err := tree.Sign(); err != nil {
		b.Fatal(err)
	}
	query := question("_25._tcp.mx.example.com.", dns.TypeTLSA)
	for b.Loop() {
		if reply := tree.current.Load().recursive(query, Validating); !reply.AuthenticatedData {
			b.Fatal(reply)
		}
	}
}
