package tlsrpt

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

const (
	// maxSources is how many recipient domains behind the reports of a TLSA base
	// domain are remembered.
	maxSources = 16
	// maxSnapshot bounds the text of a snapshot: what the bounds of an Aggregator
	// allow, and room.
	maxSnapshot = 8 << 20
	// maxWriter is the longest name of a writer.
	maxWriter = 64
	// snapshotSchema is the first line of the text of a Snapshot. Another text
	// gets another number.
	snapshotSchema = "tlsrpt snapshot 1"
)

var (
	// ErrCorrupt: what a Store holds is damaged.
	ErrCorrupt = errors.New("damaged TLS report counts")
	// ErrSchema: it was written by another release.
	ErrSchema = errors.New("TLS report counts of another release")
)

// Snapshot is all that one writer has counted for a report domain and a day so
// far. A writer is one run of one process; its counts only grow. So of two
// snapshots of a writer the larger one holds the other, and one that is stored
// twice counts once.
type Snapshot struct {
	Day    Day
	Domain string // whose report it is
	Writer string

	// Direct tells that the domain is the recipient domain of some sessions.
	Direct bool
	// Sources are recipient domains whose sessions are counted here since this is
	// the TLSA base domain of their mail host; ManySources that there were more
	// than are remembered. They are in no report.
	Sources     []string
	ManySources bool

	Policies []PolicyCount
}

// PolicyCount counts the sessions under a policy.
type PolicyCount struct {
	Policy    *PolicyInfo
	Successes uint64
	Failures  uint64
	Details   map[DetailKey]uint64
}

// DetailKey is what tells the ways in which sessions failed apart.
type DetailKey struct {
	Result        ResultType
	SendingIP     netip.Addr
	ReceivingMX   string
	ReceivingHelo string
	ReceivingIP   netip.Addr
	Reason        string
	Info          string
}

// compare orders keys as a report does.
func (k *DetailKey) compare(l *DetailKey) int {
	return cmp.Or(strings.Compare(string(k.Result), string(l.Result)), k.SendingIP.Compare(l.SendingIP),
		strings.Compare(k.ReceivingMX, l.ReceivingMX), strings.Compare(k.ReceivingHelo, l.ReceivingHelo),
		k.ReceivingIP.Compare(l.ReceivingIP), strings.Compare(k.Reason, l.Reason), strings.Compare(k.Info, l.Info))
}

// folded is the key without address, name and reason.
func (k DetailKey) folded() DetailKey { return DetailKey{Result: k.Result} }

// Weight returns how many results were counted. Nothing changes in a snapshot
// without it, so of two snapshots of a writer that with the greater weight is the
// later one.
func (s *Snapshot) Weight() uint64 {
	sum := uint64(0)
	for _, p := range s.Policies {
		sum = add(add(sum, p.Successes), p.Failures)
	}
	return sum
}

// The text of a snapshot after its header.
type (
	wireSnapshot struct {
		Direct      bool        `json:"direct,omitempty"`
		Sources     []string    `json:"sources,omitempty"`
		ManySources bool        `json:"many-sources,omitempty"`
		Policies    []wireCount `json:"policies"`
	}
	wireCount struct {
		Type      PolicyType   `json:"type"`
		Domain    string       `json:"domain"`
		Lines     []string     `json:"lines,omitempty"`
		MXHosts   []string     `json:"mx,omitempty"`
		Successes uint64       `json:"successes"`
		Failures  uint64       `json:"failures"`
		Details   []wireDetail `json:"details,omitempty"`
	}
)

// MarshalText returns the snapshot as text that people can read: a line with the
// schema, a line with domain, day, writer and weight, a line with a checksum over
// all others, and one line of JSON. Equal snapshots have equal texts. The error is
// about a snapshot that is larger than can be read again.
func (s *Snapshot) MarshalText() ([]byte, error) {
	w := wireSnapshot{Direct: s.Direct, Sources: slices.Sorted(slices.Values(s.Sources)), ManySources: s.ManySources, Policies: make([]wireCount, 0, len(s.Policies))}
	for _, p := range s.Policies {
		details := make([]FailureDetail, 0, len(p.Details))
		for k, n := range p.Details {
			details = append(details, k.detail(n))
		}
		w.Policies = append(w.Policies, wireCount{p.Policy.Type, p.Policy.Domain, p.Policy.Lines, p.Policy.MXHosts, p.Successes, p.Failures, wireDetails(details)})
	}
	slices.SortFunc(w.Policies, func(a, b wireCount) int { return a.info().compare(b.info()) })
	body, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("%s\n%s %s %s %d\n", snapshotSchema, s.Domain, s.Day, s.Writer, s.Weight())
	sum := checksum(head, body)
	text := slices.Concat([]byte(head), []byte("sha256 "), sum, []byte("\n"), body, []byte("\n"))
	if len(text) > maxSnapshot {
		return nil, fmt.Errorf("tlsrpt: counts of %s exceed %d octets", s.Domain, maxSnapshot)
	}
	return text, nil
}

