package smtpclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
)

// TestMXSets: section 5.1 of RFC 5321, RFC 7505.
func TestMXSets(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.mx("partner.example", "0 .")
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, ErrNullMX)
		require.True(t, e.Permanent)
		require.False(t, e.Secure)
		require.False(t, e.Temporary())
		require.Equal(t, "5.1.10", e.Status)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.mx("partner.example", "0 .", "10 mx2.partner.example")
		st.at("192.0.2.2", server{}.run)
		s := st.dialOK()
		require.Equal(t, 1, s.Report.MX.Malformed, "a null MX among others is none")
		s.Close()
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		_, err := st.dialer.Dial(context.Background(), "nowhere.example")
		var e *Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, e, ErrNoDomain)
		require.True(t, e.Permanent)
		require.Equal(t, "5.1.2", e.Status)
		st.dns.Absent = dnssec.Secure
		_, err = st.dialer.Dial(context.Background(), "nowhere.example")
		require.ErrorAs(t, err, &e)
		require.True(t, e.Secure)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.addr("nomx.example", "192.0.2.7")
		st.at("192.0.2.7", server{}.run)
		s, err := st.dialer.Dial(context.Background(), "NoMX.example.")
		require.NoError(t, err)
		require.Equal(t, "nomx.example", s.Host())
		require.True(t, s.Report.MX.Implicit)
		s.Close()
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.mx("partner.example", "5 192.0.2.9", "6 *.partner.example", "10 mx_2.partner.example", "10 mx_2.partner.example")
		st.addr("mx_2.partner.example", "192.0.2.2")
		st.at("192.0.2.2", server{}.run)
		s := st.dialOK()
		require.Equal(t, "mx_2.partner.example", s.Host(), "underscores are tolerated")
		require.Len(t, s.Report.MX.Hosts, 1)
		require.NotEmpty(t, s.Report.MX.Dropped)
		s.Close()
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.mx("partner.example", "5 192.0.2.9")
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, ErrNoHosts)
		require.Equal(t, "4.4.4", e.Status)
		require.Empty(t, st.dials)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		var records []string
		for i := range 200 {
			records = append(records, "10 h"+string(rune('a'+i%26))+strings.Repeat("x", i/26)+".partner.example")
		}
		st.mx("partner.example", records...)
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, ErrNoHosts, "none of them has an address")
		require.Len(t, e.Report.Attempts, DefaultHosts)
		require.Equal(t, 200-DefaultHosts, e.Report.MX.Beyond)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.addr("mx1.partner.example")
		st.addr("mx2.partner.example")
		e := st.dialFail(context.Background())
		require.Equal(t, ErrNoHosts, e.Err)
		require.Equal(t, "4.4.4", e.Status)
		require.False(t, e.Permanent)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		failed := &dnssec.Error{Kind: dnssec.KindServFail, EDE: -1}
		st.dns.Errors[dnssec.Question{Name: "partner.example", Type: dnssec.TypeMX}] = failed
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, dnssec.KindServFail)
		require.Equal(t, "4.4.3", e.Status)
		require.False(t, e.Permanent)
		require.Zero(t, e.Reason, "DANE is off")
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		failed := &dnssec.Error{Kind: dnssec.KindServFail, EDE: -1}
		st.dns.Errors[dnssec.Question{Name: "mx1.partner.example", Type: dnssec.TypeAAAA}] = failed
		st.at("192.0.2.1", server{}.run)
		s := st.dialOK()
		require.Equal(t, "mx1.partner.example", s.Host(), "one family is enough")
		s.Close()
		st.dns.Errors[dnssec.Question{Name: "mx1.partner.example", Type: dnssec.TypeA}] = failed
		st.at("192.0.2.2", server{}.run)
		s = st.dialOK()
		require.Equal(t, "mx2.partner.example", s.Host())
		require.ErrorIs(t, s.Report.Attempts[0].Err, dnssec.KindServFail)
		s.Close()
	})
}

