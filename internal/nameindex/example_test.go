package nameindex_test

import (
	"fmt"

	"github.com/smtpsec/smtpsec/internal/nameindex"
)

func Example() {
	var x nameindex.Index[int32]
	x.Add("example.com", 1)
	if held, isNew := x.Add("example.com", 2); !isNew {
		fmt.Println("there with", *held)
	}
	fmt.Println(x.Get([]byte("example.com")))
	fmt.Println(x.Get([]byte("example.org")))
	// Output:
	// there with 1
	// 1 true
	// 0 false
}
