package mtasts

// Mode is how a parser treats text that bends the grammar.
type Mode uint8

const (
	// Tolerant accepts the blemishes that real policy files have and that
	// leave no doubt about their meaning. The zero value.
	Tolerant Mode = iota
	// Strict accepts what RFC 8461 sections 3.1 and 3.2 allow, and no more.
	Strict
)

// String returns "tolerant" or "strict".
func (m Mode) String() string {
	if m == Strict {
		return "strict"
	}
	return "tolerant"
}

// Parser reads records and policies. The zero Parser is tolerant and silent. It
// keeps no state, and may be used by several goroutines if Warn may.
//
// Both modes agree on every text that Strict accepts. Neither has a limit of its
// own on size: time is linear in the input, and whoever reads from a network
// bounds that first.
type Parser struct {
	Mode Mode
	// Warn is told what was tolerated or is unwise; nil: nobody is, and
	// nothing is spent on it.
	Warn func(Warning)
}

// ParseRecord reads a TXT record strictly, as Parser{Mode: Strict}.Record.
func ParseRecord(s string) (Record, error) {
	return Parser{Mode: Strict}.Record(s)
}

// ParsePolicy reads a policy file tolerantly into a new Policy that shares
// nothing with b. The error is a *SyntaxError that matches ErrPolicySyntax.
func ParsePolicy(b []byte) (*Policy, error) {
	// One allocation for the policy and most lists of patterns, one for the
	// text that the strings of the policy point into.
	room := new(struct {
		Policy
		patterns [8]string
	})
	room.MX = room.patterns[:0]
	if err := (Parser{}).Policy(string(b), &room.Policy); err != nil {
		return nil, err
	}
	return &room.Policy, nil
}

func (p Parser) warn(code WarningCode, line, col int, field, detail string) {
	if p.Warn != nil {
		p.Warn(Warning{Code: code, Line: line, Col: col, Field: field, Detail: detail})
	}
}
