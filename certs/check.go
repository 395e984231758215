package certs

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/internal/certname"
	"github.com/smtpsec/smtpsec/internal/hostname"
)

const (
	soundRSABits    = 2048 // NIST SP 800-57 part 1, table 2
	maxSerialOctets = 20   // RFC 5280 section 4.1.2.2
	longLivedYears  = 10
)

// Profile says what a certificate is looked at for.
type Profile uint8

const (
	// ProfileImport is for a certificate of one's own, leaf first, its issuers
	// behind it: every check.
	ProfileImport Profile = iota
	// ProfileCAList is for a list of authorities, each judged alone: all but the
	// checks of names and of the chain.
	ProfileCAList
	// ProfilePeer is for the chain of another mail host: sig-weak, name-absent and
	// not-v3, and fqdn if asked.
	ProfilePeer
)

// CheckOptions says what Check compares with. The zero value checks a server's
// certificate for import, now.
type CheckOptions struct {
	Profile Profile
	Now     time.Time // zero: time.Now()
	Name    string    // a host name that the leaf must have; "": any will do
	FQDN    bool      // also the finding fqdn
	Client  bool      // used by a client: clientAuth instead of serverAuth

	// Anchored reports whether the certificate is an enabled trust anchor or
	// issued by one. Nil: unknown, so that issuer-not-listed is never found.
	Anchored func(*x509.Certificate) bool
}

// Check appends to dst what is wrong or noteworthy about a chain, leaf first, or
// with ProfileCAList about each certificate of a list. Findings are advice: they
// block nothing, and no finding does not mean that a certificate is trusted. Where
// nothing is found, nothing is allocated. Of many names that are wrong only the first
// few get a finding of their own.
//
// Of the codes about chains, chain-expired and issuer-not-listed are found here.
// Arrange, which sees what the input lacks and has in excess, has the others.
func Check(dst []Finding, chain []*x509.Certificate, o CheckOptions) []Finding {
	o.Now = wholeSecond(o.Now)
	for i, cert := range chain {
		c := checker{dst: dst, cert: cert}
		switch {
		case o.Profile == ProfilePeer:
			c.version()
			c.signature()
			if i == 0 {
				c.namePresent(&o)
				c.fqdn(&o)
			}
		case o.Profile == ProfileCAList:
			c.form()
			c.keys()
			c.dates(&o)
			c.authority()
			c.fqdn(&o)
		case i == 0:
			c.form()
			c.keys()
			c.dates(&o)
			c.names(&o)
			c.leafUse(&o)
		default:
			c.form()
			c.keys()
			c.issuerDates(&o)
			c.authority()
			c.extendedUse(&o)
		}
		dst = c.dst
	}
	if o.Profile == ProfileImport && o.Anchored != nil && len(chain) > 0 {
		dst = checkAnchor(dst, chain, &o)
	}
	return dst
}

// checker looks at one certificate.
type checker struct {
	dst  []Finding
	cert *x509.Certificate
	sum  [sha256.Size]byte // once there is a finding
}

func (c *checker) add(code Code, detail string) { c.addAs(SeverityWarning, code, detail) }

func (c *checker) addAs(severity Severity, code Code, detail string) {
	if c.sum == [sha256.Size]byte{} {
		c.sum = fingerprint(c.cert)
	}
	c.dst = append(c.dst, Finding{Code: code, Severity: severity, Cert: c.sum, Detail: detail})
}

// form looks at what every certificate must be (RFC 5280 section 4.1).
func (c *checker) form() {
	c.version()
	if serial := c.cert.SerialNumber; serial != nil {
		switch {
		case serial.Sign() == 0:
			c.add(FindingSerialZero, "the serial number must be positive (RFC 5280 section 4.1.2.2)")
		case serial.BitLen() >= 8*maxSerialOctets: // the sign bit needs room, too
			c.add(FindingSerialLong, fmt.Sprintf("the serial number has more than %d octets (RFC 5280 section 4.1.2.2)", maxSerialOctets))
		}
	}
	c.signature()
	if len(c.cert.UnhandledCriticalExtensions) > 0 {
		c.add(FindingCriticalUnknown, "a critical extension that is not understood here: "+clip(c.cert.UnhandledCriticalExtensions[0].String()))
	}
	if emptyName(c.cert.RawSubject) && !c.criticalSAN() {
		c.add(FindingEmptySubject, "the subject is empty, and no critical SAN takes its place (RFC 5280 section 4.1.2.6)")
	}
}

func (c *checker) version() {
	if c.cert.Version != 3 {
		c.add(FindingNotV3, fmt.Sprintf("version %d; extensions, and with them the names, need version 3", c.cert.Version))
	}
}

