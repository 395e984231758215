//go:build unix

package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/examples/relay/trace"
)

// The log is that of log/slog, and what stands in it comes from three places: the
// listeners log what peers do, the dialer logs deliveries in the words of the AsyncOS
// chapter, and the relay logs what becomes of messages, by their spool ids.

const (
	// commandTime bounds the command of an alert.
	commandTime = time.Minute
	// maxAlertKinds bounds the memory for alerts that were sent, and maxAlerts those
	// that wait to be.
	maxAlertKinds = 10_000
	maxAlerts     = 100
)

// A throttle lets the same alert pass once in a while.
type throttle struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (t *throttle) pass(key string, every time.Duration, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.last[key]; ok && now.Sub(last) < every {
		return false
	}
	if t.last == nil || len(t.last) >= maxAlertKinds {
		t.last = map[string]time.Time{}
	}
	t.last[key] = now
	return true
}

// alert tells the operator what somebody should look at, in the ways that the file
// names. What it is about, and no more, makes two alerts the same. It does not wait.
func (r *relay) alert(kind, about, text string) {
	if r.raise(kind, about, text) && r.setup.Load().config.Alerts.Log {
		r.log.Warn("alert", "kind", kind, "about", about, "text", text)
	}
}

// raise is alert without a line in the log, for what the library has logged already. It
// reports whether the alert passed the throttle.
func (r *relay) raise(kind, about, text string) bool {
	r.metrics.alerts.add(kind)
	s := r.setup.Load()
	if s == nil || !r.alerts.pass(kind+" "+about, s.config.Alerts.Every, time.Now()) {
		return false
	}
	a := s.config.Alerts
	if len(a.Mail) == 0 && len(a.Command) == 0 {
		return true
	}
	send := func() {
		if len(a.Mail) > 0 {
			// From the null sender: an alert that cannot be delivered must not bounce.
			e := &spool.Envelope{}
			for _, to := range a.Mail {
				e.Recipients = append(e.Recipients, spool.Recipient{Address: to})
			}
			if err := r.submit(e, strings.NewReader(alertMail(s.config.Hostname, s.config.Postmaster, a.Mail, kind, text))); err != nil {
				r.log.Error("alert not mailed", "kind", kind, "err", err)
			}
		}
		if len(a.Command) > 0 {
			ctx, cancel := context.WithTimeout(r.background, commandTime)
			defer cancel()
			command := exec.CommandContext(ctx, a.Command[0], a.Command[1:]...)
			command.Stdin = strings.NewReader(text + "\n")
			if err := command.Run(); err != nil {
				r.log.Error("alert command failed", "command", a.Command[0], "err", err)
			}
		}
	}
	select {
	case r.outbox <- send:
	default:
		r.log.Error("alert not sent: too many are waiting", "kind", kind)
	}
	return true
}

// sendAlerts sends alerts, one after the other.
func (r *relay) sendAlerts() {
	for {
		select {
		case send := <-r.outbox:
			send()
		case <-r.background.Done():
			return
		}
	}
}

func alertMail(hostname, from string, to []string, kind, text string) string {
	now := time.Now()
	header := []string{
		"From: " + from, "To: " + strings.Join(to, ",\r\n\t"), "Subject: " + hostname + ": " + trace.Plain(kind),
		"Date: " + now.Format(time.RFC1123Z), fmt.Sprintf("Message-ID: <alert.%d@%s>", now.UnixNano(), hostname),
		"Auto-Submitted: auto-generated", // RFC 3834 section 5
		"MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "",
	}
	for line := range strings.Lines(text) {
		header = append(header, strings.TrimRight(line, "\r\n"))
	}
	return strings.Join(header, "\r\n") + "\r\n"
}
