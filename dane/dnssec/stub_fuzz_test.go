package dnssec

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// Whatever comes back, nothing is Secure unless the servers are believed and the reply is to our question, without
// error, with AD. From servers that are not believed, nothing is even Insecure. What is returned is consistent, and the
// same each time.
func FuzzStubReply(f *testing.F) {
	seed := func(c canned, typ uint16) {
		m := c.reply(new(dns.Msg).SetQuestion("www.example.", typ))
		b := packed(f, m)
		question := headerOctets + len("\x03www\x07example\x00") + 4
		for _, trusted := range []bool{true, false} {
			f.Add(b, false, trusted, typ)
			f.Add(append(b[:headerOctets:headerOctets], b[question:]...), true, trusted, typ)
		}
	}
	seed(canned{ad: true, answer: []string{"www.example. 60 IN A 192.0.2.1"}}, 1)
	seed(canned{answer: []string{"www.example. 60 IN A 192.0.2.1"}}, 1)
	seed(canned{ad: true, answer: []string{"www.example. 60 IN CNAME a.www.example.", "a.www.example. 60 IN A 192.0.2.1"}}, 1)
	seed(canned{ad: true, answer: []string{"www.example. 60 IN CNAME a.www.example."}}, 1)
	seed(canned{ad: true, answer: []string{"example. 60 IN DNAME www.example."}}, 52)
	seed(canned{ad: true, rcode: 3, ns: []string{soa}}, 52)
	seed(canned{ad: true, rcode: 2, ede: 6}, 52)
	f.Fuzz(func(t *testing.T, raw []byte, rebuild, trusted bool, typ uint16) {
		if !askable(Type(typ)) || typ == dns.TypeDNSKEY {
			return
		}
		// replyTo makes the reply to a query: raw with the right ID, and if rebuild is set with the right question too.
		replyTo := func(query []byte, q *dns.Msg) []byte {
			if len(raw) < headerOctets {
				return raw
			}
			b := append([]byte(nil), raw...)
			copy(b, query[:2])
			if rebuild {
				_, end, _ := appendName(nil, query, headerOctets)
				b = append(append(b[:headerOctets:headerOctets], query[headerOctets:end+4]...), raw[headerOctets:]...)
				binary.BigEndian.PutUint16(b[4:], 1)
			}
			return b
		}
		good := false // a reply that may make an answer secure has been sent
		run := func() (*Answer, error) {
			o := StubOptions{Trust: TrustAlways}
			if !trusted {
				o.Trust = TrustNever
			}
			o.Upstream.Servers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}
			o.Upstream.Exchange = func(_ context.Context, _ netip.AddrPort, query []byte) ([]byte, error) {
				q := new(dns.Msg)
				if err := q.Unpack(query); err != nil {
					return nil, err
				}
				if q.Question[0].Qtype == dns.TypeDNSKEY {
					return rootKeys.reply(q).Pack()
				}
				b := replyTo(query, q)
				_, end, _ := appendName(nil, query, headerOctets)
				if len(b) >= end+4 && string(b[end:end+4]) == string(query[end:end+4]) &&
					lowerName(bytes.Clone(b[headerOctets:end])) == lowerName(bytes.Clone(query[headerOctets:end])) {
					flags := binary.BigEndian.Uint16(b[2:])
					good = good || flags&(flagQR|flagTC|maskOpcode|flagAD) == flagQR|flagAD &&
						(flags&maskRcode == rcodeSuccess || flags&maskRcode == rcodeNXDomain)
				}
				return b, nil
			}
			s, err := NewStub(o)
			require.NoError(t, err)
			return s.Lookup(context.Background(), "www.example", Type(typ))
		}
		a, err := run()
		again, errAgain := run()
		require.Equal(t, err == nil, errAgain == nil)
		if err != nil {
			var e, e2 *Error
			require.ErrorAs(t, err, &e)
			require.ErrorAs(t, errAgain, &e2)
			require.Equal(t, e.Error(), e2.Error())
			require.NotZero(t, e.Kind)
			require.True(t, e.Temporary(), "no reply makes a failure permanent")
			return
		}
		again.Expires = a.Expires // by the clock
		require.Equal(t, a, again)
		require.Equal(t, "www.example.", a.Name)
		require.Equal(t, a.Outcome == Found, len(a.Records) > 0)
		require.LessOrEqual(t, len(a.Chain), maxHops)
		at := a.Name
		for _, step := range a.Chain {
			require.Equal(t, at, step.From)
			require.LessOrEqual(t, a.Security, max(step.Security, Insecure))
			at = step.To
		}
		require.Equal(t, at, a.Canonical)
		if !trusted {
			require.Equal(t, Indeterminate, a.Security)
			require.Equal(t, Indeterminate, a.Final)
			return
		}
		require.NotEqual(t, Indeterminate, a.Security)
		if !good {
			require.Equal(t, Insecure, a.Security)
			require.NotEqual(t, Secure, a.Final)
		}
	})
}
