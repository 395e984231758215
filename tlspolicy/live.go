package tlspolicy

import (
	"errors"
	"sync/atomic"
)

// Live holds the Table in force and lets it be replaced while deliveries run.
// The zero value acts as an empty table. A delivery keeps the Settings that it
// looked up. Live is safe for concurrent use and must not be copied.
type Live struct {
	table atomic.Pointer[Table]
}

// ErrNoTable says that [Live.Replace] got no table.
var ErrNoTable = errors.New("tlspolicy: nil table: build the new table without error before it replaces the one in force")

// Load returns the table in force, nil if none was ever set. A nil *Table acts
// as an empty one.
func (l *Live) Load() *Table { return l.table.Load() }

// Lookup asks the table in force; see [Table.Lookup].
func (l *Live) Lookup(domain string, hop NextHop) (Settings, Origin, error) {
	return l.Load().Lookup(domain, hop)
}

// Replace puts t in force. A nil t is refused with [ErrNoTable] and the former
// table stays, so the result of a failed [NewTable] cannot weaken policy.
func (l *Live) Replace(t *Table) error {
	if t == nil {
		return ErrNoTable
	}
	l.table.Store(t)
	return nil
}
