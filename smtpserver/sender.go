package smtpserver

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// Sender is one entry of a sender group, in parsed form. Senders that stand for
// the same peers by the same kind of text are equal. The zero Sender matches
// nobody.
type Sender struct {
	kind   senderKind
	lo, hi netip.Addr // addresses, both ends included
	host   string     // a name, or ".name" for all below it
}

type senderKind uint8

const (
	senderNone  senderKind = iota
	senderRange            // every address from lo to hi
	senderGroup            // lo and hi differ in one of the eight groups of an IPv6 address
	senderHost             // a verified host name, or all below one
	senderAll              // everybody
)

// ParseSender reads an entry in any of the forms of an AsyncOS host access table:
//
//	192.0.2.7                    one address; 2001:db8::1 too
//	10.1.2.  10.1.2              every address that begins with these octets
//	10.1.2.3-9  10.1.2-5  10-12. a range in the last octet that is given
//	10.1/16                      a prefix, of a full address or of the octets given
//	2001:db8::/32                an IPv6 prefix
//	2001:db8::1-2001:db8::ff     an IPv6 range
//	2001:db8:1-4::1              a range in one IPv6 group, the others as they stand
//	mx.example.com               that verified host name
//	.example.com                 every verified host name below example.com, not itself
//	ALL                          everybody, also a peer without an IP address
//
// IPv4-mapped addresses count as IPv4; host bits behind a prefix are dropped; host
// names are compared in lower case as A-labels. SBRS, SBO and dnslist conditions
// are ErrUnsupportedCondition. Every other text is an error that says why.
func ParseSender(text string) (Sender, error) {
	switch {
	case text == "":
		return Sender{}, errors.New("empty")
	case strings.EqualFold(text, "ALL"):
		return Sender{kind: senderAll}, nil
	case isCondition(text):
		return Sender{}, ErrUnsupportedCondition
	case strings.Trim(text, "0123456789./-") == "" && text != ".":
		return parseIPv4(text)
	case strings.Contains(text, ":"):
		return parseIPv6(text)
	}
	return parseHost(text)
}

// isCondition says whether text is one of the conditions that need a service:
// SBRS[..], SBO:n, dnslist[..].
func isCondition(text string) bool {
	head := text
	if i := strings.IndexAny(text, "[:"); i >= 0 {
		head = text[:i]
	}
	switch strings.ToLower(strings.TrimSpace(head)) {
	case "sbrs", "sbo", "dnslist":
		return len(head) < len(text) || strings.EqualFold(head, "SBRS")
	}
	return false
}

// String returns a text that ParseSender reads as the same Sender.
func (s Sender) String() string {
	switch s.kind {
	case senderAll:
		return "ALL"
	case senderHost:
		return s.host
	case senderGroup:
		return s.groupText()
	case senderRange:
		if s.lo == s.hi {
			return s.lo.String()
		}
		if p, ok := asPrefix(s.lo, s.hi); ok {
			return p.String()
		}
		if s.lo.Is4() {
			return s.octetText()
		}
		return s.lo.String() + "-" + s.hi.String()
	}
	return ""
}

// groupText writes all eight groups, so that no "::" stands beside the range.
func (s Sender) groupText() string {
	lo, hi := s.lo.As16(), s.hi.As16()
	groups := make([]string, 8)
	for i := range groups {
		a := uint64(lo[2*i])<<8 | uint64(lo[2*i+1])
		b := uint64(hi[2*i])<<8 | uint64(hi[2*i+1])
		groups[i] = strconv.FormatUint(a, 16)
		if a != b {
			groups[i] += "-" + strconv.FormatUint(b, 16)
		}
	}
	return strings.Join(groups, ":")
}

// octetText writes an IPv4 range: the octets in which both ends agree, then the
// range. What follows is 0 in lo and 255 in hi.
func (s Sender) octetText() string {
	lo, hi := s.lo.As4(), s.hi.As4()
	var b strings.Builder
	for i := range lo {
		if lo[i] != hi[i] {
			fmt.Fprintf(&b, "%d-%d", lo[i], hi[i])
			break
		}
		fmt.Fprintf(&b, "%d.", lo[i])
	}
	return b.String()
}

