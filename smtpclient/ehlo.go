package smtpclient

import (
	"iter"
	"strings"
)

const (
	// DefaultEHLOKeywords is how many EHLO lines are kept. Real servers list
	// about fifteen.
	DefaultEHLOKeywords = 64

	// peerText is the largest size in octets of one piece of a server's text
	// that is kept in a report.
	peerText = 512

	// sharedText is the largest size in octets of an EHLO reply whose lines share
	// memory; all of it is kept as long as one of them is.
	sharedText = 2048
)

// Extensions are the service extensions of one EHLO reply, RFC 5321 section
// 4.1.1.1. The zero value lists none, as after HELO.
//
// A Session's Extensions come from the EHLO inside TLS if there is TLS; what
// the server said before is void (RFC 3207 section 4.2).
type Extensions struct {
	list []extension
}

type extension struct{ keyword, params string }

// Lookup returns the parameters behind keyword, which is compared without
// regard to case, and whether the server listed it.
func (e Extensions) Lookup(keyword string) (params string, ok bool) {
	for _, x := range e.list {
		if strings.EqualFold(x.keyword, keyword) {
			return x.params, true
		}
	}
	return "", false
}

// Has tells whether the server listed keyword.
func (e Extensions) Has(keyword string) bool {
	_, ok := e.Lookup(keyword)
	return ok
}

// All yields the keywords in upper case with their parameters, in the server's
// order.
func (e Extensions) All() iter.Seq2[string, string] {
	return func(yield func(keyword, params string) bool) {
		for _, x := range e.list {
			if !yield(x.keyword, x.params) {
				return
			}
		}
	}
}

// Len returns the number of extensions.
func (e Extensions) Len() int { return len(e.list) }

// parseEHLO takes the extensions from a reply with code 250, and the raw lines
// for the report. The first line is the server's greeting and never counts, so
// a host called STARTTLS offers nothing. A line whose first word is no keyword
// ("XXXXXXXA" is one, "AUTH=LOGIN" is not) is in raw only. STARTTLS is kept
// wherever it stands: our limit must not be what sends mail in clear text.
func parseEHLO(r *reply, limits *Limits) (ext Extensions, raw []string) {
	n := min(r.lines()-1, limits.EHLOKeywords)
	if n <= 0 {
		return Extensions{}, nil
	}
	ext.list = make([]extension, 0, n)
	raw = make([]string, 0, n)
	// The lines of a reply of ordinary size are cut out of one string.
	whole := ""
	if start, end := r.ends[0], r.ends[n]; end-start <= sharedText {
		whole = printable(r.text[start:end], sharedText)
	}
	for i := range n {
		var line string
		if whole != "" {
			from := r.ends[i] - r.ends[0]
			line = whole[from:min(r.ends[i+1]-r.ends[0], from+peerText)]
		} else {
			line = printable(r.line(i+1), peerText)
		}
		raw = append(raw, line)
		keyword, params, _ := strings.Cut(strings.TrimRight(line, " "), " ")
		if isKeyword(keyword) && len(keyword) < peerText { // else it may have been cut
			ext.list = append(ext.list, extension{strings.ToUpper(keyword), strings.TrimLeft(params, " ")})
		}
	}
	for i := n + 1; i < r.lines() && !ext.Has(keywordSTARTTLS); i++ {
		line := printable(r.line(i), peerText)
		if keyword, _, _ := strings.Cut(line, " "); strings.EqualFold(keyword, keywordSTARTTLS) {
			raw = append(raw, line)
			ext.list = append(ext.list, extension{keyword: keywordSTARTTLS})
		}
	}
	return ext, raw
}

// isKeyword is ehlo-keyword of RFC 5321 section 4.1.1.1.
func isKeyword(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-' && i > 0:
		default:
			return false
		}
	}
	return s != ""
}
