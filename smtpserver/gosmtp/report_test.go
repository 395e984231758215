package gosmtp_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/smtpserver"
	"github.com/smtpsec/smtpsec/smtpserver/gosmtp"
)

// TestReports: what the adapter refuses is an event like what the filter refuses.
func TestReports(t *testing.T) {
	from, err := smtpserver.NewAddressList("boss@a.example")
	require.NoError(t, err)
	accept := smtpserver.Policy{TLS: smtpserver.TLSPreferred, TLSRequiredFrom: from, MaxMessagesPerConn: 2, MaxRcptsPerMessage: 1,
		MaxRcptsPerHour: 2, MaxMessageBytes: 10}
	local := []gosmtp.Options{{Local: func(domain string) bool { return domain == "b.example" }}}
	const mail, rcpt = "MAIL FROM:<a@a.example>", "RCPT TO:<b@b.example>"
	for why, c := range map[string]struct {
		policy smtpserver.Policy
		clear  bool
		say    []string // lines, each with the code of its reply in front
		kind   smtpserver.Kind
		reason smtpserver.Reason
		code   int
	}{
		"a sender who needs TLS": {accept, true, []string{"530 MAIL FROM:<boss@a.example>"}, smtpserver.KindCommandRefused, smtpserver.ReasonTLSRequired, 530},
		"SIZE":                   {accept, false, []string{"552 " + mail + " SIZE=11"}, smtpserver.KindLimit, smtpserver.ReasonMessageTooLarge, 552},
		"a message too large":    {accept, false, []string{"250 " + mail, "250 " + rcpt, "354 DATA", "552 0123456789\r\n."}, smtpserver.KindLimit, smtpserver.ReasonMessageTooLarge, 552},
		"a bare LF":              {accept, false, []string{"250 " + mail, "250 " + rcpt, "354 DATA", "554 a\nb\r\n."}, smtpserver.KindBareNewline, smtpserver.ReasonBareNewline, 554},
		"too many messages":      {accept, false, []string{"250 " + mail, "250 " + mail, "421 " + mail}, smtpserver.KindLimit, smtpserver.ReasonTooManyMessages, 421},
		"too many recipients":    {accept, false, []string{"250 " + mail, "250 " + rcpt, "452 " + rcpt}, smtpserver.KindLimit, smtpserver.ReasonTooManyRcpts, 452},
		"a foreign recipient":    {accept, false, []string{"250 " + mail, "550 RCPT TO:<b@c.example>"}, smtpserver.KindCommandRefused, smtpserver.ReasonForeignRecipient, 550},
		"delayed rejection": {smtpserver.Policy{Access: smtpserver.Reject, Reject: &smtpserver.Rejection{Delayed: true}, TLS: smtpserver.TLSPreferred}, false,
			[]string{"250 " + mail, "550 " + rcpt}, smtpserver.KindCommandRefused, smtpserver.ReasonRejected, 550},
	} {
		t.Run(why, func(t *testing.T) {
			var mu sync.Mutex
			var heard []smtpserver.Event
			w := start(t, setup{policy: c.policy, options: local, listener: smtpserver.Options{Events: func(e smtpserver.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Kind == c.kind {
					heard = append(heard, e)
				}
			}}})
			client := w.dial(t, !c.clear)
			for _, s := range c.say {
				client.say(s[4:], s[:3])
			}
			mu.Lock()
			defer mu.Unlock()
			require.Len(t, heard, 1)
			require.Equal(t, c.reason, heard[0].Reason)
			require.Equal(t, c.code, heard[0].Code)
			require.Equal(t, "ALL", heard[0].Group)
			require.NotZero(t, heard[0].Peer.Port())
		})
	}
	t.Run("the hour is over for the address", func(t *testing.T) {
		var mu sync.Mutex
		reasons := map[smtpserver.Reason]int{}
		w := start(t, setup{policy: smtpserver.Policy{MaxRcptsPerHour: 1}, listener: smtpserver.Options{Events: func(e smtpserver.Event) {
			mu.Lock()
			defer mu.Unlock()
			reasons[e.Reason]++
		}}})
		client := w.dial(t, false)
		client.say(mail, "250")
		client.say(rcpt, "250")
		client.say(rcpt, "452")
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, 1, reasons[smtpserver.ReasonRcptRate])
	})
}
