package config

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/smtpsec/smtpsec/certs"
)

const (
	// selfSignedDays is how long a certificate for trying things out is valid.
	selfSignedDays = 90
	// soon is when the end of a certificate is worth a warning.
	soon = 14 * 24 * time.Hour
	// maxPKCS12 bounds a PKCS #12 file, as package certs does.
	maxPKCS12 = 1 << 20
	// maxPassword bounds a password file.
	maxPassword = 4096
)

// eventRelay hands events on to whoever wants them at the time.
type eventRelay struct {
	to atomic.Pointer[func(certs.Event)]
}

func (e *eventRelay) set(f func(certs.Event)) {
	if f == nil {
		e.to.Store(nil)
		return
	}
	e.to.Store(&f)
}

func (e *eventRelay) send(event certs.Event) {
	if f := e.to.Load(); f != nil {
		(*f)(event)
	}
}

// certificates reads all [certificate.NAME] into a store in memory.
func (l *loader) certificates(t *table) {
	store, err := certs.OpenStore(certs.StoreOptions{Events: l.events.send})
	if err != nil {
		l.fail(1, "certificate", "%s", reason(err))
		store = &certs.Store{}
	}
	l.c.Certs = store
	for _, n := range t.all(kindTable) {
		l.certs[n.name] = n
		ct := &table{l: l, n: n}
		before := l.errors
		l.certificate(ct)
		ct.done()
		l.loaded[n.name] = l.errors == before
	}
}

func (l *loader) certificate(t *table) {
	file, fileNode := t.text("file")
	key, keyNode := t.text("key")
	p12, p12Node := t.text("pkcs12")
	self, selfNode := t.texts("self-signed")
	var password []byte
	pw, pwNode := t.text("password-file")
	if pwNode != nil {
		password = l.password(pwNode, pw)
	}
	sorts := 0
	for _, n := range []*node{fileNode, p12Node, selfNode} {
		if n != nil {
			sorts++
		}
	}
	switch {
	case sorts == 0:
		t.missing("file", "file, pkcs12 or self-signed, to say where the certificate comes from")
	case sorts > 1:
		t.n.fail(l, "file, pkcs12 and self-signed exclude each other: choose one")
	case keyNode != nil && fileNode == nil:
		keyNode.fail(l, "belongs to \"file\", which is not there")
	case pwNode != nil && selfNode != nil:
		pwNode.fail(l, "there is no password for a self-signed certificate that is made here")
	case fileNode != nil:
		l.pem(t.n.name, fileNode, file, keyNode, key, password)
	case p12Node != nil:
		l.pkcs12(t.n.name, p12Node, p12, password)
	default:
		l.selfSigned(t.n.name, selfNode, self)
	}
}

// password reads the first line of a file.
func (l *loader) password(n *node, path string) []byte {
	data := l.secret(n, path, maxPassword)
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if data != nil && len(line) == 0 {
		n.fail(l, "the first line of %s is empty: the password belongs there", show(path))
	}
	return line
}

// secret reads a file that nobody else should read; nil after an error.
func (l *loader) secret(n *node, path string, limit int64) []byte {
	path = l.path(n, path)
	if path == "" {
		return nil
	}
	data, problem := readBounded(path, limit)
	if problem != "" {
		n.fail(l, "%s %s", show(path), problem)
		return nil
	}
	l.exposed(n, path)
	if data == nil {
		data = []byte{}
	}
	return data
}

// exposed warns of a secret that others can read or change.
func (l *loader) exposed(n *node, path string) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		n.warn(l, "others than its owner can read or write %s: chmod 600", show(path))
	}
}

// pem reads a certificate with its chain, and a key in the same or another file.
func (l *loader) pem(name string, fileNode *node, file string, keyNode *node, key string, password []byte) {
	file = l.path(fileNode, file)
	if file == "" {
		return
	}
	bag, data := l.material(fileNode, file, password)
	keyFile, keyData, keys, at := file, data, bag, fileNode
	if keyNode != nil {
		if keyFile = l.path(keyNode, key); keyFile == "" {
			return
		}
		keys, keyData = l.material(keyNode, keyFile, password)
		at = keyNode
	}
	if bag == nil || keys == nil {
		return
	}
	if len(bag.Certificates) == 0 {
		hint := "write a file of PEM certificates"
		if len(bag.Keys) > 0 {
			hint = "it is a private key; that one belongs to \"key\""
		}
		fileNode.fail(l, "%s has no certificate: %s", show(file), hint)
	}
	private, err := keys.Key()
	switch {
	case errors.Is(err, certs.ErrNoKey) && keyNode == nil:
		fileNode.fail(l, "%s has no private key: name its file with \"key\"", show(file))
	case errors.Is(err, certs.ErrNoKey) && len(keys.Certificates) > 0:
		keyNode.fail(l, "%s is a certificate and no private key", show(keyFile))
	case err != nil:
		at.fail(l, "%s: %s", show(keyFile), reason(err))
	}
	if err != nil || len(bag.Certificates) == 0 {
		return
	}
	l.exposed(at, keyFile)
	chain, _, err := certs.Arrange(private.Public(), bag.Certificates, certs.ArrangeOptions{Now: l.now})
	if err != nil {
		at.fail(l, "no certificate in %s belongs to the key in %s: install the certificate that was issued for this key", show(file), show(keyFile))
		return
	}
	if !l.dates(fileNode, chain[0]) {
		return
	}
	var result certs.Result
	if len(password) == 0 {
		other := keyFile
		if keyNode == nil {
			other = ""
		}
		result, err = l.c.Certs.Follow(name, file, other)
	} else {
		if keyNode != nil {
			data = slices.Concat(data, []byte("\n"), keyData)
		}
		result, err = l.c.Certs.ImportPEM(name, data, certs.ImportOptions{Passphrase: password})
	}
	l.imported(fileNode, result, err)
}