// signature finds digests for which collisions are known. On a self-signed root
// the signature proves nothing, so its digest does not matter.
func (c *checker) signature() {
	name := ""
	switch c.cert.SignatureAlgorithm {
	case x509.MD2WithRSA:
		name = "MD2"
	case x509.MD5WithRSA:
		name = "MD5"
	case x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		name = "SHA-1"
	case x509.UnknownSignatureAlgorithm:
		if !bytes.HasPrefix(signatureAlgorithm(c.cert), md2WithRSA) {
			return
		}
		name = "MD2"
	default:
		return
	}
	if c.cert.IsCA && selfSigned(c.cert) {
		return
	}
	c.add(FindingSigWeak, "signed with "+name+", for which collisions can be made")
}

// md2WithRSA is the AlgorithmIdentifier 1.2.840.113549.1.1.2, which crypto/x509
// no longer knows.
var md2WithRSA = []byte{0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x02}

// signatureAlgorithm returns the DER that begins with the AlgorithmIdentifier
// behind the signed part.
func signatureAlgorithm(cert *x509.Certificate) []byte {
	_, content, _, ok := derElement(cert.Raw)
	if !ok || len(content) < len(cert.RawTBSCertificate) {
		return nil
	}
	return content[len(cert.RawTBSCertificate):]
}

// emptyName reports whether a Name has no attributes: an empty SEQUENCE.
func emptyName(raw []byte) bool { return len(raw) == 2 && raw[1] == 0 }

func (c *checker) criticalSAN() bool {
	for i := range c.cert.Extensions {
		if isSAN(c.cert.Extensions[i].Id) {
			return c.cert.Extensions[i].Critical
		}
	}
	return false
}

func isSAN(id asn1.ObjectIdentifier) bool {
	return len(id) == 4 && id[0] == 2 && id[1] == 5 && id[2] == 29 && id[3] == 17
}

func (c *checker) keys() {
	key, isRSA := c.cert.PublicKey.(*rsa.PublicKey)
	if !isRSA {
		return
	}
	if n := key.N.BitLen(); n < soundRSABits {
		c.add(FindingWeakKey, fmt.Sprintf("an RSA key of %d bits; less than %d are refused by many", n, soundRSABits))
	}
	if problem := badRSA(key); problem != "" {
		c.add(FindingBadKey, problem)
	}
}

func (c *checker) dates(o *CheckOptions) {
	switch {
	case o.Now.After(c.cert.NotAfter):
		c.add(FindingExpired, "since "+moment(c.cert.NotAfter))
	case o.Now.Before(c.cert.NotBefore):
		c.add(FindingNotYetValid, "before "+moment(c.cert.NotBefore))
	}
	if !c.cert.IsCA && c.cert.NotAfter.After(c.cert.NotBefore.AddDate(longLivedYears, 0, 0)) {
		c.add(FindingLongLived, fmt.Sprintf("valid for more than %d years, until %s", longLivedYears, moment(c.cert.NotAfter)))
	}
}

func (c *checker) issuerDates(o *CheckOptions) {
	switch {
	case o.Now.After(c.cert.NotAfter):
		c.add(FindingChainExpired, fmt.Sprintf("the issuer %q is expired since %s", c.subject(), moment(c.cert.NotAfter)))
	case o.Now.Before(c.cert.NotBefore):
		c.add(FindingChainExpired, fmt.Sprintf("the issuer %q is not valid before %s", c.subject(), moment(c.cert.NotBefore)))
	}
}

// wholeSecond returns now, or the clock's time for zero. Validity has whole seconds
// and includes both ends (RFC 5280 section 4.1.2.5), so a fraction must not end it.
func wholeSecond(now time.Time) time.Time {
	if now.IsZero() {
		now = time.Now()
	}
	return now.Truncate(time.Second)
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (c *checker) subject() string { return clip(subjectText(c.cert)) }

// authority looks at a certificate that signs others (RFC 5280 sections 4.2.1.3
// and 4.2.1.9).
func (c *checker) authority() {
	switch {
	case !c.cert.IsCA:
		c.add(FindingNotCA, fmt.Sprintf("%q is not an authority's certificate (CA:TRUE is missing)", c.subject()))
	case c.cert.KeyUsage != 0 && c.cert.KeyUsage&x509.KeyUsageCertSign == 0:
		c.add(FindingKeyUsage, fmt.Sprintf("the key usage of the authority %q lacks keyCertSign", c.subject()))
	}
}

// leafUse looks at what the leaf may be used for.
func (c *checker) leafUse(o *CheckOptions) {
	if c.cert.IsCA {
		c.add(FindingCAAsLeaf, "an authority's certificate (CA:TRUE) serves as the leaf")
	}
	if c.cert.KeyUsage != 0 && c.cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		c.add(FindingKeyUsage, "the key usage lacks digitalSignature, which TLS 1.3 needs")
	}
	c.extendedUse(o)
	if selfSigned(c.cert) {
		c.addAs(SeverityInfo, FindingSelfSigned, "only peers that hold the certificate itself, or its TLSA record, can verify it")
	}
}

