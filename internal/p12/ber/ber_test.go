package ber

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// TestDER: the same value in all the forms that BER has.
func TestDER(t *testing.T) {
	for _, tc := range []struct{ why, in, want string }{
		{"already DER", "30 03 02 01 05", "30 03 02 01 05"},
		{"length in long form", "30 81 03 02 01 05", "30 03 02 01 05"},
		{"length with leading zeros", "30 84 00 00 00 03 02 01 05", "30 03 02 01 05"},
		{"open length", "30 80 02 01 05 00 00", "30 03 02 01 05"},
		{"open within open", "30 80 30 80 02 01 05 00 00 00 00", "30 05 30 03 02 01 05"},
		{"open within definite", "30 07 30 80 02 01 05 00 00", "30 05 30 03 02 01 05"},
		{"definite within open", "30 80 30 03 02 01 05 00 00", "30 05 30 03 02 01 05"},
		{"octets in pieces", "24 80 04 01 61 04 02 62 63 00 00", "04 03 61 62 63"},
		{"pieces of pieces", "24 80 24 05 04 01 61 04 00 04 02 62 63 00 00", "04 03 61 62 63"},
		{"no pieces", "24 80 00 00", "04 00"},
		{"zeros that end nothing", "30 04 04 02 00 00", "30 04 04 02 00 00"},
		{"tag number above 30", "bf 81 00 80 02 01 05 00 00", "bf 81 00 03 02 01 05"},
		{"open, empty", "30 80 00 00", "30 00"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			e, err := Parse(unhex(t, tc.in), new(Counter))
			require.NoError(t, err)
			require.Equal(t, strings.ReplaceAll(tc.want, " ", ""), hex.EncodeToString(e.DER()))
		})
	}
}

// Above 65,535 octets the definite form is longer than the open one.
func TestDERSize(t *testing.T) {
	in := append([]byte{0x30, 0x80, 0x04, 0x83, 1, 0, 0}, make([]byte, 1<<16)...)
	e, err := Parse(append(in, 0, 0), new(Counter))
	require.NoError(t, err)
	require.Equal(t, append([]byte{0x30, 0x83, 1, 0, 5, 0x04, 0x83, 1, 0, 0}, make([]byte, 1<<16)...), e.DER())
}

func TestParseErrors(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("30 80", n) + strings.Repeat("00 00", n) }
	for _, tc := range []struct {
		why, in string
		err     error
	}{
		{"nothing", "", ErrMalformed},
		{"half a header", "30", ErrMalformed},
		{"length cut off", "30 82 01", ErrMalformed},
		{"longer than the data", "30 03 02 01", ErrMalformed},
		{"child longer than its parent", "30 03 02 02 05 00 00", ErrMalformed},
		{"length of 2^64 + 3", "30 89 01 00 00 00 00 00 00 00 03 02 01 05", ErrMalformed},
		{"reserved length", "30 ff 02 01 05", ErrMalformed},
		{"primitive without length", "04 80 00 00", ErrMalformed},
		{"open, no end", "30 80 02 01 05", ErrMalformed},
		{"open, half an end", "30 80 02 01 05 00", ErrMalformed},
		{"end within definite", "30 02 00 00", ErrMalformed},
		{"end alone", "00 00", ErrMalformed},
		{"end with a length", "30 80 00 01 00 00 00", ErrMalformed},
		{"something behind", "30 00 00", ErrMalformed},
		{"tag number without end", "bf 81 81 81 81 81 00", ErrMalformed},
		{"octets with a piece of another kind", "24 03 02 01 05", ErrMalformed},
		{"the same, deeper", "24 07 24 05 04 00 02 01 05", ErrMalformed},
		{"the same, tag number in the long form", "24 05 1f 04 01 61 05", ErrMalformed},
		{"deepest", deep(MaxDepth), nil},
		{"too deep", deep(MaxDepth + 1), ErrTooLarge},
		{"most elements", "30 82 4e 1e" + strings.Repeat("05 00", MaxElements-1), nil},
		{"too many elements", "30 82 4e 20" + strings.Repeat("05 00", MaxElements), ErrTooLarge},
	} {
		t.Run(tc.why, func(t *testing.T) {
			_, err := Parse(unhex(t, tc.in), new(Counter))
			require.ErrorIs(t, err, tc.err)
		})
	}
}

