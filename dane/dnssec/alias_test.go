package dnssec

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStepSecurity(t *testing.T) {
	bogus := &Error{Kind: KindBogus, EDE: noEDE}
	other := Step{From: "moved.example.", To: "x.example.", Owner: "moved.example.", Type: TypeCNAME}
	r := Static{
		Answers: map[Question]Answer{
			{"www.example.", TypeCNAME}:   found(data(t, "CNAME host.example.")),
			{"old.example.", TypeDNAME}:   {Outcome: Found, Security: Insecure},
			{"dark.example.", TypeCNAME}:  {Outcome: Found},
			{"moved.example.", TypeCNAME}: {Outcome: Found, Security: Secure, Chain: []Step{other}},
		},
		Errors: map[Question]error{{"bogus.example.", TypeCNAME}: bogus},
		Absent: Secure,
	}
	for _, c := range []struct {
		step Step
		want Security
		err  error
		why  string
	}{
		{Step{Owner: "gone.example.", Type: TypeCNAME, Security: Secure}, Secure, nil, "what is established is not asked for"},
		{Step{Owner: "gone.example.", Type: TypeCNAME, Security: Insecure}, Insecure, nil, "what is established is not asked for"},
		{Step{Owner: "www.example.", Type: TypeCNAME}, Secure, nil, "asked for"},
		{Step{From: "a.old.example.", Owner: "old.example.", Type: TypeDNAME}, Insecure, nil, "the DNAME, not the CNAME made from it"},
		{Step{Owner: "dark.example.", Type: TypeCNAME}, Indeterminate, nil, "the resolver cannot tell"},
		{Step{Owner: "bogus.example.", Type: TypeCNAME}, Indeterminate, KindBogus, "an error is not Insecure"},
		{Step{Owner: "gone.example.", Type: TypeCNAME}, Indeterminate, KindMalformed, "a secure denial says nothing about the alias"},
		{Step{Owner: "moved.example.", Type: TypeCNAME}, Indeterminate, KindMalformed, "another RRset than the one followed"},
	} {
		got, err := StepSecurity(context.Background(), r, c.step)
		require.Equal(t, c.want, got, c.why)
		if c.err == nil {
			require.NoError(t, err, c.why)
		} else {
			require.ErrorIs(t, err, c.err, c.why)
		}
	}
}
