//go:build unix

package outbound

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/smtpclient"
)

// TestFailedDial: nothing that could be forged on the way is permanent.
func TestFailedDial(t *testing.T) {
	refused := smtpclient.Attempt{Err: &smtpclient.RequireTLSError{Host: "mx.example"}}
	unreachable := smtpclient.Attempt{Err: &smtpclient.ConnectError{Err: errors.New("refused")}}
	for _, tc := range []struct {
		why       string
		err       error
		permanent bool
		status    string
	}{
		{"no dialer's error", errors.New("x"), false, ""},
		{"temporary", &smtpclient.Error{Status: "4.7.5", Report: &smtpclient.Report{}}, false, "4.7.5"},
		{"denied without proof", &smtpclient.Error{Status: "5.1.2", Permanent: true, Report: &smtpclient.Report{}}, false, "5.1.2"},
		{"denied with proof", &smtpclient.Error{Status: "5.1.2", Permanent: true, Secure: true, Report: &smtpclient.Report{}}, true, "5.1.2"},
		{"every host lacks REQUIRETLS", &smtpclient.Error{Status: "4.7.5", Report: &smtpclient.Report{Attempts: []smtpclient.Attempt{refused, refused}}}, true, "5.7.30"},
		{"one host might have it", &smtpclient.Error{Status: "4.4.1", Report: &smtpclient.Report{Attempts: []smtpclient.Attempt{refused, unreachable}}}, false, "4.4.1"},
		{"a hop before might have it", &smtpclient.Error{Status: "4.4.1", Report: &smtpclient.Report{
			Attempts: []smtpclient.Attempt{refused}, Before: []*smtpclient.Report{{Attempts: []smtpclient.Attempt{unreachable}}}}}, false, "4.4.1"},
	} {
		results := failedDial(tc.err, 2)
		require.Len(t, results, 2, tc.why)
		require.ErrorIs(t, results[1].Err, tc.err, tc.why)
		require.Equal(t, tc.permanent, results[1].Permanent, tc.why)
		require.Equal(t, tc.status, results[1].Status, tc.why)
	}
}

// TestBounded: a reply without end ends the conversation, and what we say begins a new
// count.
func TestBounded(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	b := &bounded{Conn: here}
	go func() {
		buf := make([]byte, 1)
		for range 2 {
			_, _ = there.Write(make([]byte, maxReply))
			_, _ = there.Read(buf)
		}
	}()
	for range 2 {
		n, err := io.Copy(io.Discard, b)
		require.ErrorIs(t, err, errReply)
		require.EqualValues(t, maxReply, n)
		_, err = b.Write([]byte("x"))
		require.NoError(t, err)
	}
}

func TestDeadTargets(t *testing.T) {
	var d deadTargets
	target := smtpclient.Target{Domain: "down.example"}
	down := errors.New("down")
	d.put(target, down, time.Hour)
	require.Equal(t, down, d.get(target))
	require.NoError(t, d.get(smtpclient.Target{Domain: "up.example"}))
	d.clear()
	require.NoError(t, d.get(target))
	d.put(target, down, 0)
	require.NoError(t, d.get(target))
	for i := range maxDead + 1 {
		d.put(smtpclient.Target{Domain: strings.Repeat("x", i%60), Host: strings.Repeat("y", i/60)}, down, time.Hour)
	}
	require.LessOrEqual(t, len(d.m), maxDead)
}

func TestHas8bit(t *testing.T) {
	for text, want := range map[string]bool{"": false, "plain": false, "h\xe4": true, strings.Repeat("x", 64<<10) + "\u00e4": true, "\xff": true} {
		got, err := has8bit(strings.NewReader(text))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := has8bit(iotest.ErrReader(errors.New("disk")))
	require.Error(t, err)
}

func TestRecipientOptions(t *testing.T) {
	require.Equal(t, &smtp.RcptOptions{}, recipientOptions(&spool.Recipient{}))
	require.Equal(t, &smtp.RcptOptions{
		Notify:                []smtp.DSNNotify{smtp.DSNNotifySuccess, smtp.DSNNotifyDelayed},
		OriginalRecipientType: smtp.DSNAddressTypeRFC822, OriginalRecipient: "a;b@x.example",
	}, recipientOptions(&spool.Recipient{Notify: spool.NotifySuccess | spool.NotifyDelay, OriginalRecipient: "rfc822;a;b@x.example"}))
}
