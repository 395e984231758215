//go:build unix

// Package alert tells operators what somebody should look at, by mail and by a command,
// and the same thing no more often than once in a while.
//
//	out := alert.New(submit, log)
//	go out.Run(ctx)
//	if out.Send(settings, alert.Alert{Kind: "spool-full", Text: "no room"}) {
//		log.Warn(...)
//	}
//
// Send does not wait: alerts are raised where nobody has time, such as in the middle
// of a session. What waits to be sent, and what is remembered, is bounded. An alert goes
// out from the null sender and is marked as made by a machine, so that nobody
// answers it.
package alert

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/examples/relay/trace"
)

const (
	// commandTime bounds the command of an alert, and waitTime how long what it has
	// started may keep its standard input afterwards.
	commandTime = time.Minute
	waitTime    = time.Second
	// maxKinds bounds the memory for alerts that were sent, and maxWaiting those that
	// wait to be.
	maxKinds   = 10_000
	maxWaiting = 100
)

// Alert is something to look at. Kind and About make two of them the same; the text
// may differ.
type Alert struct{ Kind, About, Text string }

// Settings say how alerts are sent. They may be others with each alert.
type Settings struct {
	Hostname string        // of the sender, for the subject
	From     string        // the address in the From field
	Mail     []string      // to whom
	Command  []string      // gets the text on its standard input
	Every    time.Duration // no more often for the same one
}

// Sender sends alerts. It is safe for concurrent use.
type Sender struct {
	submit  func(to []string, text string) error
	log     *slog.Logger
	waiting chan func(context.Context)

	mu   sync.Mutex
	last map[string]time.Time // when the same one was sent
}

// New returns a Sender that mails through submit, which gets the message's text with
// header. Failures are logged.
func New(submit func(to []string, text string) error, log *slog.Logger) *Sender {
	return &Sender{submit: submit, log: log, waiting: make(chan func(context.Context), maxWaiting)}
}

// Send has Run send an alert, and reports whether it was time for it: false means that
// the same one was sent less than s.Every ago.
func (o *Sender) Send(s Settings, a Alert) bool {
	if !o.pass(a.Kind+" "+a.About, s.Every, time.Now()) {
		return false
	}
	if len(s.Mail) == 0 && len(s.Command) == 0 {
		return true
	}
	select {
	case o.waiting <- func(ctx context.Context) { o.send(ctx, s, a) }:
	default:
		o.log.Error("alert not sent: too many are waiting", "kind", a.Kind)
	}
	return true
}

// Run sends alerts, one after the other, until ctx ends.
func (o *Sender) Run(ctx context.Context) {
	for {
		select {
		case send := <-o.waiting:
			send(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (o *Sender) pass(key string, every time.Duration, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if last, ok := o.last[key]; ok && now.Sub(last) < every {
		return false
	}
	if o.last == nil || len(o.last) >= maxKinds {
		o.last = map[string]time.Time{}
	}
	o.last[key] = now
	return true
}

func (o *Sender) send(ctx context.Context, s Settings, a Alert) {
	if len(s.Mail) > 0 {
		if err := o.submit(s.Mail, s.message(a, time.Now())); err != nil {
			o.log.Error("alert not mailed", "kind", a.Kind, "err", err)
		}
	}
	if len(s.Command) > 0 {
		ctx, cancel := context.WithTimeout(ctx, commandTime)
		defer cancel()
		command := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...)
		command.Stdin = strings.NewReader(a.Text + "\n")
		command.WaitDelay = waitTime
		if err := command.Run(); err != nil {
			o.log.Error("alert command failed", "command", s.Command[0], "err", err)
		}
	}
}

// message is an alert as mail.
func (s *Settings) message(a Alert, now time.Time) string {
	lines := []string{
		"From: " + s.From, "To: " + strings.Join(s.Mail, ",\r\n\t"), "Subject: " + s.Hostname + ": " + trace.Plain(a.Kind),
		"Date: " + now.Format(time.RFC1123Z), fmt.Sprintf("Message-ID: <alert.%d@%s>", now.UnixNano(), s.Hostname),
		"Auto-Submitted: auto-generated", // RFC 3834 section 5
		"MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "",
	}
	return strings.Join(append(lines, body(a.Text)...), "\r\n") + "\r\n"
}

// maxLine is the longest line of a message without its end (RFC 5322 section 2.1.1).
const maxLine = 998

// body makes lines that mail can carry out of a text that may quote strangers.
func body(text string) []string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n "), "\n") {
		for len(line) > maxLine {
			cut := strings.LastIndexByte(line[:maxLine], ' ')
			if cut <= 0 {
				cut = len(strings.ToValidUTF8(line[:maxLine], "")) // not within a character
			}
			lines = append(lines, line[:cut])
			line = strings.TrimPrefix(line[cut:], " ")
		}
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return lines
}
