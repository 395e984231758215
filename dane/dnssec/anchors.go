package dnssec

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// An Anchor is where trust begins: the digest of a key of a zone, as in a DS record (RFC 4034 section 5.1).
type Anchor struct {
	Zone       string // "." for the root
	KeyTag     uint16
	Algorithm  uint8 // of the key
	DigestType uint8 // 2 = SHA-256, 4 = SHA-384
	Digest     []byte
}

// RootAnchors returns the anchors that are built in: the keys of the root zone that IANA publishes in
// https://data.iana.org/root-anchors/root-anchors.xml, of 2017 and 2024. One of them that matches is enough.
func RootAnchors() []Anchor {
	anchors, _ := ParseAnchors(strings.NewReader(rootAnchors))
	return anchors
}

const rootAnchors = `
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
`

// Bounds of an anchor file. Real ones have two keys and a page of comments.
const (
	maxAnchorOctets = 256 << 10
	maxAnchors      = 256
)

// ParseAnchors reads anchors in the form of a zone file: one DS or DNSKEY record a line, TTL and class optional, comments
// after a semicolon. That is the form of Debian's dns-root-data and of unbound's root.key; of the latter only keys in
// the states VALID and MISSING of RFC 5011 section 4.3 are anchors. Of DNSKEY records only those that can sign a zone
// are: revoked keys are left out.
//
// The error is a *Error with KindUnusable that quotes the line at fault.
func ParseAnchors(r io.Reader) ([]Anchor, error) {
	var anchors []Anchor
	lines := bufio.NewScanner(io.LimitReader(r, maxAnchorOctets+1))
	lines.Buffer(nil, maxAnchorOctets+2)
	octets := 0
	for number := 1; lines.Scan(); number++ {
		octets += len(lines.Bytes()) + 1
		if octets > maxAnchorOctets+1 || len(anchors) > maxAnchors {
			return nil, unusable("too many trust anchors", nil)
		}
		text, comment, _ := strings.Cut(lines.Text(), ";")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		anchor, use, problem := parseAnchor(fields)
		if problem != "" {
			return nil, unusable(fmt.Sprintf("trust anchors, line %d: %s in %.200q", number, problem, text), nil)
		}
		if use && trustedState(comment) {
			anchors = append(anchors, anchor)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, unusable("trust anchors cannot be read", err)
	}
	return anchors, nil
}

// trustedState reads the comment in which unbound keeps the state of a key (RFC 5011 section 4.2): a key that waits to be
// accepted, or was revoked or removed, is no anchor. Without such a comment the administrator vouches for it.
func trustedState(comment string) bool {
	_, state, found := strings.Cut(comment, ";state=")
	return !found || strings.HasPrefix(state, "2 ") || strings.HasPrefix(state, "3 ")
}

// parseAnchor reads the fields of a record. use is false for a DNSKEY that cannot be an anchor.
func parseAnchor(fields []string) (anchor Anchor, use bool, problem string) {
	zone, problem := parseName(fields[0])
	if problem != "" {
		return Anchor{}, false, problem
	}
	anchor.Zone = zone.String()
	fields = fields[1:]
	for range 2 { // TTL and class in either order
		if len(fields) == 0 {
			break
		}
		_, err := strconv.ParseUint(fields[0], 10, 31)
		if err == nil || strings.EqualFold(fields[0], "IN") {
			fields = fields[1:]
		}
	}
	if len(fields) < 5 {
		return Anchor{}, false, "no whole DS or DNSKEY record"
	}
	numbers := func(bits ...int) (values [3]uint16, ok bool) {
		for i, size := range bits {
			n, err := strconv.ParseUint(fields[1+i], 10, size)
			if err != nil {
				return values, false
			}
			values[i] = uint16(n)
		}
		return values, true
	}
	data := strings.Join(fields[4:], "")
	switch strings.ToUpper(fields[0]) {
	case "DS":
		n, ok := numbers(16, 8, 8)
		digest, err := hex.DecodeString(data)
		if !ok || err != nil || len(digest) == 0 {
			return Anchor{}, false, "no key tag, algorithm, digest type and hexadecimal digest"
		}
		anchor.KeyTag, anchor.Algorithm, anchor.DigestType, anchor.Digest = n[0], uint8(n[1]), uint8(n[2]), digest
		return anchor, true, ""
	case "DNSKEY":
		n, ok := numbers(16, 8, 8)
		octets, err := base64.StdEncoding.DecodeString(data)
		if !ok || err != nil || len(octets) == 0 {
			return Anchor{}, false, "no flags, protocol, algorithm and base64 key"
		}
		rdata := append(binary.BigEndian.AppendUint16(nil, n[0]), uint8(n[1]), uint8(n[2]))
		rdata = append(rdata, octets...)
		anchor.KeyTag, anchor.Algorithm = keyTag(rdata), uint8(n[2])
		anchor.DigestType, anchor.Digest = digestSHA256, keyDigest(zone, rdata, digestSHA256)
		return anchor, n[0]&flagZone != 0 && n[0]&flagRevoke == 0 && n[1] == protocolDNSSEC, ""
	}
	return Anchor{}, false, "a record that is neither DS nor DNSKEY"
}

// An anchorage is a zone at which the way down begins, or must not begin.
type anchorage struct {
	zone     wireName
	negative bool // RFC 7646: nothing in the zone is validated
	ds       []delegationSigner
}

// secure reports whether validation begins at a; nil has no keys.
func (a *anchorage) secure() bool { return a != nil && !a.negative }

// anchorages holds all of them.
type anchorages map[wireName]*anchorage

// above returns the deepest one at or above name, nil if there is none.
func (as anchorages) above(name wireName) *anchorage {
	for {
		if a := as[name]; a != nil {
			return a
		}
		up, ok := name.parent()
		if !ok {
			return nil
		}
		name = up
	}
}

// newAnchorages takes the anchors that o names. The error is KindUnusable for anchors that no key can match, KindBadName
// for a zone that is not a name.
func newAnchorages(o *ValidatorOptions, known algorithms) (anchorages, *Error) {
	anchors, as := o.Anchors, make(anchorages)
	switch {
	case o.AnchorFile != "" && anchors != nil:
		return nil, unusable("both Anchors and AnchorFile are set", nil)
	case o.AnchorFile != "":
		file, err := os.Open(o.AnchorFile)
		if err != nil {
			return nil, unusable("the trust anchors cannot be read", err)
		}
		defer file.Close()
		if anchors, err = ParseAnchors(file); err != nil {
			return nil, unusable("in "+o.AnchorFile, err)
		}
	case anchors == nil:
		anchors = RootAnchors()
	}
	for _, a := range anchors {
		name, problem := parseName(a.Zone)
		if problem != "" {
			return nil, &Error{Kind: KindBadName, Name: a.Zone, Type: TypeDS, Reason: problem, EDE: noEDE}
		}
		if as[name] == nil {
			as[name] = &anchorage{zone: name}
		}
		if known.signature(a.Algorithm) && known.digest(a.DigestType) {
			as[name].ds = append(as[name].ds, delegationSigner{a.KeyTag, a.Algorithm, a.DigestType, a.Digest})
		}
	}
	if len(as) == 0 {
		return nil, unusable("there is no trust anchor", nil)
	}
	for _, a := range as {
		if a.ds = preferSHA2(a.ds); len(a.ds) == 0 {
			return nil, unusable("no trust anchor of zone "+a.zone.String()+" has a known algorithm and digest", nil)
		}
	}
	for _, text := range o.InsecureZones {
		name, problem := parseName(text)
		if problem != "" {
			return nil, &Error{Kind: KindBadName, Name: text, Type: TypeDS, Reason: problem, EDE: noEDE}
		}
		if as[name].secure() {
			return nil, unusable("zone "+name.String()+" has a trust anchor and is in InsecureZones too", nil)
		}
		as[name] = &anchorage{zone: name, negative: true}
	}
	return as, nil
}
