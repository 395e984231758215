package dnssec

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Kind classifies a failed lookup. A Kind is itself an error, so that errors.Is(err, dnssec.KindBogus) works.
type Kind uint8

const (
	KindBogus     Kind = iota + 1 // validation failed, or a validating resolver said so
	KindServFail                  // the resolver could not find out (RCODE 2)
	KindTimeout                   // no reply to our question in time
	KindRefused                   // the server does not answer such questions (REFUSED, NOTIMP, FORMERR, no recursion)
	KindNetwork                   // the server could not be reached
	KindMalformed                 // no parsable answer to our question
	KindLoop                      // aliases in a circle, or too many of them
	KindLimit                     // the answer asks for more work than one lookup is worth
	KindBadName                   // the question cannot be asked: the caller's fault, and the only permanent kind
	KindUnusable                  // this resolver is not set up for the job
	KindCanceled                  // the context ended; errors.Is(err, ctx.Err()) holds too
)

var kindTexts = [...]string{
	KindBogus:     "validation failed",
	KindServFail:  "resolver failed",
	KindTimeout:   "timed out",
	KindRefused:   "refused",
	KindNetwork:   "network error",
	KindMalformed: "malformed reply",
	KindLoop:      "alias loop",
	KindLimit:     "too much work",
	KindBadName:   "bad question",
	KindUnusable:  "resolver not usable",
	KindCanceled:  "canceled",
}

// String returns the kind in words.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindTexts) {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindTexts[k]
}

// Error returns the kind in words.
func (k Kind) Error() string { return "dnssec: " + k.String() }

// An Error is a lookup that failed: nothing is known about the question. Every error of this package is of this type.
// It may be shared between callers and must not be modified.
type Error struct {
	Kind   Kind
	Name   string         // the question, if there was one
	Type   Type           // the question, if there was one
	At     string         // the alias target or zone at which it failed; empty = at Name
	Reason string         // what happened, in words
	EDE    int            // extended error code of the reply (RFC 8914); -1 = none. For diagnosis only: nobody signs it
	Server netip.AddrPort // the server that was asked last; zero = none
	Err    error          // the cause; may be nil
}

// Error returns one line that names the question, the kind, the reason, the hop, the server and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("dnssec: ")
	if e.Name != "" {
		name := e.Name
		if e.Kind == KindBadName {
			name = strconv.Quote(name) // as the caller gave it: it may hold anything
		}
		b.WriteString(name)
		b.WriteByte(' ')
		b.WriteString(e.Type.String())
		b.WriteString(": ")
	}
	b.WriteString(e.Kind.String())
	if e.Reason != "" {
		b.WriteString(": ")
		b.WriteString(e.Reason)
	}
	if e.At != "" && e.At != e.Name {
		b.WriteString(", at ")
		b.WriteString(e.At)
	}
	if e.Server.IsValid() {
		b.WriteString(", server ")
		b.WriteString(e.Server.String())
	}
	if e.EDE >= 0 {
		b.WriteString(", EDE ")
		b.WriteString(strconv.Itoa(e.EDE))
		if text := edeText(e.EDE); text != "" {
			b.WriteString(" (" + text + ")")
		}
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the Kind of e.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// Temporary reports whether asking later may help. It is false for KindBadName alone: mail waits for everything else.
func (e *Error) Temporary() bool { return e.Kind != KindBadName }

// Timeout reports whether time ran out, ours or the caller's.
func (e *Error) Timeout() bool {
	return e.Kind == KindTimeout || e.Kind == KindCanceled && errors.Is(e.Err, context.DeadlineExceeded)
}

// canceled is the error for a context of the caller that ended.
func canceled(ctx context.Context, q Question) *Error {
	return &Error{Kind: KindCanceled, Name: q.Name, Type: q.Type, EDE: noEDE, Err: ctx.Err()}
}

// telling orders kinds by how much they say about the question rather than about the way to a server. When several
// servers failed, the most telling error is returned.
var telling = [...]uint8{
	KindTimeout: 1, KindNetwork: 2, KindMalformed: 3, KindRefused: 4, KindServFail: 5, KindBogus: 6,
	KindLoop: 7, KindLimit: 7, KindUnusable: 8, KindBadName: 9, KindCanceled: 10,
}

// moreTelling returns the more telling of two errors, the first if they are equal; either may be nil.
func moreTelling(a, b *Error) *Error {
	if a == nil || b != nil && telling[b.Kind] > telling[a.Kind] {
		return b
	}
	return a
}

// noEDE is the value of Error.EDE when a reply carried no extended error.
const noEDE = -1

// edeBogus reports whether an extended error means that validation failed: codes 6 to 12 (RFC 8914 section 4).
func edeBogus(code int) bool { return code >= 6 && code <= 12 }

// edeText returns the words of RFC 8914 section 4 for the codes that concern validation.
func edeText(code int) string {
	switch code {
	case 6:
		return "DNSSEC bogus"
	case 7:
		return "signature expired"
	case 8:
		return "signature not yet valid"
	case 9:
		return "DNSKEY missing"
	case 10:
		return "RRSIGs missing"
	case 11:
		return "no zone key bit set"
	case 12:
		return "NSEC missing"
	}
	return ""
}
