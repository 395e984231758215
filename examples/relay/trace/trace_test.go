package trace

import (
	"bufio"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadHeader(t *testing.T) {
	for _, tc := range []struct {
		why, text string
		want      Header
	}{
		{"nothing", "", Header{}},
		{"fields in any letter case", "RECEIVED: a\r\nreceived: b\r\nMessage-Id: <x@y>\r\n\r\nbody", Header{Hops: 2, MessageID: "<x@y>"}},
		{"a body does not count", "A: b\r\n\r\nReceived: c\r\n", Header{}},
		{"a body without an empty line before it", "A: b\r\nbody\r\nReceived: c\r\n", Header{}},
		{"a folded line is no field", "A: b\r\n Received: c\r\n", Header{}},
		{"a folded Message-ID", "Message-ID:\r\n <x@y>\r\n", Header{MessageID: "<x@y>"}},
		{"TLS is not required", "TLS-Required: no\r\n", Header{TLSOptional: true}},
		{"a first line that would go on with our field", " by me\r\nReceived: c\r\n", Header{Headless: true}},
		{"the same with a tab, and no end", "\tby me", Header{Headless: true}},
		{"a long one", " " + strings.Repeat("x", 9000) + "\r\n", Header{Headless: true}},
		{"a body and nothing else", "hello\r\nReceived: c\r\n", Header{Headless: true}},
		{"a word", "hello", Header{Headless: true}},
		{"no header, and an empty line that says so", "\r\nhello\r\n", Header{}},
		{"another value asks for nothing", "TLS-Required: Yes\r\n", Header{}},
	} {
		h, err := ReadHeader(bufio.NewReader(strings.NewReader(tc.text)))
		require.NoError(t, err, tc.why)
		require.True(t, strings.HasPrefix(tc.text, string(h.Text)), tc.why)
		h.Text = nil
		require.Equal(t, tc.want, h, tc.why)
	}
}

// TestHop: whatever a client says in EHLO, there is one field, of short lines.
func TestHop(t *testing.T) {
	for _, helo := range []string{"mx.example", "[IPv6:2001:db8::1]", "a\r\nX: y", "(", "\"", strings.Repeat("x", 500), "\u00fc"} {
		field := Hop{Helo: helo, Address: netip.MustParseAddr("2001:db8::1"), By: "relay.example", ID: "1", At: time.Now()}.String()
		require.Equal(t, 3, strings.Count(field, "\r\n"), helo)
		for line := range strings.Lines(field) {
			require.LessOrEqual(t, len(line), 500)
			require.Regexp(t, `^(Received: from [\w.:?\[\]-]+ \(\[IPv6:2001:db8::1\]\)|\tby relay.example with ESMTP id 1;|\t[\w, :+-]+)\r\n$`, line)
		}
	}
}

// FuzzHeader: the header and what is left make the message, and Received fields are
// never counted too low.
func FuzzHeader(f *testing.F) {
	f.Add("Received: a\r\nReceived:\r\n b\r\nTLS-Required: No\r\n\r\nReceived: c\r\n")
	f.Add("no header")
	f.Add(" eceived: a\r\nReceived:\r\n b\r\n\r\n")
	f.Add(strings.Repeat("x", 40<<10) + ": y\r\nReceived: z\r\n")
	f.Fuzz(func(t *testing.T, message string) {
		in := bufio.NewReaderSize(strings.NewReader(message), 32<<10)
		h, err := ReadHeader(in)
		if err != nil {
			require.ErrorIs(t, err, ErrHeader)
			require.Greater(t, len(h.Text), MaxHeader)
			return
		}
		rest := new(strings.Builder)
		_, err = in.WriteTo(rest)
		require.NoError(t, err)
		require.Equal(t, message, string(h.Text)+rest.String())
		first, _, _ := strings.Cut(message, "\n")
		if h.Headless { // the body begins with the first line, and what is in it does not count
			require.True(t, !strings.Contains(first, ":") || strings.HasPrefix(first, " ") || strings.HasPrefix(first, "\t"), "%q", first)
			require.Zero(t, h.Hops)
			return
		}
		head, _, _ := strings.Cut(message, "\r\n\r\n")
		want := 0
		for line := range strings.Lines(head) {
			if !strings.Contains(line, ":") && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
				break
			}
			if strings.HasPrefix(strings.ToLower(line), "received:") {
				want++
			}
		}
		require.GreaterOrEqual(t, h.Hops, want)
	})
}
