package tlsrpt

import (
	"cmp"
	"errors"
	"fmt"
	"io"
)

// Limits bound what is read of a report. Nobody has a bound in RFC 8460: these
// leave ten times the room that the largest senders need. A zero field is the
// default.
type Limits struct {
	// Compressed bounds what arrives, in octets; 0: 10 MiB. A message may be
	// larger than that by what base64 and its other parts take.
	Compressed int64
	// Decompressed bounds the report after gzip, in octets; 0: 64 MiB.
	Decompressed int64
	// Policies and Details bound the elements of a report; 0: 10000 and 100000.
	Policies, Details int
	// Depth bounds how deep arrays and objects lie in one another; 0: 32.
	Depth int
}

const (
	// The defaults of Limits.
	defaultCompressed   = 10 << 20
	defaultDecompressed = 64 << 20
	defaultPolicies     = 10_000
	defaultDetails      = 100_000
	defaultDepth        = 32

	// maxStrings bounds the lines and patterns of all policies of a report.
	maxStrings = 200_000
	// maxExtra bounds the members that RFC 8460 does not define.
	maxExtra = 10_000
)

func (l Limits) withDefaults() Limits {
	l.Compressed = cmp.Or(l.Compressed, defaultCompressed)
	l.Decompressed = cmp.Or(l.Decompressed, defaultDecompressed)
	l.Policies = cmp.Or(l.Policies, defaultPolicies)
	l.Details = cmp.Or(l.Details, defaultDetails)
	l.Depth = cmp.Or(l.Depth, defaultDepth)
	return l
}

var (
	// ErrReportSyntax: what was read is no TLS report.
	ErrReportSyntax = errors.New("malformed TLS report")
	// ErrReportLimit: it is larger than the Limits allow. Nothing of it is used.
	ErrReportLimit = errors.New("TLS report exceeds a limit")
)

// source remembers the error of a reader, which tells a reader that failed from a
// text that is no report.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// explain makes of the error of a parser that of the caller.
func (s *source) explain(err error) error {
	switch {
	case errors.Is(err, ErrReportLimit), errors.Is(err, ErrReportSyntax):
		return err
	case s.err != nil:
		return fmt.Errorf("tlsrpt: reading a report: %w", s.err)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("tlsrpt: %w: %w", ErrReportSyntax, err)
}

// bounded is a reader that fails where io.LimitReader would end: what is cut must
// not pass for what is whole.
type bounded struct {
	r    io.Reader
	left int64
	over error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.over != nil && b.left < 0 {
		return 0, b.over
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.over
	}
	return n, err
}
