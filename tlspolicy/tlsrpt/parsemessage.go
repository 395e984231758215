package tlsrpt

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxParts and maxPartDepth bound the parts of a message: a report has two, on
	// one level.
	maxParts     = 100
	maxPartDepth = 8
	// maxHeader bounds the header section of a message: a field costs many times
	// its octets when it is read.
	maxHeader = 1 << 20
)

// ReceivedMessage is a report that came as mail (RFC 8460 section 5.3).
//
// The parser does not verify DKIM. A report without a valid signature of its
// submitter must be ignored (RFC 8460 section 3): the signing domain must be
// Submitter, and Submitter that of the report. Everything else, From included, is
// the word of whoever sent the message.
type ReceivedMessage struct {
	Report   *Report
	Warnings []Warning
	// Submitter and Domain are the fields TLS-Report-Submitter and
	// TLS-Report-Domain, as they are.
	Submitter, Domain string
	// From is the address in the field From, empty if there is not just one.
	From string
	// FileName is that of the attachment.
	FileName string
}

// ParseMessage reads a report from a message. The report is found by the type of a
// part, then by file name, then by its content. The errors are those of
// ParseReport; a message without a report is ErrReportSyntax.
func ParseMessage(r io.Reader, l Limits) (*ReceivedMessage, error) {
	limits, from := l.withDefaults(), &source{r: r}
	in := &bounded{r: from, left: min(maxHeader, 2*limits.Compressed), over: fmt.Errorf("tlsrpt: %w: header of more than %d octets", ErrReportLimit, maxHeader)}
	message, err := mail.ReadMessage(bufio.NewReader(in))
	if in.left < 0 { // which may show as a line that is cut
		return nil, in.over
	}
	if err != nil {
		return nil, from.explain(err)
	}
	in.left += 2 * limits.Compressed
	in.over = fmt.Errorf("tlsrpt: %w: message of more than %d octets", ErrReportLimit, 2*limits.Compressed)
	out := new(ReceivedMessage)
	header := textproto.MIMEHeader(message.Header)
	walk := &partWalk{limits: limits}
	if err := walk.part(header, message.Body, 0); err != nil {
		return nil, from.explain(err)
	}
	if walk.best == nil {
		return nil, fmt.Errorf("tlsrpt: %w: message without a report", ErrReportSyntax)
	}
	out.FileName = walk.fileName
	if out.Report, out.Warnings, err = ParseReport(bytes.NewReader(walk.best), l); err != nil {
		return nil, err
	}
	media, params, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if media != "multipart/report" || !strings.EqualFold(params["report-type"], "tlsrpt") {
		out.warn(WarnReportType, "Content-Type", header.Get("Content-Type"))
	}
	if walk.rank != rankType || walk.partDepth == 0 {
		out.warn(WarnAttachment, "attachment", out.FileName)
	}
	out.Submitter, out.Domain = out.field(header, "TLS-Report-Submitter"), out.field(header, "TLS-Report-Domain")
	if list, err := message.Header.AddressList("From"); err == nil && len(list) == 1 {
		out.From = list[0].Address
	}
	out.compare(header.Get("Subject"))
	return out, nil
}

func (m *ReceivedMessage) warn(code WarningCode, where, detail string) {
	if len(m.Warnings) <= maxWarnings {
		m.Warnings = append(m.Warnings, Warning{Code: code, Where: where, Detail: clip(detail)})
	}
}

// field returns the first field of a name.
func (m *ReceivedMessage) field(header textproto.MIMEHeader, name string) string {
	values := header.Values(name)
	if len(values) > 1 {
		m.warn(WarnDuplicateHeader, name, values[1])
	}
	return strings.TrimSpace(header.Get(name))
}

