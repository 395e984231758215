package certs

import (
	"crypto/x509"
	"fmt"
	"strconv"
	"time"
)

// RootSource is where a system list comes from: roots.Mozilla of the folder
// below, HostRoots, FileRoots, or one of the caller's own.
type RootSource interface {
	// LoadRoots returns the whole list, or an error and nothing.
	LoadRoots() (RootList, error)
}

// RootList is what a RootSource gives.
type RootList struct {
	Source  string    // what the list is called, "mozilla" for example
	Version string    // "" is shown as "unknown"
	Updated time.Time // zero if unknown
	Roots   []Root    // at most MaxListCertificates

	opaque *x509.CertPool // set by HostRoots alone, if the roots cannot be listed
}

// Root is a certificate of a RootList with what the list adds to it.
type Root struct {
	Certificate *x509.Certificate
	// DistrustAfter, unless zero, is the moment from which the root's own
	// certificates are refused: a chain below it may hold none that was issued
	// later. Fractions of a second are dropped.
	DistrustAfter time.Time
}

const versionUnknown = "unknown"

// loadRoots gets the list of a source and takes possession of its certificates.
func loadRoots(source RootSource) (*caList, int, error) {
	given, err := source.LoadRoots()
	if err != nil {
		return nil, 0, err
	}
	if len(given.Roots) > MaxListCertificates {
		return nil, 0, fmt.Errorf("certs: %s: %w: more than %d certificates", given.Source, ErrTooLarge, MaxListCertificates)
	}
	entries := make([]caEntry, len(given.Roots))
	for i, root := range given.Roots {
		if date := root.DistrustAfter; !date.IsZero() && !validDistrust(date) {
			return nil, 0, fmt.Errorf("certs: %s: root %d: %w: the date of distrust is outside of 1970 to 9999", given.Source, i, ErrMalformed)
		}
		entries[i], err = ownEntry(root.Certificate, root.DistrustAfter)
		if err != nil {
			return nil, 0, placed(fmt.Sprintf("%s: root %d", given.Source, i), err)
		}
	}
	list, duplicates := newCAList(SystemCAs, entries)
	list.source, list.version, list.updated = given.Source, given.Version, given.Updated
	if list.version == "" {
		list.version = versionUnknown
	}
	if given.opaque != nil {
		list.opaque = given.opaque
	}
	return list, duplicates, nil
}

// noRoots is the source of a trust store without a system list.
type noRoots struct{}

func (noRoots) LoadRoots() (RootList, error) { return RootList{Source: "none"}, nil }

// FileRoots returns the source that reads a file of PEM certificates: the text
// that [TrustStore.Export] writes, curl's cacert.pem, or any other. The file is
// read whenever LoadRoots is called, strictly: a block that cannot be used is a
// *ParseError, and nothing is loaded. Directories and special files are refused.
//
// The version comes from the head comment, or else is the date; the date comes
// from the head comment, or else is the file's modification time. A
// Distrust-After comment written by Export has its effect.
func FileRoots(path string) RootSource { return fileRoots(path) }

type fileRoots string

func (path fileRoots) LoadRoots() (RootList, error) {
	data, info, err := readInput(string(path), MaxListInput)
	if err != nil {
		return RootList{}, fmt.Errorf("certs: list of authorities: %w", err)
	}
	defer zero(data) // a key may stand in it, though it should not
	text, err := parseCAText(data, false)
	if err != nil {
		return RootList{}, placed(strconv.Quote(string(path)), err)
	}
	list := RootList{Source: string(path), Version: text.version, Updated: text.updated}
	if list.Updated.IsZero() {
		list.Updated = info.ModTime().UTC().Truncate(time.Second)
	}
	if list.Version == "" {
		list.Version = list.Updated.Format(time.RFC3339)
	}
	for _, e := range text.entries {
		list.Roots = append(list.Roots, Root{Certificate: e.cert, DistrustAfter: e.distrustAfter})
	}
	return list, nil
}
