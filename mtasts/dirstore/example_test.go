//go:build unix

package dirstore_test

import (
	"fmt"
	"os"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/dirstore"
)

func Example() {
	dir, err := os.MkdirTemp("", "mtasts")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := dirstore.Open(dir, dirstore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &mtasts.Client{Store: store}
	fmt.Println(client.Store == store)
	// Output: true
}
