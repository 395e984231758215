package chaincache_test

import (
	"fmt"
	"time"

	"github.com/smtpsec/smtpsec/internal/chaincache"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

func Example() {
	chain := testpki.NewRoot("Example Root").Leaf([]string{"mx.example.com"}).Chain()
	cache := chaincache.New[string](1024, time.Hour)

	key, _ := chaincache.Key("example", chain)
	cache.Put(key, "verified", chain[0].NotBefore, chain[0].NotAfter, time.Now())

	fmt.Println(cache.Get(key, time.Now()))
	fmt.Println(cache.Get(key, time.Now().Add(2*time.Hour)))
	// Output:
	// verified true
	//  false
}
