package mtasts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// entrySchema is the version of the text of an entry.
const entrySchema = "mtasts-entry 1"

// Entry is all that a Client knows of one domain, policy, checks and back-off, in
// the form in which a Store keeps it. It is read-only.
type Entry struct{ entry entry }

// Domain returns the normalised policy domain, the key of the entry.
func (e *Entry) Domain() string { return e.entry.Domain }

// Version returns the version under which the entry was stored; 0 if it was not.
func (e *Entry) Version() Version { return e.entry.Version }

// WithVersion returns the entry as stored under version.
func (e *Entry) WithVersion(version Version) *Entry {
	c := *e
	c.entry.Version = version
	return &c
}

// KeepUntil returns when a store may forget the entry: a day after its policy
// and its waits have ended.
func (e *Entry) KeepUntil() time.Time {
	last := e.entry.Expires
	for _, t := range append([]time.Time{e.entry.NextCheck, e.entry.SeenAt}, untils(e.entry.Backoff)...) {
		if t.After(last) {
			last = t
		}
	}
	return last.Add(24 * time.Hour)
}

func untils(attempts []attempt) (t []time.Time) {
	for _, a := range attempts {
		t = append(t, a.Until)
	}
	return t
}

type corruptError struct{ problem string }

func (e *corruptError) Error() string { return "mtasts: stored entry: " + e.problem }
func (*corruptError) Unwrap() error   { return ErrCorrupt }

func corruptf(format string, args ...any) error {
	return &corruptError{fmt.Sprintf(format, args...)}
}

// AppendText appends the entry as text: a line "mtasts-entry 1", header lines of
// a name and values, a checksum, an empty line, and the policy file as served.
// The error is always nil.
func (e *Entry) AppendText(b []byte) ([]byte, error) {
	start := len(b)
	line := func(words ...string) {
		b = append(append(b, strings.Join(words, " ")...), '\n')
	}
	stamp := func(name string, t time.Time) {
		if !t.IsZero() {
			line(name, formatTime(t))
		}
	}
	d := &e.entry
	line(entrySchema)
	line("domain", d.Domain)
	line("version", strconv.FormatUint(uint64(d.Version), 10))
	if d.Policy != nil {
		line("applied-id", d.AppliedID)
	}
	stamp("fetched", d.FetchedAt)
	stamp("expires", d.Expires)
	if d.SeenID != "" {
		line("seen-id", d.SeenID)
	}
	stamp("seen", d.SeenAt)
	stamp("next-check", d.NextCheck)
	if d.Check.failed() {
		line("check", d.Check.Outcome.String(), d.Check.Reason)
	}
	stamp("last-get", d.LastGET)
	stamp("last-used", d.LastUsed)
	for _, a := range d.Backoff {
		line("backoff", a.ID, strconv.Itoa(a.Failures), formatTime(a.At), formatTime(a.Until), a.Last.Outcome.String(), a.Last.Reason)
	}
	for _, i := range d.IDs {
		line("id", i.ID, formatTime(i.At))
	}
	line("body", strconv.Itoa(len(d.Body)))
	line("sha256", checksum(b[start:], d.Body))
	b = append(b, '\n')
	return append(b, d.Body...), nil
}

// MarshalText returns the entry as text, as AppendText.
func (e *Entry) MarshalText() ([]byte, error) { return e.AppendText(nil) }

