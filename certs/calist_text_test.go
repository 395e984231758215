package certs

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

func pemText(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func distrustLine(cert *x509.Certificate, date time.Time) string {
	sum := trustSum(cert)
	return distrustAfter + date.UTC().Format(time.RFC3339) + " " + hex.EncodeToString(sum[:]) + "\n"
}

// trustEndless is a device that never ends.
type trustEndless struct{}

func (trustEndless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

// TestChapterExportEditImport is the chapter's procedure: export a list to a .txt file,
// delete an authority in an editor, import the rest.
func TestChapterExportEditImport(t *testing.T) {
	a, b, c := trustRoot("A"), trustRoot("B"), trustRoot("C")
	store := openTrust(t, TrustOptions{})
	trustImport(t, store, distrustLine(b.Cert, trustDays(-7))+trustPEM(a.Cert, b.Cert, c.Cert))
	text := trustExport(t, store, CustomCAs)

	sumB := trustSum(b.Cert)
	for _, want := range []string{
		"# List: custom\n", "# Updated: 2026-03-01T12:00:00Z\n", "# Certificates: 3\n",
		"# Subject: CN=B\n", "# Issuer: CN=B\n", "# Serial: " + serialText(b.Cert) + "\n", "# SHA-256: " + hex.EncodeToString(sumB[:]) + "\n",
		"# Valid: " + b.Cert.NotBefore.Format(time.RFC3339) + " to " + b.Cert.NotAfter.Format(time.RFC3339) + "\n",
		"# Distrust-After: 2026-02-22T12:00:00Z " + hex.EncodeToString(sumB[:]) + "\n",
	} {
		require.Contains(t, text, want)
	}

	again := openTrust(t, TrustOptions{})
	report := trustImport(t, again, text)
	require.Len(t, report.Added, 3)
	require.Equal(t, text, trustExport(t, again, CustomCAs), "reads back to the same")
	require.Equal(t, store.VersionInfo(CustomCAs), again.VersionInfo(CustomCAs))

	block := func(cert *x509.Certificate) string { return string(appendCertificatePEM(nil, cert)) }
	edited := func(edit func(string) string, want ...*testpki.Authority) *TrustStore {
		t.Helper()
		changed := edit(text)
		require.NotEqual(t, text, changed, "the edit must do something")
		store := openTrust(t, TrustOptions{})
		trustImport(t, store, changed)
		var certs []*x509.Certificate
		for _, a := range want {
			certs = append(certs, a.Cert)
		}
		require.Equal(t, certs, trustListed(t, store, CustomCAs))
		return store
	}
	without := func(cert *x509.Certificate) func(string) string {
		return func(text string) string { return strings.Replace(text, block(cert), "", 1) }
	}
	limit := func(store *TrustStore, a *testpki.Authority) time.Time {
		t.Helper()
		detail, err := store.Detail(trustSum(a.Cert))
		require.NoError(t, err)
		return detail.DistrustAfter
	}
	require.Equal(t, trustDays(-7), limit(edited(without(a.Cert), b, c), b))
	require.Zero(t, limit(edited(without(b.Cert), a, c), c), "the comments of a deleted block do not go over to the next")
	require.Zero(t, limit(edited(func(s string) string {
		return strings.Replace(s, distrustLine(b.Cert, trustDays(-7)), "", 1)
	}, a, b, c), b), "the line deleted")
	require.Equal(t, trustDays(-7), limit(edited(func(s string) string {
		return strings.ReplaceAll(s, "\n", "\r\n")
	}, a, b, c), b), "an editor of Windows")
	require.Equal(t, trustDays(-7), limit(edited(func(s string) string {
		return "\ufeff" + strings.ReplaceAll(s, "\n", "\r")
	}, a, b, c), b), "byte order mark and lone CR")
	require.Equal(t, trustDays(-7), limit(edited(func(s string) string {
		return "0 a text whose first octet opens DER\n" + s
	}, a, b, c), b), "text in front")
	require.Equal(t, trustDays(-7), limit(edited(func(s string) string {
		return block(c.Cert) + s
	}, c, a, b), b), "a block in front of the head")
}

// TestDistrustLines: one that cannot be understood must not be passed over.
func TestDistrustLines(t *testing.T) {
	root := trustRoot("Root")
	sum := trustSum(root.Cert)
	digest := hex.EncodeToString(sum[:])
	store := openTrust(t, TrustOptions{})
	for why, line := range map[string]string{
		"no digest":          "# Distrust-After: 2026-01-01T00:00:00Z",
		"nothing":            "# Distrust-After:",
		"digest cut":         "# Distrust-After: 2026-01-01T00:00:00Z " + digest[1:],
		"not hexadecimal":    "# Distrust-After: 2026-01-01T00:00:00Z " + strings.Repeat("x", 64),
		"a date only":        "# Distrust-After: 2026-01-01 " + digest,
		"no such day":        "# Distrust-After: 2026-02-30T00:00:00Z " + digest,
		"zero, as for none":  "# Distrust-After: 0001-01-01T00:00:00Z " + digest,
		"before 1970":        "# Distrust-After: 1969-12-31T23:59:59Z " + digest,
		"something more":     "# Distrust-After: 2026-01-01T00:00:00Z " + digest + " not",
		"no blank":           "# Distrust-After:2026-01-01T00:00:00Z" + digest,
		"behind blanks":      " \t# Distrust-After: soon",
		"below the block":    trustPEM(root.Cert) + "# Distrust-After: soon",
		"behind a lone CR":   "# x\r# Distrust-After: soon",
		"carriage at an end": "# Distrust-After: soon\r",
		"in small letters":   "# distrust-after: soon",
		"without its colon":  "# Distrust-After soon",
		"beyond 9999 in UTC": "# Distrust-After: 9999-12-31T23:59:59-01:00 " + digest,
	} {
		_, err := store.Import(strings.NewReader(line+"\n"+trustPEM(root.Cert)), CAImportOptions{Lenient: true})
		var parse *ParseError
		require.ErrorAs(t, err, &parse, why)
		require.Positive(t, parse.Line, why)
	}
	for why, tc := range map[string]struct {
		text string
		want time.Time
	}{
		"above":            {distrustLine(root.Cert, trustNoon) + trustPEM(root.Cert), trustNoon},
		"below":            {trustPEM(root.Cert) + distrustLine(root.Cert, trustNoon), trustNoon},
		"capitals":         {strings.ToUpper(digest) + "\n# Distrust-After: 2026-03-01T12:00:00Z " + strings.ToUpper(digest) + "\n" + trustPEM(root.Cert), trustNoon},
		"other zone":       {"# Distrust-After: 2026-03-01T13:00:00+01:00 " + digest + "\n" + trustPEM(root.Cert), trustNoon},
		"no blank":         {"# Distrust-After:2026-03-01T12:00:00Z " + digest + "\n" + trustPEM(root.Cert), trustNoon},
		"no first blank":   {"#Distrust-After: 2026-03-01T12:00:00Z " + digest + "\n" + trustPEM(root.Cert), trustNoon},
		"another case":     {"## distrust-after :\t2026-03-01T12:00:00Z " + digest + "\n" + trustPEM(root.Cert), trustNoon},
		"the last second":  {"# Distrust-After: 9999-12-31T22:59:59-01:00 " + digest + "\n" + trustPEM(root.Cert), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"the earlier wins": {distrustLine(root.Cert, trustNoon) + distrustLine(root.Cert, trustDays(1)) + trustPEM(root.Cert), trustNoon},
		"later, earlier":   {distrustLine(root.Cert, trustDays(1)) + distrustLine(root.Cert, trustNoon) + trustPEM(root.Cert), trustNoon},
		"somebody else's":  {distrustLine(trustRoot("Other").Cert, trustNoon) + trustPEM(root.Cert), time.Time{}},
		"not a comment":    {"Distrust-After: soon\n" + trustPEM(root.Cert), time.Time{}},
	} {
		trustImport(t, store, tc.text)
		a, err := store.Detail(sum)
		require.NoError(t, err, why)
		require.Equal(t, tc.want, a.DistrustAfter, why)
	}
}

// TestRepetitionsKeepTheStricterDate: neither Add nor a second copy widens trust.
func TestRepetitionsKeepTheStricterDate(t *testing.T) {
	root := trustRoot("Root")
	plain, early, late := trustPEM(root.Cert), distrustLine(root.Cert, trustDays(-5))+trustPEM(root.Cert), distrustLine(root.Cert, trustDays(-2))+trustPEM(root.Cert)
	for _, tc := range []struct {
		why, first, second string
		want               time.Time
	}{
		{"plain stays plain", plain, plain, time.Time{}},
		{"a date is added", plain, late, trustDays(-2)},
		{"a date is not lifted", late, plain, trustDays(-2)},
		{"an earlier one counts", late, early, trustDays(-5)},
		{"a later one does not", early, late, trustDays(-5)},
	} {
		store := openTrust(t, TrustOptions{})
		trustImport(t, store, tc.first)
		report, err := store.Add(strings.NewReader(tc.second), CAImportOptions{})
		require.NoError(t, err, tc.why)
		require.Empty(t, report.Added, tc.why)
		require.Equal(t, 1, report.Duplicates, tc.why)
		a, err := store.Detail(trustSum(root.Cert))
		require.NoError(t, err, tc.why)
		require.Equal(t, tc.want, a.DistrustAfter, tc.why)
	}
}

// TestHostileSubjects: names cannot forge a line of the text.
func TestHostileSubjects(t *testing.T) {
	victim := trustRoot("Victim")
	sum := trustSum(victim.Cert)
	hostile := []string{
		"x\n# Distrust-After: 2001-01-01T00:00:00Z " + hex.EncodeToString(sum[:]),
		"x\r-----BEGIN CERTIFICATE-----\rAAAA\r-----END CERTIFICATE-----\r",
		"\u2028# Distrust-After: soon\u2029",
		"\u202e\x1b[2J\x00\u0085",
		strings.Repeat("ж", 4000),
	}
	certs := []*x509.Certificate{victim.Cert}
	for _, name := range hostile {
		certs = append(certs, trustRoot(name).Cert)
	}
	// A string of a type (TeletexString) that is not UTF-8.
	subject, err := asn1.Marshal(pkix.Name{CommonName: "a..#b"}.ToRDNSequence())
	require.NoError(t, err)
	subject = bytes.Replace(subject, []byte("\x0c\x05a..#b"), []byte("\x14\x05a\xff\n#b"), 1)
	teletex := trustRoot("t61", testpki.Template(func(c *x509.Certificate) { c.RawSubject = subject })).Cert
	require.Equal(t, "aÿ\n#b", teletex.Subject.CommonName)
	certs = append(certs, teletex)

	store := openTrust(t, TrustOptions{})
	trustImport(t, store, trustPEM(certs...))
	text := trustExport(t, store, CustomCAs)
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "#") {
			require.Less(t, len(line), 7*maxCommentText)
			for _, r := range line {
				require.False(t, r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\u202e', "%q", line)
			}
		}
	}
	again := openTrust(t, TrustOptions{})
	trustImport(t, again, text)
	require.Equal(t, certs, trustListed(t, again, CustomCAs))
	require.Equal(t, text, trustExport(t, again, CustomCAs))
	detail, err := again.Detail(sum)
	require.NoError(t, err)
	require.Zero(t, detail.DistrustAfter)
	authorities, err := again.Authorities(CustomCAs)
	require.NoError(t, err)
	for _, a := range authorities {
		require.NotContains(t, a.Subject+a.Issuer, "\n")
	}
}

// TestListBeyondItsText: a list whose export could not be imported is refused.
func TestListBeyondItsText(t *testing.T) {
	big := trustRoot("Big", testpki.Template(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: make([]byte, MaxListInput*3/4)}}
	}))
	storage := &trustMemory{}
	store := openTrust(t, TrustOptions{Storage: storage})
	_, err := store.AddCertificates(big.Cert)
	require.ErrorIs(t, err, ErrTooLarge)
	require.Zero(t, storage.writes)
	require.Empty(t, trustListed(t, store, CustomCAs))
}

