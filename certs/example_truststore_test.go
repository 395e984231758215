package certs_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// A custom list beside the system list: import, export, edit, delete.
func ExampleTrustStore() {
	// roots.Mozilla() of the folder roots would be the usual source.
	public := testpki.NewRoot("Public Root")
	trust, err := certs.NewTrustStore(certs.TrustOptions{System: listOf{public}})
	if err != nil {
		fmt.Println(err)
		return
	}

	// Import the text of two authorities of our own.
	ours, partner := testpki.NewRoot("ca.example.com"), testpki.NewRoot("ca.partner.example")
	text := pemOf(ours) + pemOf(partner)
	report, err := trust.Import(strings.NewReader(text), certs.CAImportOptions{})
	fmt.Println("imported:", len(report.Added), err)

	// Either list anchors a peer's chain.
	for _, authority := range []*testpki.Authority{public, partner, testpki.NewRoot("Stranger")} {
		peer := authority.Leaf([]string{"mx.example.net"}).Chain()
		path, err := trust.VerifyChain(peer, serverAuth)
		fmt.Println("verified:", len(path), err)
	}

	// Export, take a block out in an editor, import the rest.
	var file bytes.Buffer
	if err := trust.Export(&file, certs.CustomCAs); err != nil {
		fmt.Println(err)
		return
	}
	edited := strings.Replace(file.String(), pemOf(partner), "", 1)
	report, err = trust.Import(strings.NewReader(edited), certs.CAImportOptions{})
	fmt.Println("edited: removed", report.Removed[0].Subject, err)

	// Delete one. The system list can be disabled, not edited.
	authorities, err := trust.Authorities(certs.CustomCAs)
	fmt.Println("left:", authorities[0].Subject, err)
	fmt.Println("deleted:", trust.Delete(authorities[0].SHA256))
	authorities, _ = trust.Authorities(certs.SystemCAs)
	fmt.Println("refused:", errors.Is(trust.Delete(authorities[0].SHA256), certs.ErrSystemList))
	fmt.Println("disabled:", trust.Enable(certs.SystemCAs, false), trust.Snapshot().Generation())
	// Output:
	// imported: 2 <nil>
	// verified: 2 <nil>
	// verified: 2 <nil>
	// verified: 0 x509: certificate signed by unknown authority
	// edited: removed CN=ca.partner.example <nil>
	// left: CN=ca.example.com <nil>
	// deleted: <nil>
	// refused: true
	// disabled: <nil> 5
}
