package smtpserver

import (
	"errors"
	"fmt"
)

var (
	// ErrUnsupportedCondition says that an entry is one of AsyncOS's that needs a
	// reputation service or a DNS list. It is refused rather than skipped: a table
	// without it would let in whom it keeps out.
	ErrUnsupportedCondition = errors.New("this condition needs a reputation or DNS list, which smtpserver does not have; decide it in the server, or take the entry out")
	// ErrNoTable says that Options has no Table.
	ErrNoTable = errors.New("smtpserver: no host access table: set Options.Table")
	// ErrNoCertificate says that a group allows TLS and there is no certificate.
	ErrNoCertificate = errors.New("smtpserver: a sender group allows TLS and neither it nor the listener has a certificate: set Options.Certificate")
)

// EntryError names an entry of a sender group that cannot be used.
type EntryError struct {
	Group string
	Index int    // of the entry in its group, counted from 0
	Text  string // the entry as given
	Err   error
}

// Error returns group, entry and problem.
func (e *EntryError) Error() string {
	return fmt.Sprintf("smtpserver: sender group %q, entry %d (%q): %v", e.Group, e.Index, clip(e.Text), e.Err)
}

// Unwrap returns the problem.
func (e *EntryError) Unwrap() error { return e.Err }

// PolicyError names a field of a sender group, of its policy or of the defaults
// that cannot be used.
type PolicyError struct {
	Group   string // empty: the defaults
	Field   string
	Problem string
}

// Error returns group, field and problem.
func (e *PolicyError) Error() string {
	where := "the defaults"
	if e.Group != "" {
		where = fmt.Sprintf("sender group %q", e.Group)
	}
	return fmt.Sprintf("smtpserver: %s, %s: %s", where, e.Field, e.Problem)
}

// clipped is how much of a foreign text an error repeats.
const clipped = 128

func clip(s string) string {
	if len(s) <= clipped {
		return s
	}
	return s[:clipped] + "..."
}
