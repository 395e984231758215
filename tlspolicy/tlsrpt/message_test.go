package tlsrpt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

var mailTo = Target{"mailto:reports@company-y.example", "mailto", "reports@company-y.example", "company-y.example"}

func exampleMessage(t testing.TB) *Message {
	t.Helper()
	m, err := BuildMessage(exampleReport(), MessageOptions{Domain: "company-y.example", To: mailTo, From: "tlsrpt@company-x.example",
		Date: time.Date(2016, 4, 2, 1, 2, 3, 0, time.UTC)})
	require.NoError(t, err)
	return m
}

func TestBuildMessage(t *testing.T) {
	m := exampleMessage(t)
	golden, err := os.ReadFile(filepath.Join("testdata", "reports", "golden.eml"))
	require.NoError(t, err)
	cutAttachment := func(s string) string { // compressed data are those of the release of Go
		before, _, _ := strings.Cut(s, "json.gz\"\r\n\r\n")
		return before
	}
	require.Equal(t, cutAttachment(strings.ReplaceAll(string(golden), "\n", "\r\n")), cutAttachment(string(m.Bytes())))
	require.Equal(t, m.Bytes(), exampleMessage(t).Bytes(), "a message that is made again is the same")
	for line := range strings.SplitSeq(string(m.Bytes()), "\r\n") {
		require.LessOrEqual(t, len(line), 998)
		require.Equal(t, -1, strings.IndexFunc(line, func(c rune) bool { return c < ' ' || c > '~' }), "%q", line)
	}
	parsed, err := mail.ReadMessage(bytes.NewReader(m.Bytes()))
	require.NoError(t, err)
	require.Len(t, parsed.Header, len(m.SignHeaders))
	for _, name := range m.SignHeaders {
		require.NotEmpty(t, parsed.Header.Get(name), name)
	}
	got, err := ParseMessage(bytes.NewReader(m.Bytes()), Limits{})
	require.NoError(t, err)
	require.Empty(t, got.Warnings)
	require.Equal(t, exampleReport(), got.Report)
	require.Equal(t, [3]string{"company-x.example", "company-y.example", "tlsrpt@company-x.example"}, [3]string{got.Submitter, got.Domain, got.From})
	require.Equal(t, exampleReport().FileName("company-y.example"), got.FileName)
}

// TestTLSAReport: the report of a recipient domain under DANE alone names its mail
// hosts, which is no contradiction.
func TestTLSAReport(t *testing.T) {
	r := exampleReport()
	r.Policies[0].Policy = *NewTLSAPolicy("mx.host.example", "mx.host.example", nil)
	m, err := BuildMessage(r, MessageOptions{Domain: "company-y.example", To: mailTo})
	require.NoError(t, err)
	got, err := ParseMessage(bytes.NewReader(m.Bytes()), Limits{})
	require.NoError(t, err)
	require.Empty(t, got.Warnings)
	require.Equal(t, "company-y.example", got.Domain)
}

// TestNoInjection: nothing that somebody else has chosen breaks a header line.
func TestNoInjection(t *testing.T) {
	evil := "x\r\nBcc: victim@example.com\r\n\r\nbody"
	for why, change := range map[string]func(*Report, *MessageOptions){
		"domain":          func(_ *Report, o *MessageOptions) { o.Domain = evil },
		"empty domain":    func(_ *Report, o *MessageOptions) { o.Domain = "" },
		"target":          func(_ *Report, o *MessageOptions) { o.To.Address = evil + "@b.example" },
		"target's domain": func(_ *Report, o *MessageOptions) { o.To.Address = "a@" + evil },
		"two targets":     func(_ *Report, o *MessageOptions) { o.To.Address = "a@b.example,c@d.example" },
		"https target":    func(_ *Report, o *MessageOptions) { o.To.Scheme = "https" },
		"from":            func(_ *Report, o *MessageOptions) { o.From = evil },
		"from, encoded":   func(_ *Report, o *MessageOptions) { o.From = "a%0d%0a@b.example" },
		"contact":         func(r *Report, _ *MessageOptions) { r.Contact = evil },
		"id":              func(r *Report, _ *MessageOptions) { r.ID = evil },
		"no id":           func(r *Report, _ *MessageOptions) { r.ID = "" },
		"id with bracket": func(r *Report, _ *MessageOptions) { r.ID = "a>b" },
	} {
		r, o := exampleReport(), MessageOptions{Domain: "company-y.example", To: mailTo}
		change(r, &o)
		_, err := BuildMessage(r, o)
		require.Error(t, err, why)
	}
	r := exampleReport()
	r.Organization, r.Policies[0].Policy.Lines[0], r.Policies[0].Details[0].ReceivingHelo = evil, evil, evil
	m, err := BuildMessage(r, MessageOptions{Domain: "company-y.example", To: mailTo})
	require.NoError(t, err)
	require.NotContains(t, string(m.Bytes()), "victim")
	m, err = BuildMessage(exampleReport(), MessageOptions{Domain: "company-y.example", To: Target{Scheme: "mailto", Address: "a%b@c.example"}})
	require.NoError(t, err)
	require.Equal(t, "a%b@c.example", m.To, "a per cent sign is an ordinary character of an address")
	require.Equal(t, "sts-reporting@company-x.example", m.From)
}

