package trace_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/examples/relay/trace"
)

func Example() {
	in := bufio.NewReader(strings.NewReader("Received: from a by b; x\r\nSubject: hello\r\n\r\nWorld\r\n"))
	h, err := trace.ReadHeader(in)
	if err != nil {
		log.Fatal(err)
	}
	hop := trace.Hop{Helo: "client.example", Address: netip.MustParseAddr("192.0.2.1"), By: "relay.example",
		ID: "4711", Recipient: "bob@example.com", At: time.Unix(0, 0).UTC()}
	var out strings.Builder
	out.WriteString(hop.String())
	out.Write(h.Text)
	if _, err := io.Copy(&out, in); err != nil {
		log.Fatal(err)
	}
	fmt.Println(h.Hops, "hop before")
	io.WriteString(os.Stdout, strings.NewReplacer("\r\n", "\n", "\t", "  ").Replace(out.String()))
	// Output:
	// 1 hop before
	// Received: from client.example ([192.0.2.1])
	//   by relay.example with ESMTP id 4711
	//   for <bob@example.com>;
	//   Thu, 01 Jan 1970 00:00:00 +0000
	// Received: from a by b; x
	// Subject: hello
	//
	// World
}