// material reads what is in a file; nil after an error.
func (l *loader) material(n *node, path string, password []byte) (*certs.Material, []byte) {
	data, problem := readBounded(path, certs.MaxInput)
	if problem != "" {
		n.fail(l, "%s %s", show(path), problem)
		return nil, nil
	}
	m, err := certs.ReadBytes(data, certs.ReadOptions{Passphrase: password})
	switch {
	case errors.Is(err, certs.ErrPassphraseNeeded):
		n.fail(l, "the key in %s is encrypted: name a file with its password in \"password-file\"", show(path))
	case err != nil:
		n.fail(l, "%s: %s", show(path), reason(err))
	default:
		return m, data
	}
	return nil, nil
}

func (l *loader) pkcs12(name string, n *node, path string, password []byte) {
	data := l.secret(n, path, maxPKCS12)
	if data == nil {
		return
	}
	inside, err := certs.Inspect(data, password, certs.InspectOptions{Now: l.now})
	if errors.Is(err, certs.ErrPassphrase) {
		n.fail(l, "%s: the password is wrong, or password-file is missing", show(path))
		return
	}
	if err == nil && len(inside.Keys) == 1 && inside.Keys[0].Err == nil && !l.dates(n, inside.Keys[0].Chain[0]) {
		return
	}
	var result certs.Result
	if err == nil {
		result, err = l.c.Certs.ImportPKCS12(name, data, certs.ImportOptions{Passphrase: password})
	}
	l.imported(n, result, err)
}

func (l *loader) selfSigned(name string, n *node, names []*node) {
	if len(names) == 0 {
		n.fail(l, "has no names: write those of the relay")
		return
	}
	form := certs.Form{CommonName: names[0].text, Days: selfSignedDays}
	for _, more := range names[1:] {
		form.DNSNames = append(form.DNSNames, more.text)
	}
	if _, err := l.c.Certs.CreateSelfSigned(name, form); err != nil {
		n.fail(l, "%s", reason(err))
		return
	}
	if l.c.Resolver.Kind != ResolverLab {
		n.warn(l, "is for trying things out: it is another one after every start, and peers that check certificates refuse it")
	}
}

// dates refuses a certificate whose time is over.
func (l *loader) dates(n *node, leaf *x509.Certificate) bool {
	switch {
	case l.now.After(leaf.NotAfter):
		n.fail(l, "the certificate expired on %s: renew it", day(leaf.NotAfter))
		return false
	case l.now.Before(leaf.NotBefore):
		n.warn(l, "the certificate is valid from %s on only: look at the clock", day(leaf.NotBefore))
	case leaf.NotAfter.Sub(l.now) < soon:
		n.warn(l, "the certificate expires on %s: renew it", day(leaf.NotAfter))
	}
	return true
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// finding warns of what package certs has found.
func (n *node) finding(l *loader, f certs.Finding) {
	n.warn(l, "%s: %s", f.Code, reason(errors.New(f.Detail)))
}

// imported tells how an import ended. Dates and permissions have been told of.
func (l *loader) imported(n *node, r certs.Result, err error) {
	if err != nil {
		n.fail(l, "%s", reason(err))
		return
	}
	for _, f := range r.Findings {
		switch f.Code {
		case certs.FindingKeyPermissions, certs.FindingNotYetValid, certs.FindingExpired, certs.FindingExpiring, certs.FindingFQDN:
		default:
			if f.Severity >= certs.SeverityWarning {
				n.finding(l, f)
			}
		}
	}
}

// assign gives a role the certificates of a key of the file and returns their source,
// nil without the key or after an error.
func (l *loader) assign(t *table, key, role string) (*certs.Source, *node) {
	items, n := t.texts(key)
	if n == nil {
		return nil, nil
	}
	var names []string
	for _, item := range items {
		if l.certs[item.text] == nil {
			if !l.damaged {
				item.fail(l, "there is no [%s]%s", joinKey("certificate", item.text), didYouMean(item.text, l.certs))
			}
			continue
		}
		l.used[item.text] = true
		if l.loaded[item.text] {
			names = append(names, item.text)
		}
	}
	if len(items) == 0 {
		n.fail(l, "is empty: name a certificate, or take the key out")
	}
	if len(names) == 0 {
		return nil, n
	}
	findings, err := l.c.Certs.Assign(role, names...)
	if err != nil {
		n.fail(l, "%s", reason(err))
		return nil, n
	}
	for _, f := range findings {
		if f.Severity >= certs.SeverityWarning {
			n.finding(l, f)
		}
	}
	return l.c.Certs.Source(role), n
}

// didYouMean is the end of a message about a name that is not there.
func didYouMean[V any](name string, known map[string]V) string {
	const most = 1000 // a mistake in a file of many names is not worth the time
	if len(known) > most {
		return ""
	}
	var names []string
	for k := range known {
		names = append(names, k)
	}
	slices.Sort(names)
	if near := nearest(name, names); near != "" {
		return ": did you mean " + show(near) + "?"
	}
	if len(names) == 0 || len(names) > 10 {
		return ""
	}
	return ": there are " + strings.Join(names, ", ")
}
