package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/smtpsec/smtpsec/internal/certname"
	"github.com/smtpsec/smtpsec/internal/hostname"
)

// Rename gives an entry another name, and the roles that use it with it. Errors:
// [ErrNotFound], [ErrExists], *FieldError, [ErrFollowed], those of the storage,
// [ErrNotOpen].
func (s *Store) Rename(name, to string) error {
	st, err := s.begin()
	if err != nil {
		return err
	}
	defer s.end()
	st, e, err := s.own(st, name)
	if err != nil {
		return err
	}
	folder, err := EscapeName(to)
	if err != nil {
		return err
	}
	if st, err = s.ownRoles(st); err != nil {
		return err
	}
	if folder != e.folder {
		if st, err = s.move(st, e, folder, to); err != nil {
			return err
		}
	}
	m := e.meta
	m.Name = to
	if err := s.writeMeta(folder, m); err != nil {
		return err
	}
	_, _, err = s.reload(st, folder)
	return err
}

// move renames the folder of an entry. While it moves, the roles know both names, and
// one of them always leads to it.
func (s *Store) move(st *storeState, e *entry, folder, to string) (*storeState, error) {
	if _, err := st.free(to); err != nil {
		return nil, err
	}
	if err := s.clearFolder(folder); err != nil {
		return nil, err
	}
	former := st.roles
	st, err := s.writeRoles(st, former.with(e.folder, e.name, to))
	if err != nil {
		return nil, err
	}
	renamed := s.options.Storage.Rename(inEntry(e.folder, ""), inEntry(folder, ""))
	if renamed != nil {
		renamed = fmt.Errorf("certs: entry %q: %w", e.name, renamed)
		if _, err := s.options.Storage.Stat(inEntry(folder, currentFile)); err != nil {
			_, undo := s.writeRoles(st, former)
			return nil, errors.Join(renamed, undo)
		}
		// It has moved, and only syncing failed.
	}
	st = st.clone()
	delete(st.entries, e.folder)
	moved := *e
	moved.folder, moved.name = folder, to
	st, err = s.writeRoles(s.put(st, &moved), former.with(e.folder, to))
	return st, errors.Join(renamed, err)
}

// Remove removes an entry with its key. While a role uses it, that is [ErrInUse]
// unless force is set; the role then has one entry less. Files of somebody else in
// the entry's folder stay. To remove a followed entry is to stop following. Errors:
// [ErrNotFound], those of the storage, [ErrNotOpen].
func (s *Store) Remove(name string, force bool) error {
	st, err := s.begin()
	if err != nil {
		return err
	}
	defer s.end()
	if st, err = s.ownRoles(st); err != nil {
		return err
	}
	e, err := st.find(name)
	if err != nil {
		return err
	}
	if roles := st.rolesOf(e.folder); len(roles) > 0 {
		if !force {
			return fmt.Errorf("certs: entry %q: %w: %s", e.name, ErrInUse, nameList(roles))
		}
		if st, err = s.writeRoles(st, st.roles.with(e.folder)); err != nil {
			return err
		}
	}
	var left error
	if e.files == nil {
		if err := s.removeFiles(e.folder); err != nil {
			left = fmt.Errorf("certs: entry %q: %w", e.name, err)
			if _, err := s.options.Storage.Stat(inEntry(e.folder, currentFile)); !errors.Is(err, fs.ErrNotExist) {
				return left
			}
			// It is removed, and only clearing up failed.
		}
	}
	st = st.clone()
	delete(st.entries, e.folder)
	st.serve()
	s.state.Store(st)
	s.note(certificateEvent(EventRemoved, e.name, e.chain[0], "current"))
	return left
}

func (s *Store) removeFiles(folder string) error {
	storage := s.options.Storage
	names, err := storage.ReadDir(inEntry(folder, ""))
	if err != nil {
		return err
	}
	foreign := func(name string) bool { return !slices.Contains(entryFiles[:], name) }
	if !slices.ContainsFunc(names, foreign) {
		return storage.RemoveFolder(inEntry(folder, ""))
	}
	for _, file := range entryFiles {
		if err := removeIfThere(storage, inEntry(folder, file)); err != nil {
			return err
		}
	}
	return nil
}

// Accept notes that the operator has seen findings of an entry: they count no more in
// [Store.List]. It replaces those accepted before. Errors: [ErrNotFound],
// [ErrFollowed], those of the storage, [ErrNotOpen].
func (s *Store) Accept(name string, codes ...Code) error {
	return s.annotate(name, func(e *entry, m *meta) error {
		m.Accepted = slices.Compact(slices.Sorted(slices.Values(codes)))
		return nil
	})
}

