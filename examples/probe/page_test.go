package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

// golden is a Result with something in every field.
func golden() *Result {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	later := now.AddDate(0, 0, 7)
	key := strings.Repeat("9f86d081", 8)
	r := &Result{
		Schema: Schema, Domain: "test.example", Time: now, Asked: Asked{"preferred", "opportunistic", "on", 25},
		MX: MX{Lookup: Lookup{Name: "test.example", Type: "MX", Outcome: "found", Security: "secure"}, Hosts: []MXHost{{"mx.test.example", 10}},
			Dropped: []Dropped{{"192.0.2.9", 20, "an IP address"}}, Beyond: 1},
		MTASTS: &MTASTS{Outcome: "testing", Mode: "testing", ID: "1", MaxAge: 3600, MX: []string{"*.test.example"}, Source: "stale", Fetched: &now, Expires: &later,
			Reason: "status", Error: "status 404", Findings: []Finding{{"pattern-unused", "warning", "old.test.example", "no mail host matches this pattern"}}},
		TLSRPT: &TLSRPT{Record: "v=TLSRPTv1; rua=mailto:reports@test.example;"},
		Hosts: []Host{{Host: "mx.test.example", Pref: 10, MTASTS: "testing-mx-match",
			Lookups: []Lookup{
				{Name: "mx.test.example", Type: "A", Outcome: "found", Security: "secure", Canonical: "a.test.example"},
				{Name: "mx.test.example", Type: "AAAA", Error: "timeout"},
				{Name: "_25._tcp.mx.test.example", Type: "TLSA", Outcome: "found", Security: "secure"}},
			DANE: DANE{State: "usable", Reason: "none", Owner: "_25._tcp.mx.test.example", Records: []TLSA{
				{Record: "3 1 1 " + key, Usable: true}, {Record: "1 1 1 " + key, Why: "PKIX usage in SMTP", Advice: "senders of mail ignore usages 0 and 1"}}},
			Addresses: []Address{
				{Address: "192.0.2.1:25", Stage: "ready", STARTTLS: "established", Greeting: "mx.test.example ESMTP", Version: "TLS 1.1", Cipher: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
					Strict: "handshake-failed", Chain: "untrusted", Unverified: "chain-untrusted: unknown authority", VerifyName: true, HostedName: true, HostName: true,
					TLSA: []Match{{OK: true}, {Why: "PKIX usage in SMTP"}},
					Certificates: []Certificate{{Subject: "CN=mx.test.example", Issuer: "CN=Test CA", Names: []string{"mx.test.example"}, NotBefore: now.AddDate(0, -1, 0), NotAfter: later,
						Key: "RSA", Bits: 1024, Signature: "SHA256-RSA", SHA256: key, TLSA: "3 1 1 " + key}, {Subject: "CN=Test CA", Issuer: "CN=Test CA", Names: []string{}, NotAfter: later, SelfSigned: true}}},
				{Address: "[2001:db8:1111:2222:3333:4444:5555:6666]:25", Stage: "connect", Error: "connection refused", Certificates: []Certificate{}, TLSA: []Match{}},
				{Address: "192.0.2.3:25", Stage: "greeting", Error: "greeting answered with 554", Ours: oursTurned, Certificates: []Certificate{}, TLSA: []Match{}}}},
		},
		Decisions: []Decision{
			{Mode: "preferred", DANE: "opportunistic", MTASTS: "on", Action: "deliver-tls-verified", Reason: "dane-verified", Host: "mx.test.example", Address: "192.0.2.1:25", Text: "delivered over TLS, host authenticated by DANE"},
			{Mode: "preferred", DANE: "none", MTASTS: "on", Action: "deliver-tls-unverified", Reason: "tls-unauthenticated", Host: "mx.test.example", Address: "192.0.2.1:25", Text: "delivered over TLS, host not authenticated"},
		},
		Notes:  []string{"this is a test"},
		Status: StatusMend, Why: "delivered over TLS, host authenticated by DANE, but something needs mending",
	}
	r.Mend = mend(r)
	r.finish()
	return r
}

func compareFile(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "go test -update writes the file anew")
}

// TestSchema: the names of the fields and what they hold are what they were, and the
// README has a word about each.
func TestSchema(t *testing.T) {
	text, err := json.MarshalIndent(golden(), "", "  ")
	require.NoError(t, err)
	compareFile(t, "result.json", append(text, '\n'))

	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(typ.Elem())
		case reflect.Struct:
			if typ == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range typ.NumField() {
				name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
				require.NotEmpty(t, name, typ.Field(i).Name)
				require.Contains(t, string(readme), "`"+name+"`", "%s.%s", typ, typ.Field(i).Name)
				walk(typ.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[Result]())
}

// TestPage: the layout, wide and narrow, with and without colour.
func TestPage(t *testing.T) {
	compareFile(t, "page-80.txt", page{width: 80}.render(golden()))
	compareFile(t, "page-40.txt", page{width: 40}.render(golden()))
	colours := string(page{width: 80, colour: true}.render(golden()))
	require.Contains(t, colours, "\x1b[31mMEND")
	plain := colours
	for _, c := range []tone{bold, good, fair, poor, bad, severe, "\x1b[0m"} {
		plain = strings.ReplaceAll(plain, string(c), "")
	}
	require.Equal(t, string(page{width: 80}.render(golden())), plain, "colour changes nothing else")
}

// TestPageWidths: no line is longer than the screen is wide, whatever it is about.
func TestPageWidths(t *testing.T) {
	_, p := inLab(t, labWorld())
	var all []*Result
	for _, domain := range append(slices.Clone(labChoice), "mixed.example", "both.example", "null.example", "bogus.example", strings.Repeat("x", 300), "192.0.2.1") {
		all = append(all, p.probe(context.Background(), domain))
	}
	for _, r := range append(all, golden()) {
		for _, width := range []int{40, 41, 57, 80, 110} {
			for line := range strings.Lines(string(page{width: width}.render(r))) {
				require.LessOrEqual(t, len(strings.TrimSuffix(line, "\n")), width, "%s at %d: %q", r.Domain, width, line)
			}
		}
	}
}

// TestReadme: what the README shows is what the program prints.
func TestReadme(t *testing.T) {
	status, out, errs := output(t, "", "-lab", "sts-mx.example")
	require.Equal(t, exitMend, status, errs)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	head, _, _ := strings.Cut(out, ", id 1, fresh")
	require.Contains(t, string(readme), head)
	_, tail, _ := strings.Cut(out, "To mend\n")
	first, _, _ := strings.Cut(tail, "  info ")
	require.Contains(t, string(readme), "To mend\n"+first)
}
