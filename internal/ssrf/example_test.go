package ssrf_test

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/smtpsec/smtpsec/internal/ssrf"
)

func Example() {
	guard := ssrf.Guard{}
	dialer := net.Dialer{ControlContext: guard.Control}
	_, err := dialer.Dial("tcp", "127.0.0.1:443")
	fmt.Println(err)
	fmt.Println(guard.Check(netip.MustParseAddr("9.9.9.9")))
	// Output:
	// dial tcp 127.0.0.1:443: 127.0.0.1: address is not globally routable
	// <nil>
}
