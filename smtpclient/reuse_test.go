package smtpclient

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestReuseOfUnprotectedName: a session that the name of an MX host made good, because
// DNSSEC protected it, is not for a delivery that has the same name without
// protection and may not rely on it.
func TestReuseOfUnprotectedName(t *testing.T) {
	message := Target{Domain: "partner.example", Message: tlspolicy.Message{RequireTLS: true}}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.mx("partner.example", "10 mx1.partner.example")
		st.secure("partner.example", dnssec.TypeMX)
		st.at("192.0.2.1", server{tls: st.cert("mx1.partner.example"), tlsEHLO: insideREQUIRETLS}.run)
		s, err := st.dialer.DialTarget(context.Background(), message)
		require.NoError(t, err)
		defer s.Close()
		require.Equal(t, tlspolicy.ReasonModeVerified, s.Decision().Reason)
		plan, err := st.dialer.Plan(context.Background(), message)
		require.NoError(t, err)
		require.Equal(t, s.ReuseKey(), plan.Hosts[0].Key, "nothing has changed")

		st.mx("partner.example", "10 mx1.partner.example") // unsigned
		plan, err = st.dialer.Plan(context.Background(), message)
		require.NoError(t, err)
		require.NotEqual(t, s.ReuseKey(), plan.Hosts[0].Key)
		_, err = st.dialer.DialPlan(context.Background(), plan)
		require.Error(t, err, "a connection of its own would not do")
	})
}