func checksum(head string, body []byte) []byte {
	h := sha256.New()
	h.Write([]byte(head))
	h.Write(body)
	return hex.AppendEncode(nil, h.Sum(nil))
}

// detail is the failure detail of a report.
func (k *DetailKey) detail(n uint64) FailureDetail {
	return FailureDetail{Result: k.Result, SendingIP: k.SendingIP, ReceivingMX: k.ReceivingMX, ReceivingHelo: k.ReceivingHelo,
		ReceivingIP: k.ReceivingIP, Count: n, AdditionalInformation: k.Info, Reason: k.Reason}
}

func (w *wireCount) info() *PolicyInfo {
	return &PolicyInfo{Type: w.Type, Domain: w.Domain, Lines: w.Lines, MXHosts: w.MXHosts}
}

// UnmarshalText reads the text of MarshalText. The error matches ErrSchema if it
// is of another release, otherwise ErrCorrupt.
func (s *Snapshot) UnmarshalText(text []byte) error {
	schema, rest, ok := bytes.Cut(text, []byte("\n"))
	if string(schema) != snapshotSchema {
		if ok && bytes.HasPrefix(schema, []byte("tlsrpt snapshot ")) && len(schema) < 32 {
			return fmt.Errorf("tlsrpt: %w: %q", ErrSchema, schema)
		}
		return fmt.Errorf("tlsrpt: %w: no snapshot", ErrCorrupt)
	}
	who, rest, _ := bytes.Cut(rest, []byte("\n"))
	sum, body, _ := bytes.Cut(rest, []byte("\n"))
	body, ok = bytes.CutSuffix(body, []byte("\n"))
	head := snapshotSchema + "\n" + string(who) + "\n"
	if !ok || len(text) > maxSnapshot || string(sum) != "sha256 "+string(checksum(head, body)) {
		return fmt.Errorf("tlsrpt: %w: wrong checksum", ErrCorrupt)
	}
	var w wireSnapshot
	if err := json.Unmarshal(body, &w); err != nil {
		return fmt.Errorf("tlsrpt: %w: %w", ErrCorrupt, err)
	}
	words := strings.Split(string(who), " ")
	if len(words) != 4 {
		return fmt.Errorf("tlsrpt: %w: header %q", ErrCorrupt, clip(string(who)))
	}
	day, err := ParseDay(words[1])
	if err != nil {
		return fmt.Errorf("tlsrpt: %w: %w", ErrCorrupt, err)
	}
	out := Snapshot{Day: day, Domain: words[0], Writer: words[2], Direct: w.Direct, Sources: w.Sources, ManySources: w.ManySources}
	for _, c := range w.Policies {
		p := PolicyCount{Policy: c.info(), Successes: c.Successes, Failures: c.Failures}
		for _, d := range c.Details {
			if p.Details == nil {
				p.Details = make(map[DetailKey]uint64, len(c.Details))
			}
			p.Details[DetailKey{d.Result, d.SendingIP, d.ReceivingMX, d.ReceivingHelo, d.ReceivingIP, d.Reason, d.Information}] = d.Count
		}
		out.Policies = append(out.Policies, p)
	}
	if err := CheckKey(out.Domain, out.Writer); err != nil {
		return fmt.Errorf("tlsrpt: %w: %w", ErrCorrupt, err)
	}
	*s = out
	return nil
}

// CheckKey returns an error if a report domain or writer is not what an Aggregator
// names them by: a host name in canonical form, and 1 to 64 letters in lower case,
// digits and hyphens. A Store makes names of files and keys of them.
func CheckKey(domain, writer string) error {
	if name, err := hostname.Parse(domain); err != nil || name != domain {
		return fmt.Errorf("tlsrpt: %q is no report domain", clip(domain))
	}
	if writer == "" || len(writer) > maxWriter || !validReason(writer) || strings.Contains(writer, ".") {
		return fmt.Errorf("tlsrpt: %q is no writer", clip(writer))
	}
	return nil
}
