package dnssec

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatic(t *testing.T) {
	boom := errors.New("boom")
	addr := []Record{{TTL: 60, Data: []byte{192, 0, 2, 1}}}
	alias := Step{From: "www.example.", To: "host.example.", Owner: "www.example.", Type: TypeCNAME, Security: Insecure}
	table := Static{
		Answers: map[Question]Answer{
			{"Host.Example", TypeA}:    {Security: Secure, Records: addr},
			{"www.example.", TypeA}:    {Chain: []Step{alias}, Final: Secure, Records: addr},
			{"empty.example.", TypeA}:  {Final: Secure},
			{"gone.example.", TypeA}:   {Outcome: NXDomain, Security: Insecure},
			{"TWICE.example.", TypeA}:  {Security: Secure},
			{"Twice.example.", TypeA}:  {Security: Insecure},
			{"bad..name", TypeA}:       {Security: Secure},
			{"broken.example.", TypeA}: {Security: Secure},
		},
		Errors: map[Question]error{{"Broken.example", TypeA}: boom},
		Absent: Insecure,
	}
	for _, c := range []struct {
		name string
		typ  Type
		want Answer
		why  string
	}{
		{"host.example.", TypeA, Answer{Name: "host.example.", Type: TypeA, Outcome: Found, Canonical: "host.example.", Records: addr, Final: Secure, Security: Secure}, "keys are normalised"},
		{"WWW.example", TypeA, Answer{Name: "www.example.", Type: TypeA, Outcome: Found, Canonical: "host.example.", Chain: []Step{alias}, Records: addr, Final: Secure, Security: Insecure}, "the least of the parts"},
		{"empty.example", TypeA, Answer{Name: "empty.example.", Type: TypeA, Outcome: NoData, Canonical: "empty.example.", Final: Secure, Security: Secure}, "no records"},
		{"gone.example", TypeA, Answer{Name: "gone.example.", Type: TypeA, Outcome: NXDomain, Canonical: "gone.example.", Final: Insecure, Security: Insecure}, "as written"},
		{"host.example", TypeMX, Answer{Name: "host.example.", Type: TypeMX, Outcome: NoData, Canonical: "host.example.", Final: Insecure, Security: Insecure}, "the name is there"},
		{"other.example", TypeMX, Answer{Name: "other.example.", Type: TypeMX, Outcome: NXDomain, Canonical: "other.example.", Final: Insecure, Security: Insecure}, "the name is not there"},
		{"twice.example", TypeA, Answer{Name: "twice.example.", Type: TypeA, Outcome: NoData, Canonical: "twice.example.", Final: Secure, Security: Secure}, "first spelling in byte order, each time"},
	} {
		got, err := table.Lookup(context.Background(), c.name, c.typ)
		require.NoError(t, err)
		c.want.Source = SourceStatic
		require.Equal(t, &c.want, got, c.why)
	}

	_, err := table.Lookup(context.Background(), "broken.example", TypeA)
	require.ErrorIs(t, err, boom, "errors win over answers")
	_, err = table.Lookup(context.Background(), "bad..name", TypeA)
	require.ErrorIs(t, err, KindBadName)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = table.Lookup(ctx, "host.example", TypeA)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, KindCanceled)
	a, err := Static{}.Lookup(context.Background(), "host.example", TypeA)
	require.NoError(t, err)
	require.Equal(t, Indeterminate, a.Security, "an empty table proves nothing")
}

func TestAskable(t *testing.T) {
	for _, typ := range []Type{0, 24, 30, 41, 46, 47, 50, 128, 249, 250, 251, 252, 253, 254, 255} {
		_, err := Static{}.Lookup(context.Background(), "example", typ)
		require.ErrorIs(t, err, KindBadName, typ.String())
		var e *Error
		require.ErrorAs(t, err, &e)
		require.False(t, e.Temporary())
	}
	for _, typ := range []Type{TypeA, TypeDS, TypeDNSKEY, 64, 127, 256, 65280} {
		_, err := Static{}.Lookup(context.Background(), "example", typ)
		require.NoError(t, err, typ.String())
	}
}
