//go:build interop && linux

package soak

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
)

// TestBalance: an account that cannot complain proves nothing. Each case does one thing to the books of a run in which
// all was well.
func TestBalance(t *testing.T) {
	const seed = 7
	// A parcel for one recipient in a domain.
	find := func(domain string) *parcel {
		for n := 1; ; n++ {
			if p := newParcel(seed, n); len(p.to) == 1 && strings.HasSuffix(p.to[0], "@"+domain) && !strings.Contains(p.options, "REQUIRETLS") {
				return p
			}
		}
	}
	good, dead, gone := find("verified.example"), find("dead.example"), find("nowhere.example")
	at := time.Now()
	arrived := func(p *parcel, at time.Time) lab.Message {
		trace := fmt.Appendf(nil, "Received: by relay id spool-%d\r\n", p.number)
		return lab.Message{From: p.sender(), To: p.to, At: at, TLS: new(tls.ConnectionState), Data: slices.Concat(trace, p.text())}
	}
	waiting := func(p *parcel) *spool.Envelope {
		return &spool.Envelope{ID: fmt.Sprint("spool-", p.number), Recipients: []spool.Recipient{{Address: p.to[0], State: spool.Queued}}}
	}
	type books struct {
		*ledger
		boxes map[string][]lab.Message
		queue []*spool.Envelope
	}
	for _, tc := range []struct {
		why   string
		do    func(b *books)
		wrong string // what is complained of; "": nothing
	}{
		{"all is well", func(*books) {}, ""},
		{"a message is nowhere", func(b *books) { b.boxes["verified.example"] = nil }, "lost"},
		{"a message that waits is nowhere", func(b *books) { b.queue = nil }, "lost"},
		{"nobody was told of a bounce", func(b *books) { b.boxes["return.example"] = nil }, "lost"},
		{"delivered, and in the queue", func(b *books) {
			b.queue = append(b.queue, waiting(good))
		}, "in more than one place"},
		{"delivered twice, and nobody was killed", func(b *books) {
			b.boxes["verified.example"] = append(b.boxes["verified.example"], arrived(good, at.Add(time.Minute)))
		}, "without a kill"},
		{"delivered twice, with a kill in between", func(b *books) {
			b.kills = []life{{at.Add(time.Second), at.Add(time.Second)}}
			b.boxes["verified.example"] = append(b.boxes["verified.example"], arrived(good, at.Add(time.Minute)))
		}, ""},
		{"delivered twice, and the kill came long before", func(b *books) {
			b.kills = []life{{at.Add(-time.Hour), at.Add(-time.Hour)}}
			b.boxes["verified.example"] = append(b.boxes["verified.example"], arrived(good, at.Add(time.Minute)))
		}, "without a kill"},
		{"an octet is another one", func(b *books) {
			m := &b.boxes["verified.example"][0]
			m.Data = bytes.Clone(m.Data)
			m.Data[len(m.Data)-5] ^= 1
		}, "damaged"},
		{"half of it", func(b *books) {
			m := &b.boxes["verified.example"][0]
			m.Data = m.Data[:len(m.Data)/2]
		}, "damaged"},
		{"another id than the client was told", func(b *books) { b.acknowledged[good.number] = "spool-0" }, "acknowledged as"},
		{"in clear text", func(b *books) { b.boxes["verified.example"][0].TLS = nil }, "TLS"},
		{"to somebody else", func(b *books) {
			b.boxes["verified.example"][0].To = []string{fmt.Sprintf("r%d-9@verified.example", good.number)}
		}, "came to"},
		{"refused, and delivered all the same", func(b *books) { delete(b.acknowledged, good.number) }, "was told no"},
		{"fate unknown to the client, and delivered", func(b *books) {
			delete(b.acknowledged, good.number)
			b.unknown[good.number] = true
		}, ""},
	} {
		b := &books{
			ledger: &ledger{acknowledged: map[int]string{}, unknown: map[int]bool{}},
			boxes: map[string][]lab.Message{
				"verified.example": {arrived(good, at)},
				"return.example": {{To: []string{gone.sender()},
					Data: []byte("Final-Recipient: rfc822; " + gone.to[0] + "\r\nAction: failed\r\n")}},
			},
			queue: []*spool.Envelope{waiting(dead)},
		}
		for _, p := range []*parcel{good, dead, gone} {
			b.acknowledged[p.number] = fmt.Sprint("spool-", p.number)
		}
		tc.do(b)
		a := b.balance(seed, b.boxes, b.queue)
		if tc.wrong == "" {
			require.Empty(t, a.wrong, tc.why)
			continue
		}
		require.Contains(t, strings.Join(a.wrong, "\n"), tc.wrong, tc.why)
	}
}
