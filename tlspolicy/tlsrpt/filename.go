package tlsrpt

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// ReportID returns the id of the report of a submitter about a domain and day:
// the same whenever and wherever it is made, so that a receiver can drop a report
// that comes twice (RFC 8460 section 4.1). It can stand in a header field.
func ReportID(day Day, domain, submitter string) string {
	return day.String() + "." + reportHash(day, domain, submitter) + "@" + submitter
}

// reportHash is the part of a report's id that is letters and digits alone.
func reportHash(day Day, domain, submitter string) string {
	sum := sha256.Sum256([]byte(day.String() + "\x00" + domain + "\x00" + submitter))
	return hex.EncodeToString(sum[:10])
}

// FileName returns the name of a report as a compressed file (RFC 8460 section
// 5.1), with domain as the domain that the report is about:
//
//	submitter!domain!begin!end!id.json.gz
//
// A submitter or domain that is no host name is replaced by "unknown": a file name
// must not be made of somebody else's text.
func (r *Report) FileName(domain string) string {
	id := strings.Map(func(c rune) rune {
		if c < 0x80 && isAlnum(byte(c)) {
			return c
		}
		return -1
	}, r.ID)
	if len(id) > maxReason {
		id = id[:maxReason]
	}
	parts := []string{
		fileDomain(r.Submitter()), fileDomain(domain),
		strconv.FormatInt(r.Begin.Unix(), 10), strconv.FormatInt(r.End.Unix(), 10),
	}
	if id != "" {
		parts = append(parts, id)
	}
	return strings.Join(parts, "!") + ".json.gz"
}

func fileDomain(domain string) string {
	name, err := hostname.Parse(domain)
	if err != nil {
		return "unknown"
	}
	return name
}
