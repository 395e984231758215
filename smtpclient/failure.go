package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Enhanced status codes (RFC 3463) of failures that are not policy's.
const (
	statusConfiguration = "4.3.5"  // system incorrectly configured
	statusNetwork       = "4.4.0"  // other network or routing status
	statusNoAnswer      = "4.4.1"  // no answer from host
	statusRequireTLS    = "4.7.30" // REQUIRETLS support required (RFC 8689 section 4.2.1)
	statusConnection    = "4.4.2"  // bad connection
	statusDirectory     = "4.4.3"  // directory server failure
	statusRouting       = "4.4.4"  // unable to route
	statusLoop          = "4.4.6"  // routing loop detected
	statusNoDomain      = "5.1.2"  // bad destination system address
	statusNullMX        = "5.1.10" // recipient address has null MX (RFC 7505 section 4.2)
)

// Faults and bounds of our own that end a Dial.
var (
	// ErrNoMTASTS: the settings have MTA-STS on and the Dialer has no MTASTS.
	ErrNoMTASTS = errors.New("MTA-STS is on for the destination, but Dialer.MTASTS is not set")
	// ErrBadName: what was given to Dial or DialHost is no domain, host or
	// address literal. It is returned by itself, not in a *Error: the fault is the
	// caller's.
	ErrBadName = errors.New("smtpclient: not a domain or host that mail can be sent to")
	// ErrConnections: Limits.Connections is spent.
	ErrConnections = errors.New("no connection left: Limits.Connections is spent")
)

func badName(name string, err error) error {
	return fmt.Errorf("%w: %q: %w", ErrBadName, name, err)
}

// Error is a Dial that led to no session: the headline, and everything else in
// the Report. errors.Is and errors.As reach the headline and the cause of every
// attempt.
type Error struct {
	// Domain is the recipient domain, or the host given to DialHost.
	Domain string
	// Reason names the rule of tlspolicy that the headline is a refusal by; zero if
	// policy refused nothing.
	Reason tlspolicy.Reason
	// Status is the enhanced status code (RFC 3463) that fits the headline.
	Status string
	// Permanent is set for ErrNullMX and ErrNoDomain only. Nothing that a server
	// says makes an error permanent: before the peer is authenticated anybody could
	// have said it.
	Permanent bool
	// Secure tells of a permanent error whether DNSSEC proves it. Who is careful
	// defers the others.
	Secure bool
	// Err is the headline: the first refusal by policy, else the first failure.
	Err error
	// Report is everything that was found and tried. It is never nil.
	Report *Report

	causes []error // of all that failed, in order
}

// Error returns the error as one line of text.
func (e *Error) Error() string {
	kind := "temporary"
	if e.Permanent {
		kind = "permanent"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "smtpclient: %s: %s %s: %v", e.Domain, kind, e.Status, e.Err)
	if e.Report != nil && len(e.Report.Attempts) > 1 {
		fmt.Fprintf(&b, " (%d attempts)", len(e.Report.Attempts))
	}
	return b.String()
}

// Unwrap returns the headline and the cause of every attempt.
func (e *Error) Unwrap() []error {
	return append([]error{e.Err}, e.causes...)
}

// Temporary tells whether to try again later.
func (e *Error) Temporary() bool { return !e.Permanent }

// PolicyError is a host that policy does not allow mail to be sent to.
type PolicyError struct {
	Decision tlspolicy.Decision
	Host     string // empty if it concerns the whole domain
	Err      error  // what policy took offence at; may be nil
}

// Error returns the error as one line of text.
func (e *PolicyError) Error() string {
	var b strings.Builder
	if e.Host != "" {
		b.WriteString(e.Host + ": ")
	}
	fmt.Fprintf(&b, "refused by policy: %v", e.Decision.Reason)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *PolicyError) Unwrap() error { return e.Err }

// ErrUnproven: DNS denies the domain or gives it a null MX, without proof, while
// an MTA-STS policy in force says that it receives mail. Temporary: DNS without
// DNSSEC can be forged. What DNS said stands in Report.MX.
var ErrUnproven = errors.New("DNS says without proof that the domain receives no mail, and its MTA-STS policy says that it does")

func configError(target string, err error) *Error {
	return &Error{Domain: target, Status: statusConfiguration, Err: err, Report: &Report{}}
}

// failure puts the error of a Dial together from the ways that were tried.
func (c *config) failure(ctx context.Context, tried []*delivery) *Error {
	last := tried[len(tried)-1]
	e := &Error{Domain: last.label(), Report: together(tried)}
	for _, x := range tried {
		for i := range x.report.Attempts {
			if err := x.report.Attempts[i].Err; err != nil {
				e.causes = append(e.causes, err)
			}
		}
		if x.err != errNext {
			e.causes = append(e.causes, x.err)
		}
	}
	e.Err = headline(e.causes)
	if ctx.Err() != nil {
		e.Err = ctx.Err()
	}
	e.Status = statusOf(e.Err)
	var policy *PolicyError
	if errors.As(e.Err, &policy) {
		e.Reason = policy.Decision.Reason
	}
	if e.Err == ErrNullMX || e.Err == ErrNoDomain {
		e.Permanent = true
		e.Secure = last.report.MX.Security == dnssec.Secure
	}
	c.log.DebugContext(ctx, "no session", "domain", e.Domain, "status", e.Status, "reason", e.Reason, "error", e.Err)
	return e
}

// headline picks the error that tells most: the first refusal by policy, else
// the first failure.
func headline(causes []error) error {
	unaddressed := true
	for _, err := range causes {
		var policy *PolicyError
		var require *RequireTLSError
		if errors.As(err, &policy) || errors.As(err, &require) {
			return err
		}
		unaddressed = unaddressed && errors.Is(err, ErrNoAddress)
	}
	if unaddressed {
		return ErrNoHosts
	}
	return causes[0]
}

// statusOf returns the enhanced status code that fits err.
func statusOf(err error) string {
	var (
		policy   *PolicyError
		reply    *ReplyError
		protocol *ProtocolError
		lost     *LostError
		connect  *ConnectError
		failed   *HandshakeError
		dns      *dnssec.Error
		require  *RequireTLSError
		own      *ClientCertificateError
	)
	switch {
	case errors.Is(err, ErrNoMTASTS), errors.Is(err, mtasts.ErrPin), errors.As(err, &own):
		return statusConfiguration
	case errors.Is(err, ErrNullMX):
		return statusNullMX
	case errors.Is(err, ErrNoDomain):
		return statusNoDomain
	case errors.Is(err, ErrMailLoop):
		return statusLoop
	case errors.Is(err, ErrNoHosts), errors.Is(err, ErrNoAddress), errors.Is(err, ErrUnproven), errors.Is(err, ErrRoute):
		return statusRouting
	case errors.As(err, &policy):
		return policy.Decision.Status.String()
	case errors.As(err, &require):
		return statusRequireTLS
	case errors.As(err, &failed):
		return tlspolicy.StatusCryptoFailure.String()
	case errors.As(err, &reply):
		if len(reply.Enhanced) > 1 {
			return "4" + reply.Enhanced[1:]
		}
		return statusConnection
	case errors.As(err, &protocol), errors.As(err, &lost):
		return statusConnection
	case errors.As(err, &connect):
		return statusNoAnswer
	case errors.As(err, &dns):
		return statusDirectory
	}
	return statusNetwork
}
