package certs

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// Memory is a [Storage] that forgets everything with the process. It is safe for
// concurrent use; the zero Memory is empty and ready.
type Memory struct {
	mu     sync.Mutex
	serial uint64
	files  map[string]memoryFile
}

type memoryFile struct {
	data   []byte // never changed
	serial uint64
}

var _ Storage = (*Memory)(nil)

// NewMemory returns an empty one.
func NewMemory() *Memory { return &Memory{} }

func notExist(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// put is called with the lock held.
func (m *Memory) put(name string, file memoryFile) {
	if m.files == nil {
		m.files = map[string]memoryFile{}
	}
	m.files[name] = file
}

// ReadFile implements [Storage].
func (m *Memory) ReadFile(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	file, ok := m.files[name]
	if !ok {
		return nil, notExist(name)
	}
	return bytes.Clone(file.data), nil
}

// WriteFile implements [Storage].
func (m *Memory) WriteFile(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serial++
	m.put(name, memoryFile{append(make([]byte, 0, len(data)), data...), m.serial})
	return nil
}

// Link implements [Storage].
func (m *Memory) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	file, ok := m.files[from]
	if !ok {
		return notExist(from)
	}
	m.put(to, file)
	return nil
}

// Rename implements [Storage].
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if file, ok := m.files[from]; ok {
		delete(m.files, from)
		m.put(to, file)
		return nil
	}
	inside := m.inside(from)
	switch {
	case len(inside) == 0:
		return notExist(from)
	case len(m.inside(to)) > 0:
		return fmt.Errorf("certs: rename %q: %w", from, fs.ErrExist)
	}
	for _, name := range inside {
		m.put(to+strings.TrimPrefix(name, from), m.files[name])
		delete(m.files, name)
	}
	return nil
}

// inside returns the paths below a folder, with the lock held.
func (m *Memory) inside(folder string) (names []string) {
	for name := range m.files {
		if strings.HasPrefix(name, folder+"/") {
			names = append(names, name)
		}
	}
	return names
}

// Remove implements [Storage].
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.files[name]; !ok {
		return notExist(name)
	}
	delete(m.files, name)
	return nil
}

// RemoveFolder implements [Storage].
func (m *Memory) RemoveFolder(folder string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	inside := m.inside(folder)
	if len(inside) == 0 {
		return notExist(folder)
	}
	for _, name := range inside {
		delete(m.files, name)
	}
	return nil
}

// ReadDir implements [Storage].
func (m *Memory) ReadDir(folder string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := map[string]bool{}
	for _, name := range m.inside(folder) {
		first, _, _ := strings.Cut(name[len(folder)+1:], "/")
		names[first] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Stat implements [Storage].
func (m *Memory) Stat(name string) (FileState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	file, ok := m.files[path.Clean(name)]
	if !ok {
		return FileState{}, notExist(name)
	}
	return FileState{Size: int64(len(file.data)), Serial: file.serial}, nil
}

// String hides what is stored.
func (m *Memory) String() string { return "certs.Memory" }

// Format hides what is stored, private keys among it, from every verb.
func (m *Memory) Format(f fmt.State, _ rune) { fmt.Fprint(f, m.String()) }