// TestEqualPreferences: hosts of equal preference take turns, others do not.
func TestEqualPreferences(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.Rand = rand.NewPCG(1, 2)
		st.mx("partner.example", "20 last.partner.example", "10 a.partner.example", "10 b.partner.example", "10 c.partner.example", "5 first.partner.example")
		orders := map[string]int{}
		for range 60 {
			e := st.dialFail(context.Background())
			var names []string
			for _, h := range e.Report.MX.Hosts {
				names = append(names, strings.TrimSuffix(h.Host, ".partner.example"))
			}
			require.Equal(t, "first", names[0])
			require.Equal(t, "last", names[4])
			orders[strings.Join(names, " ")]++
		}
		require.Len(t, orders, 6)
	})
}

func TestSelf(t *testing.T) {
	self := func(names ...string) func(string, netip.Addr) bool {
		return func(host string, addr netip.Addr) bool {
			return slices.Contains(names, host) || addr.IsValid() && slices.Contains(names, addr.String())
		}
	}
	tests := []struct {
		name  string
		self  func(string, netip.Addr) bool
		loop  bool
		tried []string
	}{
		{"somebody else", self("mx9.partner.example"), false, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}},
		{"the best", self("mx1.partner.example"), true, nil},
		{"in the middle, with an equal", self("mx2.partner.example"), false, []string{"192.0.2.1"}},
		{"the best by address", self("192.0.2.1"), true, nil},
		{"the last by address", self("192.0.2.3"), false, []string{"192.0.2.1", "192.0.2.2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, preferred, func(t *testing.T, st *stage) {
				st.dialer.Self = test.self
				st.mx("partner.example", "10 mx1.partner.example", "20 mx2.partner.example", "20 mx2b.partner.example", "30 mx3.partner.example")
				st.addr("mx2b.partner.example")
				st.addr("mx3.partner.example", "192.0.2.3")
				e := st.dialFail(context.Background())
				require.Equal(t, test.loop, errors.Is(e, ErrMailLoop))
				if test.loop {
					require.Equal(t, "4.4.6", e.Status)
				}
				require.Equal(t, test.tried, st.dials)
				require.False(t, e.Permanent)
			})
		})
	}
}

// TestSelfOfDialHost: a configured host is not asked about, so that a filter on
// this very system can be given mail.
func TestSelfOfDialHost(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.Self = func(string, netip.Addr) bool { return true }
		st.at("127.0.0.1", server{}.run)
		s, err := st.dialer.DialHost(context.Background(), "127.0.0.1:10025")
		require.NoError(t, err)
		s.Close()
		_, err = st.dialer.Dial(context.Background(), "[127.0.0.1]")
		require.ErrorIs(t, err, ErrMailLoop)
	})
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		name   string
		family Family
		addrs  []string
		want   []string
	}{
		{"both", AnyFamily, []string{"192.0.2.1", "2001:db8::1"}, []string{"2001:db8::1", "192.0.2.1"}},
		{"IPv6 first", PreferIPv6, []string{"192.0.2.1", "2001:db8::1"}, []string{"2001:db8::1", "192.0.2.1"}},
		{"IPv4 first", PreferIPv4, []string{"192.0.2.1", "2001:db8::1"}, []string{"192.0.2.1", "2001:db8::1"}},
		{"IPv4 only", OnlyIPv4, []string{"192.0.2.1", "2001:db8::1"}, []string{"192.0.2.1"}},
		{"IPv6 only", OnlyIPv6, []string{"192.0.2.1", "2001:db8::1"}, []string{"2001:db8::1"}},
		{"IPv6 only and none", OnlyIPv6, []string{"192.0.2.1"}, nil},
		{"twice", PreferIPv4, []string{"192.0.2.1", "192.0.2.1"}, []string{"192.0.2.1"}},
		{"nobody's", AnyFamily, []string{"0.0.0.0", "224.0.0.1", "255.255.255.255", "127.0.0.1", "::", "::1", "ff02::1", "::ffff:127.0.0.1"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, preferred, func(t *testing.T, st *stage) {
				st.dialer.Family = test.family
				st.mx("partner.example", "10 mx1.partner.example")
				st.addr("mx1.partner.example", test.addrs...)
				e := st.dialFail(context.Background())
				require.Equal(t, test.want, st.dials)
				if test.want == nil {
					require.ErrorIs(t, e, ErrNoAddress)
					require.Equal(t, "4.4.4", e.Status)
				}
			})
		})
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.AllowAddr = func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }
		st.addr("mx1.partner.example", "192.0.2.1", "127.0.0.1")
		st.at("127.0.0.1", server{}.run)
		s := st.dialOK()
		require.Equal(t, []string{"127.0.0.1"}, st.dials, "what is allowed is up to AllowAddr")
		s.Close()
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		var many []string
		for i := range 50 {
			many = append(many, netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}).String(), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}).String())
		}
		st.addr("mx1.partner.example", many...)
		st.addr("mx2.partner.example", many...)
		st.mx("partner.example", "10 mx1.partner.example", "20 mx2.partner.example", "30 mx3.partner.example", "40 mx4.partner.example")
		st.addr("mx3.partner.example", many...)
		st.addr("mx4.partner.example", many...)
		e := st.dialFail(context.Background())
		require.Len(t, st.dials, DefaultConnections)
		for i, a := range st.dials[:DefaultAddresses] {
			require.Equal(t, i%2 == 0, netip.MustParseAddr(a).Is4(), "the families take turns")
		}
		require.ErrorIs(t, e, ErrConnections)
		require.Equal(t, "4.4.1", e.Status)
	})
}

