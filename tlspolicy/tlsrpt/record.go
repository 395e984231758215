package tlsrpt

import (
	"iter"
	"slices"
	"strings"
)

const (
	recordVersion = "v=TLSRPTv1"
	// maxRecord bounds the text of a record: no DNS message is longer (RFC 1035
	// section 4.2.2).
	maxRecord = 65535
	// maxExtensionName is the longest name of a field (RFC 8460 section 3).
	maxExtensionName = 32
)

// Record is a TXT record of TLS reporting (RFC 8460 section 3): where the owner
// of a domain wants reports to go. The zero Record has no target.
type Record struct {
	raw      string
	targets  []Target
	warnings []Warning
}

// Targets returns where reports go, in the order of the record, also the targets
// that cannot be used. At most MaxTargets of them are usable. The slice is the
// caller's.
func (r Record) Targets() []Target { return append([]Target(nil), r.targets...) }

// Warnings returns what was tolerated in the record. The slice is the caller's.
func (r Record) Warnings() []Warning { return append([]Warning(nil), r.warnings...) }

// usable yields the targets to which reports can be sent, each once however often
// and in however many spellings the record has it.
func (r Record) usable() iter.Seq[Target] {
	return func(yield func(Target) bool) {
		for i, t := range r.targets {
			twice := slices.ContainsFunc(r.targets[:i], func(o Target) bool { return o.key() == t.key() })
			if t.Usable() && !twice && !yield(t) {
				return
			}
		}
	}
}

// String returns the record in canonical form: one rua field with every target,
// without extensions. It is empty for a Record without targets.
func (r Record) String() string {
	if len(r.targets) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(recordVersion + "; rua=")
	for i, t := range r.targets {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(t.URI)
	}
	b.WriteByte(';')
	return b.String()
}

// Extensions yields the well-formed fields that RFC 8460 does not define, name
// and value, the first of each name.
func (r Record) Extensions() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		seen := map[string]struct{}{"v": {}, "rua": {}}
		_, rest, more := strings.Cut(r.raw, ";")
		for more {
			var field string
			field, rest, more = strings.Cut(rest, ";")
			name, value, ok := splitField(trimBlank(field))
			if _, twice := seen[name]; !ok || twice {
				continue
			}
			seen[name] = struct{}{}
			if !yield(name, value) {
				return
			}
		}
	}
}

// NewRecord returns the record that asks for reports to these URIs, for the owner
// of a domain to publish at _smtp._tls.<domain>. Octets of a URI that a record
// cannot hold are percent-encoded. Unlike a record of somebody else's, every URI
// must be one to which reports can be sent.
func NewRecord(uris ...string) (Record, error) {
	if len(uris) == 0 {
		return Record{}, recordError("no target", 0, "rua")
	}
	if len(uris) > MaxTargets {
		return Record{}, recordError("more targets than are used", 0, uris[MaxTargets])
	}
	encoded := make([]string, len(uris))
	for i, uri := range uris {
		encoded[i] = encodeURI.Replace(uri)
		t, _, problem := parseTarget(encoded[i])
		if problem == "" && !t.Usable() {
			problem = "reports can be sent to mailto and https alone"
		}
		if problem != "" {
			return Record{}, recordError(problem, 0, uri)
		}
	}
	return ParseRecord(recordVersion + "; rua=" + strings.Join(encoded, ",") + ";")
}

// encodeURI encodes what delimits URIs in a record (RFC 8460 section 3).
var encodeURI = strings.NewReplacer(",", "%2C", "!", "%21", ";", "%3B", " ", "%20")

// ParseRecord reads one TXT record, its strings joined. The error is a
// *RecordError, which matches ErrRecordSyntax.
//
// It is tolerant: empty fields, blanks after the last field, malformed fields of
// other names and malformed targets beside one that can be read are passed over
// and told by Warnings. A report is a favour that the owner asked for, and a
// malformed target is never used, so leniency risks nothing. Several rua fields
// add up.
func ParseRecord(s string) (Record, error) {
	if len(s) > maxRecord {
		return Record{}, recordError("longer than a TXT record can be", maxRecord, "")
	}
	after, ok := strings.CutPrefix(s, recordVersion)
	if !ok {
		return Record{}, recordError("does not begin with "+recordVersion, 0, s)
	}
	end := strings.IndexByte(after, ';')
	if end < 0 || trimBlank(after[:end]) != "" {
		return Record{}, recordError("no semicolon after "+recordVersion, len(recordVersion), s)
	}
	r := Record{raw: s}
	end += len(recordVersion)
	found, usable := false, 0
	for end < len(s) { // s[end] is a semicolon
		start := end + 1
		if n := strings.IndexByte(s[start:], ';'); n >= 0 {
			end = start + n
		} else {
			end = len(s)
		}
		field := trimBlank(s[start:end])
		if end == len(s) {
			if field == "" {
				break // the record may end in a delimiter
			}
			if last := s[len(s)-1]; last == ' ' || last == '\t' {
				r.warn(WarnTrailing, len(s)-1, "")
			}
		}
		if field == "" {
			r.warn(WarnEmptyField, start, "")
			continue
		}
		list, ok := strings.CutPrefix(field, "rua=")
		if !ok {
			if name, _, ok := splitField(field); !ok || name == "v" {
				r.warn(WarnField, start, field)
			}
			continue
		}
		found = true
		r.readTargets(list, start+strings.Index(s[start:], list), &usable)
	}
	switch {
	case !found:
		return Record{}, recordError("no rua field", len(s), "")
	case len(r.targets) == 0:
		return Record{}, recordError("no target that can be read", len(recordVersion), s)
	}
	return r, nil
}

// readTargets reads the value of a rua field, which begins at offset.
func (r *Record) readTargets(list string, offset int, usable *int) {
	for more := true; more; {
		var member string
		before := len(list)
		member, list, more = strings.Cut(list, ",")
		uri := trimBlank(member)
		at := offset + strings.Index(member, uri)
		t, code, problem := parseTarget(uri)
		switch {
		case problem != "":
			r.warn(WarnTarget, at, uri)
		case t.Usable() && *usable == MaxTargets, len(r.targets) == 2*MaxTargets:
			r.warn(WarnManyTargets, at, uri)
		default:
			if code != 0 {
				r.warn(code, at, uri)
			}
			if t.Usable() {
				*usable++
			}
			r.targets = append(r.targets, t)
		}
		offset += before - len(list)
	}
}

func (r *Record) warn(code WarningCode, offset int, detail string) {
	if len(r.warnings) < maxWarnings {
		r.warnings = append(r.warnings, Warning{Code: code, Where: column(offset), Detail: clip(detail)})
	}
}

// splitField splits an extension field: name "=" value (RFC 8460 section 3).
func splitField(field string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(field, "=")
	if !ok || name == "" || len(name) > maxExtensionName || value == "" || !isAlnum(name[0]) {
		return "", "", false
	}
	for i := 1; i < len(name); i++ {
		if c := name[i]; !isAlnum(c) && c != '_' && c != '-' && c != '.' {
			return "", "", false
		}
	}
	for i := 0; i < len(value); i++ {
		if c := value[i]; c <= ' ' || c > '~' || c == '=' {
			return "", "", false
		}
	}
	return name, value, true
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// trimBlank drops WSP at both ends (RFC 5234 appendix B.1).
func trimBlank(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
