package ststest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
)

// draft is an entry in the making: header lines and a body.
type draft struct {
	domain string
	lines  []string
	body   string
}

// entry returns the finished entry. It panics if that is none: then this package
// and mtasts disagree on the text of an entry.
func (d draft) entry() *mtasts.Entry {
	var header strings.Builder
	fmt.Fprintf(&header, "mtasts-entry 1\ndomain %s\nversion 0\n", d.domain)
	for _, line := range d.lines {
		header.WriteString(line + "\n")
	}
	fmt.Fprintf(&header, "body %d\n", len(d.body))
	sum := sha256.Sum256([]byte(header.String() + d.body))
	e := new(mtasts.Entry)
	if err := e.UnmarshalText(fmt.Appendf(nil, "%ssha256 %x\n\n%s", header.String(), sum, d.body)); err != nil {
		panic(fmt.Sprintf("ststest: entry of %q: %v", d.domain, err))
	}
	return e
}

const enforceBody = "version: STSv1\r\nmode: enforce\r\nmx: *.example.net\r\nmax_age: 604800\r\n"

// stamp is how an entry writes a time.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// policyDraft is a policy fetched at a time, and valid for a week.
func policyDraft(domain, id, body string, fetched time.Time) draft {
	return draft{domain: domain, body: body, lines: []string{
		"applied-id " + id, "fetched " + stamp(fetched), "expires " + stamp(fetched.Add(7*24*time.Hour)),
		"seen-id " + id, "seen " + stamp(fetched), "next-check " + stamp(fetched.Add(10*time.Minute)),
		"last-get " + stamp(fetched), "last-used " + stamp(fetched),
	}}
}

// counterEntry is a policy with a number in it.
func counterEntry(domain string, n int) *mtasts.Entry {
	return policyDraft(domain, "n"+strconv.Itoa(n), enforceBody, time.Now().Add(-time.Hour)).entry()
}

// counter returns the number of a counterEntry.
func counter(e *mtasts.Entry) (int, error) {
	text, err := e.MarshalText()
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), "\napplied-id n")
	if !ok {
		return 0, errors.New("no counter in the entry")
	}
	digits, _, _ := strings.Cut(rest, "\n")
	return strconv.Atoi(digits)
}

// samples are entries of every kind.
func samples() map[string]*mtasts.Entry {
	now := time.Now()
	at := func(d time.Duration) string { return stamp(now.Add(d)) }
	filler := strings.Repeat("#\xff\x00 not a line of a policy\n", 3000)
	return map[string]*mtasts.Entry{
		"policy": policyDraft("policy.example", "20300101T000000", enforceBody, now.Add(-time.Minute)).entry(),
		"policy of 64 KiB, not all of it text": policyDraft("large.example", "1",
			(enforceBody + filler)[:largestBody], now).entry(),
		"policy with empty lines": policyDraft("lines.example", "1",
			"\n\nversion: STSv1\nmode: testing\n\nversion 7\nmx: a.example\nmax_age: 604800\n\n\n", now).entry(),
		"policy and back-off of four ids": func() *mtasts.Entry {
			d := policyDraft("backoff.example", "a", enforceBody, now.Add(-time.Hour))
			for i, id := range []string{"b", "c", "d", "e"} {
				failed := -time.Duration(i) * time.Minute
				d.lines = append(d.lines, fmt.Sprintf("backoff %s %d %s %s fetch-error status", id, i+1, at(failed), at(failed+5*time.Minute)))
			}
			d.lines = append(d.lines, "id a "+at(0), "id b "+at(-time.Minute))
			return d.entry()
		}(),
		"negative": draft{domain: "negative.example", lines: []string{
			"seen " + at(0), "next-check " + at(15*time.Minute), "check no-record record-absent", "last-used " + at(0),
		}}.entry(),
		"back-off alone": draft{domain: "failing.example", lines: []string{
			"seen-id 1", "seen " + at(0), "next-check " + at(5*time.Minute), "check webpki cert", "last-get " + at(0),
			"backoff 1 1 " + at(0) + " " + at(5*time.Minute) + " webpki cert",
		}}.entry(),
		"the longest domain": policyDraft(longestDomain, "1", enforceBody, now).entry(),
	}
}

// longestDomain has 244 octets: with mta-sts. or _mta-sts. before it, it still is
// a name that DNS can carry.
var longestDomain = strings.Repeat(strings.Repeat("x", 59)+".", 4) + "test"
