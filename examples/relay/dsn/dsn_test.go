package dsn

import (
	"bytes"
	"errors"
	"io"
	"net/mail"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

const plain = "From: alice@sender.example\r\nTo: bob@partner.example\r\nSubject: hello\r\n\r\nHello!\r\n"

func TestWhatIsGivenBack(t *testing.T) {
	header := strings.SplitAfter(plain, "hello\r\n")[0]
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		why      string
		change   func(*Report)
		original string
		kind     string
		want     string
	}{
		{"a failure gives back all", nil, plain, "message/rfc822", plain},
		{"RET=FULL as well", func(r *Report) { r.Return = ReturnFull }, plain, "message/rfc822", plain},
		{"RET=HDRS gives the header", func(r *Report) { r.Return = ReturnHeaders }, plain, "text/rfc822-headers", header},
		{"REQUIRETLS counts as RET=HDRS, RFC 8689 section 5", func(r *Report) { r.Return, r.RequireTLS = ReturnFull, true }, plain, "text/rfc822-headers", header},
		{"RET has no say about a delay, RFC 3461 section 4.3", func(r *Report) { r.Return = ReturnFull; r.Recipients[0].Action = Delayed }, plain, "text/rfc822-headers", header},
		{"one failure among delays is a failure", func(r *Report) {
			r.Recipients = append(r.Recipients, Recipient{Address: "c@x.example", Action: Delayed})
		}, plain, "message/rfc822", plain},
		{"nor about a success", func(r *Report) { r.Return = ReturnFull; r.Recipients[0].Action = Relayed }, plain, "text/rfc822-headers", header},
		{"too large by one octet", func(r *Report) { r.MaxReturned = int64(len(plain)) - 1 }, plain, "text/rfc822-headers", header},
		{"just not too large", func(r *Report) { r.MaxReturned = int64(len(plain)) }, plain, "message/rfc822", plain},
		{"MaxReturned 0 is the header", func(r *Report) { r.MaxReturned = 0 }, plain, "text/rfc822-headers", header},
		{"bare LF becomes CRLF", nil, strings.ReplaceAll(plain, "\r\n", "\n"), "message/rfc822", plain},
		{"so does bare CR", nil, strings.ReplaceAll(plain, "\r\n", "\r"), "message/rfc822", plain},
		{"CR CR LF is two line ends", nil, "A: b\r\r\nx\r\n", "message/rfc822", "A: b\r\n\r\nx\r\n"},
		{"NUL cannot be carried", nil, plain + "a\x00b\r\n", "text/rfc822-headers", header},
		{"NUL in the header", func(r *Report) { r.Return = ReturnHeaders }, "A: b\x00c\r\n\r\n", "text/rfc822-headers", "A: b?c\r\n"},
		{"an overlong line cannot be carried", nil, plain + long, "text/rfc822-headers", header},
		{"an overlong header line is folded", func(r *Report) { r.Return = ReturnHeaders }, "A: " + long + "\r\n\r\n", "text/rfc822-headers",
			"A: " + long[:995] + "\r\n " + long[:997] + "\r\n " + long[:8] + "\r\n"},
		{"no empty line: all is header", func(r *Report) { r.Return = ReturnHeaders }, "A: b\r\nC: d", "text/rfc822-headers", "A: b\r\nC: d\r\n"},
		{"no header: the first line is none", func(r *Report) { r.Return = ReturnHeaders }, "hello\r\nA: b\r\n", "text/rfc822-headers", ""},
		{"the header ends where a line is no field", func(r *Report) { r.Return = ReturnHeaders }, "A: b\r\n c\r\nhello\r\nD: e\r\n", "text/rfc822-headers", "A: b\r\n c\r\n"},
		{"a continuation of nothing", func(r *Report) { r.Return = ReturnHeaders }, " x\r\nA: b\r\n", "text/rfc822-headers", ""},
		{"an empty message", nil, "", "message/rfc822", ""},
		{"8-bit body stays as it is", nil, "A: b\r\n\r\n\xe9\xff\r\n", "message/rfc822", "A: b\r\n\r\n\xe9\xff\r\n"},
		{"8-bit header alone is encoded", func(r *Report) { r.Return = ReturnHeaders }, "A: \xe9\r\n\r\n", "text/rfc822-headers", "A: \xe9\r\n"},
		{"SMTPUTF8", func(r *Report) { r.SMTPUTF8 = true }, "A: é\r\n\r\n", "message/global", "A: é\r\n\r\n"},
		{"SMTPUTF8, the header", func(r *Report) { r.SMTPUTF8, r.Return = true, ReturnHeaders }, "A: é\r\n\r\n", "message/global-headers", "A: é\r\n"},
		{"a header without end is cut between lines", func(r *Report) { r.Return = ReturnHeaders }, strings.Repeat("A: b\r\n", 20000), "text/rfc822-headers", strings.Repeat("A: b\r\n", MaxHeader/6)},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := report()
			if c.change != nil {
				c.change(r)
			}
			p, needs := compose(t, r, c.original)
			require.Len(t, p.types, 3)
			require.Equal(t, c.kind, p.types[2])
			require.Equal(t, c.want, string(p.original))
			require.Equal(t, r.SMTPUTF8, needs.SMTPUTF8)
			require.Equal(t, r.RequireTLS, needs.RequireTLS)
		})
	}
}

