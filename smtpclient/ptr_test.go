package smtpclient

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestPTR: a common name that is the name of the connected address counts where
// it is wanted, if the name leads back to the address.
func TestPTR(t *testing.T) {
	const reverse = "1.2.0.192.in-addr.arpa"
	ptr := func(st *stage, name string) {
		data := mxData(t, "0", name)[2:]
		st.dns.Answers[dnssec.Question{Name: reverse, Type: dnssec.TypePTR}] = dnssec.Answer{
			Security: dnssec.Secure, Records: []dnssec.Record{{Data: data}},
		}
	}
	tests := []struct {
		name   string
		setup  func(st *stage)
		secure bool // SecureMXOnly
		ok     bool
	}{
		{"confirmed", func(st *stage) { st.addr("host.isp.example", "192.0.2.9", "192.0.2.1") }, false, true},
		{"confirmed, but forward not secure", func(st *stage) { st.addr("host.isp.example", "192.0.2.1") }, true, false},
		{"leads elsewhere", func(st *stage) { st.addr("host.isp.example", "192.0.2.9") }, false, false},
		{"leads nowhere", func(*stage) {}, false, false},
		{"forward lookup fails", func(st *stage) {
			st.dns.Errors[dnssec.Question{Name: "host.isp.example", Type: dnssec.TypeA}] = errors.New("no")
		}, false, false},
		{"reverse lookup fails", func(st *stage) {
			st.addr("host.isp.example", "192.0.2.1")
			st.dns.Errors[dnssec.Question{Name: reverse, Type: dnssec.TypePTR}] = errors.New("no")
		}, false, false},
		{"not switched on", func(st *stage) {
			st.addr("host.isp.example", "192.0.2.1")
			st.dialer.Verify.PTR = false
		}, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}, func(t *testing.T, st *stage) {
				st.mx("partner.example", "10 mx1.partner.example")
				ptr(st, "host.isp.example")
				st.dialer.Verify = tlspolicy.VerifyOptions{PTR: true, SecureMXOnly: test.secure}
				test.setup(st)
				config := st.cert("unrelated.example")
				config.Certificates[0] = st.pki.Leaf([]string{"unrelated.example"}, testpki.CommonName("host.isp.example")).TLS()
				st.at("192.0.2.1", server{tls: config}.run)
				s, err := st.dialer.Dial(context.Background(), "partner.example")
				require.Equal(t, test.ok, err == nil, "%v", err)
				if test.ok {
					require.Equal(t, tlspolicy.ReferencePTR, s.Identity().Kind)
					require.Equal(t, "host.isp.example", s.Identity().Name)
					s.Close()
				} else {
					require.Equal(t, tlspolicy.ReasonModeCertNameMismatch, reportOf(t, s, err).Attempts[0].Decision.Reason)
				}
			})
		})
	}
}

// TestPolicyFails: a table that cannot be asked is nobody's permission.
func TestPolicyFails(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		broken := errors.New("database is down")
		st.dialer.Policy = failing{broken}
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, broken)
		require.Equal(t, "4.3.5", e.Status)
		require.Empty(t, st.dials)
		st.dialer.Policy = failing{tlspolicy.ErrBadDomain}
		_, err := st.dialer.Dial(context.Background(), "partner.example")
		require.ErrorIs(t, err, ErrBadName)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.Policy = fixed{} // not resolved
		st.at("192.0.2.1", server{}.run)
		e := st.dialFail(context.Background())
		require.Equal(t, tlspolicy.ReasonSettingsInvalid, e.Reason)
		require.Empty(t, st.dials)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.Policy = nil
		st.at("192.0.2.1", server{}.run)
		s := st.dialOK()
		require.Equal(t, tlspolicy.BuiltIn(), s.Report.Settings)
		s.Close()
	})
}

type failing struct{ err error }

func (f failing) Lookup(string, tlspolicy.NextHop) (tlspolicy.Settings, tlspolicy.Origin, error) {
	return tlspolicy.Settings{}, tlspolicy.Origin{}, f.err
}
