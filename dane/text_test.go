package dane

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// Every value has a text of its own, and values that there are none of do not
// panic.
func TestTexts(t *testing.T) {
	for _, kind := range []struct {
		name  string
		count int
		text  func(i uint8) string
	}{
		{"Reason", len(reasonTexts), func(i uint8) string { return Reason(i).String() }},
		{"Outcome", len(outcomeTexts), func(i uint8) string { return Outcome(i).String() }},
		{"DiscoverReason", len(discoverReasonTexts), func(i uint8) string { return DiscoverReason(i).String() }},
		{"Status", 3, func(i uint8) string { return Status(i).String() }},
		{"Profile", 2, func(i uint8) string { return Profile(i).String() }},
		{"AdviceKind", len(adviceTexts), func(i uint8) string { return AdviceKind(i).String() }},
	} {
		seen := map[string]bool{}
		for i := range 256 {
			text := kind.text(uint8(i))
			require.NotEmpty(t, text)
			require.False(t, seen[text], "%s %d", kind.name, i)
			seen[text] = true
			named := i < kind.count && !(kind.name == "AdviceKind" && i == 0)
			require.Equal(t, !named, text == fmt.Sprintf("%s(%d)", kind.name, i))
		}
	}
	require.Len(t, reasonTexts, int(ReasonName)+1)
	require.Equal(t, []string{"lookup-error", "usable", "unusable", "no-tlsa", "insecure", "bogus", "no-address"}, outcomeTexts[:])
	for _, v := range []slog.LogValuer{ReasonName, OutcomeUsable, ReasonInsecureMX} {
		require.Equal(t, fmt.Sprint(v), v.LogValue().String())
	}
}

func TestVerifyErrorText(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	for _, tc := range []struct {
		records []Record
		ids     RefIDs
		parts   []string
	}{
		{[]Record{ta211(t, root.Cert)}, refIDs(t, "other.example"), []string{"dane: none of 1 TLSA records matches", `("2 1 1 `, "name mismatch", "the certificate must contain"}},
		{[]Record{{9, 9, 9, nil}, {8, 8, 8, nil}}, RefIDs{}, []string{"dane: none of 2 TLSA records is usable", "unknown usage", "correct the TLSA records"}},
		{[]Record{ta211(t, root.Cert)}, RefIDs{}, []string{"no reference identifier"}},
	} {
		err := verifier(t, Options{}, tc.records...).Verify(leaf.ChainWithRoot(), tc.ids, now).Err()
		for _, part := range tc.parts {
			require.ErrorContains(t, err, part)
		}
		require.Less(t, len(err.Error()), 400)
	}
	for i := range reasonTexts {
		require.NotEmpty(t, Reason(i).advice())
	}
}

func TestVerifyErrorCause(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(testpki.NewRoot("Root"))
	err := verifier(t, Options{}, ta211(t, root.Cert)).Verify(serial(leaf.Cert, root.Cert), refIDs(t, testHost), now).Err()
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)
	require.ErrorContains(t, err, "unknown authority")
	require.ErrorIs(t, fmt.Errorf("mx: %w", err), ErrMismatch)
	require.False(t, errors.Is(err, ErrNoRecords))
}

func TestDiscoverErrorText(t *testing.T) {
	err := &DiscoverError{StageTLSA, "mx.example.com", &dnssec.Error{Kind: dnssec.KindBogus, EDE: -1}}
	require.True(t, strings.HasPrefix(err.Error(), `dane: tlsa lookup for "mx.example.com" failed: `))
	require.ErrorContains(t, err, "try again later")
	_, bad := NewRefIDs("*.example.com")
	err = &DiscoverError{StageAddress, "*.example.com", bad}
	require.ErrorContains(t, err, "correct the name")
}

func TestSentinels(t *testing.T) {
	for err, temporary := range map[error]bool{ErrNoRecords: true, ErrUnusable: true, ErrMismatch: true, ErrReferenceID: false} {
		var is interface{ Temporary() bool }
		require.ErrorAs(t, err, &is)
		require.Equal(t, temporary, is.Temporary(), err.Error())
		require.True(t, strings.HasPrefix(err.Error(), "dane: "))
	}
}