// TestFailedFamily: a lookup that failed is not taken for a family without
// addresses where the other one has none that can be used.
func TestFailedFamily(t *testing.T) {
	tests := []struct {
		name   string
		family Family
		addrs  []string
		failed dnssec.Type
		want   error
		status string
	}{
		{"A failed, no AAAA", AnyFamily, nil, dnssec.TypeA, dnssec.KindServFail, "4.4.3"},
		{"AAAA failed, no A", AnyFamily, nil, dnssec.TypeAAAA, dnssec.KindServFail, "4.4.3"},
		{"A failed, AAAA not wanted", OnlyIPv4, []string{"2001:db8::1"}, dnssec.TypeA, dnssec.KindServFail, "4.4.3"},
		{"AAAA failed, but not wanted, no A", OnlyIPv4, nil, dnssec.TypeAAAA, ErrNoAddress, "4.4.4"},
		{"A failed, AAAA refused", AnyFamily, []string{"::1"}, dnssec.TypeA, ErrNoAddress, "4.4.4"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, preferred, func(t *testing.T, st *stage) {
				st.dialer.Family = test.family
				st.mx("partner.example", "10 mx1.partner.example")
				st.addr("mx1.partner.example", test.addrs...)
				st.fail("mx1.partner.example", test.failed)
				e := st.dialFail(context.Background())
				require.ErrorIs(t, e, test.want)
				require.Equal(t, test.status, e.Status)
				require.Empty(t, st.dials)
			})
		})
	}
}

// fail makes the lookup of host fail.
func (st *stage) fail(host string, q dnssec.Type) {
	delete(st.dns.Answers, dnssec.Question{Name: host, Type: q})
	st.dns.Errors[dnssec.Question{Name: host, Type: q}] = &dnssec.Error{Kind: dnssec.KindServFail, Name: host, Type: q, EDE: -1}
}

// TestAhead: the next host is resolved when the one before it makes trouble, and
// no other.
func TestAhead(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.mx("partner.example", "10 mx1.partner.example", "20 mx2.partner.example", "30 mx3.partner.example")
		st.addr("mx3.partner.example", "192.0.2.3")
		step := make(chan struct{})
		st.at("192.0.2.1", func(p *peer) { <-step })
		st.addr("mx1.partner.example", "192.0.2.1", "192.0.2.111")
		st.at("192.0.2.111", func(p *peer) { <-step })
		st.at("192.0.2.2", server{}.run)
		go func() {
			synctest.Wait()
			if st.asked("mx2.partner.example") {
				t.Error("mx2 resolved before it was needed")
			}
			step <- struct{}{} // the first address fails
			synctest.Wait()
			if !st.asked("mx2.partner.example") || st.asked("mx3.partner.example") {
				t.Error("one host is resolved ahead")
			}
			step <- struct{}{}
		}()
		s := st.dialOK()
		require.Equal(t, "mx2.partner.example", s.Host())
		require.False(t, st.asked("mx3.partner.example"))
		s.Close()
	})
}
