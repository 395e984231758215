package tlsrpt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// Errors of Lookup and SelectRecord.
var (
	// ErrNoRecord: the domain has no TLS reporting record, so it wants no reports.
	ErrNoRecord = errors.New("no TLS reporting record")
	// ErrMultipleRecords: it has more than one, which is as good as none (RFC 8460
	// section 3).
	ErrMultipleRecords = errors.New("more than one TLS reporting record")
	// ErrRecordSyntax: its record cannot be read.
	ErrRecordSyntax = errors.New("malformed TLS reporting record")
	// ErrDNS: the lookup failed, which says nothing about the record.
	ErrDNS = errors.New("lookup of the TLS reporting record failed")
)

// RecordError tells what is wrong with a record.
type RecordError struct {
	Problem string // in words
	Offset  int    // octet of the record, from 0
	Text    string // the text in question
}

func recordError(problem string, offset int, text string) error {
	return &RecordError{Problem: problem, Offset: offset, Text: clip(text)}
}

// Error returns the error as one line of text.
func (e *RecordError) Error() string {
	return fmt.Sprintf("%s: column %d: %s: %q", ErrRecordSyntax, e.Offset+1, e.Problem, e.Text)
}

// Unwrap returns ErrRecordSyntax.
func (e *RecordError) Unwrap() error { return ErrRecordSyntax }

// Resolver looks up TXT records: each element of the answer is one record, its
// strings joined. *net.Resolver is one.
//
// That there is no record must be a *net.DNSError with IsNotFound, or an empty
// answer; every other error is taken for a failure.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Lookup asks for the TLS reporting record of a domain (RFC 8460 section 3). The
// error matches ErrNoRecord, ErrMultipleRecords or ErrRecordSyntax if there is no
// record that can be used, ErrDNS if that could not be found out, and *hostname
// errors of a domain that is no name match none of them.
func Lookup(ctx context.Context, r Resolver, domain string) (Record, error) {
	name, err := hostname.Parse(domain)
	if err != nil {
		return Record{}, fmt.Errorf("tlsrpt: %w", err)
	}
	owner := "_smtp._tls." + name
	if len(owner) > hostname.MaxName {
		return Record{}, fmt.Errorf("tlsrpt: %s: %w: the name would be too long", name, ErrNoRecord)
	}
	rrs, err := r.LookupTXT(ctx, owner+".") // the final dot keeps search lists out
	var dnsError *net.DNSError
	switch {
	case err == nil:
	case errors.As(err, &dnsError) && dnsError.IsNotFound && !dnsError.IsTemporary && !dnsError.IsTimeout:
		rrs = nil
	default:
		return Record{}, fmt.Errorf("tlsrpt: %s: %w: %w", owner, ErrDNS, err)
	}
	record, err := SelectRecord(rrs)
	if err != nil {
		return Record{}, fmt.Errorf("tlsrpt: %s: %w", owner, err)
	}
	return record, nil
}

// SelectRecord picks the TLS reporting record among the TXT records of
// _smtp._tls.<domain> and reads it. Records of something else, such as an SPF
// record that a DNS wildcard puts there, are passed over.
func SelectRecord(rrs []string) (Record, error) {
	if len(rrs) == 1 {
		after, ok := strings.CutPrefix(rrs[0], recordVersion)
		if !ok || after == "" || after[0] != ';' && after[0] != ' ' && after[0] != '\t' {
			return Record{}, ErrNoRecord
		}
		return ParseRecord(rrs[0])
	}
	found, count := "", 0
	for _, rr := range rrs {
		if strings.HasPrefix(rr, recordVersion+";") {
			found = rr
			count++
		}
	}
	switch count {
	case 0:
		return Record{}, ErrNoRecord
	case 1:
		return ParseRecord(found)
	}
	return Record{}, ErrMultipleRecords
}
