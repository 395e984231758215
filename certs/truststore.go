package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtpsec/smtpsec/internal/chaincache"
)

var errTrustNotOpen = fmt.Errorf("certs: the trust store is %w", ErrNotOpen)

// TrustOptions are the settings of a [TrustStore].
type TrustOptions struct {
	// System is the source of the system list; nil is an empty list. Ask for the
	// operating system's roots by name: HostRoots.
	System RootSource
	// Storage keeps the custom list and which lists are enabled; nil keeps them
	// for the life of the TrustStore.
	Storage ListStorage
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// CacheEntries bounds the number of verified chains remembered. 0 is
	// MaxCacheEntries, more too; less switches the cache off.
	CacheEntries int
	// MaxAge bounds how long a verified chain is taken as verified. 0 or less is
	// one hour; more than 24 hours is 24 hours.
	MaxAge time.Duration
}

func (o *TrustOptions) newCache() *chaincache.Cache[[]*x509.Certificate] {
	switch {
	case o.CacheEntries < 0:
		return nil // stores nothing
	case o.CacheEntries == 0:
		return chaincache.New[[]*x509.Certificate](MaxCacheEntries, o.MaxAge)
	}
	return chaincache.New[[]*x509.Certificate](min(o.CacheEntries, MaxCacheEntries), o.MaxAge)
}

// TrustStore holds the two lists of authorities that decide which peers are
// trusted: the system list, which comes from a [RootSource] and is replaced as a
// whole, and the custom list, which the operator edits. Each is enabled or not;
// with both, either anchors a chain; with none, nothing is verified. A certificate
// in both lists counts with what the custom list says of it.
//
// Every change starts from what the storage has, which somebody may have edited by
// hand (from what is in service, where that is gone), builds a new [Snapshot] and swaps it in, so that a reader sees one whole list
// or the other. The methods that read work on the current one; take a
// Snapshot to ask several questions of the same lists.
//
// It is safe for concurrent use. The zero TrustStore and a nil *TrustStore trust
// nothing; their methods return [ErrNotOpen].
type TrustStore struct {
	options  TrustOptions
	original *caList // what options.System gave

	current atomic.Pointer[Snapshot]
	mu      sync.Mutex // serialises the writers
}

// NewTrustStore loads the system list, and the custom list and the settings if
// they were stored before; both lists are enabled unless the settings say
// otherwise. Errors are those of the source and the storage, a *ParseError for a
// stored list that is broken, and [ErrMalformed] for broken settings: a store that
// cannot be read is not taken for an empty one.
func NewTrustStore(o TrustOptions) (*TrustStore, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.System == nil {
		o.System = noRoots{}
	}
	settings, _, err := readStoredSettings(o.Storage, newSettings)
	if err != nil {
		return nil, err
	}
	custom, _, err := readStoredList(o.Storage, noList())
	if err != nil {
		return nil, err
	}
	system, _, err := loadRoots(o.System)
	if err != nil {
		return nil, err
	}
	t := &TrustStore{options: o, original: system}
	t.current.Store(newSnapshot(nil, system, custom, settings, &t.options))
	return t, nil
}

// Snapshot returns what is trusted and listed now, nil for a TrustStore that is
// not open. It does not allocate.
func (t *TrustStore) Snapshot() *Snapshot {
	if t == nil {
		return nil
	}
	return t.current.Load()
}

// lock returns the current snapshot to a writer, who must call unlock.
func (t *TrustStore) lock() (*Snapshot, error) {
	if t == nil || t.current.Load() == nil {
		return nil, errTrustNotOpen
	}
	t.mu.Lock()
	return t.current.Load(), nil
}

func (t *TrustStore) swap(former *Snapshot, system, custom *caList, settings listSettings) {
	t.current.Store(newSnapshot(former, system, custom, settings, &t.options))
}

