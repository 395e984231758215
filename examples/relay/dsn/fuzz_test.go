package dsn

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzCompose: whatever strangers wrote, what is read back are the fields that were
// given, three parts, and the original or the beginning of its header.
func FuzzCompose(f *testing.F) {
	f.Add("550 5.1.1 no such user", "bob@x.example", "rfc822;bob@x.example", "mx.x.example", "envid", "5.1.1", []byte(plain), int64(1000), false, uint8(0))
	f.Add("550-a\r\n550 \x00\x1b\xff", "b\r\n\r\nX: y@x", "utf-8;j\u00f6@x", "a\n.b", "\r\n\r\n", "4.4.7", []byte("A: b\n\n\n--=_00\n"), int64(9), true, uint8(1))
	f.Add("é\u202e", "\"a  b\"@x", ";", "", "", "2.0.0", []byte{0, '\r', 0xff}, int64(0), false, uint8(2))
	f.Fuzz(func(t *testing.T, diagnostic, address, orcpt, remote, envid, status string, original []byte, limit int64, utf8Form bool, action uint8) {
		r := report()
		r.SMTPUTF8, r.MaxReturned, r.EnvelopeID, r.ReceivedFrom = utf8Form, limit, envid, remote
		r.Arrival = r.Date
		actions := []Action{Failed, Delayed, Relayed, Delivered, ""}
		r.Recipients = []Recipient{
			{Address: address, Original: orcpt, Action: actions[int(action)%len(actions)], Status: status, RemoteMTA: remote, Diagnostic: diagnostic, Reason: diagnostic, WillRetryUntil: r.Date.Add(time.Hour)},
			{Address: "last@x.example", Action: Failed, Status: "5.2.2"},
		}
		var b bytes.Buffer
		_, err := Compose(&b, r, bytes.NewReader(original))
		require.NoError(t, err)
		p := parse(t, b.Bytes())
		require.Len(t, p.types, 3)
		require.Len(t, p.fields, 3, "the message and two recipients")

		require.Equal(t, "dns; relay.example", p.fields[0].Get("Reporting-Mta"))
		require.Equal(t, naive(envid, utf8Form, 100), p.fields[0].Get("Original-Envelope-Id"))
		one, last := p.fields[1], p.fields[2]
		require.Equal(t, "rfc822; last@x.example", last.Get("Final-Recipient"))
		require.Equal(t, "5.2.2", last.Get("Status"))
		require.Equal(t, prefixed("smtp; ", naive(diagnostic, utf8Form, MaxDiagnostic)), one.Get("Diagnostic-Code"))
		require.Equal(t, prefixed("dns; ", naive(remote, utf8Form, 255)), one.Get("Remote-Mta"))
		if ascii(address) && !strings.ContainsFunc(address, unicode.IsControl) && len(address) < 600 {
			require.Equal(t, strings.TrimSpace("rfc822; "+strings.TrimSpace(address)), one.Get("Final-Recipient"))
		}
		known := map[string]bool{"Original-Recipient": true, "Final-Recipient": true, "Action": true, "Status": true, "Remote-Mta": true,
			"Diagnostic-Code": true, "Last-Attempt-Date": true, "Will-Retry-Until": true}
		for name, values := range one {
			require.True(t, known[name], "a field that nobody gave: %q", name)
			require.Len(t, values, 1)
		}
		require.Contains(t, []string{"failed", "delayed", "relayed", "delivered"}, one.Get("Action"))

		normal := crlf(original)
		if p.types[2] == "message/rfc822" || p.types[2] == "message/global" {
			require.Equal(t, string(normal), string(p.original))
		} else {
			header := strings.ReplaceAll(string(p.original), "\r\n ", " ")
			require.LessOrEqual(t, len(header), 2*MaxHeader)
			require.NotContains(t, string(p.original), "\r\n\r\n", "no body in the header")
		}
	})
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// naive is what clean promises, in three slow steps.
func naive(s string, utf8Form bool, most int) string {
	var words []rune
	for _, r := range s {
		switch {
		case r == ' ' || r == '\t' || r == '\r' || r == '\n':
			r = ' '
		case r == utf8.RuneError || r != ' ' && !unicode.IsPrint(r) || !utf8Form && r > 127:
			r = '?'
		}
		if r == ' ' && (len(words) == 0 || words[len(words)-1] == ' ') {
			continue
		}
		if len(string(words))+utf8.RuneLen(r) > most {
			break
		}
		words = append(words, r)
	}
	return strings.TrimRight(string(words), " ")
}
