package certs_test

import (
	"crypto/x509"
	"encoding/pem"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

const serverAuth = x509.ExtKeyUsageServerAuth

// listOf is a source of a system list.
type listOf []*testpki.Authority

func (l listOf) LoadRoots() (certs.RootList, error) {
	list := certs.RootList{Source: "example", Version: "1"}
	for _, authority := range l {
		list.Roots = append(list.Roots, certs.Root{Certificate: authority.Cert})
	}
	return list, nil
}

func pemOf(authority *testpki.Authority) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Cert.Raw}))
}
