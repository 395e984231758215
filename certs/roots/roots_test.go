package roots

import (
	"bytes"
	"crypto/x509"
	"errors"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/smtpsec/smtpsec/certs"
)

func open(t testing.TB) *certs.TrustStore {
	t.Helper()
	trust, err := certs.NewTrustStore(certs.TrustOptions{System: Mozilla()})
	require.NoError(t, err)
	return trust
}

func export(t testing.TB, trust *certs.TrustStore) []byte {
	t.Helper()
	var text bytes.Buffer
	require.NoError(t, trust.Export(&text, certs.SystemCAs))
	return text.Bytes()
}

// TestMozilla: the list is the bundle, root by root, with the same constraints.
func TestMozilla(t *testing.T) {
	trust := open(t)
	authorities, err := trust.Authorities(certs.SystemCAs)
	require.NoError(t, err)
	require.Greater(t, len(authorities), 100)
	i, limited := 0, 0
	for embedded := range bundle.Roots() {
		a := authorities[i]
		i++
		require.Equal(t, embedded.Certificate, a.Certificate.Raw)
		require.Equal(t, embedded.Constraint == nil, a.DistrustAfter.IsZero(), a.Subject)
		if embedded.Constraint == nil {
			continue
		}
		limited++
		for _, step := range []time.Duration{-time.Second, 0, time.Second} {
			issued := a.DistrustAfter.Add(step)
			old, young := &x509.Certificate{NotBefore: time.Unix(0, 0)}, &x509.Certificate{NotBefore: issued}
			require.Equal(t, step > 0, embedded.Constraint([]*x509.Certificate{young}) != nil, "leaf: %s %v", a.Subject, step)
			require.Equal(t, step > 0, embedded.Constraint([]*x509.Certificate{old, young}) != nil, "intermediate: %s %v", a.Subject, step)
		}
	}
	require.Len(t, authorities, i)
	t.Logf("%d roots, %d with a date of distrust", i, limited)
	v := trust.VersionInfo(certs.SystemCAs)
	require.Equal(t, "mozilla", v.Source)
	require.Equal(t, i, v.Count)
	require.NotEmpty(t, v.Version)
}

// TestExportedListIsTheSame when it comes back as the custom list.
func TestExportedListIsTheSame(t *testing.T) {
	trust := open(t)
	text := export(t, trust)
	report, err := trust.Import(bytes.NewReader(text), certs.CAImportOptions{})
	require.NoError(t, err)
	system, custom := trust.VersionInfo(certs.SystemCAs), trust.VersionInfo(certs.CustomCAs)
	require.Len(t, report.Added, system.Count)
	require.Equal(t, system.SHA256, custom.SHA256, "the same certificates, the same dates of distrust")
	for _, f := range report.Findings {
		require.NotEqual(t, certs.FindingLiftsConstraint, f.Code)
	}
}

func TestConstraintsOfOtherKinds(t *testing.T) {
	var der []byte
	for embedded := range bundle.Roots() {
		der = embedded.Certificate
		break
	}
	date := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	refused := errors.New("refused")
	after := func(date time.Time) func([]*x509.Certificate) error {
		return func(chain []*x509.Certificate) error {
			for _, cert := range chain {
				if cert.NotBefore.After(date) {
					return refused
				}
			}
			return nil
		}
	}
	for _, tc := range []struct {
		why        string
		constraint func([]*x509.Certificate) error
		want       time.Time
		ok         bool
	}{
		{"none", nil, time.Time{}, true},
		{"a date", after(date), date, true},
		{"a date with a fraction", after(date.Add(time.Second / 2)), date, true},
		{"the first second", after(time.Unix(0, 0)), time.Unix(0, 0).UTC(), true},
		{"before the first second", after(time.Unix(-1, 0)), time.Time{}, false},
		{"the last second but one", after(time.Unix(latest-1, 0)), time.Unix(latest-1, 0).UTC(), true},
		{"refuses all", func([]*x509.Certificate) error { return refused }, time.Time{}, false},
		{"refuses nothing of a date", func([]*x509.Certificate) error { return nil }, time.Time{}, false},
	} {
		root, err := convert(bundle.Root{Certificate: der, Constraint: tc.constraint})
		require.Equal(t, tc.ok, err == nil, tc.why)
		require.Equal(t, tc.want, root.DistrustAfter, tc.why)
	}
	_, err := convert(bundle.Root{Certificate: []byte{0x30}})
	require.Error(t, err)
}

func TestBundleVersion(t *testing.T) {
	info := func(path, version string, replace *debug.Module) *debug.BuildInfo {
		return &debug.BuildInfo{Deps: []*debug.Module{
			{Path: "golang.org/x/crypto", Version: "v0.58.0"},
			{Path: path, Version: version, Replace: replace},
		}}
	}
	at := time.Date(2026, 10, 30, 15, 31, 54, 0, time.UTC)
	for _, tc := range []struct {
		why     string
		info    *debug.BuildInfo
		version string
		updated time.Time
	}{
		{"as it is published", info(bundleModule, "v0.0.0-20261030153154-30a33513ff6d", nil), "v0.0.0-20261030153154-30a33513ff6d", at},
		{"after a tag", info(bundleModule, "v1.2.4-0.20261030153154-30a33513ff6d", nil), "v1.2.4-0.20261030153154-30a33513ff6d", at},
		{"changed locally", info(bundleModule, "v0.0.0-20261030153154-30a33513ff6d+dirty", nil), "v0.0.0-20261030153154-30a33513ff6d+dirty", at},
		{"a tag", info(bundleModule, "v1.2.3", nil), "v1.2.3", time.Time{}},
		{"no such date", info(bundleModule, "v0.0.0-20261399999999-30a33513ff6d", nil), "v0.0.0-20261399999999-30a33513ff6d", time.Time{}},
		{"replaced", info(bundleModule, "v1.2.3", &debug.Module{Path: "example.com/x", Version: "v0.0.0-20261030153154-30a33513ff6d"}), "v0.0.0-20261030153154-30a33513ff6d", at},
		{"not in the build information", info("example.com/x", "v1.2.3", nil), "", time.Time{}},
		{"no dependencies", &debug.BuildInfo{}, "", time.Time{}},
	} {
		version, updated := bundleVersion(tc.info)
		require.Equal(t, tc.version, version, tc.why)
		require.Equal(t, tc.updated, updated, tc.why)
	}
}

func BenchmarkMozilla(b *testing.B) {
	for b.Loop() {
		open(b)
	}
}

// BenchmarkImportMozillaFromText imports the whole list from its text form.
func BenchmarkImportMozillaFromText(b *testing.B) {
	text := export(b, open(b))
	trust, err := certs.NewTrustStore(certs.TrustOptions{})
	require.NoError(b, err)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		_, err := trust.Import(bytes.NewReader(text), certs.CAImportOptions{})
		require.NoError(b, err)
	}
}
