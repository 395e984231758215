package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Bounds of one input. They are this package's own: the largest list in use, the
// one of Mozilla, has about 150 authorities in 250 KiB.
const (
	MaxInput            = 4 << 20  // octets of a certificate input
	MaxCertificates     = 1000     // certificates of a certificate input
	MaxListInput        = 16 << 20 // octets of a list of authorities
	MaxListCertificates = 10000    // certificates of a list of authorities
	maxKeys             = 16       // private keys of an input: each may cost a key derivation
	maxIdleReads        = 100      // reads in a row that bring nothing, as package bufio allows
)

// ReadOptions says how an input is read. The zero value reads certificates and
// unencrypted keys.
type ReadOptions struct {
	// Passphrase opens encrypted keys; nil means that there is none. It is not kept.
	Passphrase []byte
	// List reads a list of authorities: up to MaxListInput octets and
	// MaxListCertificates certificates. A private key in it is an error, under
	// whatever label and however broken its boundaries are.
	List bool
	// Lenient, which counts only together with List, turns a bad block into
	// the finding bad-block and goes on behind it.
	Lenient bool
}

// Material is what an input holds.
type Material struct {
	Keys         []PrivateKey
	Certificates []*x509.Certificate // in the order of the input, duplicates kept
	Lines        []int               // for each certificate the line of its BEGIN, 0 in DER
	Findings     []Finding
}

// Read reads all of r: PEM blocks among any text, or one DER structure, which it
// tells apart by the first octet. It returns everything that is in the input or an
// error; no block is dropped in silence, as x509.CertPool.AppendCertsFromPEM and
// tls.X509KeyPair do.
//
// Errors in PEM are a *ParseError with the line, around ErrMalformed, ErrTooLarge,
// ErrManyKeys, ErrPassphrase, ErrPassphraseNeeded, ErrIterations or an
// *UnsupportedError with the command that converts the input. An input above its
// bound is ErrTooLarge, whatever else is in it.
func Read(r io.Reader, o ReadOptions) (*Material, error) {
	limit := inputLimit(o)
	data, err := readAll(r, limit)
	defer zero(data)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	return ReadBytes(data, o)
}

// ReadFile reads a regular file as Read does. Directories and special files, of
// which some never end and others never begin, are refused.
func ReadFile(path string, o ReadOptions) (*Material, error) {
	data, _, err := readInput(path, inputLimit(o))
	defer zero(data)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	m, err := ReadBytes(data, o)
	if err != nil {
		return nil, placed(strconv.Quote(path), err)
	}
	return m, nil
}

// readInput reads a regular file of up to limit octets.
func readInput(path string, limit int) (data []byte, info os.FileInfo, err error) {
	info, err = os.Stat(path) // first: opening a named pipe waits for a writer
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%q: %w: not a regular file", path, ErrMalformed)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if data, err = readAll(f, limit); err != nil {
		zero(data)
		return nil, nil, fmt.Errorf("%q: %w", path, err)
	}
	return data, info, nil
}

// ReadBytes reads an input as Read does. The result does not refer to data.
func ReadBytes(data []byte, o ReadOptions) (*Material, error) {
	if limit := inputLimit(o); len(data) > limit {
		return nil, fmt.Errorf("certs: %w", tooManyOctets(limit))
	}
	m := &Material{}
	if err := foreignFormat(data); err != nil {
		return nil, &ParseError{Err: err}
	}
	if looksLikeDER(data) {
		if err := m.readDER(data, o); err != nil {
			return nil, &ParseError{Err: err}
		}
		return m, nil
	}
	if err := m.readPEM(data, o); err != nil {
		return nil, err
	}
	return m, nil
}

// ReadKey reads an input that holds one private key, and perhaps certificates,
// which it leaves. None is ErrNoKey, several are ErrManyKeys; the other errors are
// those of Read. A nil passphrase means that there is none.
func ReadKey(data, passphrase []byte) (PrivateKey, error) {
	m, err := ReadBytes(data, ReadOptions{Passphrase: passphrase})
	if err != nil {
		return PrivateKey{}, err
	}
	return m.Key()
}

