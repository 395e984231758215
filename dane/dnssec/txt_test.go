package dnssec

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLookupTXT(t *testing.T) {
	boom := errors.New("boom")
	r := Static{
		Answers: map[Question]Answer{
			{"t.example.", TypeTXT}: found(
				data(t, `TXT "v=STSv1; " "id=1"`),
				Record{Data: nil},              // no string at all
				Record{Data: []byte{3, 'a'}},   // cut
				Record{Data: []byte{0}},        // one empty string is a text
				Record{Data: []byte{1, 0xff}}), // any octet
		},
		Errors: map[Question]error{{"b.example.", TypeTXT}: boom},
	}
	texts, a, err := LookupTXT(context.Background(), r, "t.example")
	require.NoError(t, err)
	require.Equal(t, []string{"v=STSv1; id=1", "", "\xff"}, texts)
	require.Equal(t, Secure, a.Security)
	texts, a, err = LookupTXT(context.Background(), r, "none.example")
	require.NoError(t, err)
	require.Empty(t, texts)
	require.Equal(t, NXDomain, a.Outcome)
	_, _, err = LookupTXT(context.Background(), r, "b.example")
	require.ErrorIs(t, err, boom)
}