// extendedUse applies to issuers as well: a use that an authority's certificate
// excludes is excluded for all below it.
func (c *checker) extendedUse(o *CheckOptions) {
	if len(c.cert.ExtKeyUsage)+len(c.cert.UnknownExtKeyUsage) == 0 {
		return
	}
	want, name := x509.ExtKeyUsageServerAuth, "serverAuth"
	if o.Client {
		want, name = x509.ExtKeyUsageClientAuth, "clientAuth"
	}
	for _, usage := range c.cert.ExtKeyUsage {
		if usage == want || usage == x509.ExtKeyUsageAny {
			return
		}
	}
	c.add(FindingEKU, fmt.Sprintf("the extended key usage of %q does not allow %s", c.subject(), name))
}

// names looks at the leaf's names. A certificate may have a hundred thousand of
// them, so only the first few that are wrong are named, and only the first few
// common names are looked for among the others.
func (c *checker) names(o *CheckOptions) {
	c.namePresent(o)
	wrong := 0
	for _, name := range c.cert.DNSNames {
		problem := sanProblem(name)
		if problem == "" {
			continue
		}
		if wrong++; wrong <= listedNames {
			c.add(FindingSANSyntax, fmt.Sprintf("dNSName %q: %s", clip(name), problem))
		}
	}
	if wrong > listedNames {
		c.add(FindingSANSyntax, fmt.Sprintf("and %d more dNSNames that are no host names", wrong-listedNames))
	}
	commons := 0
	onlyCN := len(c.cert.DNSNames)+len(c.cert.IPAddresses) == 0
	for cn := range commonNames(c.cert) {
		if commons++; onlyCN {
			continue
		}
		if commons > listedNames {
			c.add(FindingCNNotInSAN, fmt.Sprintf("more than %d common names; most peers look only at the dNSNames", listedNames))
			break
		}
		if !hasName(c.cert.DNSNames, cn) {
			c.add(FindingCNNotInSAN, fmt.Sprintf("the common name %q is not among the dNSNames; most peers look only there", clip(cn)))
		}
	}
	if onlyCN && commons > 0 {
		c.add(FindingNoSAN, "a common name only, which many peers ignore (RFC 9525 section 2)")
	}
	c.fqdn(o)
}

// namePresent looks for any name, or the wanted one.
func (c *checker) namePresent(o *CheckOptions) {
	if o.Name != "" {
		if !covers(c.cert, o.Name) {
			c.add(FindingNameAbsent, fmt.Sprintf("%q is neither the common name nor a dNSName", clip(o.Name)))
		}
		return
	}
	if len(c.cert.DNSNames) > 0 {
		return
	}
	for range commonNames(c.cert) {
		return
	}
	c.add(FindingNameAbsent, "neither a common name nor a dNSName")
}

// covers reports whether a dNSName or a common name stands for the host.
func covers(cert *x509.Certificate, host string) bool {
	reference, err := hostname.Parse(host)
	if err != nil {
		return false
	}
	for _, name := range cert.DNSNames {
		if certname.Match(name, reference) {
			return true
		}
	}
	_, found := certname.CommonName(cert, reference, certname.Match)
	return found
}

func hasName(names []string, want string) bool {
	for _, name := range names {
		if len(name) == len(want) && strings.EqualFold(name, want) {
			return true
		}
	}
	return false
}

// sanProblem says why a dNSName is none, "" if it is one (RFC 5280 section
// 4.2.1.6: the preferred name syntax, here with a wildcard).
func sanProblem(name string) string {
	switch {
	case name == "":
		return "empty"
	case name[len(name)-1] == '.':
		return "a dot at the end"
	case strings.IndexByte(name, '_') >= 0:
		return "an underscore is not allowed"
	case hostname.IsLiteral(name):
		return "an address, which belongs into an iPAddress"
	}
	rest, wild := strings.CutPrefix(name, "*.")
	switch {
	case strings.IndexByte(rest, '*') >= 0, wild && strings.IndexByte(rest, '.') < 0:
		return "a wildcard must be the whole left-most label before at least two more"
	case !certname.Valid(name):
		return "not a domain name"
	}
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.':
		default:
			return "a character that is no letter, digit or hyphen"
		}
	}
	return ""
}

func (c *checker) fqdn(o *CheckOptions) {
	if !o.FQDN {
		return
	}
	if err := CheckCertificateFQDN(c.cert); err != nil {
		c.add(FindingFQDN, strings.TrimPrefix(err.Error(), "certs: "))
	}
}

// checkAnchor asks whether any certificate of the chain hangs on an enabled anchor.
func checkAnchor(dst []Finding, chain []*x509.Certificate, o *CheckOptions) []Finding {
	for _, cert := range chain {
		if o.Anchored(cert) {
			return dst
		}
	}
	top := checker{dst: dst, cert: chain[len(chain)-1]}
	top.add(FindingIssuerNotListed, fmt.Sprintf("no enabled list of authorities has %q", clip(issuerText(top.cert))))
	return top.dst
}
