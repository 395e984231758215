package mtasts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The keys of the files, besides "rule".
var (
	recordKeys = []string{"text", "both", "strict", "tolerant", "warning"}
	setKeys    = []string{"txt", "both", "strict", "tolerant"}
	policyKeys = recordKeys
	matchKeys  = []string{"pattern", "host", "match"}
)

// vector is one row of a file in testdata: lines of a key and a value, apart from
// the next row by an empty line. The head of each file explains its keys.
type vector struct {
	where  string // file and line
	values map[string][]string
}

// readVectors reads a file whose rows may have these keys and "rule", which each
// must have.
func readVectors(t testing.TB, file string, keys ...string) (vectors []vector) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	var row *vector
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			row = nil
			continue
		}
		if row == nil {
			vectors = append(vectors, vector{fmt.Sprintf("%s:%d", file, i+1), map[string][]string{}})
			row = &vectors[len(vectors)-1]
		}
		key, value, _ := strings.Cut(line, " ")
		require.True(t, key == "rule" || slices.Contains(keys, key), "%s:%d: key %q", file, i+1, key)
		row.values[key] = append(row.values[key], strings.TrimSpace(value))
	}
	require.NotEmpty(t, vectors, file)
	for i := range vectors {
		vectors[i].where += " (" + vectors[i].one(t, "rule") + ")"
	}
	return vectors
}

// one is the value of a key that the row has once.
func (v vector) one(t testing.TB, key string) string {
	t.Helper()
	require.Len(t, v.values[key], 1, "%s: %s", v.where, key)
	return v.values[key][0]
}

// octets are the values of a key, which are in Go syntax.
func (v vector) octets(t testing.TB, key string) (list []string) {
	t.Helper()
	for _, quoted := range v.values[key] {
		s, err := strconv.Unquote(quoted)
		require.NoError(t, err, "%s: %s", v.where, key)
		list = append(list, s)
	}
	return list
}

// verdict is what the row expects of a mode.
func (v vector) verdict(t testing.TB, mode Mode) string {
	t.Helper()
	if len(v.values["both"]) > 0 {
		require.Empty(t, v.values[mode.String()], v.where)
		return v.one(t, "both")
	}
	return v.one(t, mode.String())
}

// refusal writes an error of a parser as the files do, and holds it to the
// sentinel.
func refusal(t *testing.T, err, sentinel error, where string) string {
	t.Helper()
	var syntax *SyntaxError
	require.ErrorAs(t, err, &syntax, where)
	for _, s := range []error{ErrRecordSyntax, ErrPolicySyntax} {
		require.Equal(t, s == sentinel, errors.Is(err, s), where)
	}
	return fmt.Sprintf("refused %d:%d %s", syntax.Line, syntax.Col, syntax.Code)
}

// warningLines writes warnings as the files do.
func warningLines(warnings []Warning) (lines []string) {
	for _, w := range warnings {
		what := strings.TrimSpace(w.Code.String() + " " + w.Field)
		lines = append(lines, fmt.Sprintf("%d:%d %s %+q", w.Line, w.Col, what, w.Detail))
	}
	return lines
}

func TestRecordVectors(t *testing.T) {
	for _, v := range readVectors(t, "records.txt", recordKeys...) {
		text := strings.Join(v.octets(t, "text"), "")
		accepted := false
		for _, mode := range []Mode{Strict, Tolerant} {
			var warnings []Warning
			record, err := Parser{Mode: mode, Warn: func(w Warning) { warnings = append(warnings, w) }}.Record(text)
			if err != nil {
				require.Equal(t, v.verdict(t, mode), refusal(t, err, ErrRecordSyntax, v.where), "%s, %s", v.where, mode)
				require.Zero(t, record, v.where)
				require.False(t, accepted, "%s: what strict reading accepts, tolerant does", v.where)
				continue
			}
			accepted = true
			require.Equal(t, v.verdict(t, mode), "id "+record.ID, "%s, %s", v.where, mode)
			require.Equal(t, v.values["warning"], warningLines(warnings), "%s, %s", v.where, mode)
			again, err := ParseRecord(record.String())
			require.NoError(t, err, v.where)
			require.Equal(t, record.ID, again.ID, v.where)
		}
		require.True(t, accepted || v.values["warning"] == nil, "%s: warnings of what is refused", v.where)
	}
}

func TestTXTSetVectors(t *testing.T) {
	for _, v := range readVectors(t, "txtsets.txt", setKeys...) {
		for _, mode := range []Mode{Strict, Tolerant} {
			record, err := SelectRecord(v.octets(t, "txt"), mode)
			got := "id " + record.ID
			switch {
			case errors.Is(err, ErrNoRecord):
				got = "none"
			case errors.Is(err, ErrMultipleRecords):
				got = "several"
			case err != nil:
				require.ErrorIs(t, err, ErrRecordSyntax, v.where)
				got = "invalid"
			}
			require.Equal(t, v.verdict(t, mode), got, "%s, %s", v.where, mode)
			require.True(t, err == nil || record.ID == "", v.where)
		}
	}
}

func TestPolicyVectors(t *testing.T) {
	for _, v := range readVectors(t, "policies.txt", policyKeys...) {
		text := strings.Join(v.octets(t, "text"), "")
		accepted := false
		for _, mode := range []Mode{Strict, Tolerant} {
			policy, warnings, err := parse(mode, text)
			if err != nil {
				require.Equal(t, v.verdict(t, mode), refusal(t, err, ErrPolicySyntax, v.where), "%s, %s", v.where, mode)
				require.False(t, accepted, "%s: what strict reading accepts, tolerant does", v.where)
				continue
			}
			accepted = true
			require.Equal(t, v.verdict(t, mode), policyLine(policy), "%s, %s", v.where, mode)
			require.Equal(t, v.values["warning"], warningLines(warnings), "%s, %s", v.where, mode)
			fromBytes, err := ParsePolicy([]byte(text))
			require.NoError(t, err, v.where)
			require.True(t, policy.Equal(fromBytes), v.where)
		}
		require.True(t, accepted || v.values["warning"] == nil, "%s: warnings of what is refused", v.where)
	}
}

// policyLine writes a policy as the files do.
func policyLine(p *Policy) string {
	line := fmt.Sprintf("mode:%s max_age:%d", p.Mode, p.MaxAge/time.Second)
	for _, pattern := range p.MX {
		line += " mx:" + pattern
	}
	for _, x := range p.Extensions {
		line += fmt.Sprintf(" %s:%+q", x.Name, x.Value)
	}
	return line
}

func TestMatchVectors(t *testing.T) {
	for _, v := range readVectors(t, "matches.txt", matchKeys...) {
		require.Contains(t, []string{"yes", "no"}, v.one(t, "match"), v.where)
		want := v.one(t, "match") == "yes"
		pattern, host := v.octets(t, "pattern"), v.octets(t, "host")
		require.Len(t, pattern, 1, v.where)
		require.Len(t, host, 1, v.where)
		require.Equal(t, want, MatchPattern(pattern[0], host[0]), v.where)
		p := &Policy{MX: []string{"other.example.org", pattern[0]}}
		require.Equal(t, want, p.Match(host[0]), "%s: in a policy", v.where)
		r := &Result{Policy: p}
		require.Equal(t, want, r.Match(host[0]), "%s: in a result", v.where)
	}
}
