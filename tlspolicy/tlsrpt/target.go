package tlsrpt

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

const (
	// MaxTargets is how many targets of a record are used. RFC 8460 has no bound,
	// and a record must not turn one report into a flood.
	MaxTargets = 10
	// maxLocalPart is the longest part of an address before the @ (RFC 5321
	// section 4.5.3.1.1).
	maxLocalPart = 64
)

// Target is where a report goes: a member of the rua field of a record (RFC 8460
// section 3).
type Target struct {
	// URI is the target as the record has it, without what a report does not
	// need: the fragment of an https URI, the header fields of a mailto URI.
	URI string
	// Scheme is in lower case. Reports go to "mailto" and "https" alone.
	Scheme string
	// Address is the mail address of a mailto target, its domain in canonical
	// form; otherwise empty.
	Address string
	// Host is the host of an https target or the domain of Address, in canonical
	// form. It is empty for other schemes.
	Host string
}

// Usable reports whether reports can be sent to the target.
func (t Target) Usable() bool { return t.Host != "" }

// key is the same for two spellings of a target.
func (t Target) key() string {
	if t.Address != "" {
		return t.Address
	}
	return t.URI
}

// String returns the URI.
func (t Target) String() string { return t.URI }

// parseTarget reads a URI. What is wrong with it comes back in words; a code says
// what was tolerated.
func parseTarget(uri string) (Target, WarningCode, string) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || !validScheme(scheme) {
		return Target{}, 0, "not a URI"
	}
	for i := 0; i < len(rest); i++ {
		if c := rest[i]; c <= ' ' || c > '~' || c == '"' || c == '<' || c == '>' || c == '\\' || c == '^' || c == '`' || c == '{' || c == '|' || c == '}' {
			return Target{}, 0, "an octet that no URI has (RFC 3986 section 2)"
		}
	}
	var code WarningCode
	if strings.IndexByte(rest, '!') >= 0 {
		code = WarnUnencoded
	}
	var t Target
	var problem string
	switch {
	case strings.EqualFold(scheme, "mailto"):
		t = Target{URI: uri, Scheme: "mailto"}
		if address, _, found := strings.Cut(rest, "?"); found {
			t.URI, rest, code = uri[:len(scheme)+1+len(address)], address, WarnMailHeader
		}
		t.Address, t.Host, problem = mailAddress(rest)
	case strings.EqualFold(scheme, "https"):
		t = Target{URI: uri, Scheme: "https"}
		if page, _, found := strings.Cut(uri, "#"); found {
			t.URI, rest, code = page, rest[:len(rest)-(len(uri)-len(page))], WarnFragment
		}
		t.Host, problem = urlHost(rest)
		if problem == "" && !validEscapes(t.URI) {
			problem = "malformed percent-encoding"
		}
	default:
		return Target{URI: uri, Scheme: strings.ToLower(scheme)}, WarnScheme, ""
	}
	if problem != "" {
		return Target{}, 0, problem
	}
	return t, code, ""
}

// validEscapes obeys RFC 3986 section 2.1.
func validEscapes(s string) bool {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return true
		}
		if s = s[i+1:]; len(s) < 2 || !isHex(s[0]) || !isHex(s[1]) {
			return false
		}
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// validScheme obeys RFC 3986 section 3.1.
func validScheme(s string) bool {
	if s == "" || !isAlnum(s[0]) || '0' <= s[0] && s[0] <= '9' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isAlnum(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// mailAddress reads the one address of a mailto URI (RFC 6068).
func mailAddress(encoded string) (address, domain, problem string) {
	if strings.IndexByte(encoded, '%') >= 0 {
		decoded, err := url.PathUnescape(encoded)
		if err != nil {
			return "", "", "malformed percent-encoding"
		}
		encoded = decoded
	}
	return plainAddress(encoded)
}

// plainAddress reads a mail address and returns it with its domain in canonical
// form. Only a dot-atom is taken before the @: whatever needs quotes has no business
// in a header field that a stranger fills. The domain must be one that others know,
// too: a record must not send mail to a host of ours.
func plainAddress(s string) (address, domain, problem string) {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 {
		return "", "", "not a mail address"
	}
	if at > maxLocalPart || !dotAtom(s[:at]) {
		return "", "", "not one address of atoms and dots"
	}
	domain, err := hostname.Parse(s[at+1:])
	if err != nil {
		return "", "", "the domain of the address is malformed"
	}
	if last := domain[strings.LastIndexByte(domain, '.')+1:]; last == domain || strings.Trim(last, "0123456789") == "" {
		return "", "", "the domain of the address is not fully qualified"
	}
	if domain == s[at+1:] {
		return s, domain, ""
	}
	return s[:at+1] + domain, domain, ""
}

// dotAtom obeys RFC 5322 section 3.2.3.
func dotAtom(s string) bool {
	dot := true // as if one had come before
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if dot {
				return false
			}
			dot = true
			continue
		case isAlnum(c), strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0:
		default:
			return false
		}
		dot = false
	}
	return !dot
}

// urlHost reads what follows "https:".
func urlHost(rest string) (host, problem string) {
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return "", "no host"
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority = rest[:i]
	}
	if strings.IndexByte(authority, '@') >= 0 {
		return "", "user information"
	}
	host = authority
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		host = authority[:i]
		if port, err := strconv.ParseUint(authority[i+1:], 10, 16); authority[i+1:] != "" && (err != nil || port == 0) {
			return "", "malformed port"
		}
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", "malformed address"
		}
		return addr.String(), ""
	}
	if addr, ok := hostname.Literal(host); ok && addr.Is4() {
		return addr.String(), ""
	}
	host, err := hostname.Parse(host)
	if err != nil {
		return "", "malformed host"
	}
	return host, ""
}
