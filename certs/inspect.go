package certs

import (
	"crypto/x509"
	"encoding/hex"
	"time"
)

// InspectOptions are the settings of Inspect.
type InspectOptions struct {
	IncludeRoot bool                         // see ArrangeOptions
	Anchored    func(*x509.Certificate) bool // see CheckOptions
	Now         time.Time                    // zero: time.Now()
}

// Inspection is what a PKCS #12 file holds. It has no private key.
type Inspection struct {
	Keys []InspectedKey
	// Certificates are all those in the file, in its order. Of a file without keys
	// they can go to TrustStore.AddCertificates.
	Certificates []*x509.Certificate
}

// InspectedKey is one key and what would be imported with it.
type InspectedKey struct {
	FriendlyName string
	LocalKeyID   string // hexadecimal
	KeyKind      string // "RSA-2048", "ECDSA P-256", "Ed25519"
	Chain        []*x509.Certificate
	Findings     []Finding
	Err          error // why this key cannot be imported: ErrKeyMismatch, ErrNoCertificate
}

// Inspect shows what is in a PKCS #12 file and stores nothing: for a look before
// ImportPKCS12. A file of several keys, of which that function wants one selected,
// or of none, is no error here. The other errors are those of ImportPKCS12 that
// concern the file.
func Inspect(data, passphrase []byte, o InspectOptions) (*Inspection, error) {
	file, err := readPKCS12(data, passphrase)
	if err != nil {
		return nil, err
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	inspection := &Inspection{Certificates: file.certs}
	for _, k := range file.keys {
		key := InspectedKey{FriendlyName: k.friendlyName, LocalKeyID: hex.EncodeToString(k.localKeyID), KeyKind: keyKind(k.key.Public())}
		key.Chain, key.Findings, key.Err = Arrange(k.key.Public(), file.certs, ArrangeOptions(o))
		if key.Err == nil {
			key.Findings = Check(key.Findings, key.Chain, CheckOptions{Now: o.Now, Anchored: o.Anchored})
			if isDemonstration(key.Chain[0]) {
				key.Findings = append(key.Findings, demonstrationFinding(key.Chain[0]))
			}
		}
		inspection.Keys = append(inspection.Keys, key)
	}
	return inspection, nil
}