// annotate changes the notes about an entry.
func (s *Store) annotate(name string, change func(*entry, *meta) error) error {
	st, err := s.begin()
	if err != nil {
		return err
	}
	defer s.end()
	st, e, err := s.own(st, name)
	if err != nil {
		return err
	}
	m := e.notes()
	if err := change(e, &m); err != nil {
		return err
	}
	if err := s.writeMeta(e.folder, m); err != nil {
		return err
	}
	_, _, err = s.reload(st, e.folder)
	return err
}

// Level says where in a cluster the certificate of an entry stands. Configuration
// names entries, so each machine may have another certificate under a name.
type Level string

const (
	LevelMachine Level = "machine" // this machine's own; the default
	LevelCluster Level = "cluster" // the same on every member host
)

func (e *entry) level() Level {
	if e.meta.Level == LevelCluster {
		return LevelCluster
	}
	return LevelMachine
}

// NotCoveredError says which hosts of a cluster a certificate does not stand for.
type NotCoveredError struct {
	Name  string // of the entry
	Hosts []string
}

// Error lists the hosts.
func (e *NotCoveredError) Error() string {
	return fmt.Sprintf("certs: the certificate of entry %q does not cover %s: a cluster needs a wildcard or SAN certificate for every member", clip(e.Name), nameList(e.Hosts))
}

// SetLevel says whether the certificate of an entry is this machine's or that of
// the whole cluster. LevelCluster needs the member hosts, and a certificate whose
// dNSNames, wildcards among them, cover every one: else it is a *NotCoveredError,
// now and when another certificate is installed. Further errors: *FieldError,
// [ErrNotFound], [ErrFollowed], those of the storage, [ErrNotOpen].
func (s *Store) SetLevel(name string, level Level, hosts ...string) error {
	switch {
	case level != LevelMachine && level != LevelCluster:
		return &FieldError{Field: "Level", Value: string(level), Problem: `"machine" or "cluster" is needed`}
	case level == LevelCluster && len(hosts) == 0:
		return &FieldError{Field: "Hosts", Problem: "the member hosts of the cluster are needed"}
	case level == LevelMachine && len(hosts) > 0:
		return &FieldError{Field: "Hosts", Value: hosts[0], Problem: "only the certificate of a cluster covers other hosts"}
	}
	canonical := make([]string, len(hosts))
	for i, host := range hosts {
		var err error
		if canonical[i], err = hostname.Parse(host); err != nil {
			return &FieldError{Field: fmt.Sprintf("Hosts[%d]", i), Value: host, Problem: err.Error()}
		}
	}
	return s.annotate(name, func(e *entry, m *meta) error {
		m.Level, m.Hosts = level, canonical
		return m.covered(e.name, e.chain[0])
	})
}

// covered tests a certificate for an entry with these notes.
func (m *meta) covered(name string, cert *x509.Certificate) error {
	if m.Level != LevelCluster {
		return nil
	}
	if missing := Covers(cert, m.Hosts...); len(missing) > 0 {
		return &NotCoveredError{Name: name, Hosts: missing}
	}
	return nil
}

// Covers returns those of the hosts for which the certificate does not stand: no
// dNSName is the host's name, or a wildcard for it. Common names do not count
// (RFC 9525 section 2). What is no host name is not covered.
func Covers(cert *x509.Certificate, hosts ...string) (missing []string) {
	for _, host := range hosts {
		reference, err := hostname.Parse(host)
		if err != nil || !slices.ContainsFunc(cert.DNSNames, func(name string) bool { return certname.Match(name, reference) }) {
			missing = append(missing, host)
		}
	}
	return missing
}

// Covers returns those of the hosts for which the certificate of an entry does not
// stand, as the function of that name does. Errors: [ErrNotFound], [ErrNotOpen].
func (s *Store) Covers(name string, hosts ...string) (missing []string, err error) {
	st, err := s.read()
	if err != nil {
		return nil, err
	}
	e, err := st.find(name)
	if err != nil {
		return nil, err
	}
	return Covers(e.chain[0], hosts...), nil
}

// checkRoleName refuses what cannot be a role.
func checkRoleName(role string) error {
	switch {
	case role == "":
		return &FieldError{Field: "Role", Problem: "a role is required: https, for example"}
	case len(role) > maxRoleName:
		return &FieldError{Field: "Role", Value: role, Problem: fmt.Sprintf("longer than %d octets", maxRoleName)}
	case strings.ContainsFunc(role, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }):
		return &FieldError{Field: "Role", Value: role, Problem: "control characters and what is not UTF-8 are not allowed"}
	}
	return nil
}
