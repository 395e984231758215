package main

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	moxmtasts "github.com/mjl-/mox/mtasts"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/mtasts"
)

// publications are the policies that a Publisher can be given, in every form that
// its text can take.
var publications = []struct {
	why     string
	policy  mtasts.Policy
	mx      []string // as written
	refused string   // the peer that cannot read what RFC 8461 allows
}{
	{why: "enforce", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: 7 * day, MX: []string{"mx.example.com"}}, mx: []string{"mx.example.com"}},
	{why: "testing", policy: mtasts.Policy{Mode: mtasts.ModeTesting, MaxAge: day, MX: []string{"mx.example.com"}}, mx: []string{"mx.example.com"}},
	{why: "none, no mx", policy: mtasts.Policy{Mode: mtasts.ModeNone, MaxAge: day}},
	{why: "none, with mx", policy: mtasts.Policy{Mode: mtasts.ModeNone, MaxAge: day, MX: []string{"mx.example.com"}}, mx: []string{"mx.example.com"}},
	{why: "wildcard", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{"*.example.com"}}, mx: []string{"*.example.com"}},
	{why: "several, their order and a double kept", policy: mtasts.Policy{
		Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{"b.example", "*.a.example", "c-1.xn--bcher-kva.example", "b.example"}},
		mx: []string{"b.example", "*.a.example", "c-1.xn--bcher-kva.example", "b.example"}},
	{why: "a hundred", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: hundred()}, mx: hundred()},
	{why: "letter case", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{"MX.Example.COM"}}, mx: []string{"mx.example.com"}},
	{why: "U-labels", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{"mx.bücher.example", "*.bücher.example"}},
		mx: []string{"mx.xn--bcher-kva.example", "*.xn--bcher-kva.example"}},
	{why: "U-label by another script", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{"*.例え.テスト"}},
		mx: []string{"*.xn--r8jz45g.xn--zckzah"}},
	{why: "one label", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{"mailhost"}}, mx: []string{"mailhost"}},
	{why: "longest label and name", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{longest}}, mx: []string{longest}},
	{why: "max_age 0", policy: mtasts.Policy{Mode: mtasts.ModeTesting, MX: []string{"mx.example.com"}}, mx: []string{"mx.example.com"}},
	{why: "max_age of one second", policy: mtasts.Policy{Mode: mtasts.ModeTesting, MaxAge: time.Second, MX: []string{"mx.example.com"}}, mx: []string{"mx.example.com"}},
	{why: "the longest max_age", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: mtasts.MaxAge, MX: []string{"mx.example.com"}}, mx: []string{"mx.example.com"}},
	{why: "extensions", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{"mx.example.com"},
		Extensions: []mtasts.Field{{Name: "x-1.a_b", Value: "some text, with = and ;"}, {Name: "y", Value: "grüße"}}}, mx: []string{"mx.example.com"}},
	{why: "a colon in an extension", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{"mx.example.com"},
		Extensions: []mtasts.Field{{Name: "url", Value: "https://example.com/"}}}, mx: []string{"mx.example.com"}, refused: goMTASTS},
	{why: "an underscore, which is no RFC 5321 Domain", policy: mtasts.Policy{Mode: mtasts.ModeEnforce, MaxAge: day, MX: []string{"mx_1.example.com"}},
		mx: []string{"mx_1.example.com"}, refused: mox},
}

const day = 24 * time.Hour

var longest = strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 253-3*64)

func hundred() (mx []string) {
	for i := range 100 {
		mx = append(mx, fmt.Sprintf("mx%d.example.com", i))
	}
	return mx
}

// What a Publisher writes means the same to the parsers of others.
func TestPublisherIsReadByOthers(t *testing.T) {
	for _, tc := range publications {
		record, err := mtasts.RecordFor(&tc.policy)
		require.NoError(t, err, tc.why)
		id, err := mtasts.PolicyID(&tc.policy)
		require.NoError(t, err, tc.why)
		theirs, is, err := moxmtasts.ParseRecord(record)
		require.NoError(t, err, tc.why)
		require.True(t, is, tc.why)
		require.Equal(t, moxmtasts.Record{Version: "STSv1", ID: id}, *theirs, tc.why)
		readID, err := readDNSRecord(record)
		require.NoError(t, err, tc.why)
		require.Equal(t, id, readID, tc.why)

		body := serve(t, &tc.policy)
		m, err := moxmtasts.ParsePolicy(body)
		if tc.refused == mox {
			require.Error(t, err, tc.why)
		} else {
			require.NoError(t, err, tc.why)
			require.Equal(t, "STSv1", m.Version, tc.why)
			require.EqualValues(t, tc.policy.Mode.String(), m.Mode, tc.why)
			require.Equal(t, tc.policy.MaxAge, time.Duration(m.MaxAgeSeconds)*time.Second, tc.why)
			require.Equal(t, tc.mx, moxPatterns(m), tc.why)
			require.Equal(t, tc.policy.Extensions, moxExtensions(m), tc.why)
		}
		g, err := readPolicy(strings.NewReader(body))
		if tc.refused == goMTASTS {
			require.Error(t, err, tc.why)
			continue
		}
		require.NoError(t, err, tc.why)
		require.EqualValues(t, tc.policy.Mode.String(), g.Mode, tc.why)
		require.Equal(t, tc.policy.MaxAge, time.Duration(g.MaxAge)*time.Second, tc.why)
		require.Equal(t, tc.mx, g.MX, tc.why)
	}
}

// serve is the file as it comes from a Publisher.
func serve(t *testing.T, policy *mtasts.Policy) string {
	t.Helper()
	request := httptest.NewRequest("GET", "https://mta-sts.example.com/.well-known/mta-sts.txt", nil)
	answer := httptest.NewRecorder()
	(&mtasts.Publisher{Source: mtasts.Policies{"example.com": policy}}).ServeHTTP(answer, request)
	require.Equal(t, 200, answer.Code)
	return answer.Body.String()
}

func moxPatterns(p *moxmtasts.Policy) (mx []string) {
	for _, pattern := range p.MX {
		name := pattern.Domain.ASCII
		if pattern.Wildcard {
			name = "*." + name
		}
		mx = append(mx, name)
	}
	return mx
}

func moxExtensions(p *moxmtasts.Policy) (fields []mtasts.Field) {
	for _, pair := range p.Extensions {
		fields = append(fields, mtasts.Field{Name: pair.Key, Value: pair.Value})
	}
	return fields
}
