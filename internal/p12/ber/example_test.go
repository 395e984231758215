package ber_test

import (
	"fmt"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
)

func ExampleParse() {
	// A SEQUENCE of open length: a number, and octets in two pieces.
	data := []byte{0x30, 0x80, 0x02, 0x01, 0x07, 0x24, 0x80, 0x04, 0x01, 'o', 0x04, 0x01, 'k', 0, 0, 0, 0}
	e, err := ber.Parse(data, new(ber.Counter))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := e.Sequence("example")
	if err != nil {
		fmt.Println(err)
		return
	}
	number, err := r.Int("number")
	fmt.Println(number, err)
	octets, err := r.OctetString("octets")
	fmt.Printf("%s %v\n", octets, err)
	fmt.Printf("% x\n", e.DER())
	// Output:
	// 7 <nil>
	// ok <nil>
	// 30 07 02 01 07 04 02 6f 6b
}
