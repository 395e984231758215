//go:build interop

package mtasts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/smtpsec/smtpsec/internal/dnstest"
	"github.com/stretchr/testify/require"
)

const (
	recordName  = "_mta-sts.example.com."
	recordEntry = "_mta-sts 0 TXT \"v=STSv1; id=1;\"" // TTL 0: the recursive server asks again
)

// dnsWorld is the name servers of example.com, an unbound over them, and a Client
// that asks it as a mail server does.
type dnsWorld struct {
	*world
	tree      *dnstest.Tree
	zone      *dnstest.Zone
	authority *dnstest.Server
	recursive net.Resolver
}

func newDNSWorld(t *testing.T, o dnstest.ZoneOptions) *dnsWorld {
	t.Helper()
	d := &dnsWorld{tree: dnstest.NewTree(dnstest.Options{})}
	d.tree.Zone("com.", dnstest.ZoneOptions{})
	d.tree.Zone("provider.com.", dnstest.ZoneOptions{}, recordEntry)
	d.zone = d.tree.Zone("example.com.", o, recordEntry)
	require.NoError(t, d.tree.Sign())
	authority, err := dnstest.ServeAuthoritative(d.tree, "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, authority.Close()) })
	d.authority = authority
	unbound := dnstest.UnboundFor(d.tree, authority.Addr()).Start(t).String()
	d.recursive = net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, unbound)
	}}
	d.world = d.client()
	return d
}

// client returns a Client that knows nothing yet.
func (d *dnsWorld) client() *world {
	w := newWorld()
	w.Resolver = &d.recursive
	return w
}

// act makes every reply about the record a fault.
func act(a dnstest.Action) func(*testing.T, *dnsWorld) {
	return func(_ *testing.T, d *dnsWorld) {
		d.authority.Fault(recordName, dns.TypeTXT, dnstest.Fault{Action: a})
	}
}

// spoil breaks the signature of the record.
func spoil(f dnstest.Flaw) func(*testing.T, *dnsWorld) {
	return func(t *testing.T, d *dnsWorld) {
		d.zone.Spoil("_mta-sts", dns.TypeTXT, f)
		require.NoError(t, d.tree.Sign())
	}
}

// deny has somebody on the way answer that there is no record.
func deny(rcode int) func(*testing.T, *dnsWorld) {
	return func(_ *testing.T, d *dnsWorld) {
		d.authority.Edit(func(query, reply *dns.Msg) *dns.Msg {
			if query.Question[0].Qtype != dns.TypeTXT {
				return reply
			}
			forged := new(dns.Msg).SetRcode(query, rcode)
			forged.Authoritative = true
			soa, _ := dns.NewRR("example.com. 0 SOA ns. root. 1 1 1 1 0")
			forged.Ns = []dns.RR{soa}
			return forged
		})
	}
}

// replace has the zone say something else about the record.
func replace(records ...string) func(*testing.T, *dnsWorld) {
	return func(t *testing.T, d *dnsWorld) {
		d.zone.Replace("_mta-sts", dns.TypeTXT, records...)
		require.NoError(t, d.tree.Sign())
	}
}

