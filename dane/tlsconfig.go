package dane

import (
	"crypto/tls"
	"encoding/hex"
	"time"
)

// ClientConfig tells Verifier.TLSConfig how to set up a TLS client.
type ClientConfig struct {
	// Base is the configuration to start from. It is cloned and never modified;
	// nil is the zero tls.Config. Its VerifyConnection and VerifyPeerCertificate
	// stay in force; DANE adds to them and takes nothing away.
	Base *tls.Config
	// RefIDs are the names to compare. The base domain is sent as SNI, so the set
	// must not be empty.
	RefIDs RefIDs
	// ReportOnly lets handshakes go on whatever the verdict is. OnResult then is
	// the only one to learn it.
	ReportOnly bool
	// OnResult is called with the verdict once in each handshake, resumed ones
	// included, before it completes. It may be nil.
	OnResult func(Result)
}

// TLSConfig returns a configuration that lets a handshake succeed only if the
// server satisfies the records. The check takes the place of that of crypto/tls,
// which knows the public roots alone. TLS 1.2 is the lowest version.
//
// A failed check is a *VerifyError, which Handshake returns as it is. If the set
// is unusable every handshake fails with ErrUnusable: going on without
// authentication is something to choose, not to fall into.
//
// Sessions are resumed only if they were begun with the same records, server
// name and ReportOnly, and the certificates of the session are judged again by
// the records of now. Settings for Encrypted Client Hello are cleared, because
// crypto/tls skips the check when the server rejects it.
//
// An empty RefIDs is ErrReferenceID, and the only error.
func (v *Verifier) TLSConfig(c ClientConfig) (*tls.Config, error) {
	if c.RefIDs.Empty() {
		return nil, ErrReferenceID
	}
	config := &tls.Config{}
	if c.Base != nil {
		config = c.Base.Clone()
	}
	config.InsecureSkipVerify = true
	config.ServerName = c.RefIDs.Base()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.EncryptedClientHelloConfigList = nil
	config.EncryptedClientHelloRejectionVerify = nil
	if config.ClientSessionCache != nil {
		config.ClientSessionCache = v.sessions(config.ClientSessionCache, c.ReportOnly)
	}
	also := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		result := v.Verify(state.PeerCertificates, c.RefIDs, time.Time{})
		if c.OnResult != nil {
			c.OnResult(result)
		}
		if err := result.Err(); err != nil && !c.ReportOnly {
			return err
		}
		if also != nil {
			return also(state)
		}
		return nil
	}
	return config, nil
}

// VerifyConnection returns a function for tls.Config.VerifyConnection, for
// configurations made by hand. These need InsecureSkipVerify, ServerName, and a
// ClientSessionCache of their own for each Partition. It judges by the time of
// Options.Now and returns a *VerifyError unless the records are satisfied.
func (v *Verifier) VerifyConnection(ids RefIDs) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		return v.Verify(state.PeerCertificates, ids, time.Time{}).Err()
	}
}

// partitioned keeps the sessions of one set of records apart from those of all
// others in the same cache. crypto/tls uses the server name as key.
type partitioned struct {
	cache  tls.ClientSessionCache
	prefix string
}

func (v *Verifier) sessions(cache tls.ClientSessionCache, reportOnly bool) tls.ClientSessionCache {
	partition := v.Partition()
	prefix := "dane " + hex.EncodeToString(partition[:])
	if reportOnly {
		prefix += " report-only"
	}
	return partitioned{cache, prefix + " "}
}

func (p partitioned) Get(key string) (*tls.ClientSessionState, bool) {
	return p.cache.Get(p.prefix + key)
}

func (p partitioned) Put(key string, session *tls.ClientSessionState) {
	p.cache.Put(p.prefix+key, session)
}