func TestHeaderAloneIsSevenBit(t *testing.T) {
	r := report()
	r.Return = ReturnHeaders
	_, needs := compose(t, r, "A: \xff\r\n\r\nbody")
	require.False(t, needs.EightBit)
	_, needs = compose(t, report(), "A: b\r\n\r\n\xff")
	require.True(t, needs.EightBit)
}

func TestFields(t *testing.T) {
	at := time.Date(2026, 11, 24, 9, 15, 0, 0, time.FixedZone("", 3600))
	for _, c := range []struct {
		why    string
		change func(*Report)
		group  int
		field  string
		want   string // "": absent
	}{
		{"who says it", nil, 0, "Reporting-Mta", "dns; relay.example"},
		{"ENVID", func(r *Report) { r.EnvelopeID = "QQ 1" }, 0, "Original-Envelope-Id", "QQ 1"},
		{"no ENVID", nil, 0, "Original-Envelope-Id", ""},
		{"a long ENVID folds and unfolds", func(r *Report) { r.EnvelopeID = strings.Repeat("ab ", 30) + "c" }, 0, "Original-Envelope-Id", strings.Repeat("ab ", 30) + "c"},
		{"Arrival", func(r *Report) { r.Arrival = at }, 0, "Arrival-Date", "Tue, 24 Nov 2026 09:15:00 +0100"},
		{"EHLO name", func(r *Report) { r.ReceivedFrom = "client.example" }, 0, "Received-From-Mta", "dns; client.example"},
		{"address", nil, 1, "Final-Recipient", "rfc822; bob@partner.example"},
		{"ORCPT", func(r *Report) { r.Recipients[0].Original = "rfc822;Bob+x@partner.example" }, 1, "Original-Recipient", "rfc822; Bob+x@partner.example"},
		{"ORCPT of another type", func(r *Report) { r.Recipients[0].Original = "x400;/S=Bob/" }, 1, "Original-Recipient", "x400; /S=Bob/"},
		{"ORCPT without type is none", func(r *Report) { r.Recipients[0].Original = "bob" }, 1, "Original-Recipient", ""},
		{"ORCPT with a type that breaks out", func(r *Report) { r.Recipients[0].Original = "rfc822\r\nX: y;bob" }, 1, "Original-Recipient", ""},
		{"quoted local part keeps its blanks", func(r *Report) { r.Recipients[0].Address = `"a  b"@x.example` }, 1, "Final-Recipient", `rfc822; "a  b"@x.example`},
		{"an address that is not ASCII, RFC 6533 section 3", func(r *Report) { r.Recipients[0].Address = "jö+x=y@x.example" }, 1, "Final-Recipient", `utf-8; j\x{F6}\x{2B}x\x{3D}y@x.example`},
		{"the same where its sender reads UTF-8", func(r *Report) { r.SMTPUTF8 = true; r.Recipients[0].Address = "jö@x.example" }, 1, "Final-Recipient", "utf-8; jö@x.example"},
		{"ORCPT of type utf-8 in ASCII", func(r *Report) { r.Recipients[0].Original = `utf-8;jö@x.example` }, 1, "Original-Recipient", `utf-8; j\x{F6}@x.example`},
		{"an address with a line break", func(r *Report) { r.Recipients[0].Address = "a\r\nStatus: 2.0.0@x" }, 1, "Final-Recipient", "rfc822; a??Status: 2.0.0@x"},
		{"Action", nil, 1, "Action", "failed"},
		{"an unknown action is a failure", func(r *Report) { r.Recipients[0].Action = "lost" }, 1, "Action", "failed"},
		{"Status", nil, 1, "Status", "5.1.1"},
		{"expired: failed with a code of class 4", func(r *Report) { r.Recipients[0].Status = "4.4.7" }, 1, "Status", "4.4.7"},
		{"TLS policy that never was met", func(r *Report) { r.Recipients[0].Status = "4.7.5" }, 1, "Status", "4.7.5"},
		{"REQUIRETLS", func(r *Report) { r.Recipients[0].Status = "5.7.30" }, 1, "Status", "5.7.30"},
		{"no code", func(r *Report) { r.Recipients[0].Status = "" }, 1, "Status", "5.0.0"},
		{"a code with zeros in front", func(r *Report) { r.Recipients[0].Status = "5.01.1" }, 1, "Status", "5.0.0"},
		{"a failure with a code of success", func(r *Report) { r.Recipients[0].Status = "2.0.0" }, 1, "Status", "5.0.0"},
		{"a delay with a permanent code", func(r *Report) { r.Recipients[0].Action = Delayed }, 1, "Status", "4.0.0"},
		{"a code that breaks out", func(r *Report) { r.Recipients[0].Status = "5.1.1\r\nX: y" }, 1, "Status", "5.0.0"},
		{"Remote-MTA", nil, 1, "Remote-Mta", "dns; mx.partner.example"},
		{"no Remote-MTA", func(r *Report) { r.Recipients[0].RemoteMTA = "" }, 1, "Remote-Mta", ""},
		{"Diagnostic", nil, 1, "Diagnostic-Code", "smtp; 550 no"},
		{"a reply of several lines", func(r *Report) { r.Recipients[0].Diagnostic = "550-a\r\n550 b" }, 1, "Diagnostic-Code", "smtp; 550-a 550 b"},
		{"a reply that is not ASCII", func(r *Report) { r.Recipients[0].Diagnostic = "550 n\xf6 ö \x1b[31m" }, 1, "Diagnostic-Code", "smtp; 550 n? ? ?[31m"},
		{"the direction of writing", func(r *Report) { r.SMTPUTF8 = true; r.Recipients[0].Diagnostic = "550 ö\u202ex" }, 1, "Diagnostic-Code", "smtp; 550 ö?x"},
		{"a reply without end", func(r *Report) { r.Recipients[0].Diagnostic = strings.Repeat("x", 100000) }, 1, "Diagnostic-Code", "smtp; " + strings.Repeat("x", MaxDiagnostic)},
		{"Last-Attempt", func(r *Report) { r.Recipients[0].LastAttempt = at }, 1, "Last-Attempt-Date", "Tue, 24 Nov 2026 09:15:00 +0100"},
		{"Will-Retry-Until of a delay", func(r *Report) { r.Recipients[0].Action, r.Recipients[0].WillRetryUntil = Delayed, at }, 1, "Will-Retry-Until", "Tue, 24 Nov 2026 09:15:00 +0100"},
		{"a failure is not retried", func(r *Report) { r.Recipients[0].WillRetryUntil = at }, 1, "Will-Retry-Until", ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := report()
			if c.change != nil {
				c.change(r)
			}
			p, _ := compose(t, r, plain)
			require.Len(t, p.fields, 2)
			require.Equal(t, c.want, p.fields[c.group].Get(c.field))
			require.LessOrEqual(t, len(p.fields[c.group][c.field]), 1)
		})
	}
}

