package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMistake has what the golden file has not: mistakes that would hide each other
// there, and warnings. Each is put behind or into a file that is otherwise good.
func TestMistake(t *testing.T) {
	dir := directory(t)
	require.Empty(t, mustLoad(t, dir, minimal+publicTrust).Warnings, "the minimal file is good")
	for _, c := range []struct {
		why  string
		edit string // "old => new" in the minimal file, or a text to put behind it
		want string // "line key: text", with the beginning of the text
	}{
		// Syntax.
		{"no value", "hostname = => x", `2 : syntax: `},
		{"a key twice", `hostname = "relay.example" => hostname = "a.example"` + "\n" + `hostname = "b.example"`, `3 hostname: stands twice: the first one is in line 2`},
		{"a table twice", "[spool]\ndirectory = \"x\"", `14 spool: stands twice: the first one is in line 12`},
		{"a table that is an array", "[listener]", `14 listener: is an array of tables, in line 3: write [[listener]]`},
		{"an array that is a table", "[[spool]]", `14 spool: is a table already, in line 12: an array of tables needs [[spool]] each time`},
		{"keys below a text", "[hostname.x]", `14 hostname: is a text, in line 2, and cannot have keys of its own`},
		{"a table where texts belong", "[relay]\nrecipient-domains = { a = 1 }", `15 relay.recipient-domains: is a table, and should be a text or an array`},
		{"an inline table is closed", "[routes]\n\"a.example\" = {}\n[routes.\"a.example\".b]", `15 routes."a.example": is a table, and should be a text or an array`},
		{"a date", "name = \"smtp\" => name = 2026-01-01", `4 listener.name: is a date or a number with a fraction, and should be a text`},

		// Listeners.
		{"no name", `name = "smtp" => `, `3 listener.name: is missing`},
		{"no port", `127.0.0.1:2525 => 127.0.0.1`, `5 listener.address: "127.0.0.1" is no address`},
		{"a port that is none", `127.0.0.1:2525 => 127.0.0.1:smtp`, `5 listener.address: "127.0.0.1:smtp" is no address`},
		{"IPv6 without brackets", `127.0.0.1:2525 => ::1:25`, `5 listener.address: "::1:25": "::1" is no IP address (IPv6 in brackets)`},
		{"IPv4 in brackets", `127.0.0.1:2525 => [127.0.0.1]:25`, `5 listener.address: "[127.0.0.1]:25": "[127.0.0.1]" is no IP address`},
		{"all addresses and one of them", "[metrics]\naddress = \":2525\"", `15 metrics.address: ":2525" is taken by "127.0.0.1:2525" in line 5`},
		{"the same address in other words", "[metrics]\naddress = \"[::ffff:127.0.0.1]:2525\"", `15 metrics.address: "[::ffff:127.0.0.1]:2525" is taken`},
		{"implicit TLS without TLS", `name = "smtp" => name = "smtp"` + "\nimplicit-tls = true", `10 group.policy: listener "smtp" begins with TLS, and policy "local" has tls = "no"`},
		{"TLS without certificate", `access = "relay" => access = "relay"` + "\ntls = \"preferred\"", `3 listener.certificate: is missing: group "LOCAL" may use TLS on listener "smtp"`},
		{"a listener that nobody may use", "[[listener]]\nname = \"x\"\naddress = \":1\"\n[[group]]\nname = \"G\"\nsenders = [\"ALL\"]\npolicy = \"local\"\nlisteners = [\"y\"]", `21 group.listeners: there is no listener "y": there are smtp, x`},
		{"a certificate for nobody", "[certificate.c]\nfile = \"both.pem\"", `14 certificate.c: warning: no listener, policy or delivery uses this certificate`},

		// Groups and policies.
		{"a group without policy", `policy = "local" => `, `6 group.policy: is missing`},
		{"a group for nobody", `senders = ["127.0.0.1"] => senders = []`, `6 group: warning: group "LOCAL" has no senders: it stands for nobody`},
		{"an access that is missing", `access = "relay" => tls = "no"`, `10 policy.local.access: is missing, and policy-defaults has none`},
		{"a policy for nobody", "[policy.other]\naccess = \"accept\"", `14 policy.other: warning: no [[group]] uses this policy`},
		{"an entry twice", `["127.0.0.1"] => ["127.0.0.1", "127.0.0.1"]`, `6 group: warning: duplicate: sender group "LOCAL": entry 1 ("127.0.0.1") stands there already`},
		{"nobody can be written to", `access = "relay" => access = "accept"`, `6 group: warning: group "LOCAL" may send to nobody: relay.recipient-domains is empty`},
		{"a text that a reply cannot have", `access = "relay" => access = "reject"` + "\nreject = { text = \"nö\" }", `12 policy.local.reject: the text "nö" has an octet that is not printable ASCII`},
		{"a banner of two lines", `access = "relay" => access = "relay"` + "\nbanner = \"a\\nb\"", `12 policy.local.banner: the text`},
		{"a pool that is a key", `access = "relay" => access = "relay"` + "\ntls = \"required\"\nclient-certificate = \"required\"\nclient-cas = \"chain.key\"", `14 policy.local.client-cas: "chain.key": `},
		{"TLS settings without TLS", `access = "relay" => access = "relay"` + "\nmin-version = \"1.3\"", `12 policy.local.min-version: contradicts tls = "no"`},

		// Open relays.
		{"everybody", `["127.0.0.1"] => ["127.0.0.1", "all"]`, `8 group.senders: open relay: group "LOCAL" may relay, and ALL is everybody`},
		{"everybody as one text", `["127.0.0.1"] => "ALL"`, `8 group.senders: open relay`},
		{"all of IPv4", `["127.0.0.1"] => ["0.0.0.0/0"]`, `8 group.senders: open relay: group "LOCAL" may relay, and its entries cover about 100.0 %`},
		{"all of IPv4 as a range", `["127.0.0.1"] => ["1-223."]`, `8 group.senders: open relay`},
		{"all of IPv6", `["127.0.0.1"] => ["2000::/3"]`, `8 group.senders: open relay`},
		{"all of IPv6 in parts", `["127.0.0.1"] => ["2000::-2fff:ffff::", "3000::-3fff:ffff::"]`, `8 group.senders: open relay`},
		{"a top-level domain", `["127.0.0.1"] => [".com"]`, `8 group.senders: open relay: group "LOCAL" may relay, and ".com" is a whole top-level domain`},
		{"hosts that have no name", `["127.0.0.1"] => []` + "\nunverified = [\"no-ptr\"]", `9 group.unverified: open relay: group "LOCAL" may relay, and stands for every host without a verified name`},
		{"relaying by default", `access = "relay" => ` + "\n[policy-defaults]\naccess = \"relay\"\n[[group]]\nname = \"G\"\nsenders = [\"ALL\"]\npolicy = \"local\"", `16 group.senders: open relay: group "G" may relay`},
		{"certificates asked of those who have TLS only", `["127.0.0.1"] => ["ALL"]` + "\npolicy = \"local\"\n[policy-defaults]\nclient-certificate = \"required\"\nclient-cas = [\"ca.pem\"]\ntls = \"preferred\"\n[unknown]", `8 group.senders: open relay`},

		// Delivery.
		{"another family's address", "[delivery]\nfamily = \"only-ipv4\"\nlocal-ipv6 = \"2001:db8::1\"", `16 delivery.local-ipv6: contradicts delivery.family`},
		{"what mode no ignores", "[destinations]\ndefault = { dane = \"opportunistic\" }\n\"A.example\" = { mode = \"no\" }", `16 destinations."A.example": warning: dane: `},
		{"DANE that is never believed", "[destinations]\ndefault = { dane = \"mandatory\" }\n[resolver]\nkind = \"stub\"\ntrust = \"never\"", `15 destinations.default: dane = "mandatory" contradicts resolver.trust = "never"`},
		{"settings of another resolver", "[resolver]\nkind = \"lab\"\nservers = [\"::1\"]", `16 resolver.servers: has no effect with kind = "lab"`},
		{"anchors for a stub", "[resolver]\nkind = \"stub\"\nanchors = \"root.ds\"", `16 resolver.anchors: has no effect with kind = "stub"`},
		{"a circle", "[routes]\n\"a.example\" = \"[relay.example]\"", `15 routes."a.example": "[relay.example]" is this relay`},
		{"a hop twice", "[routes]\n\"a.example\" = [\"b.example\", \"B.example\"]", `15 routes."a.example": warning: "B.example" stands there already`},
		{"a domain twice", "[routes]\n\"a.example\" = []\n\"A.example\" = []", `14 routes: `},
		{"nobody is trusted", "[trust]\nsystem = \"none\"", `15 trust.system: warning: no authority is trusted`},
		{"a list that is a directory", "[trust]\ncustom = \".\"", `15 trust.custom: "DIR" is a directory, not a file`},
		{"a list that is a key", "[trust]\ncustom = \"chain.key\"", `15 trust.custom: "chain.key": `},

		// The queue.
		{"a default that decreases", "[queue]\nfirst-retry = \"4h\"", `15 queue.first-retry: longest-retry is 3h, and first-retry is 4h: the times of the queue must not decrease`},
		{"a negative time", "[queue]\nlifetime = \"-1h\"", `15 queue.lifetime: "-1h" is no time`},
		{"a time beyond all bounds", "[queue]\nlifetime = \"65535d\"", `15 queue.lifetime: "65535d" is out of range: from 1s to 365d`},
		{"directories in one another", "[mta-sts]\ndirectory = \"spool/sts\"", `13 spool.directory: "DIR/spool" and the directory of mta-sts.directory, in line 15, lie in one another`},
		{"a spool without directory", `directory = "spool" => `, `12 spool.directory: is missing`},
		{"no spool", "[spool]\ndirectory = \"spool\" => ", `1 spool: is missing`},

		// Certificates.
		{"a key that others can read", "[certificate.c]\nfile = \"chain.pem\"\nkey = \"open.key\"\n[delivery]\nclient-certificate = \"c\"", `16 certificate.c.key: warning: others than its owner can read or write "DIR/open.key": chmod 600`},
		{"a certificate that ends soon", "[certificate.c]\nfile = \"ending.pem\"\n[delivery]\nclient-certificate = \"c\"", `15 certificate.c.file: warning: the certificate expires on `},
		{"one that is not valid yet", "[certificate.c]\nfile = \"young.pem\"\n[delivery]\nclient-certificate = \"c\"", `15 certificate.c.file: warning: the certificate is valid from 2090-01-01 on only`},
		{"no key at all", "[certificate.c]\nfile = \"ca.pem\"", `15 certificate.c.file: "DIR/ca.pem" has no private key: name its file with "key"`},
		{"a key for no file", "[certificate.c]\nself-signed = \"a.example\"\nkey = \"chain.key\"", `16 certificate.c.key: belongs to "file", which is not there`},
		{"a password for nothing", "[certificate.c]\nself-signed = \"a.example\"\npassword-file = \"password\"", `16 certificate.c.password-file: there is no password`},
		{"self-signed in earnest", "[certificate.c]\nself-signed = \"a.example\"\n[delivery]\nclient-certificate = \"c\"", `15 certificate.c.self-signed: warning: is for trying things out`},
		{"PKCS #12 without password", "[certificate.c]\npkcs12 = \"chain.p12\"", `15 certificate.c.pkcs12: "chain.p12": the password is wrong, or password-file is missing`},
		{"a device", "[certificate.c]\nfile = \"/dev/zero\"", `15 certificate.c.file: "/dev/zero" is no regular file`},
		{"a path with a NUL", "[certificate.c]\nfile = \"a\\u0000b\"", `15 certificate.c.file: "a\x00b" is no path`},

		// Operation.
		{"nobody is told", "[alerts]\nlog = false", `14 alerts: warning: log is false, and there is neither mail nor command`},
		{"a program that cannot be run", "[alerts]\ncommand = [\"text.pem\", \"x\"]", `15 alerts.command: "DIR/text.pem" is no program that can be run`},
		{"metrics without address", "[metrics]", `14 metrics.address: is missing`},
		{"a mail address of two", "[alerts]\nmail = [\"a@b@example.com\"]", `15 alerts.mail: "a@b@example.com" is no mail address`},
		{"a mail address with a line break", "[alerts]\nmail = [\"a\\nb@example.com\"]", `15 alerts.mail: "a\nb@example.com" is no mail address`},
	} {
		t.Run(c.why, func(t *testing.T) {
			text := minimal + publicTrust
			if before, after, ok := strings.Cut(c.edit, " => "); ok {
				require.Contains(t, text, before)
				text = strings.Replace(text, before, after, 1)
			} else {
				text = strings.TrimSuffix(minimal, "\n") + "\n" + c.edit + "\n"
				if !strings.Contains(c.edit, "[trust]") {
					text += publicTrust
				}
			}
			_, problems := loadText(t, dir, text)
			var got []string
			for _, p := range problems {
				line := fmt.Sprintf("%d %s: ", p.Line, p.Key)
				if p.Warning {
					line += "warning: "
				}
				got = append(got, strings.ReplaceAll(line+p.Text, dir, "DIR"))
			}
			for _, g := range got {
				if strings.HasPrefix(g, c.want) {
					return
				}
			}
			t.Fatalf("want %q\ngot\n%s", c.want, strings.Join(got, "\n"))
		})
	}
}

