package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
)

// Tags of the ASN.1 elements that tell the formats apart (X.690 section 8).
const (
	tagInteger     = 0x02
	tagBitString   = 0x03
	tagOctetString = 0x04
	tagOID         = 0x06
	tagSequence    = 0x30
)

const (
	hintPKCS7PEM = "openssl pkcs7 -in bundle.p7b -print_certs -out bundle.pem"
	hintPKCS7DER = "openssl pkcs7 -inform DER -in bundle.p7b -print_certs -out bundle.pem"
	hintCMS      = "openssl cms -cmsout -inform PEM -in bundle.cms -outform DER -out bundle.p7b, then " + hintPKCS7DER
	hintKeystore = "keytool -importkeystore -srckeystore a.jks -destkeystore b.p12 -deststoretype PKCS12"
)

var (
	magicJKS   = []byte{0xfe, 0xed, 0xfe, 0xed}
	magicJCEKS = []byte{0xce, 0xce, 0xce, 0xce}
)

// derElement splits the first element off data: tag, content, and what follows.
// It knows definite lengths in their shortest form and tags of one octet, which
// is all that X.509 and PKCS #8 use.
func derElement(data []byte) (tag byte, content, rest []byte, ok bool) {
	if len(data) < 2 || data[0]&0x1f == 0x1f {
		return 0, nil, nil, false
	}
	length, head := int(data[1]), 2
	if length >= 0x80 {
		octets := length - 0x80
		if octets == 0 || octets > 3 || len(data) < 2+octets || data[2] == 0 {
			return 0, nil, nil, false
		}
		length, head = 0, 2+octets
		for _, c := range data[2:head] {
			length = length<<8 | int(c)
		}
		if length < 0x80 {
			return 0, nil, nil, false
		}
	}
	if length > len(data)-head {
		return 0, nil, nil, false
	}
	return data[0], data[head : head+length], data[head+length:], true
}

// children returns the tags of an element's content, at most len(tags) of them.
func children(content []byte, tags []byte, parts [][]byte) int {
	n := 0
	for n < len(tags) && len(content) > 0 {
		tag, part, rest, ok := derElement(content)
		if !ok {
			return n
		}
		tags[n], parts[n] = tag, part
		n++
		content = rest
	}
	return n
}

type derKind uint8

const (
	derUnknown derKind = iota
	derCertificate
	derPKCS8
	derEncryptedPKCS8
	derPKCS1
	derSEC1
	derPKCS12
	derPKCS7
	derRequest
)

var (
	oidPKCS7Prefix = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07} // 1.2.840.113549.1.7
)

// kindOfDER tells the formats apart by their first elements. It does not say that
// the rest is well formed.
func kindOfDER(der []byte) derKind {
	tag, content, _, ok := derElement(der)
	if !ok {
		return kindOfBER(der)
	}
	if tag != tagSequence {
		return derUnknown
	}
	var tags [3]byte
	var parts [3][]byte
	n := children(content, tags[:], parts[:])
	switch tags {
	case [3]byte{tagSequence, tagSequence, tagBitString}:
		// A request has its version where a certificate has [0] or a long serial.
		var inner [2]byte
		var innerParts [2][]byte
		children(parts[0], inner[:], innerParts[:])
		if inner == [2]byte{tagInteger, tagSequence} && bytes.Equal(innerParts[0], []byte{0}) && !isAlgorithm(innerParts[1]) {
			return derRequest
		}
		return derCertificate
	case [3]byte{tagInteger, tagSequence, tagOctetString}:
		return derPKCS8
	case [3]byte{tagInteger, tagInteger, tagInteger}:
		return derPKCS1
	}
	switch {
	case n >= 2 && tags[0] == tagSequence && tags[1] == tagOctetString:
		return derEncryptedPKCS8
	case n >= 2 && tags[0] == tagInteger && tags[1] == tagOctetString:
		return derSEC1
	case n >= 2 && tags[0] == tagInteger && tags[1] == tagSequence && bytes.Equal(parts[0], []byte{3}):
		return derPKCS12
	case n >= 1 && tags[0] == tagOID && bytes.HasPrefix(parts[0], oidPKCS7Prefix):
		return derPKCS7
	}
	return derUnknown
}

