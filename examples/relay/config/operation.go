package config

import (
	"log/slog"
	"os"
	"time"
)

var (
	formats = []choice[bool]{{"text", false}, {"json", true}}
	levels  = []choice[slog.Level]{
		{"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warn", slog.LevelWarn}, {"error", slog.LevelError},
	}
)

// defaultEvery is how often the same alert is sent.
const defaultEvery = time.Hour

// operation reads what the operator gets to see.
func (l *loader) operation(t *table) {
	l.reports(t.sub("tls-reports"))
	l.alerts(t.sub("alerts"))
	if m := t.sub("metrics"); m != nil {
		if address, n := m.text("address"); n != nil {
			l.c.Metrics = l.listen(n, address)
		} else {
			m.missing("address", "host:port, such as \"127.0.0.1:9625\"")
		}
		m.done()
	}
	log := t.sub("log")
	l.c.Log.JSON, _ = pick(log, "format", false, formats)
	l.c.Log.Level, _ = pick(log, "level", slog.LevelInfo, levels)
	log.done()
}

func (l *loader) reports(t *table) {
	if t == nil {
		return
	}
	r := &Reports{}
	var n *node
	if r.Organization, n = t.text("organization"); n == nil {
		t.missing("organization", "the name of whoever runs this relay")
	} else if r.Organization == "" {
		n.fail(l, "is empty")
	}
	if contact, n := t.text("contact"); n == nil {
		t.missing("contact", "a mail address for questions about the reports")
	} else {
		r.Contact = l.address(n, contact)
	}
	r.From = r.Contact
	if from, n := t.text("from"); n != nil {
		r.From = l.address(n, from)
	}
	if dir, n := t.text("directory"); n == nil {
		t.missing("directory", "where the counts are kept")
	} else {
		r.Dir = l.directory(n, dir)
	}
	r.Send, _ = t.flag("send")
	if r.FailuresOnly, n = t.flag("failures-only"); r.FailuresOnly && !r.Send {
		n.fail(l, "has no effect without send = true")
	}
	t.done()
	l.c.Reports = r
}

func (l *loader) alerts(t *table) {
	a := &l.c.Alerts
	a.Log = true
	if on, n := t.flag("log"); n != nil {
		a.Log = on
	}
	mail, _ := t.texts("mail")
	for _, item := range mail {
		if address := l.address(item, item.text); address != "" {
			a.Mail = append(a.Mail, address)
		}
	}
	command, n := t.texts("command")
	if n != nil && len(command) == 0 {
		n.fail(l, "is empty: name a program, or take the key out")
	}
	for i, item := range command {
		text := item.text
		if i == 0 {
			if text = l.path(item, text); text != "" {
				l.program(item, text)
			}
		}
		a.Command = append(a.Command, text)
	}
	a.Every = t.duration("every", defaultEvery, time.Second, maxTime)
	if t != nil && !a.Log && len(mail) == 0 && n == nil {
		t.n.warn(l, "log is false, and there is neither mail nor command: nobody is told anything")
	}
	t.done()
}

// program tells of a file that cannot be run.
func (l *loader) program(n *node, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		n.fail(l, "%s %s", show(path), unreadable(err))
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		n.fail(l, "%s is no program that can be run: chmod +x", show(path))
	}
}