func TestHeader(t *testing.T) {
	for _, c := range []struct {
		why, to string
		action  Action
		wantTo  string
		subject string
	}{
		{"failure", "alice@sender.example", Failed, "<alice@sender.example>", "Undelivered: your message could not be delivered"},
		{"delay", "alice@sender.example", Delayed, "<alice@sender.example>", "Delayed: your message has not been delivered yet"},
		{"success", "alice@sender.example", Relayed, "<alice@sender.example>", "Delivered: your message has been handed on"},
		{"an address that no header can have", "a..b@sender.example", Failed, "undisclosed-recipients:;", "Undelivered: your message could not be delivered"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := report()
			r.To, r.Recipients[0].Action = c.to, c.action
			p, _ := compose(t, r, plain)
			require.Equal(t, c.wantTo, p.header.Get("To"))
			require.Equal(t, c.subject, p.header.Get("Subject"))
			require.Equal(t, "<dsn.id-1@relay.example>", p.header.Get("Message-Id"))
			_, err := mail.ParseDate(p.header.Get("Date"))
			require.NoError(t, err)
		})
	}
	r := report()
	r.To = "jö@sender.example"
	_, needs := compose(t, r, plain)
	require.True(t, needs.SMTPUTF8, "its sender reads UTF-8, having such an address")
}

