package config

import (
	"bytes"
	"crypto/x509"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/certs/roots"
)

// trust makes the lists of authorities that vouch for other hosts.
func (l *loader) trust(t *table) {
	source := certs.HostRoots()
	name, n := t.text("system")
	switch {
	case n == nil, name == "system":
	case name == "mozilla":
		source = roots.Mozilla()
	case name == "none":
		source = nil
	default:
		path := l.path(n, name)
		if path == "" {
			break
		}
		if _, problem := readBounded(path, certs.MaxListInput); problem != "" {
			n.fail(l, "%s is neither system, mozilla, none nor a file: %s %s", show(name), show(path), problem)
			source = nil
			break
		}
		source = certs.FileRoots(path)
	}
	store, err := certs.NewTrustStore(certs.TrustOptions{System: source})
	if err != nil {
		line, key := 1, "trust.system"
		if n != nil {
			line = n.line
		}
		l.fail(line, key, "%s", reason(err))
		return
	}
	l.c.Trust = store
	files, custom := t.texts("custom")
	for _, item := range files {
		l.custom(store, item)
	}
	if n != nil && name == "none" && len(files) == 0 {
		n.warn(l, "no authority is trusted: modes that verify certificates, and MTA-STS, let no mail out")
	}
	if custom != nil && len(files) == 0 {
		custom.warn(l, "is empty")
	}
	t.done()
}

func (l *loader) custom(store *certs.TrustStore, item *node) {
	data := l.list(item)
	if data == nil {
		return
	}
	report, err := store.Add(bytes.NewReader(data), certs.CAImportOptions{})
	if err != nil {
		item.fail(l, "%s: %s", show(item.text), reason(err))
		return
	}
	for _, f := range report.Findings {
		// The title of an authority is seldom a host name, and need not be one.
		if f.Severity >= certs.SeverityWarning && f.Code != certs.FindingFQDN {
			item.finding(l, f)
		}
	}
}

// list reads a file with a list of authorities; nil after an error.
func (l *loader) list(item *node) []byte {
	path := l.path(item, item.text)
	if path == "" {
		return nil
	}
	data, problem := readBounded(path, certs.MaxListInput)
	if problem != "" {
		item.fail(l, "%s %s", show(path), problem)
		return nil
	}
	if data == nil {
		data = []byte{}
	}
	return data
}

// pool reads files of authorities that may sign client certificates; nil without any.
func (l *loader) pool(items []*node) *x509.CertPool {
	var pool *x509.CertPool
	for _, item := range items {
		data := l.list(item)
		if data == nil {
			continue
		}
		m, err := certs.ReadBytes(data, certs.ReadOptions{List: true})
		if err == nil && len(m.Certificates) == 0 {
			err = certs.ErrNoCertificate
		}
		if err != nil {
			item.fail(l, "%s: %s", show(item.text), reason(err))
			continue
		}
		if pool == nil {
			pool = x509.NewCertPool()
		}
		for _, c := range m.Certificates {
			if !c.IsCA {
				item.warn(l, "%s in %s is no authority: it vouches for itself only", show(c.Subject.String()), show(item.text))
			}
			pool.AddCert(c)
		}
	}
	return pool
}
