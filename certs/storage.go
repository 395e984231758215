package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// Storage keeps the files of a [Store], and with [Lists] those of a [TrustStore].
// [NewMemory] and OpenDirectory are the two that exist. Paths are relative, with
// slashes, and made of the names that [EscapeName] returns.
//
// Every method that changes something changes it wholly or not at all, whatever
// happens to the process or the machine, and what is reported as done lasts. What
// does not exist is an error that matches [fs.ErrNotExist]. The methods may be
// called at the same time; those that write are called one at a time.
type Storage interface {
	// ReadFile returns a copy of the content of a file.
	ReadFile(path string) ([]byte, error)
	// WriteFile replaces a file, or makes it and the folders above it. The storage
	// keeps no reference to data.
	WriteFile(path string, data []byte) error
	// Link makes the file from known as to, too, in place of what to was.
	Link(from, to string) error
	// Rename moves a file to the place of another one, or a folder to where there
	// is none, or an empty one.
	Rename(from, to string) error
	// Remove removes a file.
	Remove(path string) error
	// RemoveFolder removes a folder and everything in it, all at once.
	RemoveFolder(path string) error
	// ReadDir returns the names in a folder in order; none if it does not exist.
	ReadDir(path string) ([]string, error)
	// Stat returns what tells one state of a file from another.
	Stat(path string) (FileState, error)
}

// FileState tells the states of a file apart without reading it. Two that are
// equal are taken for the same content.
type FileState struct {
	Size     int64
	Modified time.Time
	Serial   uint64 // another one after the file was replaced, if the storage has such a number
	Exposed  bool   // others than the owner may read, write or replace the file
}

// The layout. Names with a dot in front are the storage's own.
const (
	rolesFile    = "roles.json"
	entriesDir   = "entries"
	listFile     = "ca/custom.txt"
	settingsFile = "ca/settings.json"

	currentFile  = "current.pem"
	nextFile     = "next.pem"
	previousFile = "previous.pem"
	swapFile     = "swap.pem" // what is to be previous.pem, while the two change places
	requestFile  = "request.csr"
	metaFile     = "meta.json"
)

// entryFiles are the files of an entry, in the order in which they are removed
// from a folder that holds files of somebody else as well.
var entryFiles = [...]string{currentFile, nextFile, previousFile, swapFile, requestFile, metaFile}

// inEntry returns the path of one of an entry's files.
func inEntry(folder, file string) string { return path.Join(entriesDir, folder, file) }

// errReadOnly is what writing to a storage gives that is open for reading.
var errReadOnly = fmt.Errorf("certs: the storage is open for reading only: %w", fs.ErrPermission)

// Lists returns the part of a storage in which a [TrustStore] keeps the custom
// list and the settings: ca/custom.txt and ca/settings.json.
func Lists(storage Storage) ListStorage { return lists{storage} }

type lists struct{ storage Storage }

func (l lists) ReadList() ([]byte, error)       { return l.storage.ReadFile(listFile) }
func (l lists) WriteList(text []byte) error     { return l.storage.WriteFile(listFile, text) }
func (l lists) ReadSettings() ([]byte, error)   { return l.storage.ReadFile(settingsFile) }
func (l lists) WriteSettings(data []byte) error { return l.storage.WriteFile(settingsFile, data) }

// stateOf is Stat, with the zero FileState for what does not exist.
func stateOf(storage Storage, path string) (FileState, error) {
	state, err := storage.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return FileState{}, nil
	}
	return state, err
}

// removeIfThere is Remove, and no error for what does not exist.
func removeIfThere(storage Storage, path string) error {
	if err := storage.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fileState is the FileState of a file in a file system.
func fileState(info fs.FileInfo) FileState {
	return FileState{Size: info.Size(), Modified: info.ModTime(), Serial: inode(info), Exposed: exposed(info)}
}