func TestText(t *testing.T) {
	r := report()
	r.Recipients = []Recipient{
		{Address: "a@x.example", Action: Failed, Status: "4.7.5", Reason: "mx.x.example: certificate has expired"},
		{Address: "b@x.example", Action: Delayed, Status: "4.4.1", WillRetryUntil: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)},
		{Address: "c@x.example", Action: Relayed, Status: "2.0.0"},
		{Address: "jö@x.example", Action: Failed, Status: "5.9.9", Diagnostic: "550 \x1b[2J\r\n--boundary"},
	}
	p, _ := compose(t, r, plain)
	text := strings.Join(strings.Fields(p.text), " ")
	for _, want := range []string{
		"could not be delivered", "mx.x.example: certificate has expired", "it did not prove that it is the right one", // 4.7.5
		"has not been delivered yet", "given up on Sun, 29 Nov 2026", "was delivered",
		`<j\x{F6}@x.example>`, "The next mail system said: 550 ?[2J --boundary", "Your message is attached.",
	} {
		require.Contains(t, text, want)
	}
	require.Len(t, p.fields, 5)
	r.MaxReturned = 3
	p, _ = compose(t, r, plain)
	require.Contains(t, strings.ReplaceAll(p.text, "\r\n", " "), "attached; the rest is not, since it is too large.")
}

