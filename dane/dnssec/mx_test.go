package dnssec

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// data returns the RDATA of a record in zone file form, as a Record.
func data(t testing.TB, s string) Record {
	return Record{TTL: 60, Data: uncompressed(t, rr(t, ". 60 IN "+s))}
}

func found(records ...Record) Answer {
	return Answer{Security: Secure, Outcome: Found, Records: records}
}

func TestLookupMX(t *testing.T) {
	short := Record{Data: []byte{0, 10}}
	for _, c := range []struct {
		name   string
		answer Answer
		want   MXSet
		why    string
	}{
		{"sorted", found(data(t, "MX 20 B.example."), data(t, "MX 10 a.example."), data(t, "MX 20 a.example.")),
			MXSet{Hosts: []MX{{"a.example.", 10}, {"b.example.", 20}, {"a.example.", 20}}}, "by preference, else as received"},
		{"null", found(data(t, "MX 0 .")), MXSet{Null: true}, "RFC 7505"},
		{"null with preference", found(data(t, "MX 10 .")), MXSet{Null: true}, "\".\" is no host whatever the preference"},
		{"null among others", found(data(t, "MX 0 ."), data(t, "MX 10 a.example.")),
			MXSet{Hosts: []MX{{"a.example.", 10}}, Dropped: 1}, "RFC 7505 section 3: not a null MX then"},
		{"null and malformed", found(data(t, "MX 0 ."), short), MXSet{Dropped: 2}, "not the sole record"},
		{"malformed", found(short, Record{}, data(t, "MX 10 a.example.")),
			MXSet{Hosts: []MX{{"a.example.", 10}}, Dropped: 2}, "one bad record does not take the mail away"},
		{"trailing", found(Record{Data: append(data(t, "MX 10 a.example.").Data, 0)}), MXSet{Dropped: 1}, "octets after the name"},
		{"pointer", found(Record{Data: []byte{0, 10, 0xc0, 0}}), MXSet{Dropped: 1}, "names in an answer are not compressed"},
		{"no host", found(data(t, `MX 10 a\032b.example.`), data(t, "MX 10 *.example.")), MXSet{Dropped: 2}, "nothing that could be connected to"},
		{"no data", Answer{Outcome: NoData, Security: Secure}, MXSet{}, "no MX"},
		{"no domain", Answer{Outcome: NXDomain, Security: Secure}, MXSet{}, "no domain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Static{Answers: map[Question]Answer{{"example.", TypeMX}: c.answer}}
			got, err := LookupMX(context.Background(), r, "Example")
			require.NoError(t, err)
			require.Equal(t, c.answer.Outcome, got.Answer.Outcome)
			require.Equal(t, Secure, got.Answer.Security)
			got.Answer = nil
			require.Equal(t, c.want, got, c.why)
		})
	}
	boom := errors.New("boom")
	set, err := LookupMX(context.Background(), Static{Errors: map[Question]error{{"example.", TypeMX}: boom}}, "example")
	require.ErrorIs(t, err, boom)
	require.Equal(t, MXSet{}, set)
}
