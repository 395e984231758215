package certs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
)

// Roles that this package knows something about; any other name is as good.
const (
	RoleHTTPS    = "https"
	RoleLDAP     = "ldap"     // for the client's side of LDAPS
	RoleOutgoing = "outgoing" // the client certificate for delivering mail
)

// ListenerRole returns the role of one listener: "listener:Inboundmail".
func ListenerRole(name string) string { return "listener:" + name }

const (
	maxRoleName = 256     // octets
	maxRoles    = 1 << 20 // octets of roles.json
	maxAssigned = 64      // entries of one role
)

// roleTable has the names of each role's entries, the default first. Some may
// have no entry.
type roleTable map[string][]string

// rolesJSON is how roles are stored.
type rolesJSON struct {
	Version int       `json:"version"`
	Roles   roleTable `json:"roles"`
}

const rolesVersion = 1

func (s *Store) loadRoles() (roleTable, FileState, error) {
	fail := func(err error) (roleTable, FileState, error) {
		return nil, FileState{}, fmt.Errorf("certs: %s: %w", rolesFile, err)
	}
	at, err := stateOf(s.options.Storage, rolesFile)
	if err != nil {
		return fail(err)
	}
	data, err := s.options.Storage.ReadFile(rolesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return roleTable{}, at, nil
	}
	if err != nil {
		return fail(err)
	}
	if len(data) > maxRoles {
		return fail(ErrTooLarge)
	}
	var file rolesJSON
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return fail(fmt.Errorf("%w: %w", ErrMalformed, err))
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fail(fmt.Errorf("%w: more than one value", ErrMalformed))
	}
	if file.Version != rolesVersion {
		return fail(fmt.Errorf("%w: version %d, this program knows version %d", ErrMalformed, file.Version, rolesVersion))
	}
	for role, names := range file.Roles {
		if err := checkRoleName(role); err != nil {
			return fail(fmt.Errorf("%w: %w", ErrMalformed, bare{err}))
		}
		if len(names) == 0 || len(names) > maxAssigned {
			return fail(fmt.Errorf("%w: role %q has %d entries", ErrMalformed, role, len(names)))
		}
		for _, name := range names {
			if _, err := EscapeName(name); err != nil {
				return fail(fmt.Errorf("%w: role %q: %w", ErrMalformed, role, bare{err}))
			}
		}
	}
	if file.Roles == nil {
		file.Roles = roleTable{}
	}
	return file.Roles, at, nil
}

// writeRoles stores the roles and puts them into service.
func (s *Store) writeRoles(st *storeState, roles roleTable) (*storeState, error) {
	if maps.EqualFunc(st.roles, roles, slices.Equal) {
		return st, nil
	}
	data, err := json.MarshalIndent(rolesJSON{Version: rolesVersion, Roles: roles}, "", "\t")
	if err == nil && len(data) >= maxRoles {
		err = ErrTooLarge
	}
	if err == nil {
		err = s.options.Storage.WriteFile(rolesFile, append(data, '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("certs: %s: %w", rolesFile, err)
	}
	st = st.clone()
	st.roles = roles
	if st.rolesAt, err = stateOf(s.options.Storage, rolesFile); err != nil {
		return nil, fmt.Errorf("certs: %s: %w", rolesFile, err)
	}
	st.serve()
	s.state.Store(st)
	return st, nil
}

// with returns the table with other names, or none, in the place of an entry's. A
// role that is left without any is unassigned.
func (t roleTable) with(folder string, names ...string) roleTable {
	changed := roleTable{}
	for role, assigned := range t {
		var list []string
		for _, name := range assigned {
			put := []string{name}
			if escaped, _ := EscapeName(name); escaped == folder {
				put = names
			}
			for _, name := range put {
				if !slices.Contains(list, name) {
					list = append(list, name)
				}
			}
		}
		if len(list) > 0 {
			changed[role] = list
		}
	}
	return changed
}

// rolesOf returns the roles that use an entry, in order.
func (st *storeState) rolesOf(folder string) (roles []string) {
	for role := range st.roles {
		for _, e := range st.entriesOf(role) {
			if e.folder == folder {
				roles = append(roles, role)
				break
			}
		}
	}
	slices.Sort(roles)
	return roles
}

// entriesOf returns the entries of a role that exist.
func (st *storeState) entriesOf(role string) (list []*entry) {
	for _, name := range st.roles[role] {
		if e, err := st.find(name); err == nil {
			list = append(list, e)
		}
	}
	return list
}

// Assign gives a role its entries; the first is the default, which is used where
// no other one fits the name that the client asks for. It replaces those assigned before.
// The findings are about use in this role: the demonstration certificate, or one
// that is not meant for clients in the role of one.
//
// Errors: *FieldError for the role, or for no entries at all, [ErrNotFound],
// those of the storage, [ErrNotOpen].
func (s *Store) Assign(role string, names ...string) ([]Finding, error) {
	st, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer s.end()
	if err := checkRoleName(role); err != nil {
		return nil, err
	}
	if st, err = s.ownRoles(st); err != nil {
		return nil, err
	}
	if len(names) == 0 || len(names) > maxAssigned {
		return nil, &FieldError{Field: "Names", Problem: fmt.Sprintf("a role has 1 to %d entries", maxAssigned)}
	}
	var list []string
	var findings []Finding
	for _, name := range names {
		e, err := st.find(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(list, e.name) {
			continue
		}
		list = append(list, e.name)
		check := s.options.check()
		check.Client = role == RoleOutgoing || role == RoleLDAP
		findings = Check(findings, e.chain, check)
		if e.demonstration() {
			findings = append(findings, demonstrationFinding(e.chain[0]))
		}
	}
	roles := maps.Clone(st.roles)
	roles[role] = list
	if st, err = s.writeRoles(st, roles); err != nil {
		return nil, err
	}
	s.noteDemonstration(st, role)
	return findings, nil
}

// Unassign takes a role's entries away. A role without any is no error. Errors:
// those of the storage, [ErrNotOpen].
func (s *Store) Unassign(role string) error {
	st, err := s.begin()
	if err != nil {
		return err
	}
	defer s.end()
	if st, err = s.ownRoles(st); err != nil {
		return err
	}
	roles := maps.Clone(st.roles)
	delete(roles, role)
	_, err = s.writeRoles(st, roles)
	return err
}

// Roles returns the names assigned to each role, the default first. An entry of a
// name may be missing. Error: [ErrNotOpen].
func (s *Store) Roles() (map[string][]string, error) {
	st, err := s.read()
	if err != nil {
		return nil, err
	}
	roles := map[string][]string{}
	for role, names := range st.roles {
		roles[role] = slices.Clone(names)
	}
	return roles, nil
}
