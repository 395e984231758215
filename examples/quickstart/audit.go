package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// An audit is what the mail hosts really hold.
type audit struct {
	messages int // found in all mailboxes
	inClear  int // of these, received without TLS
	problems []string
}

// settling is how long the audit waits for the hosts to close their connections.
const settling = 5 * time.Second

// audit compares the mailboxes with what the decision tables allow: every message
// that should be there, once, octet for octet, over TLS where it should be, and
// no other; and no MAIL command in clear but for those.
func (t *trial) audit() audit {
	var a audit
	owed := map[string]tlspolicy.Action{} // by envelope
	for i, row := range t.results {
		for j := range row {
			if action := row[j].want.Action; action != tlspolicy.Next {
				owed[reversePath(t.modes[j])+" to "+recipient(t.destinations[i].Domain)] = action
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), settling)
	defer cancel()
	for _, host := range t.internet.Hosts() {
		if err := host.Idle(ctx); err != nil {
			a.complain("%s still has a connection open", host.Name())
		}
		clear := 0
		for _, m := range host.Mailbox() {
			a.messages++
			if m.TLS == nil {
				clear++
			}
			a.check(t, owed, m)
		}
		a.inClear += clear
		if n := mailInClear(host); n != clear {
			a.complain("%s saw %d MAIL commands in clear for %d messages in clear", host.Name(), n, clear)
		}
	}
	for _, envelope := range slices.Sorted(maps.Keys(owed)) {
		a.complain("from %s: missing in the mailboxes", envelope)
	}
	return a
}

// check crosses one message off the list of those owed.
func (a *audit) check(t *trial, owed map[string]tlspolicy.Action, m lab.Message) {
	envelope := m.From + " to " + strings.Join(m.To, ", ")
	action, ok := owed[envelope]
	switch {
	case !ok:
		a.complain("from %s: %s holds a message that policy forbids, or a second copy", envelope, m.Host)
		return
	case !bytes.Equal(m.Data, t.message):
		a.complain("from %s: %s holds %d octets that differ from the %d sent", envelope, m.Host, len(m.Data), len(t.message))
	case (m.TLS == nil) != (action == tlspolicy.DeliverClear):
		a.complain("from %s: %s received it in the wrong way, %s was due", envelope, m.Host, action)
	}
	delete(owed, envelope)
}

func (a *audit) complain(format string, args ...any) {
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

// mailInClear counts the MAIL commands that a host saw outside TLS.
func mailInClear(host *lab.MailHost) int {
	n := 0
	for _, c := range host.Connections() {
		for _, command := range c.Clear {
			if len(command) >= 4 && strings.EqualFold(command[:4], "MAIL") {
				n++
			}
		}
	}
	return n
}