// Enable switches a list on or off. Errors: [ErrNotOpen], [ErrNotFound] for a list
// that does not exist, and those of the storage, upon which nothing changes.
func (t *TrustStore) Enable(list CAList, on bool) error {
	former, err := t.lock()
	if err != nil {
		return err
	}
	defer t.mu.Unlock()
	settings, _, err := readStoredSettings(t.options.Storage, former.settings)
	if err != nil {
		return err
	}
	switch list {
	case SystemCAs:
		settings.System = on
	case CustomCAs:
		settings.Custom = on
	default:
		return fmt.Errorf("certs: %w: %v", ErrNotFound, list)
	}
	if err := writeStoredSettings(t.options.Storage, settings); err != nil {
		return err
	}
	t.swap(former, former.system, former.custom, settings)
	return nil
}

// CAImportOptions are the settings of Import and Add.
type CAImportOptions struct {
	// Lenient takes what can be used and turns the other blocks into findings
	// with their line numbers. Otherwise one bad block fails the whole input.
	Lenient bool
}

// Import replaces the custom list by the certificates in r: PEM text, with
// anything between the blocks, or one certificate in DER; at most MaxListInput
// octets and MaxListCertificates certificates. A certificate that is no authority is
// kept and reported, since a self-signed peer is trusted that way; names that are not
// fully qualified are reported too. A Distrust-After comment, as Export writes it,
// limits its certificate.
//
// Errors leave the former list in service: *ParseError, [ErrNoCertificate] for an
// empty input, [ErrTooLarge], those of r and of the storage. A private key in the
// input is an error.
func (t *TrustStore) Import(r io.Reader, o CAImportOptions) (ListReport, error) {
	return t.readInto(r, o, false)
}

// Add is Import for certificates that join those of the custom list. One that is
// in the list already counts as a duplicate and does not lift its constraint.
func (t *TrustStore) Add(r io.Reader, o CAImportOptions) (ListReport, error) {
	return t.readInto(r, o, true)
}

func (t *TrustStore) readInto(r io.Reader, o CAImportOptions, keep bool) (ListReport, error) {
	if t.Snapshot() == nil {
		return ListReport{}, errTrustNotOpen
	}
	data, err := readAll(r, MaxListInput)
	defer zero(data) // a key may stand in it, though it should not
	if err != nil {
		return ListReport{}, fmt.Errorf("certs: list of authorities: %w", err)
	}
	text, err := parseCAText(data, o.Lenient)
	if err != nil {
		return ListReport{}, err
	}
	return t.changeCustom(text.entries, text.findings, keep)
}

// AddCertificates adds certificates that are parsed already. Copies are kept.
// Errors: [ErrNoCertificate] without any, [ErrMalformed] for one that was not
// parsed from DER, *UnsupportedError for one with a key that Import would refuse,
// [ErrTooLarge], and those of the storage.
func (t *TrustStore) AddCertificates(certs ...*x509.Certificate) (ListReport, error) {
	if t.Snapshot() == nil {
		return ListReport{}, errTrustNotOpen
	}
	entries := make([]caEntry, len(certs))
	for i, cert := range certs {
		var err error
		if entries[i], err = ownEntry(cert, time.Time{}); err != nil {
			return ListReport{}, err
		}
	}
	return t.changeCustom(entries, nil, true)
}

// changeCustom makes entries the custom list, behind what it has if keep is set.
func (t *TrustStore) changeCustom(entries []caEntry, findings []Finding, keep bool) (ListReport, error) {
	if len(entries) == 0 {
		return ListReport{}, fmt.Errorf("certs: custom list: %w in the input", ErrNoCertificate)
	}
	former, err := t.lock()
	if err != nil {
		return ListReport{}, err
	}
	defer t.mu.Unlock()
	all, before := entries, former.custom
	if keep {
		if before, _, err = readStoredList(t.options.Storage, former.custom); err != nil {
			return ListReport{}, err
		}
		all = slices.Concat(before.entries, entries)
	}
	list, duplicates := newCAList(CustomCAs, all)
	report := ListReport{Duplicates: duplicates, Findings: findings}
	now := t.options.Now()
	seen := make(map[[sha256.Size]byte]bool, len(entries))
	for _, e := range entries {
		if seen[e.sum] {
			continue
		}
		seen[e.sum] = true
		report.Findings = checkEntry(report.Findings, e, now, true)
		kept, _ := list.find(e.sum)
		if f, ok := liftedBy(kept, former.system); ok {
			report.Findings = append(report.Findings, f)
		}
	}
	list.compare(before, &report)
	if err := t.putCustom(former, list, now); err != nil {
		return ListReport{}, err
	}
	return report, nil
}

