package certs

import (
	"strings"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// An error names the package once, however many errors it is made of.
func TestErrorsNameThePackageOnce(t *testing.T) {
	trust := openTrust(t, TrustOptions{})
	s := openStore(t, StoreOptions{Trust: trust})
	created(t, s, "a.example")
	request, err := s.PrepareNext("a.example", NextOptions{})
	require.NoError(t, err)
	_, err = s.InstallNext("a.example", storedPEM(signRequest(t, testpki.NewRoot("r"), request.Request)), InstallOptions{})
	require.NoError(t, err)
	errs := map[string]error{}
	_, errs["no form"] = s.CreateSelfSigned("b.example", Form{})
	_, errs["no name"] = s.CreateSelfSigned("", Form{Days: 1})
	_, errs["name"] = s.CreateSelfSigned(strings.Repeat("x", 200), Form{CommonName: "b.example", Days: 1})
	_, errs["fqdn"] = s.CreateSelfSigned("c", Form{CommonName: "localhost", Days: 1, FQDN: true})
	_, errs["empty passphrase"] = s.ExportPKCS12("a.example", ExportOptions{})
	_, errs["charset"] = s.ExportPKCS12("a.example", ExportOptions{Passphrase: []byte("\xff"), Confirm: []byte("\xff")})
	_, errs["profile"] = s.ExportPKCS12("a.example", ExportOptions{Profile: "x"})
	_, errs["early"] = s.Promote("a.example", false)
	errs["ttl"] = s.ConfirmPublished("a.example", time.Millisecond)
	errs["rename"] = s.Rename("a.example", "")
	errs["level"] = s.SetLevel("a.example", LevelCluster, "other.example")
	errs["host"] = s.SetLevel("a.example", LevelCluster, "bad host")
	_, errs["p7"] = s.Install("a.example", []byte("-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n"), InstallOptions{})
	_, errs["key"] = s.Install("a.example", storePair(t, testpki.SelfSigned([]string{"x.example"})), InstallOptions{})
	_, errs["pem as p12"] = s.ImportPKCS12("x", storedPEM(testpki.NewRoot("r").Cert), ImportOptions{})
	_, errs["text as p12"] = s.ImportPKCS12("x", []byte("hello"), ImportOptions{})
	_, errs["follow"] = s.Follow("x", "/nonexistent", "")
	_, errs["role"] = s.Assign("a\nb", "a.example")
	_, errs["list"] = trust.Import(strings.NewReader("hello"), CAImportOptions{})
	errs["delete"] = trust.Delete([32]byte{})
	_, errs["certificate"] = trust.AddCertificates(nil)
	_, errs["source"] = trust.ReplaceSystem(FileRoots("/nonexistent"), ReplaceOptions{})
	storage := NewMemory()
	require.NoError(t, storage.WriteFile("entries/a/current.pem", []byte("hello")))
	_, errs["broken entry"] = OpenStore(StoreOptions{Storage: storage})
	require.NoError(t, storage.WriteFile("roles.json", []byte(`{"version":1,"roles":{"x":["\u0000"]}}`)))
	require.NoError(t, storage.Remove("entries/a/current.pem"))
	_, errs["broken roles"] = OpenStore(StoreOptions{Storage: storage})
	for why, err := range errs {
		require.Error(t, err, why)
		require.True(t, strings.HasPrefix(err.Error(), "certs: "), "%s: %v", why, err)
		require.Equal(t, 1, strings.Count(err.Error(), "certs: "), "%s: %v", why, err)
	}
}
