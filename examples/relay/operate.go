//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

// patience is how long an operator's command waits for an attempt that is being made
// on the message.
const patience = 10 * time.Second

// operate does an operator's work on the spool, beside a running relay or without
// one. They meet in the file system: a lock on each message, and a directory of
// wishes that the relay looks into every second.
func operate(dir string, o *options, out io.Writer) error {
	s, err := spool.Attach(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	switch {
	case o.queue:
		return list(s, out, time.Now())
	case o.flush:
		return s.Wake("")
	case o.hold != "":
		return patiently(func() error { return s.Hold(o.hold) })
	case o.release != "":
		return patiently(func() error { return s.Release(o.release) })
	}
	return patiently(func() error { return s.Remove(o.remove) })
}

// patiently tries again while an attempt is being made on the message.
func patiently(f func() error) error {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if err := f(); !errors.Is(err, spool.ErrBusy) || time.Now().After(end) {
			return err
		}
	}
}

// list writes the queue, the oldest message first, with a line for each recipient
// that is not done.
func list(s *spool.Spool, out io.Writer, now time.Time) error {
	var all []*spool.Envelope
	var bad []error
	for e, err := range s.All() {
		if err != nil {
			bad = append(bad, err)
			continue
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *spool.Envelope) int { return strings.Compare(a.ID, b.ID) })
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tAGE\tSIZE\tFROM\tTO\tSTATE\tTRIED\tNEXT\tWHY")
	for _, e := range all {
		for i := range e.Recipients {
			r := &e.Recipients[i]
			if r.State != spool.Queued && r.State != spool.Held {
				continue
			}
			next := "-"
			if r.State == spool.Queued {
				next = "now"
				if r.NextAttempt.After(now) {
					next = "in " + short(r.NextAttempt.Sub(now))
				}
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t<%s>\t<%s>\t%s\t%d\t%s\t%s\n", e.ID, short(now.Sub(e.Received)), e.Size,
				printable(e.Sender), printable(r.Address), r.State, r.Attempts, next, printable(r.LastError))
		}
	}
	err := w.Flush()
	fmt.Fprintf(out, "%d messages\n", len(all))
	return errors.Join(append(bad, err)...)
}

// short writes a duration as people say it.
func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", max(0, d/time.Second))
}

// printable is a text of strangers for a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) { // no controls, nothing invisible, nothing that turns the line
			return r
		}
		return '?'
	}, text)
}
