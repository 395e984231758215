package gosmtp

import (
	"io"

	"github.com/emersion/go-smtp"
)

// lmtpPart is what a session has that is an smtp.LMTPSession.
type lmtpPart struct {
	s     *session
	inner smtp.LMTPSession
}

// LMTPData implements smtp.LMTPSession.
func (p lmtpPart) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	return p.s.transfer(r, func(g *guard) error {
		statuses := &heldStatuses{guard: g, next: status}
		err := p.inner.LMTPData(g, statuses)
		if g.failure() == nil {
			statuses.release()
		}
		return err
	})
}

// heldStatuses keeps what a session says of recipients until the guard has seen the
// end of the message, since go-smtp answers the client at once. If the message fails
// they are dropped: go-smtp gives every recipient the error of LMTPData then.
type heldStatuses struct {
	guard *guard
	next  smtp.StatusCollector
	held  []recipientStatus // not more than recipients: go-smtp panics at more
}

type recipientStatus struct {
	to  string
	err error
}

// SetStatus implements smtp.StatusCollector.
func (h *heldStatuses) SetStatus(to string, err error) {
	switch {
	case h.guard.failure() != nil:
	case h.guard.complete():
		h.release()
		h.next.SetStatus(to, err)
	default:
		h.held = append(h.held, recipientStatus{to, err})
	}
}

func (h *heldStatuses) release() {
	held := h.held
	h.held = nil
	for _, status := range held {
		h.next.SetStatus(status.to, status.err)
	}
}