// isAlgorithm reports whether a SEQUENCE's content is an AlgorithmIdentifier, as
// in a certificate of version 1, and not a Name.
func isAlgorithm(content []byte) bool {
	tag, _, _, ok := derElement(content)
	return ok && tag == tagOID
}

// kindOfBER recognises the indefinite lengths that other programs write around
// PKCS #12 and PKCS #7.
func kindOfBER(data []byte) derKind {
	if len(data) < 2 || data[0] != tagSequence || data[1] != 0x80 {
		return derUnknown
	}
	switch tag, content, _, ok := derElement(data[2:]); {
	case ok && tag == tagInteger && bytes.Equal(content, []byte{3}):
		return derPKCS12
	case ok && tag == tagOID && bytes.HasPrefix(content, oidPKCS7Prefix):
		return derPKCS7
	}
	return derUnknown
}

// wholeElement returns an error unless der is one element and nothing more.
func wholeElement(der []byte) error {
	_, _, rest, ok := derElement(der)
	switch {
	case !ok:
		return fmt.Errorf("%w: bad DER", ErrMalformed)
	case len(rest) > 0:
		return fmt.Errorf("%w: %d octets behind the DER", ErrMalformed, len(rest))
	}
	return nil
}

// looksLikeDER decides between the two kinds of input. 0x30 is also the digit
// zero, with which a text in front of PEM blocks may begin.
func looksLikeDER(data []byte) bool {
	if len(data) == 0 || data[0] != tagSequence {
		return false
	}
	return wholeElement(data) == nil || !bytes.Contains(data, begin)
}

// foreignFormat names the formats that are recognised and not read here, nil for
// anything else.
func foreignFormat(data []byte) error {
	switch {
	case bytes.HasPrefix(data, magicJKS), bytes.HasPrefix(data, magicJCEKS):
		return &UnsupportedError{What: "a Java keystore", Hint: hintKeystore}
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return &UnsupportedError{What: "text in UTF-16", Hint: "iconv -f UTF-16 -t UTF-8 old.pem > new.pem"}
	case !looksLikeDER(data):
		return nil
	}
	switch kindOfDER(data) {
	case derPKCS12:
		return &UnsupportedError{What: "a PKCS #12 file in a place for PEM or DER (use the PKCS #12 import)"}
	case derPKCS7:
		return &UnsupportedError{What: "a PKCS #7 bundle", Hint: hintPKCS7DER}
	case derRequest:
		return errRequest
	}
	return nil
}

// parseCertificate parses one certificate, which refers to der afterwards. What
// crypto/x509 cannot read or use is an *UnsupportedError if it has the form of a
// certificate, else ErrMalformed.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	if err := wholeElement(der); err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		switch kind := kindOfDER(der); {
		case kind == derCertificate:
			return nil, &UnsupportedError{What: fmt.Sprintf("this certificate (%s)", clip(err.Error()))}
		case kind != derUnknown:
			return nil, fmt.Errorf("%w: no certificate, but %s", ErrMalformed, kind)
		}
		return nil, fmt.Errorf("%w: no certificate", ErrMalformed)
	}
	if problem := unsupportedPublicKey(cert.PublicKey); problem != "" {
		return nil, &UnsupportedError{What: "a certificate with " + problem, OID: clip(publicKeyOID(cert))}
	}
	return cert, nil
}

// keyLabel returns the PEM label under which a key of this form stands, "" if it is
// no key.
func (k derKind) keyLabel() string {
	switch k {
	case derPKCS8:
		return labelPKCS8
	case derPKCS1:
		return labelPKCS1
	case derSEC1:
		return labelSEC1
	case derEncryptedPKCS8:
		return labelEncrypted
	}
	return ""
}

// String names the format as it stands in an error text.
func (k derKind) String() string {
	switch k {
	case derCertificate:
		return "a certificate"
	case derPKCS8, derPKCS1, derSEC1:
		return "a private key"
	case derEncryptedPKCS8:
		return "an encrypted private key"
	case derPKCS12:
		return "a PKCS #12 file"
	case derPKCS7:
		return "a PKCS #7 bundle"
	case derRequest:
		return "a certificate request"
	}
	return "an unknown structure"
}

// publicKeyOID returns the OID of the certificate's key algorithm, "" if it
// cannot be found.
func publicKeyOID(cert *x509.Certificate) string {
	var info struct {
		Algorithm algorithm
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &info); err != nil {
		return ""
	}
	return info.Algorithm.OID.String()
}
