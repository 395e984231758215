package dane

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseRecord(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	data, err := hex.DecodeString(sum)
	require.NoError(t, err)
	want := Record{UsageDANEEE, SelectorSPKI, MatchingSHA256, data}
	for _, tc := range []struct {
		why, in string
		want    Record
	}{
		{"as printed", "3 1 1 " + sum, want},
		{"upper case", "3 1 1 " + strings.ToUpper(sum), want},
		{"acronyms", "DANE-EE SPKI SHA2-256 " + sum, want},
		{"acronyms in any case", "dane-ee Spki sha2-256 " + sum, want},
		{"acronyms and numbers", "DANE-EE 1 SHA2-256 " + sum, want},
		{"hex in groups", "3 1 1 " + sum[:8] + " " + sum[8:40] + "\t" + sum[40:], want},
		{"a blank inside an octet", "3 1 1 " + sum[:7] + " " + sum[7:], want},
		{"parentheses and line breaks", "3 1 1 (\r\n\t" + sum[:32] + "\n\t" + sum[32:] + " )", want},
		{"parentheses around all", "(3 1 1 " + sum + ")\n", want},
		{"leading and trailing blanks", "  3\t1 1 " + sum + "  ", want},
		{"RFC 3597", `\# 35 030101` + sum, want},
		{"RFC 3597 in groups", `\# 35 ( 0301 01 ` + sum + " )", want},
		{"leading zero", "03 001 1 " + sum, want},
		{"private values", "PrivCert PrivSel PrivMatch 00", Record{255, 255, 255, []byte{0}}},
		{"unknown values parse", "255 7 9 00ff", Record{255, 7, 9, []byte{0, 255}}},
		{"a digest of the wrong length parses", "3 1 1 abcd", Record{3, 1, 1, []byte{0xab, 0xcd}}},
		{"no data parses", "3 1 1", Record{3, 1, 1, nil}},
		{"no data, RFC 3597", `\# 3 030101`, Record{3, 1, 1, nil}},
	} {
		got, err := ParseRecord(tc.in)
		require.NoError(t, err, tc.why)
		require.True(t, tc.want.Equal(got), "%s: %s", tc.why, got)
		var u Record
		require.NoError(t, u.UnmarshalText([]byte(tc.in)), tc.why)
		require.True(t, tc.want.Equal(u), tc.why)
	}
}

func TestParseRecordSyntax(t *testing.T) {
	for _, tc := range []struct {
		why, in string
		offset  int
		msg     string
	}{
		{"nothing", "", 0, "usage is missing"},
		{"blanks", "   ", 3, "usage is missing"},
		{"one field", "3", 1, "selector is missing"},
		{"two fields", "3 1 ", 4, "matching type is missing"},
		{"value above 255", "256 1 1 00", 0, "usage is neither"},
		{"long number", "3 1 0000001 00", 4, "matching type is neither"},
		{"plus sign", "+3 1 1 00", 0, "usage is neither"},
		{"minus sign", "3 -1 1 00", 2, "selector is neither"},
		{"hexadecimal number", "0x3 1 1 00", 0, "usage is neither"},
		{"acronym of another field", "SPKI 1 1 00", 0, "usage is neither"},
		{"damaged acronym", "DANE\x0dEE 1 1 00", 0, "usage is neither"},
		{"odd number of digits", "3 1 1 abc", 9, "odd number"},
		{"no hex digit", "3 1 1 abxx", 8, "not a hex digit"},
		{"base64", "3 1 1 q83v", 6, "not a hex digit"},
		{"comment", "3 1 1 abcd ; the key of mx1", 11, "not a hex digit"},
		{"quotes", `3 1 1 "abcd"`, 6, "not a hex digit"},
		{"not ASCII", "3 1 1 \uff10\uff10", 6, "not a hex digit"},
		{"NUL", "3 1 1 ab\x00", 8, "not a hex digit"},
		{"parenthesis not closed", "3 1 1 ( abcd", 12, "not closed"},
		{"parenthesis not opened", "3 1 1 abcd )", 11, "no partner"},
		{"two pairs", "(3) (1) 1 abcd", 4, "no partner"},
		{"text behind", "3 1 1 abcd zone", 11, "not a hex digit"},
		{"RFC 3597 without length", `\#`, 2, "length of the RDATA"},
		{"RFC 3597, length too small", `\# 2 0301`, 3, "length of the RDATA"},
		{"RFC 3597, length too large", `\# 65536 00`, 3, "length of the RDATA"},
		{"RFC 3597, less than promised", `\# 4 030101`, 11, "says 4 octets, but there are 3"},
		{"RFC 3597, more than promised", `\# 3 03010100`, 13, "more than 3 octets"},
		{"more than a record can hold", "3 1 1 " + strings.Repeat("00", maxRDATA-2), 131072, "more than 65532"},
	} {
		r, err := ParseRecord(tc.in)
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax, tc.why)
		require.Contains(t, syntax.Msg, tc.msg, tc.why)
		require.Equal(t, tc.offset, syntax.Offset, tc.why)
		require.Equal(t, Record{}, r, tc.why)
		require.False(t, syntax.Temporary())
		require.True(t, strings.HasPrefix(err.Error(), "dane: TLSA record"), err.Error())
		require.Less(t, len(err.Error()), 200, tc.why)
	}
}

