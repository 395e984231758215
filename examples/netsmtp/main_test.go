package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestPrograms: where STARTTLS is stripped, every program leaks the message before,
// and after gives it to nobody; where nothing is wrong both deliver over TLS. What is
// looked at is what the mail hosts saw.
func TestPrograms(t *testing.T) {
	l, err := lab.Start(world())
	require.NoError(t, err)
	defer l.Close()
	dialer, err := newDialer(l)
	require.NoError(t, err)
	n := labNetwork(l)
	reasons := map[string]tlspolicy.Reason{
		"attacked-sts.example":  tlspolicy.ReasonSTSTLSAbsent,
		"attacked-dane.example": tlspolicy.ReasonDANETLSAbsent,
	}
	for _, p := range programs {
		for _, domain := range []string{"honest.example", "attacked-sts.example", "attacked-dane.example"} {
			where := p.library + " to " + domain
			host := l.Host("mx." + domain)
			from, to, message := "alice@sender.example", "bob@"+domain, []byte("Subject: hello\r\n\r\n"+secret+"\r\n")
			reason, attacked := reasons[domain]

			host.Forget()
			require.NoError(t, p.before(t.Context(), n, from, to, message), where)
			require.NoError(t, host.Idle(t.Context()))
			require.Len(t, host.Mailbox(), 1, where)
			require.Contains(t, string(host.Mailbox()[0].Data), secret, where)
			require.Equal(t, attacked, host.Mailbox()[0].TLS == nil, where)
			require.Equal(t, attacked, inClear(host), where)

			host.Forget()
			err := p.after(t.Context(), dialer, from, to, message)
			require.NoError(t, host.Idle(t.Context()))
			require.False(t, inClear(host), where)
			if !attacked {
				require.NoError(t, err, where)
				require.Len(t, host.Mailbox(), 1, where)
				require.NotNil(t, host.Mailbox()[0].TLS, where)
				require.Contains(t, string(host.Mailbox()[0].Data), secret, where)
				continue
			}
			var refused *smtpclient.Error
			require.ErrorAs(t, err, &refused, where)
			require.True(t, refused.Temporary(), "an attacker must not make mail bounce")
			require.Equal(t, reason, refused.Reason, where)
			require.Empty(t, host.Mailbox(), where)
			for _, c := range host.Connections() {
				require.NotContains(t, strings.Join(c.Clear, "\n"), "MAIL", where)
			}
		}
	}
}

// inClear tells whether the secret went over the wire for everybody to read.
func inClear(host *lab.MailHost) bool {
	for _, c := range host.Connections() {
		if bytes.Contains(c.Octets, []byte(secret)) {
			return true
		}
	}
	return false
}

// TestRun: the program says what its README shows.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), out.String())
	require.Equal(t, 6, strings.Count(out.String(), "SENT IN CLEAR TEXT"))
}

// TestInterrupted: an interrupt ends the program with the context's error or that of
// the delivery it ended, and never looks like the expected outcome.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, run(ctx, &bytes.Buffer{}))
}
