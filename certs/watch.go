package certs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// DefaultWatchInterval is how often Watch looks unless it is told otherwise.
const DefaultWatchInterval = 10 * time.Second

// expiryInterval is how often Watch calls CheckExpiry, whose thresholds are days.
const expiryInterval = time.Hour

// failedPolls is after how many polls without success a reload-failed event is
// sent. One or two are what the other program needs for its writing.
const failedPolls = 3

// watchState is what Watch remembers from poll to poll, by unit: "entries/" and
// a folder, or one of the names below.
type watchState struct {
	units map[string]*watchedUnit
	trust [2]FileState // of the files that the trust store was last loaded from
	begun bool
}

const (
	unitRoles     = "roles"
	unitTrust     = "trust"
	unitDirectory = "directory"
)

// watchedUnit is something that is loaded as a whole.
type watchedUnit struct {
	seen   any // the stamps at the last poll
	failed int // polls without success since it last was as it is in service
}

// Watch follows what other programs do, until ctx ends: it polls the storage and
// the files given to Follow at each interval (0 or less: [DefaultWatchInterval]),
// and calls CheckExpiry at the start and once an hour.
//
// A change counts when files have the same size, time and number in two polls, can
// be read, and key and certificate fit. Until then the former state stays in
// service; after three failing polls there is a reload-failed event, once. What is
// caught between two renames heals at the next poll. An entry that a role uses and
// whose files are gone stays in service, as a failure; so do the roles and what the
// TrustStore has when their files are gone. A symbolic link that switches a whole
// directory is seen where the directory is open for reading, and in the paths given
// to Follow.
//
// It returns the error of ctx, or [ErrNotOpen].
func (s *Store) Watch(ctx context.Context, interval time.Duration) error {
	if _, err := s.read(); err != nil {
		return err
	}
	if interval <= 0 {
		interval = DefaultWatchInterval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for checked := (time.Time{}); ; {
		s.poll()
		if now := s.options.Now(); checked.IsZero() || now.Sub(checked) >= expiryInterval || now.Before(checked) {
			checked = now
			if _, err := s.CheckExpiry(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// poll looks at everything once.
func (s *Store) poll() {
	_, err := s.begin()
	if err != nil {
		return
	}
	defer s.end()
	if s.watch.units == nil {
		s.watch.units = map[string]*watchedUnit{}
	}
	if directory, ok := s.options.Storage.(interface{ Refresh() error }); ok {
		err := directory.Refresh()
		s.outcome(unitDirectory, "", err)
		if err != nil {
			return // whatever else is read belongs to the former directory
		}
	}
	s.pollEntries()
	s.pollRoles()
	s.pollTrust()
}

// settled reports whether a unit has another state than the one in service, and has it
// for the second time.
func (s *Store) settled(unit string, inService, now any) bool {
	if inService == now {
		delete(s.watch.units, unit)
		return false
	}
	u := s.watch.units[unit]
	if u == nil {
		u = &watchedUnit{}
		s.watch.units[unit] = u
	}
	same := u.seen == now
	u.seen = now
	return same
}

// outcome counts failures, and sends the event when it is time.
func (s *Store) outcome(unit, name string, err error) {
	if err == nil {
		delete(s.watch.units, unit)
		return
	}
	u := s.watch.units[unit]
	if u == nil {
		u = &watchedUnit{}
		s.watch.units[unit] = u
	}
	if u.failed++; u.failed == failedPolls {
		s.note(Event{Kind: EventReloadFailed, Name: name, Err: err})
	}
}

// current is the state to a poll, which holds mu.
func (s *Store) current() *storeState { return s.state.Load() }

func (s *Store) pollEntries() {
	folders, err := s.options.Storage.ReadDir(entriesDir)
	s.outcome(entriesDir, "", err)
	if err != nil {
		return
	}
	for _, e := range s.current().sorted() {
		if e.files == nil && !slices.Contains(folders, e.folder) {
			folders = append(folders, e.folder)
		}
		if e.files != nil {
			s.pollFollowed(e)
		}
	}
	for _, folder := range folders {
		name, ok := unescapeName(folder)
		if !ok {
			continue
		}
		unit := inEntry(folder, "")
		former := s.current().entries[folder]
		if former != nil && former.files != nil {
			continue // Follow came first: the stored entry of this name is not served
		}
		now, err := s.stampEntry(folder)
		if err != nil {
			s.outcome(unit, name, err)
			continue
		}
		var inService [len(loadedFiles)]FileState
		if former != nil {
			inService, name = former.stamps, former.name
		} else if now[0] == (FileState{}) { // no current.pem, so no entry
			now = inService
		}
		if s.settled(unit, inService, now) {
			s.outcome(unit, name, s.pollEntry(folder, former))
		}
	}
}

// pollEntry puts an entry that changed into service.
func (s *Store) pollEntry(folder string, former *entry) error {
	st := s.current()
	e, err := s.loadEntry(folder)
	switch {
	case err != nil:
		return err
	case e != nil:
		st = s.put(st, e)
		if former == nil || !former.same(&e.pair) {
			s.noteChanged(st, EventReloaded, e)
		}
		return nil
	case former == nil:
		return nil
	}
	if roles := st.rolesOf(folder); len(roles) > 0 {
		return fmt.Errorf("certs: %s: %w, and %w: %s", inEntry(folder, currentFile), ErrNotFound, ErrInUse, nameList(roles))
	}
	st = st.clone()
	delete(st.entries, folder)
	st.serve()
	s.state.Store(st)
	s.note(certificateEvent(EventRemoved, former.name, former.chain[0], "current"))
	return nil
}

func (s *Store) pollFollowed(former *entry) {
	unit := "follow/" + former.folder
	now, err := former.files.stamp()
	if err != nil {
		s.outcome(unit, former.name, err)
		return
	}
	if !s.settled(unit, former.files.stamps, now) {
		return
	}
	e, err := s.loadFollowed(former.folder, former.name, former.files)
	if s.outcome(unit, former.name, err); err != nil {
		return
	}
	st := s.put(s.current(), e)
	if !former.same(&e.pair) {
		s.noteChanged(st, EventReloaded, e)
	}
}

func (s *Store) pollRoles() {
	st := s.current()
	now, err := stateOf(s.options.Storage, rolesFile)
	if err != nil {
		s.outcome(unitRoles, "", err)
		return
	}
	if !s.settled(unitRoles, st.rolesAt, now) {
		return
	}
	_, err = s.reloadRoles(st)
	s.outcome(unitRoles, "", err)
}

// reloadRoles puts the roles of the storage into service. A file that is gone has been
// taken away by accident, for a store writes it empty: nobody loses a certificate by that.
func (s *Store) reloadRoles(st *storeState) (*storeState, error) {
	roles, at, err := s.loadRoles()
	if err == nil && at == (FileState{}) && len(st.roles) > 0 {
		err = fmt.Errorf("certs: %w", notExist(rolesFile))
	}
	if err != nil {
		return nil, err
	}
	former := st.roles
	st = st.clone()
	st.roles, st.rolesAt = roles, at
	st.serve()
	s.state.Store(st)
	s.note(Event{Kind: EventReloaded, Place: "roles"})
	for role, names := range roles {
		if !slices.Equal(former[role], names) {
			s.noteDemonstration(st, role)
		}
	}
	return st, nil
}

// ownRoles is own for the roles: a change of them starts from what the storage has.
// Where that is gone, it starts from what is in service. The caller holds mu.
func (s *Store) ownRoles(st *storeState) (*storeState, error) {
	at, err := stateOf(s.options.Storage, rolesFile)
	if err != nil {
		return nil, fmt.Errorf("certs: %s: %w", rolesFile, err)
	}
	if at == st.rolesAt || at == (FileState{}) {
		return st, nil
	}
	return s.reloadRoles(st)
}

func (s *Store) pollTrust() {
	if s.options.Trust == nil {
		return
	}
	var now [2]FileState
	var errs []error
	for i, file := range []string{listFile, settingsFile} {
		var err error
		now[i], err = stateOf(s.options.Storage, file)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		s.outcome(unitTrust, "", err)
		return
	}
	if !s.watch.begun { // what the trust store was opened with is not known: load it once more
		s.watch.begun = true
	} else if !s.settled(unitTrust, s.watch.trust, now) {
		return
	}
	report, err := s.options.Trust.Reload()
	if s.outcome(unitTrust, "", err); err != nil {
		return
	}
	s.watch.trust = now
	if len(report.Added)+len(report.Removed)+len(report.Changed) > 0 {
		s.note(Event{Kind: EventReloaded, Place: "custom list"})
	}
}
