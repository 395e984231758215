package dane

import (
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// go test ./dane -run TestVectors -update makes the certificates anew and writes
// the file; the expected verdicts are those of vectorTable, by hand.
var update = flag.Bool("update", false, "write testdata/vectors.json")

var vectorPath = filepath.Join("testdata", "vectors.json")

// vectorFile is testdata/vectors.json: sets of records with certificate chains,
// and the verdict for each, for this and for other implementations.
type vectorFile struct {
	About string            `json:"about"`
	Time  time.Time         `json:"time"`  // when to judge
	Certs map[string][]byte `json:"certs"` // by name, DER in base64
	Cases []vector          `json:"cases"`
}

type vector struct {
	Why     string   `json:"why"`
	Profile string   `json:"profile"`         // "smtp" or "generic"
	Roots   []string `json:"roots,omitempty"` // public roots, by name
	Records []string `json:"records"`
	Chain   []string `json:"chain"` // by name, the server's certificate first
	Names   []string `json:"names"` // reference identifiers
	Status  string   `json:"status"`
	Index   int      `json:"index"` // of the record that matched, -1 if none
	Depth   int      `json:"depth"`
	Name    string   `json:"name,omitempty"`    // that matched
	Reason  string   `json:"reason,omitempty"`  // unless matched
	OpenSSL string   `json:"openssl,omitempty"` // verdict of libssl 3.0, for profile smtp
}

func readVectors(t *testing.T) vectorFile {
	t.Helper()
	text, err := os.ReadFile(vectorPath)
	require.NoError(t, err)
	var file vectorFile
	require.NoError(t, json.Unmarshal(text, &file))
	require.NotEmpty(t, file.Cases)
	return file
}

func (f vectorFile) chain(t *testing.T, names []string) []*x509.Certificate {
	t.Helper()
	var chain []*x509.Certificate
	for _, name := range names {
		cert, err := x509.ParseCertificate(f.Certs[name])
		require.NoError(t, err, name)
		chain = append(chain, cert)
	}
	return chain
}

func (c vector) records(t *testing.T) []Record {
	t.Helper()
	var records []Record
	for _, text := range c.Records {
		r, err := ParseRecord(text)
		require.NoError(t, err, c.Why)
		records = append(records, r)
	}
	return records
}

func (c vector) refIDs(t *testing.T) RefIDs {
	t.Helper()
	if len(c.Names) == 0 {
		return RefIDs{}
	}
	return refIDs(t, c.Names[0], c.Names[1:]...)
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	file := readVectors(t)
	for _, c := range file.Cases {
		o := Options{}
		if c.Profile == ProfileGeneric.String() {
			o.Profile = ProfileGeneric
		}
		if c.Roots != nil {
			o.Roots = x509.NewCertPool()
			for _, root := range file.chain(t, c.Roots) {
				o.Roots.AddCert(root)
			}
		}
		r := judgeNames(t, o, c.records(t), file.chain(t, c.Chain), c.refIDs(t), file.Time)
		reason := r.Reason.String()
		if r.Status == Matched {
			reason = ""
		}
		require.Equal(t, []any{c.Status, c.Index, c.Depth, c.Name, c.Reason}, []any{r.Status.String(), r.Index, r.Depth, r.Name, reason}, c.Why)
	}
}

func writeVectors(t *testing.T) {
	t.Helper()
	certs := vectorCerts(t)
	file := vectorFile{
		About: "TLSA records, certificate chains and the verdict of RFC 6698, 7671 and 7672. Made by: go test ./dane -run TestVectors -update",
		Time:  time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC),
		Certs: map[string][]byte{},
		Cases: vectorTable(t, certs),
	}
	for name, cert := range certs {
		file.Certs[name] = cert.Raw
	}
	text, err := json.MarshalIndent(file, "", "\t")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(vectorPath, append(text, '\n'), 0o644))
}