// backend is an SMTP server that keeps what it gets.
type backend struct {
	got    chan []byte
	refuse error
}

func (b *backend) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &smtpSession{b: b}, nil }

type smtpSession struct {
	b        *backend
	from, to string
}

func (s *smtpSession) Mail(from string, _ *gosmtp.MailOptions) error {
	s.from = from
	return s.b.refuse
}
func (s *smtpSession) Rcpt(to string, _ *gosmtp.RcptOptions) error { s.to = to; return nil }
func (s *smtpSession) Reset()                                      {}
func (s *smtpSession) Logout() error                               { return nil }
func (s *smtpSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err == nil {
		s.b.got <- append([]byte("Return-Path: <"+s.from+">\r\nDelivered-To: "+s.to+"\r\n"), text...)
	}
	return err
}

func mailServer(t testing.TB, b *backend) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := gosmtp.NewServer(b)
	server.Domain = "mx.receiver.example"
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

// TestOverSMTP: the message survives a real SMTP session.
func TestOverSMTP(t *testing.T) {
	b := &backend{got: make(chan []byte, 1)}
	m := exampleMessage(t)
	require.NoError(t, smtp.SendMail(mailServer(t, b), nil, m.From, []string{m.To}, m.Bytes()))
	text := <-b.got
	require.Contains(t, string(text), "Return-Path: <tlsrpt@company-x.example>\r\nDelivered-To: reports@company-y.example\r\n")
	got, err := ParseMessage(bytes.NewReader(text), Limits{})
	require.NoError(t, err)
	require.Equal(t, exampleReport(), got.Report)
	require.Empty(t, got.Warnings)
}

func TestParseMessageTolerance(t *testing.T) {
	whole := string(exampleMessage(t).Bytes())
	_, attachment, ok := strings.Cut(whole, "json.gz\"\r\n\r\n")
	require.True(t, ok)
	attachment, _, _ = strings.Cut(attachment, "--")
	replace := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(whole) }
	for _, tc := range []struct {
		why, text string
		warnings  []WarningCode
	}{
		{"as it is", whole, nil},
		{"line ends of Unix", strings.ReplaceAll(whole, "\r\n", "\n"), nil},
		{"bare attachment", "Subject: x\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: BASE64\r\n\r\n" + attachment, []WarningCode{WarnReportType, WarnAttachment}},
		{"bare JSON without any field about it", "Subject: x\r\n\r\n" + tolerated(), []WarningCode{WarnReportType, WarnAttachment}},
		{"wrong part type", replace("Content-Type: application/tlsrpt+gzip", "Content-Type: application/octet-stream"), []WarningCode{WarnAttachment}},
		{"wrong part type and no name", replace("Content-Type: application/tlsrpt+gzip", "Content-Type: application/gzip", "filename=", "x="), []WarningCode{WarnAttachment}},
		{"name in the type alone", replace("Content-Type: application/tlsrpt+gzip", `Content-Type: application/gzip; name="x.json.gz"`, "filename=", "x="), []WarningCode{WarnAttachment}},
		{"no report-type", replace(` report-type="tlsrpt";`, ""), []WarningCode{WarnReportType}},
		{"multipart/mixed", replace("multipart/report", "multipart/mixed"), []WarningCode{WarnReportType}},
		{"one part more outside", "Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n\r\nhello\r\n--outer\r\n" + whole + "\r\n--outer--\r\n", []WarningCode{WarnReportType}},
		{"no last boundary", whole[:strings.LastIndex(whole, "--=_")], nil},
		{"blanks in the base64", strings.Replace(whole, attachment, strings.ReplaceAll(attachment, "\r\n", " \t\r\n"), 1), nil},
		{"other submitter in the header", replace("TLS-Report-Submitter: company-x", "TLS-Report-Submitter: other"), []WarningCode{WarnDisagree}},
		{"other domains in Subject and file name", replace("Report Domain: company-y", "Report Domain: other", "!company-y", "!other"), []WarningCode{WarnDisagree, WarnDisagree}},
		{"submitter twice", replace("TLS-Report-Submitter:", "TLS-Report-Submitter: company-x.example\r\nTLS-Report-Submitter:"), []WarningCode{WarnDuplicateHeader}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			m, err := ParseMessage(strings.NewReader(tc.text), Limits{})
			require.NoError(t, err)
			require.NotEmpty(t, m.Report.Policies)
			var codes []WarningCode
			for _, w := range m.Warnings {
				codes = append(codes, w.Code)
			}
			require.Equal(t, tc.warnings, codes, "%v", m.Warnings)
		})
	}
}

