package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

func ExampleLoad() {
	c, err := config.Load("../demo.toml")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range c.Listeners {
		fmt.Println(l.Name, l.Address, "implicit TLS:", l.Options.ImplicitTLS)
	}
	settings, origin, err := c.Delivery.Destinations.Lookup("dane.example", tlspolicy.NextHop{})
	fmt.Println(settings, "from", origin.Entry(), err)
	// Output:
	// smtp 127.0.0.1:2525 implicit TLS: false
	// smtps 127.0.0.1:2465 implicit TLS: true
	// mode preferred, DANE mandatory, MTA-STS on, fallback after-220 from dane.example <nil>
}

// Every mistake is told at once, with its line.
func ExampleLoad_mistakes() {
	dir, err := os.MkdirTemp("", "relay")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "relay.toml")
	err = os.WriteFile(file, []byte(`
hostname = "relay.example"

[[listener]]
name = "smtp"
adress = "127.0.0.1:2525"

[[group]]
name = "ALL"
senders = ["ALL"]
policy = "anybody"

[policy.anybody]
access = "relay"

[queue]
lifetime = "10m"
`), 0o600)
	if err != nil {
		panic(err)
	}
	_, err = config.Load(file)
	for line := range strings.Lines(err.Error()) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), "relay.toml:")
		text, _, _ = strings.Cut(text, "; ")
		fmt.Println(text)
	}
	// Output:
	// 1: spool: is missing: write [spool] and directory = "..." below it
	// 4: listener.address: is missing: write host:port, such as "127.0.0.1:2525" or ":25"
	// 6: listener.adress: unknown key: did you mean "address"?
	// 10: group.senders: open relay: group "ALL" may relay, and ALL is everybody
	// 17: queue.lifetime: lifetime is 10m, and first-retry is 30m: the times of the queue must not decrease
}

func ExampleConfig_RestartNeeded() {
	running, err := config.Load("../demo.toml")
	if err != nil {
		fmt.Println(err)
		return
	}
	next, err := config.Load("../demo.toml") // after SIGHUP
	if err != nil {
		fmt.Println(err) // the running one stays
		return
	}
	next.Spool.Dir, next.Metrics = "/srv/spool", "" // as if the file had changed
	for _, what := range next.RestartNeeded(running)[1:] {
		fmt.Println(what)
	}
	// Output:
	// metrics.address: "127.0.0.1:9625" is to become none
}
