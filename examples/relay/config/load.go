package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// loader is one run of Load.
type loader struct {
	file     string // for messages
	dir      string // that relative paths are relative to, absolute
	now      time.Time
	problems []Problem
	errors   int // of the problems
	seen     map[Problem]bool
	// damaged: parts of the file could not be read, so that what seems to be missing
	// may be there.
	damaged bool

	c        *Config
	events   *eventRelay
	certs    map[string]*node // by name, whether they could be read or not
	loaded   map[string]bool  // certificates that could be read
	used     map[string]bool  // certificates that something serves
	defaults *policy
	policies map[string]*policy
	groups   []*group
	ports    map[string]*node // listeners by name
	bounds   []bound          // addresses that something listens on
	dirs     []claimed        // directories that something uses
}

func load(path string) (*Config, error) {
	l := newLoader(path)
	data, problem := readBounded(path, MaxFile)
	if problem != "" {
		l.fail(1, "", "%s", problem)
		return nil, &Error{l.problems}
	}
	return l.load(data)
}

func newLoader(path string) *loader {
	l := &loader{
		file:   path,
		dir:    filepath.Dir(path),
		now:    time.Now(),
		seen:   map[Problem]bool{},
		events: &eventRelay{},
		certs:  map[string]*node{},
		loaded: map[string]bool{},
		used:   map[string]bool{},
	}
	if abs, err := filepath.Abs(l.dir); err == nil {
		l.dir = abs
	}
	l.c = &Config{Path: path, certEvents: l.events}
	return l
}

// load makes a Config of the content of a file.
func (l *loader) load(data []byte) (*Config, error) {
	if root := l.parse(data); root != nil {
		l.build(&table{l: l, n: root})
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return a.Line - b.Line })
	if l.failed() {
		return nil, &Error{l.problems}
	}
	l.c.Warnings = l.problems
	return l.c, nil
}

// build reads the sections in an order in which each has what it refers to. Each
// reports what it cannot use and goes on.
func (l *loader) build(t *table) {
	l.identity(t)
	l.resolver(t.sub("resolver"))
	l.certificates(t.sub("certificate"))
	l.relay(t.sub("relay"))
	l.listeners(t)
	l.trust(t.sub("trust"))
	l.delivery(t)
	l.queue(t.sub("queue"))
	l.spool(t)
	l.operation(t)
	l.unusedCertificates()
	t.done()
}

func (l *loader) identity(t *table) {
	name, n := t.text("hostname")
	switch {
	case n == nil:
		t.missing("hostname", "the fully qualified name of this relay, such as \"mx.example.com\"")
	default:
		l.c.Hostname = l.host(n, name)
		if l.c.Hostname != "" && (hostname.CheckFQDN(l.c.Hostname) != nil || strings.HasPrefix(name, "*")) {
			n.fail(l, "%s is not fully qualified: write a name with a domain, such as \"mx.example.com\"", show(name))
		}
	}
	l.c.Postmaster = "postmaster@" + l.c.Hostname
	if address, n := t.text("postmaster"); n != nil {
		l.c.Postmaster = l.address(n, address)
	}
}

// host returns a name in canonical form, "" after an error.
func (l *loader) host(n *node, name string) string {
	canonical, err := hostname.Parse(name)
	if err != nil {
		n.fail(l, "%s is no host name: %s", show(name), reason(err))
	}
	return canonical
}

// reason returns what is wrong without the words around it.
func reason(err error) string {
	if he := (*hostname.Error)(nil); errors.As(err, &he) {
		return he.Problem
	}
	text := err.Error()
	for _, prefix := range []string{"certs: ", "smtpserver: ", "smtpclient: ", "tlspolicy: ", "dnssec: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// oneLine makes a line that can be shown on a terminal of a text that may have words
// of the file in it.
func oneLine(text string) string {
	const most = 2000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// address checks a mail address without display name.
func (l *loader) address(n *node, address string) string {
	local, domain, ok := cutLast(address, '@')
	bad := func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`<>()[]\,;:"@`, r)
	}
	if !ok || local == "" || len(local) > 64 || strings.ContainsFunc(local, bad) {
		n.fail(l, "%s is no mail address: write it as \"somebody@example.com\"", show(address))
		return ""
	}
	if domain = l.host(n, domain); domain == "" {
		return ""
	}
	return local + "@" + domain
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// path makes a path absolute, "" if it is none.
func (l *loader) path(n *node, path string) string {
	if path == "" || strings.ContainsRune(path, 0) {
		n.fail(l, "%s is no path", show(path))
		return ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.dir, path)
	}
	return filepath.Clean(path)
}

// readBounded reads a regular file of at most limit octets, or says what is wrong.
func readBounded(path string, limit int64) (data []byte, problem string) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, "is a directory, not a file"
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, "is no regular file"
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case int64(len(data)) > limit:
		return nil, fmt.Sprintf("is larger than %d octets, which is the limit", limit)
	}
	return data, ""
}

// unreadable words an error of the file system without the path, which stands beside
// it already.
func unreadable(err error) string {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	return "cannot be read: " + err.Error()
}

// failed reports whether there is a problem that is no warning.
func (l *loader) failed() bool { return l.errors > 0 }

// full reports whether there are as many problems as anybody wants to read.
func (l *loader) full() bool { return len(l.problems) >= maxProblems }

func (l *loader) fail(line int, key, format string, args ...any) {
	l.errors++
	l.add(Problem{File: l.file, Line: line, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (l *loader) warn(line int, key, format string, args ...any) {
	l.add(Problem{File: l.file, Line: line, Key: key, Text: fmt.Sprintf(format, args...), Warning: true})
}

// add keeps a problem, once.
func (l *loader) add(p Problem) {
	p.Key, p.Text = oneLine(p.Key), oneLine(p.Text)
	if l.full() || l.seen[p] {
		return
	}
	l.seen[p] = true
	l.problems = append(l.problems, p)
	if l.full() {
		l.problems = append(l.problems, Problem{File: p.File, Line: p.Line, Text: "too many problems: further ones are left out"})
	}
}

// fail tells of something that is wrong with a node.
func (n *node) fail(l *loader, format string, args ...any) {
	l.fail(n.line, n.path(), format, args...)
}

func (n *node) warn(l *loader, format string, args ...any) {
	l.warn(n.line, n.path(), format, args...)
}

// unusedCertificates tells of certificates that nothing serves.
func (l *loader) unusedCertificates() {
	for name, n := range l.certs {
		if !l.used[name] && l.loaded[name] && !l.damaged {
			n.warn(l, "no listener, policy or delivery uses this certificate")
		}
	}
}