// Key returns the private key of the input. None is ErrNoKey, several are
// ErrManyKeys.
func (m *Material) Key() (PrivateKey, error) {
	switch {
	case len(m.Keys) == 1:
		return m.Keys[0], nil
	case len(m.Keys) > 1:
		return PrivateKey{}, fmt.Errorf("certs: %w in one input", ErrManyKeys)
	case len(m.Certificates) > 0:
		return PrivateKey{}, fmt.Errorf("certs: %w: this is a certificate file", ErrNoKey)
	}
	return PrivateKey{}, fmt.Errorf("certs: %w", ErrNoKey)
}

// Certs returns the certificates of the input, of which there must be one at
// least: else ErrNoCertificate.
func (m *Material) Certs() ([]*x509.Certificate, error) {
	switch {
	case len(m.Certificates) > 0:
		return m.Certificates, nil
	case len(m.Keys) > 0:
		return nil, fmt.Errorf("certs: %w: this is a key file", ErrNoCertificate)
	}
	return nil, fmt.Errorf("certs: %w", ErrNoCertificate)
}

func inputLimit(o ReadOptions) int {
	if o.List {
		return MaxListInput
	}
	return MaxInput
}

func tooManyOctets(limit int) error {
	return fmt.Errorf("%w: more than %d octets", ErrTooLarge, limit)
}

// readAll reads up to limit octets; more are ErrTooLarge. What it leaves behind
// while growing is overwritten, because it may be a key.
func readAll(r io.Reader, limit int) ([]byte, error) {
	data := make([]byte, 0, 8<<10)
	for idle := 0; ; idle++ {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if n > 0 {
			idle = 0
		}
		if len(data) > limit {
			return data, tooManyOctets(limit)
		}
		switch {
		case err == io.EOF:
			return data, nil
		case err != nil:
			return data, err
		case idle == maxIdleReads:
			return data, io.ErrNoProgress
		case len(data) == cap(data):
			grown := append(make([]byte, 0, min(2*cap(data), limit+1)), data...)
			zero(data)
			data = grown
		}
	}
}

func (m *Material) readDER(data []byte, o ReadOptions) error {
	if label := kindOfDER(data).keyLabel(); label != "" {
		return m.addKey(label, data, o)
	}
	cert, err := parseCertificate(bytes.Clone(data)) // a certificate refers to its DER
	if err != nil {
		return err
	}
	m.Certificates, m.Lines = append(m.Certificates, cert), append(m.Lines, 0)
	return nil
}

func (m *Material) readPEM(data []byte, o ReadOptions) error {
	p := &pemReader{data: data}
	defer func() { zero(p.base64[:cap(p.base64)]) }()
	var (
		blocks     int
		parameters *pemBlock // EC PARAMETERS that wait for their key
		comments   int       // boundaries in comments, and the line of the first
		commentAt  int
	)
	for p.advance() {
		if is, boundary := p.comment(); is {
			if boundary {
				if comments++; comments == 1 {
					commentAt = p.line
				}
			}
			continue
		}
		kind, label, problem := p.boundary()
		if kind == noBoundary {
			continue
		}
		blocks++
		if o.List && p.key {
			return &ParseError{Line: p.line, Block: blocks, Label: label, Err: errKeyInList}
		}
		var err error
		switch kind {
		case badBoundary:
			err = &ParseError{Line: p.line, Block: blocks, Err: fmt.Errorf("%w: %s", ErrMalformed, problem)}
		case endBoundary:
			err = &ParseError{Line: p.line, Block: blocks, Label: label, Err: fmt.Errorf("%w: END without BEGIN", ErrMalformed)}
		case beginBoundary:
			if parameters != nil && label != labelSEC1 {
				return parametersAlone(parameters)
			}
			parameters = nil
			var b pemBlock
			if b, err = p.block(label, blocks); err == nil {
				if label == labelECParameters && !o.List {
					parameters = &b
				}
				err = m.add(&b, o)
			}
		}
		if err != nil {
			switch {
			case o.List && p.key:
				return &ParseError{Line: p.line, Block: blocks, Err: errKeyInList}
			case !o.Lenient || !o.List || errors.Is(err, ErrTooLarge) || errors.Is(err, errKeyInList):
				return err
			}
			if len(m.Findings) >= MaxListCertificates {
				return &ParseError{Line: p.line, Block: blocks, Err: fmt.Errorf("%w: more than %d bad blocks", ErrTooLarge, MaxListCertificates)}
			}
			m.Findings = append(m.Findings, Finding{Code: FindingBadBlock, Severity: SeverityWarning, Detail: strings.TrimPrefix(err.Error(), "certs: ")})
		}
	}
	switch {
	case parameters != nil:
		return parametersAlone(parameters)
	case blocks == 0:
		return &ParseError{Line: 1, Err: fmt.Errorf("%w: no PEM block (-----BEGIN ...-----), and not DER", ErrMalformed)}
	case comments > 0:
		m.Findings = append(m.Findings, Finding{Code: FindingBoundaryInComment, Severity: SeverityWarning,
			Detail: fmt.Sprintf("%d PEM boundaries in comments, the first in line %d, do not count", comments, commentAt)})
	}
	return nil
}

