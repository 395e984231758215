package tlspolicy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// BenchmarkLookupBySize compares a table of a thousand entries with one of a
// million, for hosts at random, whose entries are in no near cache, and for the
// same few again and again. The names to look up lie one behind the other, so
// that to read them costs the same for both.
func BenchmarkLookupBySize(b *testing.B) {
	for _, size := range []int{1000, million} {
		table := bigTable()
		if size < million {
			table = tableOf(size)
		}
		for _, c := range []struct{ name, pattern string }{
			{"hit", "mx%07d.example.com"},
			{"miss", "no%07d.example.net"},
			{"parent or exact, 4 labels", "a.mx%07d.example.com"},
			{"miss, 4 labels", "a.b%07d.example.net"},
		} {
			for _, hosts := range []struct {
				name string
				many int
			}{{"random", 1 << 16}, {"repeated", 16}} {
				names := namesInARow(c.pattern, hosts.many, size)
				b.Run(fmt.Sprintf("%d/%s/%s", size, c.name, hosts.name), func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						var err error
						if sinkSettings, sinkOrigin, err = table.Lookup(names[i&(hosts.many-1)], tlspolicy.NextHop{}); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// namesInARow returns many names with numbers below limit, all in one string.
func namesInARow(pattern string, many, limit int) []string {
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for range many {
		fmt.Fprintf(&text, pattern, random.IntN(limit))
	}
	length := text.Len() / many
	names := make([]string, many)
	for i := range names {
		names[i] = text.String()[i*length : (i+1)*length]
	}
	return names
}
