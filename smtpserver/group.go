package smtpserver

// SenderGroup is one row of a host access table: who, and what they get.
type SenderGroup struct {
	Name    string   // unique in the table, compared as it stands
	Senders []string // in the forms of ParseSender
	// Unverified lets the group match peers whose host name could not be verified,
	// for any of the reasons given.
	Unverified UnverifiedMask
	Policy     Policy
}

// HostStatus says whether a peer's host name can be believed. The zero value is
// HostUnknown: nobody asked.
type HostStatus uint8

const (
	HostUnknown  HostStatus = iota
	HostVerified            // a PTR name leads back to the address
	NoPTR                   // there is no name: NXDOMAIN, no data, or no well-formed one
	PTRTempFail             // DNS did not answer, and no other name was verified
	PTRMismatch             // there are names and none leads back
)

// String returns "unknown", "verified", "no-ptr", "ptr-tempfail" or "ptr-mismatch".
func (s HostStatus) String() string {
	return enumName(uint8(s), "HostStatus", "unknown", "verified", "no-ptr", "ptr-tempfail", "ptr-mismatch")
}

// UnverifiedMask is a set of reasons for which a host name could not be verified.
type UnverifiedMask uint8

const (
	UnverifiedNoPTR UnverifiedMask = 1 << iota
	UnverifiedTempFail
	UnverifiedMismatch

	unverifiedAll = UnverifiedNoPTR | UnverifiedTempFail | UnverifiedMismatch
)

// mask returns the bit of a failure, 0 for the other two.
func (s HostStatus) mask() UnverifiedMask {
	if s < NoPTR || s > PTRMismatch {
		return 0
	}
	return 1 << (s - NoPTR)
}

// Host is what DNS says about a peer's name.
type Host struct {
	Names  []string // verified names; empty unless Status is HostVerified
	Status HostStatus
}

// Group is a sender group of a compiled Table. It is read-only.
type Group struct {
	Name   string
	Index  int     // in the groups given to Compile
	Policy *Policy // every field settled
}

// DefaultPublic returns the sender groups of an AsyncOS public listener, with empty
// sender lists and TLS No: ALLOWLIST, BLOCKLIST, SUSPECTLIST, UNKNOWNLIST and, for
// everybody else, ALL.
func DefaultPublic() []SenderGroup {
	throttled := Policy{Name: "THROTTLED", Access: Accept, TLS: TLSNo, MaxMessagesPerConn: 10, MaxRcptsPerMessage: 20,
		MaxMessageBytes: 1 << 20, MaxConnsPerIP: 10, MaxRcptsPerHour: 20}
	accepted := Policy{Name: "ACCEPTED", Access: Accept, TLS: TLSNo}
	return []SenderGroup{
		{Name: "ALLOWLIST", Policy: Policy{Name: "TRUSTED", Access: Accept, TLS: TLSNo}},
		{Name: "BLOCKLIST", Policy: Policy{Name: "BLOCKED", Access: Reject, TLS: TLSNo}},
		{Name: "SUSPECTLIST", Policy: throttled},
		{Name: "UNKNOWNLIST", Policy: accepted},
		{Name: "ALL", Senders: []string{"ALL"}, Policy: accepted},
	}
}

// DefaultPrivate returns the sender groups of an AsyncOS private listener, TLS No:
// RELAYLIST, with an empty sender list, and ALL, which is rejected.
func DefaultPrivate() []SenderGroup {
	return []SenderGroup{
		{Name: "RELAYLIST", Policy: Policy{Name: "RELAYED", Access: Relay, TLS: TLSNo}},
		{Name: "ALL", Senders: []string{"ALL"}, Policy: Policy{Name: "BLOCKED", Access: Reject, TLS: TLSNo}},
	}
}