// publicTrust spares the tests the roots of the machine.
const publicTrust = "[trust]\nsystem = \"ca.pem\"\n"

func mustLoad(t *testing.T, dir, text string) *Config {
	t.Helper()
	c, problems := loadText(t, dir, text)
	require.NotNil(t, c, "%v", problems)
	return c
}

// TestManySyntaxErrors: what comes behind a syntax error is read all the same, and what
// may stand in the part that could not be read is not missed.
func TestManySyntaxErrors(t *testing.T) {
	text := strings.Replace(minimal, `name = "smtp"`, `name = smtp"`, 1)
	text = strings.Replace(text, `["127.0.0.1"]`, "[\n  \"127.0.0.1\"\n  \"::1\",\n]", 1)
	text = strings.Replace(text, `access =`, `acess =`, 1)
	_, problems := loadText(t, t.TempDir(), text)
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	require.Equal(t, []int{4, 10, 14}, lines, "%v", problems)
}

// TestHostile are files that mean ill, or are none.
func TestHostile(t *testing.T) {
	dir := directory(t)
	one := func(path string) string {
		c, err := Load(path)
		require.Nil(t, c)
		require.IsType(t, &Error{}, err)
		require.Equal(t, err.(*Error).Problems[0].File, path)
		return err.Error()
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	require.Contains(t, one(dir), ":1: is a directory, not a file")
	require.Contains(t, one(filepath.Join(dir, "absent")), ":1: cannot be read: no such file or directory")
	require.Contains(t, one("/dev/zero"), ":1: is no regular file")
	require.Contains(t, one(write("large", strings.Repeat("# comment\n", 1<<20))), ":1: is larger than 4194304 octets")
	loop := filepath.Join(dir, "loop")
	require.NoError(t, os.Symlink(loop, loop))
	require.Contains(t, one(loop), "too many levels of symbolic links")

	require.Contains(t, one(write("nul", "hostname = \"a\x00\"\n")), ":1: a NUL octet")
	require.Contains(t, one(write("latin1", "a = 1\n# caf\xe9\n")), ":2: octet 0xe9 is not UTF-8")
	require.Contains(t, one(write("utf16", "\xff\xfeh\x00")), "a NUL octet")
	require.Contains(t, one(write("empty", "")), "hostname: is missing")
	for name, text := range map[string]string{
		"arrays":         "a = " + strings.Repeat("[", 1<<20),
		"closed arrays":  "a = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"inline tables":  "a = " + strings.Repeat("{a=", 1<<18),
		"a dotted key":   strings.Repeat("a.", 1<<20) + "a = 1",
		"a long key":     strings.Repeat("a", 1<<20) + " = 1",
		"a long header":  "[" + strings.Repeat("a", 1<<20) + "]\n" + strings.Repeat("b = 1\n", 1000),
		"many mistakes":  strings.Repeat("a = \n", 1<<15),
		"many tables":    strings.Repeat("[[listener]]\naddress = \":1\"\n", 1<<13),
		"open text":      "a = \"\"\"" + strings.Repeat("b = \n", 1<<16),
		"carriage":       "a = 1\rb = 2",
		"many headers":   strings.Repeat("[a]\n", 1<<15),
		"huge number":    "[queue]\ntotal = " + strings.Repeat("9", 1<<16),
		"escape":         "hostname = \"\\u001b[2J\"",
		"quoted newline": "\"a\\nb\" = 1",
	} {
		text += "\n"
		c, problems := loadText(t, dir, text)
		require.Nil(t, c, name)
		require.LessOrEqual(t, len(problems), maxProblems+1, name)
		for _, p := range problems {
			require.Less(t, len(p.String()), 5000, name)
		}
	}
}

// TestSameFileInOtherForms: line ends and a byte order mark change nothing.
func TestSameFileInOtherForms(t *testing.T) {
	dir := directory(t)
	plain := mustLoad(t, dir, minimal+publicTrust)
	for _, text := range []string{
		strings.ReplaceAll(minimal+publicTrust, "\n", "\r\n"),
		"\xef\xbb\xbf" + minimal + publicTrust,
		strings.TrimSuffix(minimal+publicTrust, "\n"),
	} {
		c := mustLoad(t, dir, text)
		require.Equal(t, plain.Hostname, c.Hostname)
		require.Empty(t, c.RestartNeeded(plain))
	}
	link := filepath.Join(dir, "link.toml")
	require.NoError(t, os.Symlink(filepath.Join(dir, "relay.toml"), link))
	c, err := Load(link)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "spool"), c.Spool.Dir)
}
