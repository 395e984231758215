package tlsrpt

import (
	"context"
	"iter"
	"time"
)

// Store keeps what Aggregators count until the reports are sent, and how far each
// report has come. All processes of a fleet share one. Package tlsrpttest has the
// tests that every Store must pass.
//
// A Store is safe for concurrent use. After an error a call may have had its effect
// or not.
type Store interface {
	// Save stores snapshots. When it returns nil, all of them survive a crash. A
	// snapshot never replaces one of the same day, domain and writer that has a
	// greater Weight.
	Save(ctx context.Context, snapshots []*Snapshot) error
	// Load returns the merged snapshots of all writers; an empty Tally if there is
	// none. Damaged ones are put aside and told as an error that matches
	// ErrCorrupt, beside a Tally of the others.
	Load(ctx context.Context, day Day, domain string) (*Tally, error)
	// Days returns the days of which there is something, in order.
	Days(ctx context.Context) ([]Day, error)
	// Domains yields the report domains of a day in any order, each once.
	Domains(ctx context.Context, day Day) iter.Seq2[string, error]

	// Progress returns how far the report of a domain has come; the zero Progress
	// if there is no note of it.
	Progress(ctx context.Context, day Day, domain string) (Progress, error)
	// SetProgress notes it. When it returns nil, the note survives a crash.
	SetProgress(ctx context.Context, day Day, domain string, p Progress) error
	// Lease takes the right to send the report of a domain, for at most ttl. held
	// false without error: somebody else has it. release gives it back early; it
	// is never nil, may be called twice, and does nothing if held is false.
	Lease(ctx context.Context, day Day, domain string, ttl time.Duration) (release func(), held bool, err error)

	// Prune removes everything of the days before day.
	Prune(ctx context.Context, day Day) error
}
