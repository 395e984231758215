package dane

import (
	"encoding"
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	_ encoding.TextUnmarshaler   = (*Record)(nil)
	_ encoding.TextMarshaler     = Record{}
	_ encoding.TextAppender      = Record{}
	_ encoding.BinaryUnmarshaler = (*Record)(nil)
	_ encoding.BinaryMarshaler   = Record{}
)

func TestAcronyms(t *testing.T) {
	require.Equal(t, []string{"PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE", "4", "PrivCert"},
		[]string{Usage(0).String(), Usage(1).String(), Usage(2).String(), Usage(3).String(), Usage(4).String(), Usage(255).String()})
	require.Equal(t, []string{"Cert", "SPKI", "2", "PrivSel"},
		[]string{Selector(0).String(), Selector(1).String(), Selector(2).String(), Selector(255).String()})
	require.Equal(t, []string{"Full", "SHA2-256", "SHA2-512", "3", "PrivMatch"},
		[]string{MatchingType(0).String(), MatchingType(1).String(), MatchingType(2).String(), MatchingType(3).String(), MatchingType(255).String()})
}

func TestFieldText(t *testing.T) {
	type fields struct {
		U Usage
		S Selector
		M MatchingType
		R Record
	}
	for v := range 256 {
		in := fields{Usage(v), Selector(v), MatchingType(v), Record{Usage(v), Selector(v), MatchingType(v), []byte{byte(v)}}}
		text, err := json.Marshal(in)
		require.NoError(t, err)
		var out fields
		require.NoError(t, json.Unmarshal(text, &out))
		require.Equal(t, in, out)
	}
	u := UsageDANEEE
	err := u.UnmarshalText([]byte("DANE"))
	var syntax *SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.Equal(t, UsageDANEEE, u, "left as it was")
	require.Error(t, new(Selector).UnmarshalText(nil))
	require.Error(t, new(MatchingType).UnmarshalText([]byte("256")))
}

func TestRecordForms(t *testing.T) {
	r := Record{3, 1, 1, []byte{0xAB, 0xCD}}
	require.Equal(t, "3 1 1 abcd", r.String())
	require.Equal(t, "3 1 1", Record{3, 1, 1, nil}.String())
	text, err := r.AppendText([]byte("x "))
	require.NoError(t, err)
	require.Equal(t, "x 3 1 1 abcd", string(text))
	require.Equal(t, []byte{9, 3, 1, 1, 0xAB, 0xCD}, r.AppendWire([]byte{9}))
	wire, err := r.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, []byte{3, 1, 1, 0xAB, 0xCD}, wire)
}

func TestCompare(t *testing.T) {
	sorted := []Record{
		{0, 0, 0, nil}, {0, 0, 0, []byte{0}}, {0, 0, 1, nil}, {0, 1, 0, nil}, {2, 0, 0, []byte{1}},
		{2, 0, 0, []byte{1, 0}}, {2, 0, 0, []byte{2}}, {3, 1, 1, nil}, {255, 0, 0, nil},
	}
	for i, a := range sorted {
		for j, b := range sorted {
			switch c := a.Compare(b); {
			case i < j:
				require.Negative(t, c)
			case i > j:
				require.Positive(t, c)
			default:
				require.Zero(t, c)
			}
			require.Equal(t, i == j, a.Equal(b))
		}
	}
	require.True(t, Record{}.Equal(Record{Data: []byte{}}), "nil and empty data are the same")
	shuffled := slices.Clone(sorted)
	slices.Reverse(shuffled)
	slices.SortFunc(shuffled, Record.Compare)
	require.Equal(t, sorted, shuffled)
}

func TestOwnerName(t *testing.T) {
	for _, tc := range []struct {
		why         string
		port        uint16
		proto, base string
		want        string
	}{
		{"plain", 25, "tcp", "mail.example.org", "_25._tcp.mail.example.org."},
		{"final dot and upper case", 25, "tcp", "Mail.Example.ORG.", "_25._tcp.mail.example.org."},
		{"U-labels", 465, "tcp", "bücher.example", "_465._tcp.xn--bcher-kva.example."},
		{"other protocols", 65535, "udp", "a.example", "_65535._udp.a.example."},
		{"sctp", 1, "sctp", "a.example", "_1._sctp.a.example."},
		{"underscores", 25, "tcp", "mx_1.example", "_25._tcp.mx_1.example."},
	} {
		got, err := OwnerName(tc.port, tc.proto, tc.base)
		require.NoError(t, err, tc.why)
		require.Equal(t, tc.want, got, tc.why)
	}
	long := ""
	for range 61 {
		long += "abc."
	}
	for _, tc := range []struct {
		why         string
		port        uint16
		proto, base string
	}{
		{"the network of package net is no protocol label", 25, "tcp4", "a.example"},
		{"upper case protocol", 25, "TCP", "a.example"},
		{"no protocol", 25, "", "a.example"},
		{"no port", 0, "tcp", "a.example"},
		{"IP address", 25, "tcp", "192.0.2.1"},
		{"IP literal", 25, "tcp", "[2001:db8::1]"},
		{"empty", 25, "tcp", ""},
		{"wildcard", 25, "tcp", "*.example"},
		{"too long with the prefix", 25, "tcp", long + "abcde"},
	} {
		_, err := OwnerName(tc.port, tc.proto, tc.base)
		require.ErrorContains(t, err, "dane: ", tc.why)
	}
	_, err := OwnerName(25, "tcp", long+"abcde")
	require.ErrorIs(t, err, ErrReferenceID)
	_, err = OwnerName(25, "tcp", long+"a")
	require.ErrorIs(t, err, ErrReferenceID, "254 octets with the prefix")
	_, err = OwnerName(25, "tcp", long[:len(long)-1])
	require.NoError(t, err, "252 octets with the prefix")
}

func TestFormatRR(t *testing.T) {
	owner, err := OwnerName(25, "tcp", "mail.example.org")
	require.NoError(t, err)
	require.Equal(t, "_25._tcp.mail.example.org. 3600 IN TLSA 3 1 1 ab", FormatRR(owner, 3600, Record{3, 1, 1, []byte{0xab}}))
}
