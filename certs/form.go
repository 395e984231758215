package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// Upper bounds of the attributes of a name, in characters (ITU-T X.520, repeated
// in RFC 5280 appendix A.1).
const (
	maxCommonName   = 64
	maxOrganization = 64
	maxPlace        = 128
)

// maxDays is more than any end before the year 10000 needs.
const maxDays = 3_000_000

// Algorithm is the signature algorithm of a certificate by its usual name; with
// ECDSA it also fixes the curve. "" is ECDSAWithSHA256.
type Algorithm string

const (
	ECDSAWithSHA256 Algorithm = "ecdsa-with-sha256" // on P-256
	ECDSAWithSHA384 Algorithm = "ecdsa-with-sha384" // on P-384
	SHA256WithRSA   Algorithm = "sha256WithRSAEncryption"
	SHA384WithRSA   Algorithm = "sha384WithRSAEncryption"
	SHA512WithRSA   Algorithm = "sha512WithRSAEncryption"
)

// Sizes of RSA keys in bits.
const (
	defaultRSABits  = 2048
	insecureRSABits = 1024
)

// Form is what an operator fills in to create a self-signed certificate. The zero
// Form is refused: CommonName and Days are required.
type Form struct {
	// CommonName is the host name. U-labels are converted to A-labels. One
	// above 64 octets stands in the SAN alone (finding cn-omitted).
	CommonName string

	Organization       string // at most 64 characters
	OrganizationalUnit string // at most 64 characters
	Locality           string // city; at most 128 characters
	Province           string // state; at most 128 characters
	Country            string // two letters (ISO 3166-1)

	Algorithm Algorithm // "" is ECDSAWithSHA256; SHA-1 and MD5 are refused
	Days      int       // the certificate ends so many days from now, 9999-12-31 at the latest
	KeySize   int       // RSA only: 2048 (which 0 means), 3072 or 4096 bits

	// AllowInsecure1024 permits KeySize 1024 (finding weak-key). OpenSSL 3 at
	// its default security level refuses to talk to such a server.
	AllowInsecure1024 bool

	DNSNames []string // further names; CommonName is always the first of the SAN
	FQDN     bool     // CommonName must pass CheckFQDN, after its conversion
}

// subject is a Form that passed its checks.
type subject struct {
	rdns      pkix.RDNSequence // in the order of the form
	names     []string         // the SAN
	cnOmitted bool
	algorithm x509.SignatureAlgorithm
	newKey    func(io.Reader) (crypto.Signer, error)
	end       time.Time
}

// check tests every field before any key is made.
func (f Form) check(now time.Time) (*subject, error) {
	s := &subject{}
	for _, step := range []func(Form) error{s.setNames, s.setSubject, s.setAlgorithm} {
		if err := step(f); err != nil {
			return nil, err
		}
	}
	var err error
	if s.end, err = endAfter(now, f.Days); err != nil {
		return nil, err
	}
	return s, nil
}

// endAfter returns the end of a validity of so many days.
func endAfter(now time.Time, days int) (time.Time, error) {
	if days < 1 {
		return time.Time{}, &FieldError{Field: "Days", Value: fmt.Sprint(days), Problem: "at least one day is needed"}
	}
	// RFC 5280 section 4.1.2.5: the last moment that a certificate can express.
	end := now.AddDate(0, 0, min(days, maxDays))
	if days > maxDays || end.Year() > 9999 {
		return time.Time{}, &FieldError{Field: "Days", Value: fmt.Sprint(days), Problem: "the end would be after 9999-12-31"}
	}
	return end, nil
}

func (s *subject) setNames(f Form) error {
	if f.CommonName == "" {
		return &FieldError{Field: "CommonName", Problem: "a common name is required: the host name that clients connect to"}
	}
	for i, name := range append([]string{f.CommonName}, f.DNSNames...) {
		field := "CommonName"
		if i > 0 {
			field = fmt.Sprintf("DNSNames[%d]", i-1)
		}
		ascii, err := presentedName(name)
		if err != nil {
			return &FieldError{Field: field, Value: name, Problem: nameProblem(err)}
		}
		if i == 0 && f.FQDN {
			if err := CheckFQDN(ascii); err != nil {
				return inField(err, "CN")
			}
		}
		if !slices.Contains(s.names, ascii) {
			s.names = append(s.names, ascii)
		}
	}
	s.cnOmitted = len(s.names[0]) > maxCommonName
	return nil
}

// presentedName brings a name to the form in which certificates carry it. It may
// be a wildcard: a whole left-most label before at least two more.
func presentedName(name string) (string, error) {
	rest, wild := strings.CutPrefix(name, "*.")
	ascii, err := hostname.Parse(rest)
	switch {
	case err != nil:
		return "", err
	case !wild:
		return ascii, nil
	case !strings.Contains(ascii, "."):
		return "", &hostname.Error{Name: name, Problem: "a wildcard needs at least two labels behind it"}
	case len(ascii) > hostname.MaxName-len("*."):
		return "", &hostname.Error{Name: name, Problem: fmt.Sprintf("longer than %d octets", hostname.MaxName)}
	}
	return "*." + ascii, nil
}

