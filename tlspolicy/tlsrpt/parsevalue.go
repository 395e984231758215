package tlsrpt

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// text reads a string. Anything else is read as an empty one.
func (p *reportParser) text(where string) (string, error) {
	token, err := p.token()
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		p.warn(WarnMissing, where, "")
	}
	return s, p.rest(token)
}

// texts reads an array of strings, or one string.
func (p *reportParser) texts(where string) ([]string, error) {
	list := []string{}
	token, err := p.token()
	if err != nil {
		return nil, err
	}
	if s, ok := token.(string); ok {
		p.warn(WarnOneString, where, s)
		return append(list, s), p.countString()
	}
	if token != json.Delim('[') {
		p.warn(WarnOneString, where, "")
		return list, p.rest(token)
	}
	for p.dec.More() {
		token, err := p.token()
		if err != nil {
			return nil, err
		}
		s, ok := token.(string)
		if !ok {
			p.warn(WarnMissing, where, "")
			if err := p.rest(token); err != nil {
				return nil, err
			}
			continue
		}
		if err := p.countString(); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	_, err = p.token()
	return list, err
}

func (p *reportParser) countString() error {
	if p.strings++; p.strings > maxStrings {
		return p.overLimit(maxStrings, "lines and patterns")
	}
	return nil
}

// kind reads a type: in lower case if that is one of RFC 8460, otherwise as it is.
func kind[T interface {
	~string
	Known() bool
}](p *reportParser, where string) (T, error) {
	s, err := p.text(where)
	if err != nil || T(s).Known() {
		return T(s), err
	}
	p.warn(WarnType, where, s)
	if lower := T(strings.ToLower(s)); lower.Known() {
		return lower, nil
	}
	return T(s), nil
}

// addr reads an IP address.
func (p *reportParser) addr(where string) (netip.Addr, error) {
	s, err := p.text(where)
	if err != nil || s == "" {
		return netip.Addr{}, err
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return plainAddr(a), nil
	}
	p.warn(WarnAddress, where, s)
	a, _ := hostname.Literal(strings.TrimSpace(s))
	return plainAddr(a), nil
}

// count reads a number of sessions. Without one, ok is false.
func (p *reportParser) count(where string) (n uint64, ok bool, err error) {
	token, err := p.token()
	if err != nil {
		return 0, false, err
	}
	var s string
	switch token := token.(type) {
	case json.Number:
		s = token.String()
	case string:
		p.warn(WarnCount, where, token)
		if s = strings.TrimSpace(token); s == "" {
			return 0, false, nil
		}
	case nil:
		p.warn(WarnMissing, where, "")
		return 0, false, nil
	default:
		return 0, false, p.countError(where, fmt.Sprint(token))
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, true, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Trim(s, "0123456789.eE+-") != "" || math.Signbit(f) && f != 0 || f != math.Trunc(f) || f >= 1<<53 {
		return 0, false, p.countError(where, s)
	}
	if _, isString := token.(string); !isString {
		p.warn(WarnCount, where, s)
	}
	return uint64(f), true, nil
}

func (p *reportParser) countError(where, text string) error {
	return fmt.Errorf("tlsrpt: %w: %s is %q, not a number of sessions", ErrReportSyntax, where, clip(text))
}

// moment reads a date and time. What is not of RFC 3339 is taken for UTC. atEnd
// says that it is the end of a range, where a bare date is the end of the day.
func (p *reportParser) moment(where string, atEnd bool) (time.Time, error) {
	token, err := p.token()
	if err != nil {
		return time.Time{}, err
	}
	s := ""
	switch token := token.(type) {
	case string:
		s = token
	case json.Number:
		s = token.String()
	default:
		return time.Time{}, fmt.Errorf("tlsrpt: %w: %s is no date", ErrReportSyntax, where)
	}
	t, plain, ok := parseMoment(s, atEnd)
	if !ok {
		return time.Time{}, fmt.Errorf("tlsrpt: %w: %s is %q, no date", ErrReportSyntax, where, clip(s))
	}
	if !plain {
		p.warn(WarnTimestamp, where, s)
	}
	return t, nil
}

// layouts of date and time, after t and z have been made upper case, a space T
// and the fraction has gone. A layout without a zone is UTC.
var layouts = [...]string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04"}

// parseMoment returns the moment in whole seconds, whether it was written as RFC
// 3339 wants it, and whether it could be read.
func parseMoment(s string, atEnd bool) (t time.Time, plain, ok bool) {
	t, err := time.Parse("2006-01-02T15:04:05Z07:00", s)
	if err == nil && len(s) >= 20 && s[19] != '.' && s[19] != ',' {
		return inRange(t, true)
	}
	s = strings.ToUpper(strings.TrimSpace(s))
	if seconds, err := strconv.ParseUint(s, 10, 33); err == nil && len(s) >= 9 {
		return inRange(time.Unix(int64(seconds), 0), false)
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		if atEnd {
			day = DayOf(day).End()
		}
		return inRange(day, false)
	}
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + strings.TrimLeft(s[11:], " ")
	}
	if len(s) > 19 && (s[19] == '.' || s[19] == ',') {
		end := 20
		for end < len(s) && '0' <= s[end] && s[end] <= '9' {
			end++
		}
		s = s[:19] + s[end:]
	}
	s = strings.Replace(s, " ", "", 1) // before the zone
	s = strings.TrimSuffix(s, "UTC")
	late := time.Duration(0)
	if len(s) > 18 && s[10:19] == "T24:00:00" {
		s, late = s[:10]+"T00:00:00"+s[19:], daySeconds*time.Second
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return inRange(t.Add(late), false)
		}
	}
	return time.Time{}, false, false
}

// inRange keeps to the years that RFC 3339 can write and in which there was mail.
func inRange(t time.Time, plain bool) (time.Time, bool, bool) {
	t = t.UTC().Truncate(time.Second)
	return t, plain, t.Year() >= 1970 && t.Year() <= 9999
}
