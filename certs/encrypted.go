package certs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/smtpsec/smtpsec/internal/p12/pbe"
)

// hintPKCS8 rewrites an encrypted key with an encryption that is read.
const hintPKCS8 = "openssl pkcs8 -provider legacy -provider default -in old.pem -out clear.pem, then openssl pkcs8 -topk8 -v2 aes-256-cbc -in clear.pem -out new.pem (clear.pem is not protected: remove it)"

// decryptKey opens an EncryptedPrivateKeyInfo (RFC 5958 section 3). The caller
// zeroes the result.
func decryptKey(der, passphrase []byte) ([]byte, error) {
	if err := wholeElement(der); err != nil {
		return nil, err
	}
	if passphrase == nil {
		return nil, ErrPassphraseNeeded
	}
	plain, err := pbe.DecryptPKCS8(der, passphrase, pbe.Limits{})
	if err != nil {
		return nil, encryptionError(err, hintPKCS8)
	}
	return plain, nil
}

// encryptionError turns an error of package pbe into one of this package's.
func encryptionError(err error, hint string) error {
	if unsupported, ok := errors.AsType[*pbe.UnsupportedError](err); ok {
		what := unsupported.What
		if unsupported.Name != "" {
			what += " " + unsupported.Name
		}
		return &UnsupportedError{What: what, OID: unsupported.OID, Hint: hint}
	}
	for _, pair := range []struct{ theirs, ours error }{
		{pbe.ErrPassphrase, ErrPassphrase},
		{pbe.ErrCharset, ErrPassphraseCharset},
		{pbe.ErrIterations, ErrIterations},
		{pbe.ErrTooLarge, ErrTooLarge},
	} {
		switch {
		case !errors.Is(err, pair.theirs):
		case err == pair.theirs:
			return pair.ours
		default:
			return fmt.Errorf("%w: %v", pair.ours, err)
		}
	}
	return fmt.Errorf("%w: encrypted private key: %s", ErrMalformed, strings.TrimPrefix(err.Error(), "malformed: "))
}
