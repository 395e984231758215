package tlsrpt

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ParseReport reads a report, as JSON or compressed with gzip, which it sees by
// itself. The error matches ErrReportSyntax if it is no report, ErrReportLimit if
// it is too large, or is that of r; then nothing of the report is returned.
//
// Much of what real senders do is tolerated, and told as warnings: dates without a
// zone, one string where an array belongs, counts as strings, missing members and
// more. Types and members that RFC 8460 does not define are kept. Every text in
// the result is the word of a stranger: see Report.Sanitized.
//
// A report says nothing about who sent it. RFC 8460 section 3 wants reports by mail
// to be signed by the submitter: see ParseMessage.
func ParseReport(r io.Reader, l Limits) (*Report, []Warning, error) {
	l = l.withDefaults()
	tooLong := fmt.Errorf("tlsrpt: %w: more than %d octets", ErrReportLimit, l.Compressed)
	from := &source{r: r}
	in := bufio.NewReader(&bounded{r: from, left: l.Compressed, over: tooLong})
	var text io.Reader = in
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) { // RFC 1952 section 2.3.1
		unzip, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, from.explain(err)
		}
		unzip.Multistream(false)
		text = unzip
	}
	tooLarge := fmt.Errorf("tlsrpt: %w: more than %d octets decompressed", ErrReportLimit, l.Decompressed)
	buffered := bufio.NewReader(&bounded{r: text, left: l.Decompressed, over: tooLarge})
	p := &reportParser{limits: l, policy: -1, detail: -1}
	if bom, _ := buffered.Peek(3); string(bom) == "\ufeff" {
		_, _ = buffered.Discard(3) // they are in the buffer
		p.warn(WarnBOM, "", "")
	}
	p.dec = json.NewDecoder(buffered)
	p.dec.UseNumber()
	report, err := p.report()
	if err == nil {
		err = p.finish(buffered, in)
	}
	if err != nil {
		return nil, nil, from.explain(err)
	}
	return report, p.warnings, nil
}

// finish reads to the end, so that a report whose checksum is wrong is none.
func (p *reportParser) finish(rest io.Reader, in *bufio.Reader) error {
	rest = io.MultiReader(p.dec.Buffered(), rest)
	after, buffer := "", make([]byte, 4096)
	for {
		n, err := rest.Read(buffer)
		if text := bytes.TrimSpace(buffer[:n]); after == "" && len(text) > 0 {
			after = string(text[:min(len(text), maxClip)])
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if after == "" {
		// Something may follow the compressed data, too.
		if more, _ := in.Peek(1); len(more) > 0 {
			after = string(more)
		}
	}
	if after != "" {
		p.warn(WarnAfterReport, "", after)
	}
	return nil
}

// reportParser walks through the tokens of a report.
type reportParser struct {
	dec      *json.Decoder
	limits   Limits
	warnings []Warning
	depth    int

	policy, detail int // where it is, -1 if outside
	policies       int // how many there were, of arrays given twice too
	details        int
	strings        int
	extra          int
}

func (p *reportParser) warn(code WarningCode, where, detail string) {
	if len(p.warnings) > maxWarnings {
		return
	}
	if len(p.warnings) == maxWarnings {
		p.warnings = append(p.warnings, Warning{Code: WarnMore, Where: "report"})
		return
	}
	place := "report"
	switch {
	case p.detail >= 0:
		place = fmt.Sprintf("policies[%d].failure-details[%d]", p.policy, p.detail)
	case p.policy >= 0:
		place = fmt.Sprintf("policies[%d]", p.policy)
	}
	if where != "" {
		place += "." + where
	}
	p.warnings = append(p.warnings, Warning{Code: code, Where: place, Detail: clip(detail)})
}

func (p *reportParser) overLimit(n int, what string) error {
	return fmt.Errorf("tlsrpt: %w: more than %d %s", ErrReportLimit, n, what)
}

// token returns the next token and keeps the depth.
func (p *reportParser) token() (json.Token, error) {
	token, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'), json.Delim('['):
		if p.depth++; p.depth > p.limits.Depth {
			return nil, p.overLimit(p.limits.Depth, "levels")
		}
	case json.Delim('}'), json.Delim(']'):
		p.depth--
	}
	return token, nil
}

// rest passes over what is left of a value whose first token is given.
func (p *reportParser) rest(first json.Token) error {
	if first != json.Delim('{') && first != json.Delim('[') {
		return nil
	}
	for outside := p.depth - 1; p.depth > outside; {
		if _, err := p.token(); err != nil {
			return err
		}
	}
	return nil
}

// members calls each for every member of an object whose first token is read.
// each consumes the value.
func (p *reportParser) members(each func(name string) error) error {
	for p.dec.More() {
		token, err := p.token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("tlsrpt: %w: member without name", ErrReportSyntax)
		}
		if err := each(name); err != nil {
			return err
		}
	}
	_, err := p.token()
	return err
}

// elements calls each with the first token of every element of an array, or of
// what stands where the array should. Null is an empty array.
func (p *reportParser) elements(where string, each func(first json.Token) error) error {
	first, err := p.token()
	if err != nil {
		return err
	}
	if first != json.Delim('[') {
		p.warn(WarnArray, where, "")
		if first == nil {
			return nil
		}
		return each(first)
	}
	for p.dec.More() {
		first, err := p.token()
		if err != nil {
			return err
		}
		if err := each(first); err != nil {
			return err
		}
	}
	_, err = p.token()
	return err
}

// once warns of a member that was there before.
func (p *reportParser) once(seen *uint, bit uint, where string) {
	if *seen&(1<<bit) != 0 {
		p.warn(WarnDuplicate, where, "")
	}
	*seen |= 1 << bit
}

// keep keeps a member that RFC 8460 does not define.
func (p *reportParser) keep(to *[]Member, name string) error {
	var raw json.RawMessage
	if err := p.dec.Decode(&raw); err != nil {
		return err
	}
	if p.depth+depthOf(raw) > p.limits.Depth {
		return p.overLimit(p.limits.Depth, "levels")
	}
	p.warn(WarnMember, name, "")
	if p.extra++; p.extra <= maxExtra {
		*to = append(*to, Member{Name: name, Value: raw})
	}
	return nil
}

// depthOf returns how deep a valid JSON text is.
func depthOf(text []byte) int {
	depth, most, quoted := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			depth++
			most = max(most, depth)
		case c == '}', c == ']':
			depth--
		}
	}
	return most
}