func TestRefused(t *testing.T) {
	broken := errors.New("broken disk")
	for _, c := range []struct {
		why    string
		change func(*Report)
		want   error
	}{
		{"a notification about a notification", func(r *Report) { r.To = "" }, ErrNullSender},
		{"To that breaks out of its field", func(r *Report) { r.To = "a@b\r\nBcc: c@d" }, ErrAddress},
		{"To that is not UTF-8", func(r *Report) { r.To = "a\xff@b" }, ErrAddress},
		{"To without end", func(r *Report) { r.To = strings.Repeat("a", 1000) + "@b" }, ErrAddress},
		{"From that is none", func(r *Report) { r.From = "" }, ErrAddress},
		{"From that breaks out", func(r *Report) { r.From = "a@b>\r\nX: y" }, ErrAddress},
		{"nobody to tell of", func(r *Report) { r.Recipients = nil }, ErrReport},
		{"too many", func(r *Report) { r.Recipients = make([]Recipient, MaxRecipients+1) }, ErrReport},
		{"a host name that breaks out", func(r *Report) { r.ReportingMTA = "a\r\nb" }, ErrReport},
		{"no ID", func(r *Report) { r.ID = "" }, ErrReport},
		{"randomness that has run out", func(r *Report) { r.Rand = strings.NewReader("x") }, io.ErrUnexpectedEOF},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := report()
			c.change(r)
			_, err := Compose(io.Discard, r, strings.NewReader(plain))
			require.ErrorIs(t, err, c.want)
		})
	}
	_, err := Compose(io.Discard, report(), iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
	_, err = Compose(failing{broken}, report(), strings.NewReader(plain))
	require.ErrorIs(t, err, broken)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestBoundaryIsNotInTheMessage(t *testing.T) {
	taken := "=_" + strings.Repeat("00", 16)
	r := report()
	r.Rand = io.MultiReader(bytes.NewReader(make([]byte, 16)), strings.NewReader("0123456789abcdef"))
	p, _ := compose(t, r, "A: b\r\n\r\n--"+taken+"--\r\nrest\r\n")
	require.Equal(t, "A: b\r\n\r\n--"+taken+"--\r\nrest\r\n", string(p.original))

	r.Rand = bytes.NewReader(make([]byte, 1000))
	_, err := Compose(io.Discard, r, strings.NewReader("A: b\r\n\r\n--"+taken+"\r\n"))
	require.ErrorIs(t, err, ErrBoundary)
}

func TestWithoutOriginal(t *testing.T) {
	var b bytes.Buffer
	needs, err := Compose(&b, report(), nil)
	require.NoError(t, err)
	require.Equal(t, Needs{}, needs)
	p := parse(t, b.Bytes())
	require.Len(t, p.types, 2)
	require.NotContains(t, p.text, "attached.")
}

// TestReadsNoMoreThanItNeeds has an original that never ends.
func TestReadsNoMoreThanItNeeds(t *testing.T) {
	r := report()
	r.MaxReturned = 1 << 62
	endless := &counting{}
	_, err := Compose(io.Discard, r, endless)
	require.NoError(t, err)
	require.LessOrEqual(t, endless.n, MaxReturned+(64<<10))
}

type counting struct{ n int }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "A: b\r\n"[(c.n+i)%6]
	}
	c.n += len(p)
	return len(p), nil
}

func TestDue(t *testing.T) {
	const s, f, d, never = spool.NotifySuccess, spool.NotifyFailure, spool.NotifyDelay, spool.NotifyNever
	for _, c := range []struct {
		why    string
		sender string
		notify spool.Notify
		told   []Action
	}{
		{"no NOTIFY", "a@b", 0, []Action{Failed, Delayed}},
		{"failure", "a@b", f, []Action{Failed}},
		{"delay", "a@b", d, []Action{Delayed}},
		{"success", "a@b", s, []Action{Delivered, Relayed}},
		{"all", "a@b", s | f | d, []Action{Failed, Delayed, Delivered, Relayed}},
		{"never", "a@b", never, nil},
		{"never a notification about one", "", s | f | d, nil},
	} {
		t.Run(c.why, func(t *testing.T) {
			var told []Action
			for _, a := range []Action{Failed, Delayed, Delivered, Relayed, "lost"} {
				if Due(c.sender, c.notify, a) {
					told = append(told, a)
				}
			}
			require.Equal(t, c.told, told)
		})
	}
}

// TestInvisibleSender: whoever can be written to is told, also if his address has
// characters that no header should show.
func TestInvisibleSender(t *testing.T) {
	for _, to := range []string{"al\u200bice@x.example", "\u202ealice@x.example", "a\u00adb@x.example"} {
		var b bytes.Buffer
		needs, err := Compose(&b, &Report{ReportingMTA: "relay.example", From: "postmaster@relay.example", To: to, ID: "1",
			Recipients: []Recipient{{Address: "bob@y.example", Action: Failed}}}, nil)
		require.NoError(t, err)
		require.True(t, needs.SMTPUTF8)
		require.Contains(t, b.String(), "\r\nTo: undisclosed-recipients:;\r\n")
		require.NotContains(t, b.String(), to)
	}
	for _, to := range []string{"a\r\nb@x.example", "a\x00@x.example", "\xff@x.example"} {
		_, err := Compose(io.Discard, &Report{ReportingMTA: "relay.example", From: "postmaster@relay.example", To: to, ID: "1",
			Recipients: []Recipient{{Address: "bob@y.example", Action: Failed}}}, nil)
		require.ErrorIs(t, err, ErrAddress)
	}
}