// FuzzImportCAList: whatever is imported, its export is a fixed point: it reads
// back to the same list with the same constraints, and to the same text.
func FuzzImportCAList(f *testing.F) {
	a, b := trustRoot("A"), trustRoot("B")
	peer := testpki.SelfSigned([]string{"mx.example"}, trustValid(-1, 1))
	key, err := x509.MarshalPKCS8PrivateKey(a.Key)
	require.NoError(f, err)
	two := openTrust(f, TrustOptions{})
	trustImport(f, two, distrustLine(a.Cert, trustNoon)+trustPEM(a.Cert, b.Cert, peer.Cert))
	f.Add([]byte(trustExport(f, two, CustomCAs)), false)
	f.Add([]byte(trustPEM(a.Cert, a.Cert)), false)
	f.Add([]byte("## Certificate data from Mozilla as of: Tue Dec  2 04:12:02 2025 GMT\n"+trustPEM(b.Cert)), false)
	f.Add([]byte(strings.Replace(trustPEM(a.Cert, b.Cert), "\n", "\n!", 1)), true)
	f.Add([]byte(trustPEM(a.Cert)+pemText("PRIVATE KEY", key)), true)
	f.Add([]byte("\ufeff0 #\r# Distrust-After: 1970-01-01T00:00:00Z "+strings.Repeat("0", 64)+"\r"+trustPEM(a.Cert)), false)
	f.Add(b.Cert.Raw, false)
	f.Add([]byte("# Certificate authorities\n# Certificates: 0\n"), true)
	f.Fuzz(func(t *testing.T, data []byte, lenient bool) {
		store := openTrust(t, TrustOptions{})
		report, err := store.Import(bytes.NewReader(data), CAImportOptions{Lenient: lenient})
		if err != nil {
			require.Empty(t, trustListed(t, store, CustomCAs))
			require.Equal(t, uint64(1), store.Generation())
			return
		}
		listed := trustListed(t, store, CustomCAs)
		require.NotEmpty(t, listed)
		require.Equal(t, listed, report.Added)
		text := trustExport(t, store, CustomCAs)
		again := openTrust(t, TrustOptions{})
		trustImport(t, again, text)
		require.Equal(t, store.VersionInfo(CustomCAs), again.VersionInfo(CustomCAs))
		require.Equal(t, text, trustExport(t, again, CustomCAs))
	})
}