// putCustom stores a new custom list and swaps it in.
func (t *TrustStore) putCustom(former *Snapshot, list *caList, now time.Time) error {
	list.source, list.updated = CustomCAs.String(), now.UTC().Truncate(time.Second)
	if err := writeStoredList(t.options.Storage, list); err != nil {
		return err
	}
	t.swap(former, former.system, list, former.settings)
	return nil
}

// Delete removes the certificate with this SHA-256 from the custom list. Errors:
// [ErrSystemList] if only the system list has it, [ErrNotFound], [ErrNotOpen], and
// those of the storage, upon which nothing changes.
func (t *TrustStore) Delete(sum [sha256.Size]byte) error {
	former, err := t.lock()
	if err != nil {
		return err
	}
	defer t.mu.Unlock()
	custom, _, err := readStoredList(t.options.Storage, former.custom)
	if err != nil {
		return err
	}
	at, ok := custom.index[sum]
	if !ok {
		if _, ok := former.system.find(sum); ok {
			return fmt.Errorf("certs: authority %x: %w", sum, ErrSystemList)
		}
		return fmt.Errorf("certs: authority %x: %w", sum, ErrNotFound)
	}
	list, _ := newCAList(CustomCAs, slices.Delete(slices.Clone(custom.entries), at, at+1))
	return t.putCustom(former, list, t.options.Now())
}

// Reload reads the custom list and the settings from the storage again, for when
// somebody else has changed them. Errors leave the former state in service; one that
// matches [fs.ErrNotExist] says that they are gone, which would enable a list that is
// disabled, or take the operator's dates of distrust away.
func (t *TrustStore) Reload() (ListReport, error) {
	former, err := t.lock()
	if err != nil {
		return ListReport{}, err
	}
	defer t.mu.Unlock()
	settings, stored, err := readStoredSettings(t.options.Storage, former.settings)
	if err == nil && !stored && settings != newSettings {
		err = fmt.Errorf("certs: settings of the trust store: %w", fs.ErrNotExist)
	}
	if err != nil {
		return ListReport{}, err
	}
	custom, stored, err := readStoredList(t.options.Storage, former.custom)
	if err == nil && !stored && len(custom.entries) > 0 {
		err = fmt.Errorf("certs: stored custom list: %w", fs.ErrNotExist)
	}
	if err != nil {
		return ListReport{}, err
	}
	report := ListReport{Findings: lifted(custom, former.system)}
	custom.compare(former.custom, &report)
	t.swap(former, former.system, custom, settings)
	return report, nil
}

// ReplaceOptions are the settings of ReplaceSystem.
type ReplaceOptions struct {
	// Force takes a list that ReplaceSystem would refuse with an *UpdateError.
	Force bool
}

// UpdateError says that an update of the system list would lose so much of it
// that it is more likely a mistake. [ReplaceOptions] can force it.
type UpdateError struct {
	Former int // certificates in the list now; -1 if they cannot be listed
	Next   int // in the update; -1 if they cannot be listed
	Lost   int // of Former, those missing in the update; 0 if that is unknown
}

// Error returns the numbers.
func (e *UpdateError) Error() string {
	if e.Former < 0 || e.Next < 0 {
		return "certs: update of the system list refused: a list that cannot be listed cannot be compared; force it if it is right"
	}
	return fmt.Sprintf("certs: update of the system list refused: %d of %d certificates are missing in it; force it if it is right", e.Lost, e.Former)
}

