package smtpclient

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestErrorTexts: an error says what happened, to whom, and what is at stake.
func TestErrorTexts(t *testing.T) {
	refused := tlspolicy.Plan(tlspolicy.Settings{Mode: tlspolicy.Required, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220}, 0, 0).
		Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSRefused})
	reply := &ReplyError{Stage: StageSTARTTLS, Code: 454, Enhanced: "4.7.0", Lines: []string{"4.7.0 not", "now"}}
	tests := []struct {
		err  error
		want string
	}{
		{&ConnectError{netip.MustParseAddrPort("192.0.2.1:25"), errors.New("refused")}, "connect to 192.0.2.1:25: refused"},
		{reply, `starttls answered with 454 "4.7.0 not / now"`},
		{&ProtocolError{StageEHLO, ErrReplyCodes}, "protocol error at ehlo: lines of one reply carry different codes"},
		{&LostError{StageGreeting, io.EOF}, "connection lost at greeting: EOF"},
		{&LostError{StageHELO, os.ErrDeadlineExceeded}, "no answer in time at helo: i/o timeout"},
		{&HandshakeError{CauseInjected, errInjected}, "TLS handshake failed (plaintext-after-220): bytes follow the 220 before TLS began"},
		{&PolicyError{refused, "mx.partner.example", reply},
			`mx.partner.example: refused by policy: mode-tls-required-refused: starttls answered with 454 "4.7.0 not / now"`},
		{&PolicyError{Decision: refused}, "refused by policy: mode-tls-required-refused"},
		{&Error{Domain: "partner.example", Status: "4.7.5", Err: io.EOF, Report: &Report{Attempts: make([]Attempt, 3)}},
			"smtpclient: partner.example: temporary 4.7.5: EOF (3 attempts)"},
		{&Error{Domain: "partner.example", Status: "5.1.10", Permanent: true, Err: ErrNullMX, Report: &Report{}},
			"smtpclient: partner.example: permanent 5.1.10: the domain accepts no mail: it has a null MX record"},
		{errRefusedAddress, "the host has no address that may be connected to"},
	}
	for _, test := range tests {
		require.EqualError(t, test.err, test.want)
	}
	require.Equal(t, "ehlo-tls", StageTLS.String())
	require.Equal(t, "Stage(99)", Stage(99).String())
	require.Equal(t, "HandshakeCause(99)", HandshakeCause(99).String())
}

// TestStatus: the class is always 4 but for the two facts that DNS can prove.
func TestStatus(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{&ReplyError{Code: 554, Enhanced: "5.7.1"}, "4.7.1"},
		{&ReplyError{Code: 421, Enhanced: "4.3.2"}, "4.3.2"},
		{&ReplyError{Code: 554}, "4.4.2"},
		{&ProtocolError{StageEHLO, ErrReplyCodes}, "4.4.2"},
		{&LostError{StageEHLO, io.EOF}, "4.4.2"},
		{&ConnectError{Err: io.EOF}, "4.4.1"},
		{&HandshakeError{Err: io.EOF}, "4.7.5"},
		{ErrNoAddress, "4.4.4"},
		{ErrNoHosts, "4.4.4"},
		{ErrUnproven, "4.4.4"},
		{ErrMailLoop, "4.4.6"},
		{ErrNoMTASTS, "4.3.5"},
		{ErrNoDomain, "5.1.2"},
		{ErrNullMX, "5.1.10"},
		{io.EOF, "4.4.0"},
	}
	for _, test := range tests {
		require.Equal(t, test.want, statusOf(test.err), test.err)
	}
}
