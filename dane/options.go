package dane

import (
	"crypto/x509"
	"strconv"
	"time"
)

// Profile says which usages count.
type Profile uint8

const (
	// ProfileSMTP is for mail between MTAs, where usages 0 and 1 are unusable
	// (RFC 7672 section 3.1.3) and a certificate without any dNSName may match by
	// its common name (section 3.2.3). It is the zero value.
	ProfileSMTP Profile = iota
	// ProfileGeneric is for every other protocol: all four usages, no common
	// name.
	ProfileGeneric
)

// String returns "smtp" or "generic".
func (p Profile) String() string {
	switch p {
	case ProfileSMTP:
		return "smtp"
	case ProfileGeneric:
		return "generic"
	}
	return "Profile(" + strconv.Itoa(int(p)) + ")"
}

// Options tells NewVerifier how to judge. The zero value is right for SMTP.
type Options struct {
	// Profile is ProfileSMTP if zero. Values without a name judge as
	// ProfileSMTP, the stricter one.
	Profile Profile
	// Roots are the public roots for usages 0 and 1. With nil those match
	// nothing; the roots of the system never take their place. The pool must not
	// be changed once it is in use.
	Roots *x509.CertPool
	// NoCommonName switches off the common name as a last resort, which only
	// ProfileSMTP has.
	NoCommonName bool
	// Cache remembers verified chains; Verifiers may share it. With nil every
	// chain is built and checked each time. Usage 3 has no need of it.
	Cache *ChainCache
	// Now is the clock for calls that give no time; nil is time.Now.
	Now func() time.Time
}

// commonName reports whether the common name may stand in for a dNSName.
func (o *Options) commonName() bool { return o.Profile != ProfileGeneric && !o.NoCommonName }
