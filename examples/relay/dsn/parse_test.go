package dsn

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// parsed is a notification as a stranger's program reads it.
type parsed struct {
	header mail.Header
	text   string
	fields []textproto.MIMEHeader // of the message, then of each recipient
	types  []string
	// original is the third part, decoded.
	original []byte
	raw      []byte
}

// parse reads a notification and checks what must hold of every one.
func parse(t testing.TB, raw []byte) parsed {
	t.Helper()
	p := parsed{raw: raw}
	require.True(t, bytes.HasSuffix(raw, []byte("\r\n")), "ends in CRLF")
	require.NotContains(t, string(raw), "\x00")
	require.NotContains(t, strings.ReplaceAll(string(raw), "\r\n", ""), "\n", "a bare LF")
	require.NotContains(t, strings.ReplaceAll(string(raw), "\r\n", ""), "\r", "a bare CR")
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		require.LessOrEqual(t, len(line), maxLine)
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	p.header = m.Header
	require.Len(t, m.Header["Content-Type"], 1)
	mediaType, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/report", mediaType)
	require.Equal(t, "delivery-status", params["report-type"])
	require.Equal(t, "auto-replied", m.Header.Get("Auto-Submitted"))
	parts := multipart.NewReader(m.Body, params["boundary"])
	for i := 0; ; i++ {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		require.NoError(t, err)
		p.types = append(p.types, kind)
		encoding := part.Header.Get("Content-Transfer-Encoding")
		var body io.Reader = part
		if encoding == "quoted-printable" {
			body = quotedprintable.NewReader(part)
		}
		data, err := io.ReadAll(body)
		require.NoError(t, err)
		if encoding == "" {
			require.True(t, ascii(string(data)), "part %d has octets above 127 and no encoding", i)
		}
		if encoding == "8bit" {
			require.Equal(t, "8bit", m.Header.Get("Content-Transfer-Encoding"), "the whole admits to its part")
		}
		switch i {
		case 0:
			p.text = string(data)
		case 1:
			p.fields = groups(t, data)
		case 2:
			p.original = data
		default:
			t.Fatalf("a part too many")
		}
	}
	require.Equal(t, len(p.types)+1, bytes.Count(raw, []byte("--"+params["boundary"])), "the boundary stands between the parts alone")
	return p
}

// groups reads the groups of fields of a delivery-status part.
func groups(t testing.TB, data []byte) []textproto.MIMEHeader {
	t.Helper()
	var all []textproto.MIMEHeader
	for group := range strings.SplitSeq(string(data), "\r\n\r\n") {
		group = strings.TrimSuffix(group, "\r\n") + "\r\n\r\n"
		h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(group))).ReadMIMEHeader()
		require.NoError(t, err)
		all = append(all, h)
	}
	return all
}

// report returns one about two recipients for tests to change.
func report() *Report {
	return &Report{
		ReportingMTA: "relay.example",
		From:         "postmaster@relay.example",
		To:           "alice@sender.example",
		ID:           "id-1",
		Date:         time.Date(2026, 11, 24, 9, 15, 0, 0, time.UTC),
		Recipients: []Recipient{
			{Address: "bob@partner.example", Action: Failed, Status: "5.1.1", RemoteMTA: "mx.partner.example", Diagnostic: "550 no"},
		},
		MaxReturned: 1 << 20,
	}
}

// compose composes and parses.
func compose(t testing.TB, r *Report, original string) (parsed, Needs) {
	t.Helper()
	var b bytes.Buffer
	needs, err := Compose(&b, r, strings.NewReader(original))
	require.NoError(t, err)
	p := parse(t, b.Bytes())
	require.Equal(t, needs.EightBit, p.header.Get("Content-Transfer-Encoding") == "8bit")
	if !needs.EightBit {
		require.True(t, ascii(string(p.raw)))
	}
	return p, needs
}