// setSubject builds the name in the order of the form. RFC 5280 appendix A.1 has
// the types; asn1 chooses PrintableString where it can and UTF8String elsewhere.
func (s *subject) setSubject(f Form) error {
	if c := f.Country; c != "" && (len(c) != 2 || !isLetter(c[0]) || !isLetter(c[1])) {
		return &FieldError{Field: "Country", Value: f.Country, Problem: "exactly two ASCII letters are needed (ISO 3166-1), US for example"}
	}
	cn := s.names[0]
	if s.cnOmitted {
		cn = ""
	}
	for _, a := range []struct {
		field, value string
		limit        int
		last         int // of the OID 2.5.4.x
	}{
		{"CommonName", cn, maxCommonName, 3},
		{"Organization", f.Organization, maxOrganization, 10},
		{"OrganizationalUnit", f.OrganizationalUnit, maxOrganization, 11},
		{"Locality", f.Locality, maxPlace, 7},
		{"Province", f.Province, maxPlace, 8},
		{"Country", strings.ToUpper(f.Country), 2, 6},
	} {
		switch {
		case a.value == "":
			continue
		case !utf8.ValidString(a.value):
			return &FieldError{Field: a.field, Value: a.value, Problem: "not valid UTF-8"}
		case utf8.RuneCountInString(a.value) > a.limit:
			return &FieldError{Field: a.field, Value: a.value, Problem: fmt.Sprintf("more than %d characters", a.limit)}
		case strings.ContainsFunc(a.value, unicode.IsControl):
			return &FieldError{Field: a.field, Value: a.value, Problem: "control characters are not allowed"}
		}
		s.rdns = append(s.rdns, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, a.last}, Value: a.value}})
	}
	return nil
}

func isLetter(c byte) bool { return 'A' <= c&^0x20 && c&^0x20 <= 'Z' }

func (s *subject) setAlgorithm(f Form) error {
	switch f.Algorithm {
	case "", ECDSAWithSHA256:
		s.algorithm, s.newKey = x509.ECDSAWithSHA256, newECDSA(elliptic.P256())
	case ECDSAWithSHA384:
		s.algorithm, s.newKey = x509.ECDSAWithSHA384, newECDSA(elliptic.P384())
	case SHA256WithRSA:
		s.algorithm = x509.SHA256WithRSA
	case SHA384WithRSA:
		s.algorithm = x509.SHA384WithRSA
	case SHA512WithRSA:
		s.algorithm = x509.SHA512WithRSA
	default:
		return algorithmError(f)
	}
	if s.newKey != nil {
		if f.KeySize != 0 {
			return &FieldError{Field: "KeySize", Value: fmt.Sprint(f.KeySize), Problem: fmt.Sprintf("the option is not available with %s, which fixes the curve", s.algorithm)}
		}
		return nil
	}
	bits := f.KeySize
	switch {
	case bits == 0:
		bits = defaultRSABits
	case bits == 2048, bits == 3072, bits == 4096:
	case bits == insecureRSABits && f.AllowInsecure1024:
	case bits == insecureRSABits:
		return &FieldError{Field: "KeySize", Value: fmt.Sprint(bits), Problem: "many peers refuse 1024 bits; AllowInsecure1024 permits them all the same"}
	default:
		return &FieldError{Field: "KeySize", Value: fmt.Sprint(bits), Problem: "an RSA key has 2048, 3072 or 4096 bits"}
	}
	s.newKey = func(random io.Reader) (crypto.Signer, error) { return rsa.GenerateKey(random, bits) }
	return nil
}

// algorithmError names the algorithm and the key that was to be made with it.
func algorithmError(f Form) error {
	key := "the key"
	switch name := strings.ToLower(string(f.Algorithm)); {
	case strings.Contains(name, "rsa"):
		key = "an RSA key"
	case strings.Contains(name, "ecdsa"):
		key = "an ECDSA key"
	}
	reason := "is not a signature algorithm that is made here"
	if name := strings.ToLower(string(f.Algorithm)); strings.Contains(name, "sha1") || strings.Contains(name, "sha-1") || strings.Contains(name, "md5") || strings.Contains(name, "md2") {
		reason = "is broken"
	}
	return &FieldError{Field: "Algorithm", Value: string(f.Algorithm),
		Problem: fmt.Sprintf("%q with %s %s; use %s, %s, %s, %s or %s", clip(string(f.Algorithm)), key, reason,
			ECDSAWithSHA256, ECDSAWithSHA384, SHA256WithRSA, SHA384WithRSA, SHA512WithRSA)}
}

func newECDSA(curve elliptic.Curve) func(io.Reader) (crypto.Signer, error) {
	return func(random io.Reader) (crypto.Signer, error) { return ecdsa.GenerateKey(curve, random) }
}

// CreateOptions gives creation its clock and its randomness.
type CreateOptions struct {
	Now  func() time.Time // nil: time.Now
	Rand io.Reader        // nil: crypto/rand; Go itself may draw keys from the system all the same
}

func (o CreateOptions) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

func (o CreateOptions) random() io.Reader { return randomOr(o.Rand) }

func randomOr(r io.Reader) io.Reader {
	if r != nil {
		return r
	}
	return rand.Reader
}