// compare warns where header, subject, file name and report disagree (RFC 8460
// section 5.6: the report counts).
func (m *ReceivedMessage) compare(subject string) {
	submitter, domain := m.Report.Submitter(), m.Report.Domain()
	if !slices.ContainsFunc(m.Report.Policies, func(p PolicyReport) bool { return p.Policy.Type != PolicyTLSA }) {
		domain = "" // policies of type tlsa name mail hosts, not the domain of the report
	}
	differ := func(where, got, want string) {
		if got != "" && want != "" && !strings.EqualFold(strings.TrimSuffix(got, "."), want) {
			m.warn(WarnDisagree, where, got)
		}
	}
	differ("TLS-Report-Submitter", m.Submitter, submitter)
	differ("TLS-Report-Domain", m.Domain, domain)
	words := strings.Fields(subject)
	for i, word := range words[:max(0, len(words)-1)] {
		switch word {
		case "Domain:":
			differ("Subject", words[i+1], domain)
		case "Submitter:":
			differ("Subject", words[i+1], submitter)
		case "Report-ID:":
			differ("Subject", strings.Trim(words[i+1], "<>"), m.Report.ID)
		}
	}
	if parts := strings.Split(m.FileName, "!"); len(parts) >= 4 {
		differ("file name", parts[0], submitter)
		differ("file name", parts[1], domain)
		differ("file name", parts[2], strconv.FormatInt(m.Report.Begin.Unix(), 10))
	}
}

// How sure it is that a part is a report.
const (
	rankMagic = iota + 1
	rankName
	rankType
)

// partWalk looks for the part that is the report.
type partWalk struct {
	limits    Limits
	parts     int
	rank      int
	partDepth int
	best      []byte
	fileName  string
}

func (w *partWalk) part(header textproto.MIMEHeader, body io.Reader, depth int) error {
	if w.parts++; w.parts > maxParts || depth > maxPartDepth {
		return fmt.Errorf("tlsrpt: %w: more than %d parts or %d levels of them", ErrReportLimit, maxParts, maxPartDepth)
	}
	media, params, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if strings.HasPrefix(media, "multipart/") && params["boundary"] != "" {
		reader := multipart.NewReader(body, params["boundary"])
		for {
			part, err := reader.NextRawPart()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil // a missing end costs what is cut, which shows
			}
			if err != nil {
				return err
			}
			if err := w.part(part.Header, part, depth+1); err != nil {
				return err
			}
		}
	}
	_, disposition, _ := mime.ParseMediaType(header.Get("Content-Disposition"))
	name := disposition["filename"]
	if name == "" {
		name = params["name"]
	}
	rank := rankMagic
	switch lower := strings.ToLower(name); {
	case media == TypeGzip, media == TypeJSON:
		rank = rankType
	case strings.HasSuffix(lower, ".json.gz"), strings.HasSuffix(lower, ".json"):
		rank = rankName
	}
	if rank <= w.rank {
		return nil
	}
	text, err := w.decode(header.Get("Content-Transfer-Encoding"), body)
	if err != nil {
		return err
	}
	if rank == rankMagic && !bytes.HasPrefix(text, []byte{0x1f, 0x8b}) && !bytes.HasPrefix(bytes.TrimLeft(text, "\ufeff \t\r\n"), []byte("{")) {
		return nil
	}
	w.rank, w.best, w.fileName, w.partDepth = rank, text, name, depth
	return nil
}

// decode takes off the transfer encoding. What is damaged ends where it is damaged:
// the report then shows that it is cut.
func (w *partWalk) decode(encoding string, body io.Reader) ([]byte, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, dropBlanks{body})
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	over := fmt.Errorf("tlsrpt: %w: more than %d octets", ErrReportLimit, w.limits.Compressed)
	text, err := io.ReadAll(&bounded{r: body, left: w.limits.Compressed, over: over})
	_, damaged := errors.AsType[base64.CorruptInputError](err)
	if damaged || errors.Is(err, io.ErrUnexpectedEOF) || err != nil && strings.HasPrefix(err.Error(), "quotedprintable:") {
		err = nil
	}
	return text, err
}

// dropBlanks leaves out white space that base64 has no place for.
type dropBlanks struct{ r io.Reader }

func (d dropBlanks) Read(p []byte) (int, error) {
	for {
		n, err := d.r.Read(p)
		kept := 0
		for _, c := range p[:n] {
			if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
				p[kept] = c
				kept++
			}
		}
		if kept > 0 || err != nil || n == 0 {
			return kept, err
		}
	}
}
