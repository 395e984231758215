//go:build interop && linux

package soak

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// A parcel is a message of the soak. Everything about it follows from its number and the seed of the run, so that what
// arrives can be compared with what was sent.
type parcel struct {
	number  int
	to      []string
	options string // of MAIL
	size    int
	rand    *rand.Rand
}

// newParcel makes the parcel of a number.
func newParcel(seed uint64, number int) *parcel {
	p := &parcel{number: number, rand: rand.New(rand.NewPCG(seed, uint64(number)))}
	r := p.rand
	add := func(address string) {
		p.to = append(p.to, fmt.Sprintf(address, fmt.Sprintf("r%d-%d", number, len(p.to))))
	}
	p.options = " BODY=8BITMIME"
	if r.IntN(20) == 0 { // a message that wants REQUIRETLS (RFC 8689)
		p.options += " REQUIRETLS"
		add("%s@dane.example")
		if r.IntN(4) == 0 {
			add("%s@short.example") // whose host does not know the extension
		}
	} else {
		for range 1 + r.IntN(2)*r.IntN(4) {
			for n, i := r.IntN(100), 0; ; i++ {
				if n -= addresses[i].weight; n < 0 {
					add(addresses[i].form)
					break
				}
			}
		}
	}
	switch n := r.IntN(1000); {
	case n < 700:
		p.size = 200 + r.IntN(1800)
	case n < 900:
		p.size = 2000 + r.IntN(18_000)
	case n < 995:
		p.size = 20_000 + r.IntN(80_000)
	default:
		p.size = 100_000 + r.IntN(900_000)
	}
	return p
}

// addresses are where mail goes, of a hundred.
var addresses = []struct {
	form   string
	weight int
}{
	{"%s@dane.example", 26},     // a TLSA record that matches
	{"%s@verified.example", 14}, // a certificate that is asked for in the destination table
	{"%s@short.example", 12},    // TLS and nothing more
	{"%s@plain.example", 10},    // clear text
	{"%s@flaky.example", 16},    // a host that breaks off, now here and now there
	{"ok.%s@picky.example", 6},
	{"later.%s@picky.example", 5}, // refused with 450 at first
	{"lost.%s@picky.example", 2},  // taken, and the 250 never comes the first time
	{"no.%s@picky.example", 2},    // refused with 550
	{"%s@refusing.example", 2},    // a host that refuses MAIL with 550
	{"%s@nowhere.example", 2},     // does not exist, as DNSSEC proves
	{"%s@mismatch.example", 1},    // waits: another TLSA record
	{"%s@dead.example", 2},        // waits: connection refused
}

// waits reports whether mail for a recipient must stay in the queue.
func waits(to string) bool {
	return strings.HasSuffix(to, "@mismatch.example") || strings.HasSuffix(to, "@dead.example")
}

// bounces reports whether mail for a recipient must bounce.
func (p *parcel) bounces(to string) bool {
	return strings.HasPrefix(to, "no.") || strings.HasSuffix(to, "@refusing.example") || strings.HasSuffix(to, "@nowhere.example") ||
		strings.HasSuffix(to, "@short.example") && strings.Contains(p.options, "REQUIRETLS")
}

func (p *parcel) sender() string { return fmt.Sprintf("s%d@return.example", p.number) }

// text is the message.
func (p *parcel) text() []byte {
	b := fmt.Appendf(nil, "From: <%s>\r\nTo: undisclosed-recipients:;\r\nSubject: soak\r\nMessage-ID: <%d@soak.example>\r\n\r\n", p.sender(), p.number)
	r := rand.New(rand.NewPCG(uint64(p.size), uint64(p.number)))
	const letters = "abcdefgh.jklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ-\xc3\xa4=0123456"
	for len(b) < p.size {
		if r.IntN(20) == 0 {
			b = append(b, '.') // lines that begin with one are doubled on the way
		}
		bits := r.Uint64()
		for i := range 40 + int(bits%32) {
			if i%10 == 0 {
				bits = r.Uint64()
			}
			b = append(b, letters[bits&63])
			bits >>= 6
		}
		b = append(b, '\r', '\n')
	}
	return b
}

// numberOf returns the number of a parcel out of one of its recipients or its sender, or -1.
func numberOf(address string) int {
	local, _, _ := strings.Cut(address, "@")
	local = local[strings.LastIndexByte(local, '.')+1:]
	digits, _, _ := strings.Cut(strings.TrimLeft(local, "rs"), "-")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return -1
	}
	return n
}
