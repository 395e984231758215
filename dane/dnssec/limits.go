package dnssec

import "fmt"

// Limits bound the work that one lookup of a Validator may cause, whatever a server sends. A zero or negative field
// means the default in its comment. What goes beyond a limit is an error with KindLimit, never an insecure answer.
//
// They are the defence against messages that are made to be expensive: colliding key tags (KeyTrap, CVE-2023-50387),
// hash chains for deep names (CVE-2023-50868), and aliases and delegations without end.
type Limits struct {
	Aliases int // aliases followed; 16, which is also the most
	Queries int // questions put to servers, failover and retries over TCP not counted; 64
	DSSteps int // DS questions on the way down to zones; 32

	Signatures int // signatures tried for one RRset; 8
	Keys       int // keys with the same tag and algorithm tried for one signature; 4

	Verifications       int // signature verifications; 64
	FailedVerifications int // those of them that may fail; 16

	DSRecords int // DS records of one zone; 32
	DNSKEYs   int // keys of one zone; 64

	NSECRecords   int // NSEC records of one message; 64
	NSEC3Records  int // NSEC3 records of one message; 16
	MessageHashes int // names hashed for one message; 12
	Hashes        int // names hashed in all; 64

	Records int // records of one RRset; 2,000
}

// Bounds of NSEC3 iterations (RFC 9276 section 3.2). Above the first a denial is taken for insecure, above the second
// it is refused.
const (
	maxIterations         = 100
	maxInsecureIterations = 500
)

func (l *Limits) setDefaults() {
	for _, field := range []struct {
		value *int
		or    int
	}{
		{&l.Aliases, maxHops}, {&l.Queries, 64}, {&l.DSSteps, 32},
		{&l.Signatures, 8}, {&l.Keys, 4},
		{&l.Verifications, 64}, {&l.FailedVerifications, 16},
		{&l.DSRecords, 32}, {&l.DNSKEYs, 64},
		{&l.NSECRecords, 64}, {&l.NSEC3Records, 16}, {&l.MessageHashes, 12}, {&l.Hashes, 64},
		{&l.Records, maxRecords},
	} {
		if *field.value <= 0 {
			*field.value = field.or
		}
	}
	l.Aliases = min(l.Aliases, maxHops)
}

// spending counts the work of one lookup.
type spending struct {
	queries, dsSteps, verifications, failed, hashes int
	messageHashes                                   int // since the message under way was taken up
}

// spend counts one more of what counter counts, or says that there have been too many.
func spend(counter *int, limit int, what string) *Error {
	if *counter >= limit {
		return tooMuch(limit, what)
	}
	*counter++
	return nil
}

func tooMuch(limit int, what string) *Error {
	return &Error{Kind: KindLimit, Reason: fmt.Sprintf("more than %d %s", limit, what), EDE: noEDE}
}
