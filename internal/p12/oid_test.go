package p12

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
)

// TestOIDs holds the encoded identifiers against their dotted forms.
func TestOIDs(t *testing.T) {
	for id, want := range map[ber.OID]string{
		oidData:            "1.2.840.113549.1.7.1",
		oidEncryptedData:   "1.2.840.113549.1.7.6",
		oidKeyBag:          "1.2.840.113549.1.12.10.1.1",
		oidShroudedKeyBag:  "1.2.840.113549.1.12.10.1.2",
		oidCertBag:         "1.2.840.113549.1.12.10.1.3",
		oidCRLBag:          "1.2.840.113549.1.12.10.1.4",
		oidSecretBag:       "1.2.840.113549.1.12.10.1.5",
		oidSafeContentsBag: "1.2.840.113549.1.12.10.1.6",
		oidFriendlyName:    "1.2.840.113549.1.9.20",
		oidLocalKeyID:      "1.2.840.113549.1.9.21",
		oidX509Certificate: "1.2.840.113549.1.9.22.1",
		oidPBMAC1:          "1.2.840.113549.1.5.14",
	} {
		require.Equal(t, want, id.String())
	}
}
