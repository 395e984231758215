package smtpserver

import "fmt"

// FindingCode names what is unwise in a table. The names are stable.
type FindingCode string

const (
	FindingDuplicate        FindingCode = "duplicate"          // an entry that stands twice in a group
	FindingUnreachable      FindingCode = "unreachable"        // a group behind ALL
	FindingRequiredOnPublic FindingCode = "required-on-public" // TLS Required with ALL and Accept (RFC 3207 section 4)
	FindingRelayByName      FindingCode = "relay-by-name"      // Relay for host names: unsigned DNS decides who may relay
	FindingNeedsAdapter     FindingCode = "needs-adapter"      // a setting that only an adapter inside the server can enforce
	FindingBareNewline      FindingCode = "bare-newline"       // bare CR and LF are let through
)

// Finding is something in a table that is legal and unwise.
type Finding struct {
	Code   FindingCode
	Group  string
	Detail string
}

// String returns the finding as a line for people.
func (f Finding) String() string {
	return fmt.Sprintf("%s: sender group %q: %s", f.Code, f.Group, f.Detail)
}