// TestInteropDNSFaults: whatever a real recursive server makes of a fault behind
// it, a policy that is held stays, is fetched again over HTTPS when that is due, and
// backs off when HTTPS fails too; and without a policy a failed query is never told
// as an absent record.
func TestInteropDNSFaults(t *testing.T) {
	signed, unsigned := dnstest.ZoneOptions{}, dnstest.ZoneOptions{Unsigned: true}
	for _, tc := range []struct {
		why    string
		zone   dnstest.ZoneOptions
		fault  func(*testing.T, *dnsWorld)
		nobody Outcome // of a Client that holds nothing
		reason string
	}{
		{"SERVFAIL", signed, act(dnstest.ServFail), OutcomeDNSError, ReasonDNSError},
		{"REFUSED", signed, act(dnstest.Refused), OutcomeDNSError, ReasonDNSError},
		{"not implemented", signed, act(dnstest.NotImp), OutcomeDNSError, ReasonDNSError},
		{"no reply at all", signed, act(dnstest.Drop), OutcomeDNSError, ReasonDNSError},
		{"truncated over TCP too", signed, act(dnstest.Truncate), OutcomeDNSError, ReasonDNSError},
		{"half a message", signed, act(dnstest.Half), OutcomeDNSError, ReasonDNSError},
		{"wrong ID", signed, act(dnstest.WrongID), OutcomeDNSError, ReasonDNSError},
		{"bad signature", signed, spoil(dnstest.BadSignature), OutcomeDNSError, ReasonDNSError},
		{"signature that has run out", signed, spoil(dnstest.Expired), OutcomeDNSError, ReasonDNSError},
		{"signature left out", signed, spoil(dnstest.NoSignature), OutcomeDNSError, ReasonDNSError},
		{"NXDOMAIN without proof in a signed zone is a lie", signed, deny(dns.RcodeNameError), OutcomeDNSError, ReasonDNSError},
		{"NODATA without proof in a signed zone is a lie", signed, deny(dns.RcodeSuccess), OutcomeDNSError, ReasonDNSError},
		{"NXDOMAIN in an unsigned zone may be true", unsigned, deny(dns.RcodeNameError), OutcomeNoRecord, ReasonRecordAbsent},
		{"NODATA in an unsigned zone may be true", unsigned, deny(dns.RcodeSuccess), OutcomeNoRecord, ReasonRecordAbsent},
		{"proven NODATA", signed, replace(), OutcomeNoRecord, ReasonRecordAbsent},
		{"foreign record", signed, replace(`_mta-sts 0 TXT "v=spf1 -all"`), OutcomeNoRecord, ReasonRecordAbsent},
		{"two records", signed, replace(recordEntry, `_mta-sts 0 TXT "v=STSv1; id=2;"`), OutcomeMultipleRecords, ReasonRecordMultiple},
		{"malformed record", signed, replace(`_mta-sts 0 TXT "v=STSv1; id=2-3;"`), OutcomeInvalidRecord, ReasonRecordInvalid},
	} {
		t.Run(tc.why, func(t *testing.T) {
			t.Parallel()
			d := newDNSWorld(t, tc.zone)
			first := d.lookup(t)
			require.Equal(t, SourceFresh, first.Source, "%v", first.Err)
			tc.fault(t, d)

			// A check that fails.
			d.clock.add(11 * time.Minute)
			require.Equal(t, OutcomeEnforce, d.lookup(t).Outcome, "served while it is checked")
			d.idle()
			held := func(reason, why string) Result {
				t.Helper()
				r := d.lookup(t)
				require.Equal(t, OutcomeEnforce, r.Outcome, why)
				require.Equal(t, SourceStale, r.Source, why)
				require.Equal(t, "1", r.ID, why)
				require.Equal(t, reason, r.Reason, why)
				require.Equal(t, ReportFetchError, r.Report, why)
				require.True(t, r.Match("mx1.example.com"), why)
				return r
			}
			r := held(tc.reason, "kept")
			require.Same(t, first.Policy, r.Policy)
			require.Equal(t, first.Expires, r.Expires, "a record never moves it")
			require.EqualValues(t, 1, d.gets.Load(), "not due yet")

			// A refresh is due, and HTTPS fails too.
			d.clock.add(25 * time.Hour)
			d.setBody("")
			d.lookup(t)
			d.idle()
			r = held(ReasonStatus, "kept though nothing answers")
			require.Equal(t, first.Expires, r.Expires)
			require.EqualValues(t, 2, d.gets.Load(), "due whatever the record says")
			d.clock.add(4 * time.Minute)
			d.lookup(t)
			d.idle()
			require.EqualValues(t, 2, d.gets.Load(), "backed off")

			// HTTPS is back.
			d.clock.add(7 * time.Minute)
			d.setBody(goodBody)
			d.lookup(t)
			d.idle()
			r = held(tc.reason, "renewed")
			require.EqualValues(t, 3, d.gets.Load())
			require.True(t, r.Expires.After(first.Expires), "the file is authenticated, the record is not")
			require.NotContains(t, d.events(), EventPolicyExpired)

			// Who holds nothing.
			d.world = d.client()
			r = d.lookup(t)
			require.Equal(t, tc.nobody, r.Outcome, "%v", r.Err)
			require.Equal(t, tc.reason, r.Reason)
			require.Nil(t, r.Policy)
			require.Empty(t, r.Report, "without a valid record there is no policy to fail")
			require.Equal(t, tc.nobody == OutcomeDNSError, errors.Is(r.Err, ErrDNS))
			require.Equal(t, tc.nobody == OutcomeNoRecord, errors.Is(r.Err, ErrNoRecord))
			require.Zero(t, d.gets.Load())
			require.Contains(t, d.events(), EventDNSQuery)
			require.Equal(t, tc.nobody, d.lookup(t).Outcome)
			require.Empty(t, d.events(), "remembered")
		})
	}
}

// TestInteropDNSDetours: what is no fault, though it takes another way.
func TestInteropDNSDetours(t *testing.T) {
	var crowd []string
	for i := range 20 {
		crowd = append(crowd, fmt.Sprintf(`_mta-sts 0 TXT "foreign text %d, of which there are many: %0200d"`, i, i))
	}
	for _, tc := range []struct {
		why    string
		detour func(*testing.T, *dnsWorld)
	}{
		{"truncated over UDP", func(_ *testing.T, d *dnsWorld) {
			d.authority.Fault(recordName, dns.TypeTXT, dnstest.Fault{Action: dnstest.Truncate, Network: "udp"})
		}},
		{"one reply lost", func(_ *testing.T, d *dnsWorld) {
			d.authority.Fault(recordName, dns.TypeTXT, dnstest.Fault{Action: dnstest.Drop, Times: 1})
		}},
		{"more foreign records than UDP carries", replace(append(crowd, recordEntry)...)},
		{"a record in several strings", replace(`_mta-sts 0 TXT "v=STS" "v1; i" "d=1;"`)},
		{"alias to the provider's record", func(t *testing.T, d *dnsWorld) {
			d.zone.Remove("_mta-sts", dns.TypeTXT).Add("_mta-sts 0 CNAME _mta-sts.provider.com.")
			require.NoError(t, d.tree.Sign())
		}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			t.Parallel()
			d := newDNSWorld(t, dnstest.ZoneOptions{})
			tc.detour(t, d)
			r := d.lookup(t)
			require.Equal(t, OutcomeEnforce, r.Outcome, "%v", r.Err)
			require.Equal(t, "1", r.ID)
		})
	}
}
