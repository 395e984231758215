package dnssec

// newQuestion normalises what a caller asks for, or says why it cannot be asked.
func newQuestion(name string, t Type) (Question, *Error) {
	normal, problem := normalName(name)
	if problem == "" && !askable(t) {
		problem = "type " + t.String() + " cannot be asked for by itself"
	}
	if problem != "" {
		return Question{}, &Error{Kind: KindBadName, Name: name, Type: t, Reason: problem, EDE: noEDE}
	}
	return Question{normal, t}, nil
}

// askable reports whether t names data that can be judged as an RRset. Type 0 is reserved, OPT is a meta type, 128 to
// 255 are question and meta types (RFC 6895 section 3.1). SIG, NXT, RRSIG, NSEC and NSEC3 are proofs about other
// data, and there can be several unrelated ones at a name (RFC 4035 section 3.1.6 for RRSIG).
func askable(t Type) bool {
	switch t {
	case 0, typeOPT, typeSIG, typeNXT, typeRRSIG, typeNSEC, typeNSEC3:
		return false
	}
	return t < 128 || t > 255
}

// Types that no caller asks for.
const (
	typeSIG   Type = 24
	typeNXT   Type = 30
	typeOPT   Type = 41
	typeRRSIG Type = 46
	typeNSEC  Type = 47
	typeNSEC3 Type = 50
)
