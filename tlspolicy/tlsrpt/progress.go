package tlsrpt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// maxProgress bounds the text of a Progress: some targets with an error each.
const maxProgress = 256 << 10

// Progress is how far the sending of a report has come.
type Progress struct {
	// Done tells that nothing more is to be sent: a target has taken the report,
	// or it was given up, or nobody wants it.
	Done     bool      `json:"done"`
	Attempts int       `json:"attempts,omitempty"`
	First    time.Time `json:"first,omitzero"` // the first attempt
	Next     time.Time `json:"next,omitzero"`  // the next, if it is not done
	// Targets are those that were tried, by URI.
	Targets map[string]TargetState `json:"targets,omitempty"`
}

// TargetState is what became of a report at one target.
type TargetState struct {
	Sent  time.Time `json:"sent,omitzero"`   // when it took the report; zero if it has not
	Ended bool      `json:"ended,omitempty"` // it will not take it, and is not tried again
	Error string    `json:"error,omitempty"` // the last failure, for people
}

// sent reports whether a target has taken the report.
func (p *Progress) sent() bool {
	for _, t := range p.Targets {
		if !t.Sent.IsZero() {
			return true
		}
	}
	return false
}

const progressSchema = "tlsrpt progress 1"

// MarshalText returns the note as text that people can read: a line with the
// schema, a line with a checksum, and one line of JSON.
func (p Progress) MarshalText() ([]byte, error) {
	type plain Progress // without this method
	body, err := json.Marshal(plain(p))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	text := fmt.Appendf(nil, "%s\nsha256 %s\n%s\n", progressSchema, hex.EncodeToString(sum[:]), body)
	if len(text) > maxProgress {
		return nil, fmt.Errorf("tlsrpt: progress exceeds %d octets", maxProgress)
	}
	return text, nil
}

// UnmarshalText reads the text of MarshalText. The error matches ErrSchema if it
// is of another release, otherwise ErrCorrupt.
func (p *Progress) UnmarshalText(text []byte) error {
	schema, rest, _ := strings.Cut(string(text), "\n")
	sum, body, _ := strings.Cut(rest, "\n")
	body, whole := strings.CutSuffix(body, "\n")
	want := sha256.Sum256([]byte(body))
	switch {
	case schema != progressSchema && strings.HasPrefix(schema, "tlsrpt progress ") && len(schema) < 32:
		return fmt.Errorf("tlsrpt: %w: %q", ErrSchema, schema)
	case schema != progressSchema, !whole, sum != "sha256 "+hex.EncodeToString(want[:]), len(text) > maxProgress:
		return fmt.Errorf("tlsrpt: %w: progress", ErrCorrupt)
	}
	type plain Progress
	var out plain
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		return fmt.Errorf("tlsrpt: %w: progress: %w", ErrCorrupt, err)
	}
	*p = Progress(out)
	return nil
}
