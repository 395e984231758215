package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRestartNeeded(t *testing.T) {
	dir := directory(t)
	base := everything
	old, _ := loadText(t, dir, base)
	require.NotNil(t, old)
	for _, c := range []struct {
		why, before, after string
		want               []string
	}{
		{"nothing", "", "", nil},
		{"a destination can be swapped", `{ mode = 2 }`, `{ mode = 3 }`, nil},
		{"so can a policy", "max-messages = 7", "max-messages = 8", nil},
		{"and certificates, recipients, retries", "first-retry = \"1m\"", "first-retry = \"2m\"", nil},
		{"the name", `hostname = "Relay.EXAMPLE"`, `hostname = "mx.example"`, []string{`hostname: "relay.example" is to become "mx.example"`}},
		{"an address", `address = ":25"`, `address = ":26"`, []string{`listener "mx": address: ":25" is to become ":26"`}},
		{"another listener", `name = "mx"`, `name = "other"`, nil},
		{"implicit TLS", "implicit-tls = true", "implicit-tls = false", []string{`listener "submission": implicit-tls: true is to become false`}},
		{"a time limit of a listener", `idle-timeout = "6s"`, `idle-timeout = "8s"`, []string{`listener "mx": its limits and time limits`}},
		{"what the server announces", `max-message-size = "1 GiB"`, `max-message-size = "2 GiB"`, []string{
			`listener "mx": largest max-message-size: "1 GiB" is to become "2 GiB"`, `listener "submission": largest max-message-size: "1 GiB" is to become "2 GiB"`}},
		{"the spool", `"/var/spool/relay-of-a-test"`, `"/var/spool/another"`, []string{`spool.directory: "/var/spool/relay-of-a-test" is to become "/var/spool/another"`}},
		{"concurrency", "per-domain = 3", "per-domain = 4", []string{"queue.per-domain: 3 is to become 4"}},
		{"metrics", "[metrics]\naddress = \"127.0.0.1:0\"", "", []string{`metrics.address: "127.0.0.1:0" is to become none`}},
		{"reports", "send = true\nfailures-only = true", "send = false", []string{"tls-reports: who sends them, and whether"}},
		{"name servers", `"[::1]:5353"`, `"[::1]:5354"`, []string{"resolver: its servers, and how far they are trusted"}},
		{"who may vouch for policy hosts", `custom = ["ca.pem"]`, "", []string{"trust: for fetching MTA-STS policies; deliveries use it at once"}},
		{"the log", `level = "warn"`, `level = "info"`, []string{`log.level: "warn" is to become "info"`}},
		{"the lab", "kind = \"validator\"\nservers = [\"127.0.0.1\", \"[::1]:5353\"]\nanchors = \"root.ds\"\ninsecure-zones = [\"corp.internal\"]\ntimeout = \"3s\"", `kind = "lab"`,
			[]string{`resolver.kind: "validator" is to become "lab"`}},
	} {
		t.Run(c.why, func(t *testing.T) {
			require.Contains(t, base, c.before)
			text := strings.Replace(base, c.before, c.after, 1)
			if c.after == `name = "other"` {
				text = strings.Replace(text, `listeners = ["mx"]`, `listeners = ["other"]`, 1)
				c.want = []string{`listener "other" is new`, `listener "mx" is gone`}
			}
			next, problems := loadText(t, dir, text)
			require.NotNil(t, next, "%v", problems)
			require.Equal(t, c.want, next.RestartNeeded(old))
		})
	}
}
