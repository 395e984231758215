package dnssec

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The order of RFC 4034 section 6.1, with its own example in the middle.
func TestCompareNames(t *testing.T) {
	var names []wireName
	for _, s := range []string{
		".", "example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`,
		"*.z.example.", `\200.z.example.`, "a.z.", "example2.z.", "exampleexample.z.",
	} {
		names = append(names, wire(t, s))
	}
	for i, a := range names {
		for j, b := range names {
			require.Equal(t, sign(i-j), sign(compareNames(a, b)), "%s %s", a, b)
		}
	}
}

func sign(n int) int { return max(-1, min(n, 1)) }

// naiveKey is a name as a list of labels from the right.
func naiveKey(w wireName) (labels []string) {
	for w != rootName {
		labels = append([]string{string(w[1 : 1+w[0]])}, labels...)
		w, _ = w.parent()
	}
	return labels
}

// Canonical order is total and that of the labels from the right.
func FuzzCompareNames(f *testing.F) {
	f.Add([]byte("\x01a\x03com\x00"), []byte("\x01b\x03com\x00"))
	f.Add([]byte("\x00"), []byte("\x02a\x00\x01b\x00"))
	f.Add([]byte("\x01*\x01a\x00"), []byte("\x01a\x00"))
	f.Fuzz(func(t *testing.T, x, y []byte) {
		a, ok := wholeName(x)
		b, ok2 := wholeName(y)
		if !ok || !ok2 {
			return
		}
		require.Equal(t, slices.Compare(naiveKey(a), naiveKey(b)), sign(compareNames(a, b)))
		require.Equal(t, -sign(compareNames(b, a)), sign(compareNames(a, b)))
		require.Equal(t, a == b, compareNames(a, b) == 0)
		if a.below(b) {
			require.Positive(t, compareNames(a, b), "a name comes before what lies below it")
		}
		up := commonAncestor(a, b)
		require.True(t, a.within(up) && b.within(up))
		if n := up.labels(); n < a.labels() && n < b.labels() {
			require.NotEqual(t, a.last(n+1), b.last(n+1), "a deeper one")
		}
		require.Len(t, naiveKey(a), a.labels())
	})
}

func TestSignedLabels(t *testing.T) {
	for name, want := range map[string]int{".": 0, "*.": 0, "com.": 1, "*.com.": 1, "a.*.com.": 3, "*a.com.": 2, `\*.com.`: 1} {
		require.Equal(t, want, wire(t, name).signedLabels(), name)
	}
}

// Names in RDATA are lowered where RFC 4034 section 6.2 says so and nowhere else.
func TestCanonicalData(t *testing.T) {
	name := "\x01A\x03COM\x00"
	low := "\x01a\x03com\x00"
	for _, tt := range []struct {
		typ        Type
		data, want string
	}{
		{TypeNS, name, low},
		{TypeCNAME, name, low},
		{TypeDNAME, name, low},
		{TypePTR, name, low},
		{TypeMX, "\x00A" + name, "\x00A" + low},
		{TypeSOA, name + name + "ABCDABCDABCDABCDABCD", low + low + "ABCDABCDABCDABCDABCD"},
		{33, "ABCDEF" + name, "ABCDEF" + low},
		{typeNAPTR, "\x00A\x00B\x01S\x01T\x01R" + name, "\x00A\x00B\x01S\x01T\x01R" + low},
		{typeNSEC, name + "\x00\x01A", name + "\x00\x01A"}, // RFC 6840 section 5.1
		{TypeTXT, "\x03ABC", "\x03ABC"},
		{TypeTLSA, "ABCD", "ABCD"},
		{TypeMX, "A", "A"},                   // too short
		{TypeMX, "\x00A\x05A", "\x00A\x05A"}, // no name
		{typeNAPTR, "\x00A\x00B\xFFS", "\x00A\x00B\xFFS"},
	} {
		data := []byte(tt.data)
		require.Equal(t, tt.want, string(canonicalData(tt.typ, data)), "%s %q", tt.typ, tt.data)
		require.True(t, bytes.Equal(data, []byte(tt.data)), "changed")
	}
}
