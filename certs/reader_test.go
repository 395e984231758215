package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// readFixture is made once for the tables of this file.
type readFixture struct {
	key        crypto.Signer
	cert, root *x509.Certificate
	certPEM    string
	rootPEM    string
	keyPEM     string // PKCS #8
	sec1PEM    string
	pkcs8      []byte
}

func newReadFixture(t testing.TB) *readFixture {
	root := testpki.NewRoot("Reader Root")
	leaf := root.Leaf([]string{"mx.example.com"})
	f := &readFixture{key: leaf.Key, cert: leaf.Cert, root: root.Cert}
	f.certPEM = string(appendCertificatePEM(nil, leaf.Cert))
	f.rootPEM = string(appendCertificatePEM(nil, root.Cert))
	key, err := NewPrivateKey(leaf.Key)
	require.NoError(t, err)
	f.pkcs8, err = key.pkcs8()
	require.NoError(t, err)
	text, err := key.appendPEM(nil)
	require.NoError(t, err)
	f.keyPEM = string(text)
	sec1, err := x509.MarshalECPrivateKey(leaf.Key.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	f.sec1PEM = block("EC PRIVATE KEY", sec1)
	return f
}

func block(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func TestReadAccepts(t *testing.T) {
	f := newReadFixture(t)
	one := []*x509.Certificate{f.cert}
	both := []*x509.Certificate{f.cert, f.root}
	indented := "  " + strings.ReplaceAll(strings.TrimSpace(f.certPEM), "\n", "\t \n \t") + "  \n"
	withHeaders := strings.Replace(f.certPEM, "-----\n", "-----\nSubject: mx.example.com\nX-Note: a: b\n\n", 1)
	parameters := block("EC PARAMETERS", []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07})
	for _, tc := range []struct {
		why   string
		in    string
		certs []*x509.Certificate
		lines []int
		keys  int
		codes []Code
	}{
		{"one certificate", f.certPEM, one, []int{1}, 0, nil},
		{"two, in their order", f.certPEM + f.rootPEM, both, []int{1, 1 + strings.Count(f.certPEM, "\n")}, 0, nil},
		{"duplicates are kept", f.certPEM + f.certPEM, []*x509.Certificate{f.cert, f.cert}, nil, 0, nil},
		{"CRLF", strings.ReplaceAll(f.certPEM, "\n", "\r\n"), one, []int{1}, 0, nil},
		{"a lone CR, as old Macs have it", strings.ReplaceAll(f.certPEM+f.rootPEM, "\n", "\r"), both, []int{1, 1 + strings.Count(f.certPEM, "\n")}, 0, nil},
		{"line ends mixed", strings.Replace(strings.Replace(f.certPEM, "\n", "\r\n", 2), "\r\n", "\r", 1), one, []int{1}, 0, nil},
		{"no newline at the end", strings.TrimSpace(f.certPEM), one, []int{1}, 0, nil},
		{"byte order mark", "\xef\xbb\xbf" + f.certPEM, one, []int{1}, 0, nil},
		{"blanks around every line", indented, one, []int{1}, 0, nil},
		{"text between blocks", "Certificate:\n    Data: -- no boundary --\n" + f.certPEM + "\x00\xff junk\n" + f.rootPEM + "the end", both, nil, 0, nil},
		{"text that begins with the digit zero, which is also the tag of DER", "0 s:CN=mx\n" + f.certPEM, one, []int{2}, 0, nil},
		{"the words of the boundary in a sentence", "We begin certificate renewal at the end of the private key's life.\n" + f.certPEM, one, []int{2}, 0, nil},
		{"words of a boundary in lists and headings", "- Intermediate certificate (recommended)\n- end certificate\n- End-entity certificate\n--- end of certificate chain ---\n\u2014 sender's private key: elsewhere\n" + f.certPEM + "\n---\n-\n", one, []int{6}, 0, nil},
		{"boundary in a comment", "# -----BEGIN CERTIFICATE-----\n#-----END CERTIFICATE-----\n" + f.certPEM, one, []int{3}, 0, []Code{FindingBoundaryInComment}},
		{"comment without boundary", "# CN=mx.example.com\n" + f.certPEM, one, []int{2}, 0, nil},
		{"headers in a certificate", withHeaders, one, []int{1}, 0, []Code{FindingPEMHeaders}},
		{"key and certificate", f.keyPEM + f.certPEM, one, nil, 1, nil},
		{"SEC 1 with its parameters in front", parameters + f.sec1PEM + f.certPEM, one, nil, 1, nil},
		{"all base64 in one line", "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(f.cert.Raw) + "\n-----END CERTIFICATE-----", one, []int{1}, 0, nil},
		{"blank line before the base64", strings.Replace(f.certPEM, "-----\n", "-----\n\n", 1), one, []int{1}, 0, nil},
		{"certificate in DER", string(f.cert.Raw), one, []int{0}, 0, nil},
		{"PKCS #8 in DER", string(f.pkcs8), nil, nil, 1, nil},
	} {
		m, err := ReadBytes([]byte(tc.in), ReadOptions{})
		require.NoError(t, err, tc.why)
		require.Equal(t, tc.certs, m.Certificates, tc.why)
		require.Len(t, m.Lines, len(tc.certs), tc.why)
		if tc.lines != nil {
			require.Equal(t, tc.lines, m.Lines, tc.why)
		}
		require.Len(t, m.Keys, tc.keys, tc.why)
		for _, key := range m.Keys {
			require.True(t, publicEqual(key.Public(), f.cert.PublicKey), tc.why)
		}
		require.Equal(t, tc.codes, codes(m.Findings), tc.why)
	}
}

func codes(findings []Finding) (list []Code) {
	for _, f := range findings {
		list = append(list, f.Code)
	}
	return list
}

func TestReadRefuses(t *testing.T) {
	f := newReadFixture(t)
	corrupt := []byte(f.certPEM)
	corrupt[len("-----BEGIN CERTIFICATE-----\n")+65+7] = '!' // in line 3
	nl := strings.Count(f.certPEM, "\n")
	trailing := append(bytes.Clone(f.cert.Raw), 0)
	request, err := CertificateRequest(must(NewPrivateKey(f.key)), f.cert, nil)
	require.NoError(t, err)
	requestBlock, _ := pem.Decode(request)
	for _, tc := range []struct {
		why  string
		in   string
		line int // 0: not text
		is   error
		text string
	}{
		{"nothing", "", 1, ErrMalformed, "no PEM block"},
		{"text alone", "hello\n", 1, ErrMalformed, "no PEM block"},
		{"base64 without boundaries", base64.StdEncoding.EncodeToString(f.cert.Raw), 1, ErrMalformed, "no PEM block"},
		{"commented out altogether", "# " + strings.ReplaceAll(f.certPEM, "\n", "\n# "), 1, ErrMalformed, "no PEM block"},
		{"only BEGIN commented out", "#" + f.certPEM, nl, ErrMalformed, "END without BEGIN"},
		{"text in front of BEGIN", "cert: " + f.certPEM, 1, ErrMalformed, "text in front of BEGIN"},
		{"files joined without a newline", strings.TrimSpace(f.certPEM) + f.rootPEM, nl, ErrMalformed, "text in front of BEGIN"},
		{"text behind BEGIN", strings.Replace(f.certPEM, "-----\n", "----- x\n", 1), 1, ErrMalformed, "malformed BEGIN"},
		{"END missing at the end", f.certPEM[:len(f.certPEM)-40], 1, ErrMalformed, "no END"},
		{"END missing before the next block", f.certPEM[:len(f.certPEM)-27] + "\n" + f.rootPEM, 1, ErrMalformed, "no END before the next BEGIN"},
		{"another END", strings.Replace(f.certPEM, "END CERTIFICATE", "END X509 CRL", 1), nl, ErrMalformed, "closes"},
		{"text behind END", strings.Replace(f.certPEM, "END CERTIFICATE-----", "END CERTIFICATE-----;", 1), nl, ErrMalformed, "malformed END"},
		{"four hyphens", f.rootPEM + strings.Replace(f.certPEM, "-----BEGIN", "----BEGIN", 1), 1 + strings.Count(f.rootPEM, "\n"), ErrMalformed, "malformed boundary"},
		{"dashes of a word processor", strings.ReplaceAll(f.certPEM, "--", "\u2013"), 1, ErrMalformed, "malformed boundary"},
		{"three hyphens and blanks", "--- Begin Private Key ---\n" + f.certPEM, 1, ErrMalformed, "malformed boundary"},
		{"one hyphen", f.certPEM + "-END CERTIFICATE-\n", 1 + nl, ErrMalformed, "malformed boundary"},
		{"dashes of Windows-1252", "\x97\x96BEGIN CERTIFICATE\x97\x96\n" + f.certPEM, 1, ErrMalformed, "malformed boundary"},
		{"no blank", "-----BEGINRSA PRIVATE KEY-----\n" + f.certPEM, 1, ErrMalformed, "malformed boundary"},
		{"lower case", strings.ToLower(f.certPEM), 1, ErrMalformed, "malformed boundary"},
		{"comment inside a block", strings.Replace(f.certPEM, "-----\n", "-----\n# mine\n", 1), 2, ErrMalformed, "bad base64"},
		{"bad base64, found by its line", string(corrupt), 3, ErrMalformed, "bad base64"},
		{"bad base64 behind headers", strings.Replace(string(corrupt), "-----\n", "-----\nA: b\nC: d\n\n", 1), 6, ErrMalformed, "bad base64"},
		{"padding in the middle", strings.Replace(f.certPEM, "-----\n", "-----\nAA==\n", 1), 0, ErrMalformed, "bad base64"},
		{"base64 cut off, found in the last line", strings.Replace(f.certPEM, "\n-----END", "A\n-----END", 1), 0, ErrMalformed, "bad base64"},
		{"nothing between", "\n-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", 2, ErrMalformed, "nothing between"},
		{"trailing octets", block("CERTIFICATE", trailing), 1, ErrMalformed, "1 octets behind"},
		{"bad DER", block("CERTIFICATE", []byte("abc")), 1, ErrMalformed, "bad DER"},
		{"DER that is no certificate", block("CERTIFICATE", []byte{0x30, 0}), 1, ErrMalformed, "no certificate"},
		{"a key under a certificate's label", block("CERTIFICATE", f.pkcs8), 1, ErrMalformed, "a private key"},
		{"a certificate under a key's label", block("PRIVATE KEY", f.cert.Raw), 1, ErrMalformed, "a certificate"},
		{"PKCS #8 under the label of PKCS #1", block("RSA PRIVATE KEY", f.pkcs8), 1, ErrMalformed, "not an RSA key"},
		{"octets behind a PKCS #8 key", block("PRIVATE KEY", append(bytes.Clone(f.pkcs8), 0)), 1, ErrMalformed, "behind"},
		{"headers in front of a key", strings.Replace(f.keyPEM, "-----\n", "-----\nA: b\n\n", 1), 1, ErrMalformed, "headers"},
		{"parameters alone", block("EC PARAMETERS", []byte{6, 1, 42}) + f.certPEM, 1, ErrMalformed, "no EC PRIVATE KEY"},
		{"parameters at the end", block("EC PARAMETERS", []byte{6, 1, 42}), 1, ErrMalformed, "no EC PRIVATE KEY"},
		{"DER with octets behind", string(trailing), 0, ErrMalformed, "behind"},
		{"DER cut off", string(f.cert.Raw[:100]), 0, ErrMalformed, "bad DER"},
		{"more keys than an input may have", strings.Repeat(f.keyPEM, maxKeys+1), 0, ErrManyKeys, "more than 16"},
		{"trusted certificate of OpenSSL", block("TRUSTED CERTIFICATE", f.cert.Raw), 1, nil, "openssl x509 -in"},
		{"the label of Netscape", block("X509 CERTIFICATE", f.cert.Raw), 1, nil, "openssl x509 -in"},
		{"PKCS #7", block("PKCS7", []byte{0x30, 0}), 1, nil, "openssl pkcs7 -in"},
		{"PKCS #7 in DER", "\x30\x0f\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x02\x30\x00", 0, nil, "openssl pkcs7 -inform DER"},
		{"PKCS #7 in BER", "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80", 0, nil, "PKCS #7"},
		{"PKCS #12 in DER", "\x30\x12\x02\x01\x03\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x00", 0, nil, "PKCS #12"},
		{"PKCS #12 in BER", "\x30\x80\x02\x01\x03\x30\x80", 0, nil, "PKCS #12"},
		{"Java keystore", "\xfe\xed\xfe\xed\x00\x00\x00\x02", 0, nil, "keytool"},
		{"UTF-16", "\xff\xfe-\x00-\x00", 0, nil, "UTF-16"},
		{"request", string(request), 1, nil, "sends back"},
		{"request in DER", string(requestBlock.Bytes), 0, nil, "sends back"},
		{"old encryption", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n", 1, nil, "openssl pkcs8 -topk8"},
		{"key of OpenSSH", block("OPENSSH PRIVATE KEY", []byte("x")), 1, nil, "ssh-keygen"},
		{"unknown label", block("PGP MESSAGE", []byte("x")), 1, nil, `"PGP MESSAGE"`},
		{"label with control characters", "-----BEGIN A\x1bB-----\nAAAA\n-----END A\x1bB-----\n", 1, ErrMalformed, "malformed BEGIN"},
	} {
		_, err := ReadBytes([]byte(tc.in), ReadOptions{})
		var parse *ParseError
		require.ErrorAs(t, err, &parse, tc.why)
		require.ErrorContains(t, err, tc.text, tc.why)
		if tc.line > 0 {
			require.Equal(t, tc.line, parse.Line, "%s: %v", tc.why, err)
		}
		if tc.is != nil {
			require.ErrorIs(t, err, tc.is, tc.why)
		} else {
			var unsupported *UnsupportedError
			require.ErrorAs(t, err, &unsupported, tc.why)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A key where a certificate is wanted, and the reverse.
func TestMaterialKeyAndCerts(t *testing.T) {
	f := newReadFixture(t)
	_, err := ReadKey([]byte(f.certPEM), nil)
	require.ErrorIs(t, err, ErrNoKey)
	require.ErrorContains(t, err, "this is a certificate file")
	_, err = ReadKey([]byte(f.keyPEM+f.sec1PEM), nil)
	require.ErrorIs(t, err, ErrManyKeys)
	key, err := ReadKey([]byte(f.certPEM+f.keyPEM), nil)
	require.NoError(t, err)
	require.True(t, publicEqual(key.Public(), f.cert.PublicKey))
	m, err := ReadBytes([]byte(f.keyPEM), ReadOptions{})
	require.NoError(t, err)
	_, err = m.Certs()
	require.ErrorIs(t, err, ErrNoCertificate)
	require.ErrorContains(t, err, "this is a key file")
	_, err = new(Material).Certs()
	require.ErrorIs(t, err, ErrNoCertificate)
	_, err = new(Material).Key()
	require.ErrorIs(t, err, ErrNoKey)
}

func TestReadListLenient(t *testing.T) {
	f := newReadFixture(t)
	bad := block("CERTIFICATE", []byte("abc"))
	open := strings.Replace(f.certPEM, "-----END CERTIFICATE-----\n", "", 1)
	in := f.certPEM + bad + open + f.rootPEM + block("X509 CRL", []byte("x"))
	_, err := ReadBytes([]byte(in), ReadOptions{List: true})
	require.ErrorIs(t, err, ErrMalformed, "strict by default")
	_, err = ReadBytes([]byte(in), ReadOptions{Lenient: true})
	require.ErrorIs(t, err, ErrMalformed, "lenient is for lists only")
	m, err := ReadBytes([]byte(in), ReadOptions{List: true, Lenient: true})
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{f.cert, f.root}, m.Certificates, "the block behind one without END is kept")
	require.Equal(t, []Code{FindingBadBlock, FindingBadBlock, FindingBadBlock}, codes(m.Findings))
	require.Contains(t, m.Findings[0].Detail, fmt.Sprintf("line %d", 1+strings.Count(f.certPEM, "\n")))
}

// A private key in a list is refused however it is written, and none of it is in
// the message.
func TestReadListRefusesKeys(t *testing.T) {
	f := newReadFixture(t)
	secret := strings.Split(f.keyPEM, "\n")[1]
	for why, in := range map[string]string{
		"PKCS #8":                     f.keyPEM,
		"SEC 1":                       f.sec1PEM,
		"behind others":               f.certPEM + f.keyPEM,
		"without END":                 f.certPEM + strings.SplitAfter(f.keyPEM, "=\n")[0],
		"unknown kind":                block("OPENSSH PRIVATE KEY", []byte("x")),
		"old encryption":              "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"DER":                         string(f.pkcs8),
		"under a certificate's label": f.certPEM + block("CERTIFICATE", f.pkcs8),
		"SEC 1 under another label":   block("CERTIFICATE", must(x509.MarshalECPrivateKey(f.key.(*ecdsa.PrivateKey)))),
		"four hyphens":                f.certPEM + strings.Replace(f.keyPEM, "-----BEGIN", "----BEGIN", 1),
		"in small letters":            f.certPEM + strings.ToLower(f.keyPEM),
		"BEGIN commented out":         f.certPEM + "# " + f.keyPEM,
		"BEGIN CERTIFICATE, END KEY":  f.certPEM + "-----BEGIN CERTIFICATE-----\n" + strings.SplitN(f.keyPEM, "\n", 2)[1],
		"BEGIN lost":                  f.certPEM + strings.SplitN(f.keyPEM, "\n", 2)[1],
		"text in front of its BEGIN":  f.certPEM + "key: " + f.keyPEM,
		"behind a block without END":  strings.Replace(f.certPEM, "-----END CERTIFICATE-----\n", "", 1) + f.keyPEM,
	} {
		for _, lenient := range []bool{false, true} {
			_, err := ReadBytes([]byte(in), ReadOptions{List: true, Lenient: lenient})
			require.ErrorIs(t, err, errKeyInList, why)
			require.NotContains(t, err.Error(), secret, why)
		}
	}
}

// endless never ends, as /dev/zero.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.read += len(p)
	return len(p), nil
}

func TestReadBounds(t *testing.T) {
	for _, o := range []ReadOptions{{}, {List: true}} {
		device := &endless{}
		_, err := Read(device, o)
		require.ErrorIs(t, err, ErrTooLarge)
		require.LessOrEqual(t, device.read, inputLimit(o)+1)
		_, err = ReadBytes(make([]byte, inputLimit(o)+1), o)
		require.ErrorIs(t, err, ErrTooLarge)
	}
	f := newReadFixture(t)
	small := block("CERTIFICATE", testpki.SelfSigned(nil).Cert.Raw)
	_, err := ReadBytes([]byte(strings.Repeat(small, MaxCertificates)), ReadOptions{})
	require.NoError(t, err)
	_, err = ReadBytes([]byte(strings.Repeat(small, MaxCertificates+1)), ReadOptions{})
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = ReadBytes([]byte(strings.Repeat("-----BEGIN X-----\n-----END X-----\n", MaxListCertificates+1)), ReadOptions{List: true, Lenient: true})
	require.ErrorIs(t, err, ErrTooLarge, "findings are bounded, too")
	_, err = ReadBytes([]byte(strings.Repeat("# -----BEGIN CERTIFICATE-----\n", 100_000)+f.certPEM), ReadOptions{})
	require.NoError(t, err)
}

func TestReadFile(t *testing.T) {
	f := newReadFixture(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "cert.pem")
	require.NoError(t, os.WriteFile(path, []byte(f.certPEM), 0o600))
	m, err := ReadFile(path, ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{f.cert}, m.Certificates)
	_, err = ReadFile(dir, ReadOptions{})
	require.ErrorIs(t, err, ErrMalformed)
	require.ErrorContains(t, err, "not a regular file")
	_, err = ReadFile(os.DevNull, ReadOptions{})
	require.ErrorContains(t, err, "not a regular file")
	_, err = ReadFile(filepath.Join(dir, "absent"), ReadOptions{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	_, err = ReadFile(path, ReadOptions{})
	require.ErrorContains(t, err, fmt.Sprintf("certs: %q: line 1: ", path))
	var parse *ParseError
	require.ErrorAs(t, err, &parse)
}

// The reader's buffers hold keys, so nothing of them may stay readable behind it.
func TestReadZeroesItsBuffers(t *testing.T) {
	f := newReadFixture(t)
	var seen [][]byte
	_, err := Read(readerFunc(func(p []byte) (int, error) {
		seen = append(seen, p[:cap(p)])
		if len(seen) == 1 {
			return copy(p, f.keyPEM), nil
		}
		return 0, io.EOF
	}), ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, make([]byte, len(seen[0])), seen[0])
	_, err = Read(readerFunc(func([]byte) (int, error) { return 0, errors.New("torn cable") }), ReadOptions{})
	require.ErrorContains(t, err, "torn cable")
	_, err = Read(readerFunc(func([]byte) (int, error) { return 0, nil }), ReadOptions{})
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// Room for a block is made once: a buffer that grows leaves pieces of a key behind.
func TestBlocksAreJoinedInPlace(t *testing.T) {
	f := newReadFixture(t)
	for _, in := range []string{f.certPEM, f.keyPEM, strings.TrimSuffix(f.keyPEM, "-----END PRIVATE KEY-----\n"), strings.ReplaceAll(f.certPEM, "\n", "\r\n \t")} {
		p := &pemReader{data: []byte(in)}
		require.True(t, p.advance())
		_, label, _ := p.boundary()
		want := len(in) - p.pos
		if end := strings.Index(in[p.pos:], "-----"); end >= 0 {
			want = end
		}
		_, _ = p.block(label, 1)
		require.Equal(t, want, cap(p.base64))
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A certificate read from DER must not change with the caller's buffer.
func TestReadDoesNotKeepTheInput(t *testing.T) {
	f := newReadFixture(t)
	data := bytes.Clone(f.cert.Raw)
	m, err := ReadBytes(data, ReadOptions{})
	require.NoError(t, err)
	clear(data)
	require.Equal(t, f.cert.Raw, m.Certificates[0].Raw)
}

func FuzzReadPEM(f *testing.F) {
	fixture := newReadFixture(f)
	for _, seed := range []string{
		fixture.certPEM, fixture.certPEM + fixture.rootPEM, fixture.keyPEM + fixture.certPEM, fixture.sec1PEM,
		"# -----BEGIN CERTIFICATE-----\r" + fixture.certPEM, "\xef\xbb\xbf" + fixture.certPEM,
		strings.Replace(fixture.certPEM, "-----\n", "-----\nA: b\n\n", 1), string(fixture.cert.Raw), "-----BEGIN X-----", "",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, list bool) {
		m, err := ReadBytes(data, ReadOptions{List: list, Lenient: list})
		if err != nil {
			var parse *ParseError
			if errors.As(err, &parse) {
				text := strings.ReplaceAll(string(data), "\r\n", "\n")
				lines := 1 + strings.Count(text, "\n") + strings.Count(text, "\r")
				require.LessOrEqual(t, parse.Line, lines)
			} else {
				require.ErrorIs(t, err, ErrTooLarge)
			}
			return
		}
		require.Len(t, m.Lines, len(m.Certificates))
		if len(m.Certificates) == 0 {
			return
		}
		var again []byte
		for _, cert := range m.Certificates {
			again = appendCertificatePEM(again, cert)
		}
		back, err := ReadBytes(again, ReadOptions{List: list})
		require.NoError(t, err)
		require.Len(t, back.Certificates, len(m.Certificates))
		for i, cert := range m.Certificates {
			require.Equal(t, cert.Raw, back.Certificates[i].Raw)
		}
	})
}