func checksum(header, body []byte) string {
	h := sha256.New()
	h.Write(header)
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// UnmarshalText reads what AppendText wrote, and parses the policy anew. The
// error matches ErrSchema if the text is an entry of another release, otherwise
// ErrCorrupt. Every octet is covered by the checksum.
func (e *Entry) UnmarshalText(text []byte) error {
	header, body, ok := bytes.Cut(text, []byte("\n\n"))
	first, _, whole := strings.Cut(string(header), "\n")
	if strings.HasPrefix(first, "mtasts-entry ") && first != entrySchema && whole {
		return fmt.Errorf("%w: %q", ErrSchema, clip(first))
	}
	if !ok || first != entrySchema {
		return corruptf("not an entry")
	}
	lines := strings.Split(string(header), "\n")
	sum, ok := strings.CutPrefix(lines[len(lines)-1], "sha256 ")
	covered := header[:len(header)-len(lines[len(lines)-1])]
	if !ok || sum != checksum(covered, body) {
		return corruptf("wrong checksum")
	}
	var d entry
	length := -1
	for _, line := range lines[1 : len(lines)-1] {
		r := headerReader{words: strings.Split(line, " ")}
		switch name := r.word(); name {
		case "domain":
			d.Domain = r.word()
		case "version":
			d.Version = r.version()
		case "applied-id":
			d.AppliedID = r.word()
		case "fetched":
			d.FetchedAt = r.time()
		case "expires":
			d.Expires = r.time()
		case "seen-id":
			d.SeenID = r.word()
		case "seen":
			d.SeenAt = r.time()
		case "next-check":
			d.NextCheck = r.time()
		case "check":
			d.Check = r.failure(d.Domain)
		case "last-get":
			d.LastGET = r.time()
		case "last-used":
			d.LastUsed = r.time()
		case "backoff":
			a := attempt{ID: r.word(), Failures: r.number(), At: r.time(), Until: r.time()}
			a.Last = r.failure(d.Domain)
			d.Backoff = append(d.Backoff, a)
		case "id":
			d.IDs = append(d.IDs, idAt{ID: r.word(), At: r.time()})
		case "body":
			length = r.number()
		default:
			r.bad = true
		}
		if r.bad || len(r.words) > 0 {
			return corruptf("line %q", clip(line))
		}
	}
	if normal, err := normalDomain(d.Domain); err != nil || normal != d.Domain {
		return corruptf("domain %q", clip(d.Domain))
	}
	if length != len(body) || len(d.Backoff) > maxBackoffIDs || len(d.IDs) > maxIDsPerHour+1 {
		return corruptf("lengths do not agree")
	}
	if d.AppliedID != "" {
		// A store cannot make a policy valid for longer than the RFC does.
		if life := d.Expires.Sub(d.FetchedAt); d.FetchedAt.IsZero() || life < 0 || life > MaxAge {
			return corruptf("validity from %v to %v", d.FetchedAt, d.Expires)
		}
		policy, warnings, err := readPolicy(Tolerant, body)
		if err != nil {
			return corruptf("policy: %v", err)
		}
		d.Policy, d.Warnings, d.Body = policy, warnings, bytes.Clone(body)
	} else if len(body) > 0 || !d.Expires.IsZero() {
		return corruptf("policy without id")
	}
	e.entry = d
	return nil
}

// headerReader takes the words of a line, one by one.
type headerReader struct {
	words []string
	bad   bool
}

func (r *headerReader) word() string {
	if len(r.words) == 0 || r.words[0] == "" {
		r.bad = true
		return ""
	}
	w := r.words[0]
	r.words = r.words[1:]
	return w
}

func (r *headerReader) number() int {
	w := r.word()
	n, err := strconv.Atoi(w)
	r.bad = r.bad || err != nil || n < 0 || strconv.Itoa(n) != w
	return n
}

func (r *headerReader) version() Version {
	w := r.word()
	n, err := strconv.ParseUint(w, 10, 64)
	r.bad = r.bad || err != nil || strconv.FormatUint(n, 10) != w
	return Version(n)
}

func (r *headerReader) time() time.Time {
	w := r.word()
	t, err := time.Parse(time.RFC3339Nano, w)
	r.bad = r.bad || err != nil || formatTime(t) != w || t.IsZero()
	return t
}

func (r *headerReader) failure(domain string) failure {
	name, reason := r.word(), r.word()
	i := slices.Index(outcomeNames[:], name)
	if o := Outcome(i); i >= 0 && o >= OutcomeNoRecord && o < OutcomeBackoff {
		if f := (failure{Outcome: o}); f.ofFetch() {
			return fetchFailure(domain, o, reason, nil)
		}
		return recordFailure(domain, o, reason, nil)
	}
	r.bad = true
	return failure{}
}