// A counter is for all encodings of a file.
func TestCounterIsShared(t *testing.T) {
	c := new(Counter)
	half := unhex(t, "30 82 27 10"+strings.Repeat("05 00", MaxElements/2))
	_, err := Parse(half, c)
	require.NoError(t, err)
	_, err = Parse(half, c)
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestReader(t *testing.T) {
	e, err := Parse(unhex(t, "30 16 02 09 01 00 00 00 00 00 00 00 00 06 03 55 04 03 24 04 04 02 61 62"), new(Counter))
	require.NoError(t, err)
	r, err := e.Sequence("test")
	require.NoError(t, err)
	require.True(t, r.Peek(Universal, TagInteger))
	n, err := r.Int("number")
	require.NoError(t, err)
	require.Equal(t, int64(math.MaxInt64), n, "does not fit")
	id, err := r.OID("id")
	require.NoError(t, err)
	require.Equal(t, "2.5.4.3", id.String())
	require.Error(t, r.End("test"))
	octets, err := r.OctetString("octets")
	require.NoError(t, err)
	require.Equal(t, []byte("ab"), octets)
	require.NoError(t, r.End("test"))
	require.False(t, r.Peek(Universal, TagInteger))
	require.Equal(t, Element{}, r.Next())
	_, err = r.Int("number")
	require.ErrorIs(t, err, ErrMalformed, "nothing left")
	_, err = r.Explicit(0, "tag")
	require.ErrorIs(t, err, ErrMalformed, "nothing left")
}

func TestReaderErrors(t *testing.T) {
	for _, tc := range []struct {
		why, in string
		read    func(*Reader) error
	}{
		{"negative", "02 01 ff", func(r *Reader) error { _, err := r.Int("x"); return err }},
		{"empty integer", "02 00", func(r *Reader) error { _, err := r.Int("x"); return err }},
		{"integer in pieces", "22 03 02 01 05", func(r *Reader) error { _, err := r.Int("x"); return err }},
		{"empty identifier", "06 00", func(r *Reader) error { _, err := r.OID("x"); return err }},
		{"identifier cut off", "06 02 55 84", func(r *Reader) error { _, err := r.OID("x"); return err }},
		{"identifier of 65 octets", "06 41" + strings.Repeat("01", 65), func(r *Reader) error { _, err := r.OID("x"); return err }},
		{"piece of another kind", "a0 03 02 01 05", func(r *Reader) error { _, _, err := r.Next().ImplicitOctetString("x"); return err }},
		{"piece of another kind behind one", "a0 05 04 00 02 01 05", func(r *Reader) error { _, _, err := r.Next().ImplicitOctetString("x"); return err }},
		{"not octets", "02 01 05", func(r *Reader) error { _, err := r.OctetString("x"); return err }},
		{"primitive sequence", "10 00", func(r *Reader) error { _, err := r.Sequence("x"); return err }},
		{"explicit tag around two", "a0 04 05 00 05 00", func(r *Reader) error { _, err := r.Explicit(0, "x"); return err }},
		{"explicit tag around nothing", "a0 00", func(r *Reader) error { _, err := r.Explicit(0, "x"); return err }},
		{"another explicit tag", "a1 02 05 00", func(r *Reader) error { _, err := r.Explicit(0, "x"); return err }},
	} {
		t.Run(tc.why, func(t *testing.T) {
			data := unhex(t, tc.in)
			_, err := Parse(data, new(Counter))
			require.NoError(t, err, "well-formed as BER")
			require.ErrorIs(t, tc.read(&Reader{rest: data}), ErrMalformed)
		})
	}
}

func TestOIDString(t *testing.T) {
	for id, want := range map[OID]string{
		"\x2a\x86\x48\x86\xf7\x0d": "1.2.840.113549",
		"":                         "?",
		"\x80\x01":                 "?", // padded
		OID(strings.Repeat("\x01", maxOIDLength+1)): "?",
	} {
		require.Equal(t, want, id.String())
	}
}

// Pieces of pieces are put together in one buffer no larger than the input.
func TestOctetStringCopy(t *testing.T) {
	e, err := Parse(unhex(t, "24 08 24 03 04 01 61 04 01 62"), new(Counter))
	require.NoError(t, err)
	octets, copied, err := e.OctetString("x")
	require.NoError(t, err)
	require.True(t, copied)
	require.LessOrEqual(t, cap(octets), len(e.Full))
	require.Equal(t, "ab", string(octets))

	whole := unhex(t, "04 01 61")
	e, err = Parse(whole, new(Counter))
	require.NoError(t, err)
	octets, copied, err = e.OctetString("x")
	require.NoError(t, err)
	require.False(t, copied)
	require.Same(t, &whole[2], &octets[0])
}

// FuzzParse: what parses has a DER form that encoding/asn1 takes apart to the
// last element, that is hardly longer, and that is its own DER form. Nothing
// that encoding/asn1 takes apart is refused, apart from its size.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"30 80 02 01 05 00 00", "24 80 04 01 61 04 02 62 63 00 00", "bf 81 00 80 02 01 05 00 00", "30 84 00 00 00 03 02 01 05", "24 05 35 03 ff 7f 00"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data, new(Counter))
		if err != nil {
			var v asn1.RawValue
			rest, failed := asn1.Unmarshal(data, &v)
			alone := failed == nil && len(rest) == 0
			require.True(t, !alone || !strict(data) || errors.Is(err, ErrTooLarge), "refused DER: %v", err)
			return
		}
		der := e.DER()
		require.LessOrEqual(t, len(der), len(data)+2*MaxElements)
		require.True(t, strict(der), "not DER: %x", der)
		again, err := Parse(der, new(Counter))
		require.NoError(t, err)
		require.Equal(t, der, again.DER())
	})
}

// strict reports whether encoding/asn1 takes data apart into elements, with tag
// numbers that are read here.
func strict(data []byte) bool {
	for len(data) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(data, &v)
		if err != nil || v.Class == asn1.ClassUniversal && v.Tag == 0 || v.Tag >= 1<<28 {
			return false
		}
		if v.IsCompound && v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOctetString {
			return false // DER has no octet strings in pieces (X.690 section 10.2)
		}
		if v.IsCompound && !strict(v.Bytes) {
			return false
		}
		data = rest
	}
	return true
}
