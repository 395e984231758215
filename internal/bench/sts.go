package main

import (
	"bytes"
	"fmt"
	"strings"

	gomtasts "github.com/foxcpp/go-mtasts"
	moxdns "github.com/mjl-/mox/dns"
	moxmtasts "github.com/mjl-/mox/mtasts"

	"github.com/smtpsec/smtpsec/mtasts"
)

const (
	recordText = "v=STSv1; id=20160831085700Z;"
	policyText = "version: STSv1\r\nmode: enforce\r\nmx: mx1.mail.example.com\r\nmx: mx2.mail.example.com\r\n" +
		"mx: mx3.mail.example.com\r\nmx: backup.example.net\r\nmx: *.relay.example.org\r\nmax_age: 604800\r\n"
)

func stsRows() []row {
	return []row{
		{name: "MTA-STS record", goalNs: 60, setup: func() []contender {
			var id, theirs, bare string
			var moxRecord *moxmtasts.Record
			return []contender{{
				name: us, kind: ours,
				run: func(n int) {
					for range n {
						id = must(mtasts.ParseRecord(recordText)).ID
					}
				},
				answer: func() string { return id },
			}, {
				name: "cut at ; and =", kind: floor,
				run: func(n int) {
					for range n {
						bare = cutRecord(recordText)
					}
				},
				answer: func() string { return bare },
			}, {
				name: mox, kind: peer,
				run: func(n int) {
					for range n {
						r, _, err := moxmtasts.ParseRecord(recordText)
						check(err)
						moxRecord = r
					}
				},
				answer: func() string { return moxRecord.ID },
			}, {
				name: goMTASTS, kind: peer,
				run: func(n int) {
					for range n {
						theirs = must(readDNSRecord(recordText))
					}
				},
				answer: func() string { return theirs },
			}}
		}},
		{name: "MTA-STS policy, 5 mx, new policy", allocs: 2, goalNs: 700, setup: func() []contender {
			body := []byte(policyText)
			var p *mtasts.Policy
			c := []contender{{
				name: us, kind: ours,
				run: func(n int) {
					for range n {
						p = must(mtasts.ParsePolicy(body))
					}
				},
				answer: func() string { return describe(p) },
			}}
			return append(c, parsePeers()...)
		}},
		{name: "MTA-STS policy, 5 mx, policy reused", goalNs: 600, setup: func() []contender {
			var p mtasts.Policy
			c := []contender{{
				name: us, kind: ours,
				run: func(n int) {
					for range n {
						check(mtasts.Parser{}.Policy(policyText, &p))
					}
				},
				answer: func() string { return describe(&p) },
			}}
			return append(c, parsePeers()...)
		}},
		{name: "MTA-STS match, wildcard, last of 5", goalNs: 25, setup: func() []contender { return matchers("mx9.relay.example.org") }},
		{name: "MTA-STS match, no hit among 5", goalNs: 25, setup: func() []contender { return matchers("mx9.mail.example.com") }},
	}
}

// cutRecord takes a record apart and checks nothing but the name of the field.
func cutRecord(s string) string {
	for s != "" {
		var field string
		field, s, _ = strings.Cut(s, ";")
		if name, value, _ := strings.Cut(strings.TrimLeft(field, " "), "="); name == "id" {
			return value
		}
	}
	return ""
}

// parsePeers read the policy into a new one; there is no other way. Each is
// given the text in the form it takes, so that no conversion is in its time.
func parsePeers() []contender {
	body := []byte(policyText)
	var lines int
	var m *moxmtasts.Policy
	var g *gomtasts.Policy
	reader := bytes.NewReader(body)
	return []contender{{
		name: "copy, and find the line ends", kind: floor,
		run: func(n int) {
			for range n {
				text := string(body)
				for lines = 0; text != ""; lines++ {
					_, text, _ = strings.Cut(text, "\n")
				}
			}
		},
	}, {
		name: mox, kind: peer,
		run: func(n int) {
			for range n {
				m = must(moxmtasts.ParsePolicy(policyText))
			}
		},
		answer: func() string {
			var mx []string
			for _, pattern := range m.MX {
				mx = append(mx, pattern.LogString())
			}
			return fmt.Sprintf("%v %v %v", m.Mode, m.MaxAgeSeconds, mx)
		},
	}, {
		name: goMTASTS, kind: peer,
		run: func(n int) {
			for range n {
				reader.Reset(body)
				g = must(readPolicy(reader))
			}
		},
		answer: func() string { return fmt.Sprintf("%v %v %v", g.Mode, g.MaxAge, g.MX) },
	}}
}

func describe(p *mtasts.Policy) string {
	return fmt.Sprintf("%v %.0f %v", p.Mode, p.MaxAge.Seconds(), p.MX)
}

// matchers ask each policy for a host. mox is given the host as the parsed name
// that it works with, the others as text.
func matchers(host string) []contender {
	p, m := must(mtasts.ParsePolicy([]byte(policyText))), must(moxmtasts.ParsePolicy(policyText))
	g := must(readPolicy(strings.NewReader(policyText)))
	domain := must(moxdns.ParseDomain(host))
	patterns := make(map[string]bool)
	for _, pattern := range p.MX {
		patterns[strings.TrimPrefix(pattern, "*")] = true
	}
	var a, b, c, d bool
	return []contender{{
		name: us, kind: ours,
		run: func(n int) {
			for range n {
				a = p.Match(host)
			}
		},
		answer: func() string { return matched(a) },
	}, {
		name: "map lookup of the name and its parent", kind: floor,
		run: func(n int) {
			for range n {
				b = patterns[host] || patterns[host[strings.IndexByte(host, '.'):]]
			}
		},
		answer: func() string { return matched(b) },
	}, {
		name: mox, kind: peer,
		run: func(n int) {
			for range n {
				c = m.Matches(domain)
			}
		},
		answer: func() string { return matched(c) },
	}, {
		name: goMTASTS, kind: peer,
		run: func(n int) {
			for range n {
				d = g.Match(host)
			}
		},
		answer: func() string { return matched(d) },
	}}
}