func TestSyntaxErrorExcerpt(t *testing.T) {
	_, err := ParseRecord("3 1 1 abzz")
	require.EqualError(t, err, `dane: TLSA record, offset 8, at "zz": this is not a hex digit`)
	_, err = ParseRecord("3 1 1 abc")
	require.EqualError(t, err, `dane: TLSA record "3 1 1 abc", at the end: odd number of hex digits`)
}

func TestParseWire(t *testing.T) {
	r, err := ParseWire([]byte{3, 1, 1, 0xab})
	require.NoError(t, err)
	require.Equal(t, Record{3, 1, 1, []byte{0xab}}, r)
	r, err = ParseWire([]byte{255, 254, 253})
	require.NoError(t, err, "no data and unknown values are a record")
	require.Empty(t, r.Data)
	largest := append([]byte{3, 1, 0}, make([]byte, maxRDATA-headerOctets)...)
	r, err = ParseWire(largest)
	require.NoError(t, err)
	require.Len(t, r.Data, maxRDATA-headerOctets)

	for _, bad := range [][]byte{nil, {}, {3}, {3, 1}, append(largest, 0)} {
		r := Record{3, 1, 1, []byte{1}}
		var syntax *SyntaxError
		require.ErrorAs(t, r.UnmarshalBinary(bad), &syntax)
		require.Less(t, len(syntax.Error()), 200)
		require.Equal(t, Record{Data: []byte{}}, r, "nothing of the old record is left")
	}
}

func TestParseCopies(t *testing.T) {
	wire := []byte{3, 1, 1, 1, 2, 3}
	r, err := ParseWire(wire)
	require.NoError(t, err)
	wire[3] = 9
	require.Equal(t, []byte{1, 2, 3}, r.Data, "a resolver's cache is not ours")
}

func TestUnmarshalReuses(t *testing.T) {
	room := make([]byte, 0, 64)
	r := Record{Data: room}
	require.NoError(t, r.UnmarshalText([]byte("3 1 1 0102")))
	require.Same(t, &room[:1][0], &r.Data[0])
	require.NoError(t, r.UnmarshalBinary([]byte{3, 1, 1, 5}))
	require.Same(t, &room[:1][0], &r.Data[0])
	require.Error(t, r.UnmarshalText([]byte("3 1 1 05zz")))
	require.Equal(t, Record{Data: []byte{}}, r, "a damaged record is no record")
}

func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{
		"3 1 1 abcd", "DANE-EE SPKI SHA2-256 ( ab\ncd )", `\# 5 030101abcd`, "255 255 255", "PrivCert PrivSel PrivMatch 00",
		"3 1 1 abc", "(3 1 1 ab", "3 1 1 ab)", "-3 1 1 ab", `\# 3 03`, "3(1(1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRecord(s)
		var u Record
		require.Equal(t, err == nil, u.UnmarshalText([]byte(s)) == nil, "both parsers are one")
		if err != nil {
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.LessOrEqual(t, syntax.Offset, len(s))
			require.GreaterOrEqual(t, syntax.Offset, 0)
			return
		}
		again, err := ParseRecord(r.String())
		require.NoError(t, err)
		require.True(t, r.Equal(again) && r.Equal(u))
		require.Equal(t, r.String(), again.String())
	})
}

func FuzzParseWire(f *testing.F) {
	f.Add([]byte{3, 1, 1, 0xab})
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseWire(b)
		require.Equal(t, len(b) >= headerOctets && len(b) <= maxRDATA, err == nil)
		if err != nil {
			return
		}
		require.True(t, bytes.Equal(b, r.AppendWire(nil)))
		text, err := ParseRecord(r.String())
		require.NoError(t, err)
		require.True(t, text.Equal(r))
		for _, p := range []Profile{ProfileSMTP, ProfileGeneric} {
			if r.Check(p) == ReasonNone {
				require.NotEmpty(t, r.Data)
			}
		}
	})
}