func TestNotAMessage(t *testing.T) {
	whole := string(exampleMessage(t).Bytes())
	_, attachment, _ := strings.Cut(whole, "json.gz\"\r\n\r\n")
	nested := ""
	for i := range 10 {
		nested += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for why, tc := range map[string]struct {
		text string
		l    Limits
		err  error
	}{
		"empty":               {"", Limits{}, ErrReportSyntax},
		"no header":           {"hello", Limits{}, ErrReportSyntax},
		"malformed header":    {"a b: c\r\n\r\n", Limits{}, ErrReportSyntax},
		"no report":           {"Subject: x\r\n\r\nhello", Limits{}, ErrReportSyntax},
		"cut attachment":      {whole[:len(whole)-len(attachment)/2], Limits{}, ErrReportSyntax},
		"damaged base64":      {strings.Replace(whole, attachment[100:110], "@@@@@@@@@@", 1), Limits{}, ErrReportSyntax},
		"large message":       {strings.Replace(whole, "This is", strings.Repeat("x", 20000), 1), Limits{Compressed: 10000}, ErrReportLimit},
		"large header":        {"X: " + strings.Repeat("x", 30000), Limits{Compressed: 10000}, ErrReportLimit},
		"large attachment":    {whole, Limits{Compressed: 400}, ErrReportLimit},
		"large when unpacked": {whole, Limits{Decompressed: 100}, ErrReportLimit},
		"deep":                {nested, Limits{}, ErrReportLimit},
		"many parts":          {"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 200) + "--b--\r\n", Limits{}, ErrReportLimit},
	} {
		m, err := ParseMessage(strings.NewReader(tc.text), tc.l)
		require.ErrorIs(t, err, tc.err, why)
		require.Nil(t, m, why)
	}
	broken := errors.New("broken")
	_, err := ParseMessage(io.MultiReader(strings.NewReader(whole[:700]), &errorReader{broken}), Limits{})
	require.ErrorIs(t, err, broken)
}

type errorReader struct{ err error }

func (e *errorReader) Read([]byte) (int, error) { return 0, e.err }

// FuzzParseMessage: whatever comes, the report is one that ParseReport would read,
// and the errors are those that are documented.
func FuzzParseMessage(f *testing.F) {
	m := exampleMessage(f).Bytes()
	f.Add(m)
	f.Add([]byte("Subject: x\r\n\r\n" + tolerated()))
	f.Add(bytes.ReplaceAll(m, []byte("base64"), []byte("quoted-printable")))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMessage(bytes.NewReader(text), Limits{Compressed: 1 << 16, Decompressed: 1 << 18})
		if err != nil {
			require.Nil(t, m)
			require.True(t, errors.Is(err, ErrReportSyntax) || errors.Is(err, ErrReportLimit) || strings.HasPrefix(err.Error(), "tlsrpt: reading a report:"), "%v", err)
			return
		}
		marshalled, err := m.Report.MarshalJSON()
		require.NoError(t, err)
		_, _, err = ParseReport(bytes.NewReader(marshalled), Limits{})
		require.NoError(t, err)
	})
}

// TestMessageHeader: a message that is all header costs little.
func TestMessageHeader(t *testing.T) {
	var b strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&b, "x%d:\r\n", i)
	}
	_, err := ParseMessage(strings.NewReader(b.String()), Limits{})
	require.ErrorIs(t, err, ErrReportLimit)
}