// ReplaceSystem is "update now" for the system list: it loads the whole list from
// source and only then swaps it in. The replacement lasts as long as the
// TrustStore; give the same source to NewTrustStore at the next start.
//
// Errors leave the former list in service: those of the source, [ErrNoCertificate]
// for an empty list, whatever the options, and *UpdateError, unless forced, for
// one that lacks more than half of the former list's certificates, or where that
// cannot be found out.
func (t *TrustStore) ReplaceSystem(source RootSource, o ReplaceOptions) (ListReport, error) {
	if t.Snapshot() == nil {
		return ListReport{}, errTrustNotOpen
	}
	if source == nil {
		return ListReport{}, fmt.Errorf("certs: update of the system list: no source: %w", ErrNoCertificate)
	}
	list, duplicates, err := loadRoots(source)
	if err != nil {
		return ListReport{}, err
	}
	if len(list.entries) == 0 && list.opaque == nil {
		return ListReport{}, fmt.Errorf("certs: update of the system list from %s: %w", list.source, ErrNoCertificate)
	}
	former, err := t.lock()
	if err != nil {
		return ListReport{}, err
	}
	defer t.mu.Unlock()
	report := t.systemReport(former, list)
	report.Duplicates = duplicates
	if !o.Force {
		if err := checkUpdate(former.system, list, len(report.Removed)); err != nil {
			return ListReport{}, err
		}
	}
	t.swap(former, list, former.custom, former.settings)
	return report, nil
}

func checkUpdate(former, next *caList, lost int) error {
	e := &UpdateError{Former: former.versionInfo().Count, Next: next.versionInfo().Count}
	if e.Former < 0 || e.Next < 0 {
		return e
	}
	if e.Lost = lost; 2*lost > e.Former {
		return e
	}
	return nil
}

// RestoreSystem goes back to the system list that the TrustStore was made with.
func (t *TrustStore) RestoreSystem() (ListReport, error) {
	former, err := t.lock()
	if err != nil {
		return ListReport{}, err
	}
	defer t.mu.Unlock()
	report := t.systemReport(former, t.original)
	t.swap(former, t.original, former.custom, former.settings)
	return report, nil
}

func (t *TrustStore) systemReport(former *Snapshot, list *caList) ListReport {
	var report ListReport
	now := t.options.Now()
	for _, e := range list.entries {
		report.Findings = checkEntry(report.Findings, e, now, false)
	}
	report.Findings = append(report.Findings, lifted(former.custom, list)...)
	list.compare(former.system, &report)
	return report
}

// VerifyChain decides whether a chain leads to an enabled authority now; see
// [Snapshot.VerifyChain]. A chain seen before costs one hash and no allocation.
func (t *TrustStore) VerifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage) (path []*x509.Certificate, err error) {
	return t.Snapshot().VerifyChain(chain, usage)
}

// Generation returns a number that is another one after each change of what is
// trusted, 0 if the TrustStore is not open. Whoever keeps TLS sessions or
// connections beyond a change must not reuse those of another generation.
func (t *TrustStore) Generation() uint64 { return t.Snapshot().Generation() }

// Enabled reports whether a list takes part in verification now.
func (t *TrustStore) Enabled(list CAList) bool { return t.Snapshot().Enabled(list) }

// Anchored reports whether an enabled list has the certificate or its issuer; see
// [Snapshot.Anchored].
func (t *TrustStore) Anchored(cert *x509.Certificate) bool { return t.Snapshot().Anchored(cert) }

// Count returns the number of certificates in a list; see [Snapshot.Count].
func (t *TrustStore) Count(list CAList) (int, error) { return t.Snapshot().Count(list) }

// Authorities returns the certificates of a list; see [Snapshot.Authorities].
func (t *TrustStore) Authorities(list CAList) ([]Authority, error) {
	return t.Snapshot().Authorities(list)
}

// Detail returns one certificate; see [Snapshot.Detail].
func (t *TrustStore) Detail(sum [sha256.Size]byte) (Authority, error) {
	return t.Snapshot().Detail(sum)
}

// PEM returns one certificate for download; see [Snapshot.PEM].
func (t *TrustStore) PEM(sum [sha256.Size]byte) ([]byte, error) { return t.Snapshot().PEM(sum) }

// Export writes a list as text; see [Snapshot.Export].
func (t *TrustStore) Export(w io.Writer, list CAList) error { return t.Snapshot().Export(w, list) }

// VersionInfo returns where a list comes from; see [Snapshot.VersionInfo].
func (t *TrustStore) VersionInfo(list CAList) VersionInfo { return t.Snapshot().VersionInfo(list) }