// asPrefix returns the prefix that covers exactly lo to hi, if there is one.
func asPrefix(lo, hi netip.Addr) (netip.Prefix, bool) {
	for bits := lo.BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(lo, bits)
		if p.Masked().Addr() != lo {
			return netip.Prefix{}, false
		}
		if last(p) == hi {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// last returns the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(raw)*8; i++ {
		raw[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

// parseIPv4 reads whole and partial addresses with a range in the last octet, or
// a prefix length.
func parseIPv4(text string) (Sender, error) {
	octets, bits, prefixed := strings.Cut(text, "/")
	whole := octets
	octets = strings.TrimSuffix(octets, ".")
	parts := strings.Split(octets, ".")
	if len(parts) > 4 || len(parts) == 4 && whole != octets {
		return Sender{}, errors.New("more than four octets; a range stands in the last octet alone, as in 10.1.2.3-9")
	}
	var lo, hi [4]byte
	for i := range hi {
		hi[i] = 255
	}
	for i, part := range parts {
		from, to, ranged := strings.Cut(part, "-")
		if ranged && i < len(parts)-1 {
			return Sender{}, errors.New("a range is allowed in the last octet only")
		}
		if ranged && prefixed {
			return Sender{}, errors.New("a range and a prefix length exclude each other")
		}
		if !ranged {
			to = from
		}
		var err error
		if lo[i], err = octet(from); err != nil {
			return Sender{}, err
		}
		if hi[i], err = octet(to); err != nil {
			return Sender{}, err
		}
		if lo[i] > hi[i] {
			return Sender{}, fmt.Errorf("the range %s runs backwards", part)
		}
	}
	if !prefixed {
		return Sender{kind: senderRange, lo: netip.AddrFrom4(lo), hi: netip.AddrFrom4(hi)}, nil
	}
	n, err := prefixLength(bits, 32)
	if err != nil {
		return Sender{}, err
	}
	return prefixSender(netip.PrefixFrom(netip.AddrFrom4(lo), n)), nil
}

func prefixSender(p netip.Prefix) Sender {
	return Sender{kind: senderRange, lo: p.Masked().Addr(), hi: last(p)}
}

func octet(s string) (byte, error) {
	switch {
	case s == "":
		return 0, errors.New("an octet is missing")
	case len(s) > 1 && s[0] == '0':
		return 0, fmt.Errorf("octet %s has a leading zero, which some read as octal", s)
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("octet %s is not a number up to 255", s)
	}
	return byte(n), nil
}

func prefixLength(s string, most int) (int, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || int(n) > most || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("the prefix length %q is not a number up to %d", s, most)
	}
	return int(n), nil
}

// parseIPv6 reads an address, a prefix, a range of addresses or a range in one
// group.
func parseIPv6(text string) (Sender, error) {
	if strings.Contains(text, "%") {
		return Sender{}, errors.New("an IPv6 zone means something on one machine only: leave it out")
	}
	if strings.ContainsAny(text, "[]") {
		return Sender{}, errors.New("write an IPv6 address without brackets")
	}
	if addr, bits, ok := strings.Cut(text, "/"); ok {
		return parseIPv6Prefix(addr, bits)
	}
	from, to, ranged := strings.Cut(text, "-")
	if !ranged {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return Sender{}, errors.New("not an IPv6 address")
		}
		addr = addr.Unmap()
		return Sender{kind: senderRange, lo: addr, hi: addr}, nil
	}
	if strings.Contains(to, "-") {
		return Sender{}, errors.New("more than one range")
	}
	lo, errLo := netip.ParseAddr(from)
	hi, errHi := netip.ParseAddr(to)
	if errLo == nil && errHi == nil {
		return rangeSender(lo.Unmap(), hi.Unmap())
	}
	return parseGroupRange(text)
}

func parseIPv6Prefix(text, bits string) (Sender, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Is4() {
		return Sender{}, errors.New("before the slash stands no IPv6 address")
	}
	n, err := prefixLength(bits, 128)
	if err != nil {
		return Sender{}, err
	}
	if addr.Is4In6() && n >= 96 {
		return prefixSender(netip.PrefixFrom(addr.Unmap(), n-96)), nil
	}
	// A prefix that reaches beyond the mapped addresses is one of IPv6, which no
	// IPv4 peer matches.
	return prefixSender(netip.PrefixFrom(netip.AddrFrom16(addr.As16()), n)), nil
}

func rangeSender(lo, hi netip.Addr) (Sender, error) {
	switch {
	case lo.BitLen() != hi.BitLen():
		return Sender{}, errors.New("one end of the range is IPv4, the other IPv6")
	case lo.Is4():
		return Sender{}, errors.New("write an IPv4 range in the last octet, without the IPv6 form")
	case hi.Less(lo):
		return Sender{}, errors.New("the range runs backwards")
	}
	return Sender{kind: senderRange, lo: lo, hi: hi}, nil
}

// parseGroupRange reads an address in one of whose groups stands a range.
func parseGroupRange(text string) (Sender, error) {
	dash := strings.IndexByte(text, '-')
	start := strings.LastIndexByte(text[:dash], ':') + 1
	end := len(text)
	if i := strings.IndexByte(text[dash:], ':'); i >= 0 {
		end = dash + i
	}
	lo, errLo := netip.ParseAddr(text[:dash] + text[end:])
	hi, errHi := netip.ParseAddr(text[:start] + text[dash+1:])
	if errLo != nil || errHi != nil || !isGroup(text[start:dash]) || !isGroup(text[dash+1:end]) {
		return Sender{}, errors.New("neither two IPv6 addresses nor an address with a range in one group")
	}
	switch {
	case lo.Is4In6() || hi.Is4In6():
		return Sender{}, errors.New("write an IPv4 range in the last octet, without the IPv6 form")
	case hi.Less(lo):
		return Sender{}, errors.New("the range runs backwards")
	case end == len(text) || lo == hi:
		return Sender{kind: senderRange, lo: lo, hi: hi}, nil // one unbroken range
	}
	return Sender{kind: senderGroup, lo: lo, hi: hi}, nil
}

func isGroup(s string) bool {
	_, err := strconv.ParseUint(s, 16, 16)
	return err == nil && len(s) <= 4
}

// parseHost reads a host name, or a dot and a name for all hosts below it.
func parseHost(text string) (Sender, error) {
	if strings.Contains(text, "*") {
		return Sender{}, fmt.Errorf("wildcards are not used here: write %q for every host below a domain", ".example.com")
	}
	name, below := strings.CutPrefix(text, ".")
	if name == "" {
		return Sender{}, errors.New("a lone dot")
	}
	canonical, err := hostname.Parse(name)
	if err != nil {
		return Sender{}, err
	}
	if below {
		canonical = "." + canonical
	}
	return Sender{kind: senderHost, host: canonical}, nil
}