func parametersAlone(b *pemBlock) error {
	return b.fail(b.line, fmt.Errorf("%w: no EC PRIVATE KEY behind it", ErrMalformed))
}

// errKeyInList is what no lenient reading passes over: a list of authorities is
// shown to others.
var errKeyInList = errors.New("a private key in a list of authorities: remove it, and consider it known to others")

// add parses one PEM block.
func (m *Material) add(b *pemBlock, o ReadOptions) error {
	var err error
	switch {
	case b.label == labelCertificate:
		return m.addCertificate(b, o)
	case b.label == labelECParameters && !o.List:
		err = wholeElement(b.der)
	case b.encrypted:
		err = &UnsupportedError{What: "the old encryption of OpenSSL (Proc-Type: 4,ENCRYPTED)", Hint: "openssl pkcs8 -topk8 -in old.pem -out new.pem"}
	case isKeyLabel(b.label) && b.headers:
		err = fmt.Errorf("%w: headers in front of a private key", ErrMalformed)
	case isKeyLabel(b.label):
		err = m.addKey(b.label, b.der, o)
	default:
		err = labelError(b.label)
	}
	zero(b.der)
	if err != nil {
		return b.fail(b.line, err)
	}
	return nil
}

func (m *Material) addCertificate(b *pemBlock, o ReadOptions) error {
	limit := MaxCertificates
	if o.List {
		limit = MaxListCertificates
	}
	if len(m.Certificates) >= limit {
		return b.fail(b.line, fmt.Errorf("%w: more than %d certificates", ErrTooLarge, limit))
	}
	cert, err := parseCertificate(b.der)
	if err != nil {
		if o.List && kindOfDER(b.der).keyLabel() != "" { // under the wrong label
			zero(b.der)
			err = errKeyInList
		}
		return b.fail(b.line, err)
	}
	m.Certificates, m.Lines = append(m.Certificates, cert), append(m.Lines, b.line)
	if b.headers {
		m.Findings = append(m.Findings, Finding{Code: FindingPEMHeaders, Severity: SeverityWarning, Cert: fingerprint(cert),
			Detail: fmt.Sprintf("headers in the CERTIFICATE block of line %d do not count", b.line)})
	}
	return nil
}

// addKey parses one private key by its PEM label.
func (m *Material) addKey(label string, der []byte, o ReadOptions) error {
	if o.List {
		return errKeyInList
	}
	if len(m.Keys) >= maxKeys {
		return fmt.Errorf("%w: more than %d", ErrManyKeys, maxKeys)
	}
	if label == labelEncrypted {
		plain, err := decryptKey(der, o.Passphrase)
		if err != nil {
			return err
		}
		defer zero(plain)
		label, der = labelPKCS8, plain
	}
	key, err := parseKey(label, der)
	if err != nil {
		return err
	}
	m.Keys = append(m.Keys, key)
	return nil
}

// fingerprint is the SHA-256 of the certificate's DER.
func fingerprint(cert *x509.Certificate) [sha256.Size]byte { return sha256.Sum256(cert.Raw) }

// appendCertificatePEM appends the certificate as a PEM block.
func appendCertificatePEM(dst []byte, cert *x509.Certificate) []byte {
	return appendPEMBlock(slices.Grow(dst, len(cert.Raw)*3/2), labelCertificate, cert.Raw)
}
