package smtpclient

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"time"
)

// strictProfile is for sessions that policy relies on: TLS 1.2 and up (RFC 8996,
// RFC 8461 section 4.1, RFC 7672 section 8), and the suites that crypto/tls
// holds good.
func strictProfile() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }

// opportunisticProfile is for sessions whose alternative is clear text. Old
// versions, RSA key exchange and CBC suites are better than that (RFC 7435
// section 3); crypto/tls no longer offers the latter two by itself. RC4 and 3DES
// stay out.
func opportunisticProfile() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS10,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
			tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_RSA_WITH_AES_128_CBC_SHA,
			tls.TLS_RSA_WITH_AES_256_CBC_SHA,
			tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
		},
	}
}

// profile checks and completes a profile. What the Dialer sets itself in every
// connection is overwritten: no certificate check of crypto/tls's own, which
// would make a failed handshake out of a fact, and no session cache.
func profile(field string, given *tls.Config, standard func() *tls.Config, now func() time.Time) (*tls.Config, error) {
	c := standard()
	strict := c.MinVersion >= tls.VersionTLS12
	if given != nil {
		switch {
		case given.EncryptedClientHelloConfigList != nil || given.EncryptedClientHelloRejectionVerify != nil:
			return nil, fmt.Errorf("%s: encrypted ClientHello is not possible here: when a server rejects it, crypto/tls skips the checks", field)
		case given.RootCAs != nil:
			return nil, fmt.Errorf("%s: RootCAs has no effect: set Trust", field)
		case len(given.Certificates) > 0 || given.GetClientCertificate != nil:
			return nil, fmt.Errorf("%s: certificates of our own have no effect here: set ClientCertificate", field)
		case given.VerifyPeerCertificate != nil:
			return nil, fmt.Errorf("%s: VerifyPeerCertificate is skipped when a session is resumed: use VerifyConnection", field)
		case given.Renegotiation != tls.RenegotiateNever:
			return nil, fmt.Errorf("%s: renegotiation is not possible here: one handshake decides", field)
		case strict && given.MinVersion != 0 && given.MinVersion < tls.VersionTLS12:
			return nil, fmt.Errorf("%s: MinVersion %s: at least TLS 1.2 is needed", field, tls.VersionName(given.MinVersion))
		case strict && given.MaxVersion != 0 && given.MaxVersion < tls.VersionTLS12:
			return nil, fmt.Errorf("%s: MaxVersion %s: at least TLS 1.2 is needed", field, tls.VersionName(given.MaxVersion))
		// Without MinVersion crypto/tls begins at TLS 1.2.
		case given.MaxVersion != 0 && given.MaxVersion < cmp.Or(given.MinVersion, tls.VersionTLS12):
			return nil, fmt.Errorf("%s: MaxVersion %s is below MinVersion %s: no handshake could succeed", field,
				tls.VersionName(given.MaxVersion), tls.VersionName(cmp.Or(given.MinVersion, tls.VersionTLS12)))
		}
		least := c.MinVersion
		c = given.Clone()
		if strict && c.MinVersion == 0 {
			c.MinVersion = least
		}
	}
	c.InsecureSkipVerify = true
	c.ClientSessionCache = nil
	c.ServerName = ""
	if c.Time == nil {
		c.Time = now
	}
	return c, nil
}

// forConnection returns the configuration of one handshake. check sees every
// handshake, of resumed sessions too; what the profile's own VerifyConnection says
// comes after it and can only end the handshake.
func forConnection(profile *tls.Config, serverName string, check func(*tls.ConnectionState)) *tls.Config {
	c := profile.Clone()
	c.ServerName = serverName
	own := c.VerifyConnection
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		check(&cs)
		if own != nil {
			return own(cs)
		}
		return nil
	}
	return c
}