func vectorCerts(t *testing.T) map[string]*x509.Certificate {
	valid := testpki.Valid(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	past := testpki.Valid(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	change := testpki.Template
	root := testpki.NewRoot("Root", valid)
	inter := root.Intermediate("Intermediate", valid)
	other := testpki.NewRoot("Root", valid) // same name, other key
	return map[string]*x509.Certificate{
		"root":           root.Cert,
		"intermediate":   inter.Cert,
		"leaf":           newLeaf(inter, valid).Cert,
		"other-root":     other.Cert,
		"other-leaf":     newLeaf(other, valid).Cert,
		"expired-leaf":   newLeaf(inter, past).Cert,
		"named-leaf":     inter.Leaf([]string{"other.example"}, valid).Cert,
		"wildcard-leaf":  inter.Leaf([]string{"*.example.com"}, valid).Cert,
		"cn-leaf":        inter.Leaf(nil, valid, testpki.CommonName(testHost)).Cert,
		"client-leaf":    newLeaf(inter, valid, change(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })).Cert,
		"self-signed":    testpki.SelfSigned([]string{"unrelated.example"}, past).Cert,
		"unrelated":      root.Intermediate("Unrelated", valid).Cert,
		"leaf-below-own": testpki.SelfSigned([]string{testHost}, valid).Cert,
	}
}

// vectorTable returns the cases, with verdicts by hand.
func vectorTable(t *testing.T, certs map[string]*x509.Certificate) []vector {
	full := []string{"leaf", "intermediate", "root"}
	var cases []vector
	make := func(u Usage, s Selector, m MatchingType, name string) string {
		return record(t, u, s, m, certs[name]).String()
	}
	add := func(c vector, verdict string, index, depth int, openssl string) {
		if c.Names == nil {
			c.Names = []string{testHost}
		}
		if c.Profile == "" {
			c.Profile = ProfileSMTP.String()
		}
		c.Index, c.Depth, c.OpenSSL = index, depth, openssl
		switch c.Status = verdict; verdict {
		case "matched":
		case "unusable":
		default:
			c.Status, c.Reason = "mismatched", verdict
		}
		cases = append(cases, c)
	}
	// Every combination of the three numbers, once right and once wrong, in both
	// profiles.
	for u := range Usage(4) {
		for s := range Selector(2) {
			for m := range MatchingType(3) {
				what := fmt.Sprintf("%s %s %s", u, s, m)
				right, depth := "leaf", 0
				if u == UsageDANETA || u == UsagePKIXTA {
					right, depth = "intermediate", 1
				}
				c := vector{Why: what, Records: []string{make(u, s, m, right)}, Chain: full}
				wrong := vector{Why: what + ", of another certificate", Records: []string{make(u, s, m, "other-leaf")}, Chain: full}
				generic := func(c vector) vector {
					c.Profile, c.Roots = ProfileGeneric.String(), []string{"root"}
					return c
				}
				named := func(c vector) vector {
					if u != UsageDANEEE {
						c.Name = testHost
					}
					return c
				}
				if u < UsageDANETA {
					c.Reason, wrong.Reason = ReasonPKIXUsage.String(), ReasonPKIXUsage.String()
					add(c, "unusable", -1, -1, "unusable")
					add(wrong, "unusable", -1, -1, "unusable")
					c.Reason, wrong.Reason = "", ""
				} else {
					add(named(c), "matched", 0, depth, fmt.Sprintf("matched %d at depth %d", u, depth))
					reason := ReasonNoMatch
					if u == UsageDANETA && s == SelectorCert && m == MatchingFull {
						reason = ReasonNoPath // the anchor is there, in the DNS
					}
					add(wrong, reason.String(), -1, -1, "mismatched")
				}
				add(named(generic(c)), "matched", 0, depth, "")
				reason := ReasonNoMatch
				if u == UsageDANETA && s == SelectorCert && m == MatchingFull {
					reason = ReasonNoPath
				}
				add(generic(wrong), reason.String(), -1, -1, "")
			}
		}
	}
	names := func(c vector, name string) vector { c.Name = name; return c }
	unusable := func(c vector, r Reason) vector { c.Reason = r.String(); return c }
	for _, c := range []struct {
		vector
		verdict      string
		index, depth int
		openssl      string
	}{
		{vector{Why: "digest agility: the stronger digest decides", Records: []string{make(3, 1, 1, "leaf"), make(3, 1, 2, "other-leaf")}, Chain: full}, "no match", -1, -1, "mismatched"},
		{vector{Why: "digest agility: selectors are apart", Records: []string{make(3, 1, 1, "leaf"), make(3, 0, 2, "other-leaf")}, Chain: full}, "matched", 0, 0, "matched 3 at depth 0"},
		{vector{Why: "digest agility: Full is not suppressed", Records: []string{make(3, 1, 0, "leaf"), make(3, 1, 2, "other-leaf")}, Chain: full}, "matched", 0, 0, "matched 3 at depth 0"},
		{vector{Why: "digest agility: a malformed record suppresses nothing", Records: []string{make(3, 1, 1, "leaf"), "3 1 2 abcd"}, Chain: full}, "matched", 0, 0, "matched 3 at depth 0"},
		{unusable(vector{Why: "wrong digest length", Records: []string{"3 1 1 abcd"}, Chain: full}, ReasonBadLength), "unusable", -1, -1, "unusable"},
		{unusable(vector{Why: "unknown usage", Records: []string{"4 1 1 " + make(3, 1, 1, "leaf")[6:]}, Chain: full}, ReasonUnknownUsage), "unusable", -1, -1, "unusable"},
		{unusable(vector{Why: "unknown matching type", Records: []string{"3 1 3 " + make(3, 1, 1, "leaf")[6:]}, Chain: full}, ReasonUnknownMatchingType), "unusable", -1, -1, "unusable"},
		{unusable(vector{Why: "octets behind a Full certificate", Records: []string{make(3, 0, 0, "leaf") + "00"}, Chain: full}, ReasonBadData), "unusable", -1, -1, "unusable"},
		{vector{Why: "usage 3: name and dates do not count", Records: []string{make(3, 1, 1, "self-signed")}, Chain: []string{"self-signed"}}, "matched", 0, 0, "matched 3 at depth 0"},
		{vector{Why: "usage 3 looks at the first certificate alone", Records: []string{make(3, 1, 1, "intermediate")}, Chain: full}, "no match", -1, -1, "mismatched"},
		{vector{Why: "no certificate", Records: []string{make(3, 1, 1, "leaf")}, Chain: []string{}}, "no certificate", -1, -1, "mismatched"},
		{names(vector{Why: "usage 2 at depth 2", Records: []string{make(2, 1, 1, "root")}, Chain: full}, testHost), "matched", 0, 2, "matched 2 at depth 2"},
		{names(vector{Why: "order on the wire", Records: []string{make(2, 1, 1, "root")}, Chain: []string{"leaf", "root", "other-root", "intermediate"}}, testHost), "matched", 0, 2, "matched 2 at depth 2"},
		{names(vector{Why: "the nearest anchor", Records: []string{make(2, 1, 1, "root"), make(2, 1, 1, "intermediate")}, Chain: full}, testHost), "matched", 1, 1, "matched 2 at depth 1"},
		{vector{Why: "usage 2 of the leaf", Records: []string{make(2, 1, 1, "leaf")}, Chain: full}, "no match", -1, -1, "mismatched"},
		{vector{Why: "usage 2 of a self-signed leaf", Records: []string{make(2, 0, 0, "leaf-below-own")}, Chain: []string{"leaf-below-own"}}, "no match", -1, -1, ""},
		{names(vector{Why: "anchor in the DNS, not sent", Records: []string{make(2, 0, 0, "root")}, Chain: []string{"leaf", "intermediate"}}, testHost), "matched", 0, 2, "matched 2 at depth 2"},
		{names(vector{Why: "bare key, signed the intermediate", Records: []string{make(2, 1, 0, "root")}, Chain: []string{"leaf", "intermediate"}}, testHost), "matched", 0, 1, "matched 2 at depth 1"},
		{names(vector{Why: "bare key, signed the leaf", Records: []string{make(2, 1, 0, "intermediate")}, Chain: []string{"leaf"}}, testHost), "matched", 0, 0, "matched 2 at depth 0"},
		{vector{Why: "digest of an anchor that was not sent", Records: []string{make(2, 1, 1, "root")}, Chain: []string{"leaf", "intermediate"}}, "no match", -1, -1, "mismatched"},
		{vector{Why: "genuine root appended to a forged leaf", Records: []string{make(2, 1, 1, "root")}, Chain: []string{"other-leaf", "root"}}, "bad signature", -1, -1, "mismatched"},
		{vector{Why: "usage 2, leaf expired", Records: []string{make(2, 1, 1, "intermediate")}, Chain: []string{"expired-leaf", "intermediate"}}, "expired", -1, -1, "mismatched"},
		{vector{Why: "usage 2, leaf for clients", Records: []string{make(2, 1, 1, "intermediate")}, Chain: []string{"client-leaf", "intermediate"}}, "extended key usage", -1, -1, "mismatched"},
		{vector{Why: "usage 2, other name", Records: []string{make(2, 1, 1, "intermediate")}, Chain: []string{"named-leaf", "intermediate"}}, "name mismatch", -1, -1, "mismatched"},
		{names(vector{Why: "usage 2, second reference identifier", Records: []string{make(2, 1, 1, "intermediate")}, Chain: []string{"named-leaf", "intermediate"}, Names: []string{testHost, "other.example"}}, "other.example"), "matched", 0, 1, "matched 2 at depth 1"},
		{names(vector{Why: "wildcard", Records: []string{make(2, 1, 1, "intermediate")}, Chain: []string{"wildcard-leaf", "intermediate"}}, testHost), "matched", 0, 1, "matched 2 at depth 1"},
		{vector{Why: "wildcard covers one label", Records: []string{make(2, 1, 1, "intermediate")}, Chain: []string{"wildcard-leaf", "intermediate"}, Names: []string{"a.mx.example.com"}}, "name mismatch", -1, -1, "mismatched"},
		{names(vector{Why: "common name, without any dNSName", Records: []string{make(2, 1, 1, "intermediate")}, Chain: []string{"cn-leaf", "intermediate"}}, testHost), "matched", 0, 1, "matched 2 at depth 1"},
		{vector{Why: "no common name in the generic profile", Profile: "generic", Records: []string{make(2, 1, 1, "intermediate")}, Chain: []string{"cn-leaf", "intermediate"}}, "name mismatch", -1, -1, ""},
		{vector{Why: "usage 2 without reference identifiers", Records: []string{make(2, 1, 1, "intermediate")}, Chain: full, Names: []string{}}, "no reference identifier", -1, -1, ""},
		{vector{Why: "usage 1 without roots", Profile: "generic", Records: []string{make(1, 1, 1, "leaf")}, Chain: full}, "no public roots configured", -1, -1, ""},
		{vector{Why: "usage 1 below another root of the same name", Profile: "generic", Roots: []string{"other-root"}, Records: []string{make(1, 1, 1, "leaf")}, Chain: full}, "no path to a public root", -1, -1, ""},
		{names(vector{Why: "usage 0 of the root, not sent", Profile: "generic", Roots: []string{"root"}, Records: []string{make(0, 1, 1, "root")}, Chain: []string{"leaf", "intermediate"}}, testHost), "matched", 0, 2, ""},
		{vector{Why: "usage 0 of what is on no path", Profile: "generic", Roots: []string{"root"}, Records: []string{make(0, 1, 1, "unrelated")}, Chain: append(slices.Clone(full), "unrelated")}, "no match", -1, -1, ""},
	} {
		add(c.vector, c.verdict, c.index, c.depth, c.openssl)
	}
	return cases
}
