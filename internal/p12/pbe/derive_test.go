package pbe

import (
	stdpbkdf2 "crypto/pbkdf2"
	"crypto/sha1"
	"encoding/hex"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
)

// TestPBKDF2 holds our PBKDF2 against the standard library's, whose passphrase
// cannot be zeroed.
func TestPBKDF2(t *testing.T) {
	for id, newHash := range macs {
		for _, n := range []int{1, 20, 24, 32, 64, 100} {
			for _, pass := range []string{"", "x", strings.Repeat("long", 50)} {
				want, err := stdpbkdf2.Key(newHash, pass, []byte("salt"), 7, n)
				require.NoError(t, err)
				got, err := pbkdf2(newHash, []byte(pass), []byte("salt"), 7, n, NewBudget(Limits{}))
				require.NoError(t, err)
				require.Equal(t, want, got, "%s %d", id, n)
			}
		}
	}
}

// TestPKCS12Key: values that OpenSSL's PKCS12KDF gives
// (openssl kdf -kdfopt digest:SHA1 -kdfopt hexpass:... PKCS12KDF).
func TestPKCS12Key(t *testing.T) {
	pass, err := hex.DecodeString("0073006d006500670000") // "smeg"
	require.NoError(t, err)
	salt, err := hex.DecodeString("0a58cf64530d823f")
	require.NoError(t, err)
	for _, tc := range []struct {
		purpose byte
		n       int
		want    string
	}{
		{forKey, 24, "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3"},
		{forIV, 8, "79993dfe048d3b76"},
	} {
		got, err := PKCS12Key(sha1.New, tc.purpose, pass, salt, 1, tc.n, NewBudget(Limits{}))
		require.NoError(t, err)
		require.Equal(t, tc.want, hex.EncodeToString(got))
	}
}

func TestBudget(t *testing.T) {
	b := NewBudget(Limits{Iterations: 100, Work: 250})
	require.NoError(t, b.spend(100, 2))
	require.ErrorIs(t, b.spend(26, 2), ErrIterations)
	require.NoError(t, b.spend(50, 1), "a refused derivation costs nothing")
	require.ErrorIs(t, b.spend(1, 1), ErrIterations)
	require.ErrorIs(t, b.spend(0, 1), ErrMalformed)

	full := NewBudget(Limits{})
	require.NoError(t, full.Allows(MaxIterations))
	for _, count := range []int64{MaxIterations + 1, math.MaxInt32, math.MaxInt64} {
		require.ErrorIs(t, full.Allows(count), ErrIterations)
		require.ErrorIs(t, full.spend(count, 1), ErrIterations)
	}
	require.ErrorIs(t, new(Budget).Allows(1), ErrIterations, "the zero value allows nothing")
	raised := NewBudget(Limits{Iterations: MaxIterations + 1, Work: MaxWork + 1})
	require.ErrorIs(t, raised.Allows(MaxIterations+1), ErrIterations, "no caller raises the bounds")
	require.Equal(t, int64(MaxWork), raised.work)
}

// The old schemes at the highest count fit into the budget: MAC, RC2-40 with IV,
// triple DES with IV.
func TestMaxWork(t *testing.T) {
	require.GreaterOrEqual(t, MaxWork, MaxIterations*(1+1+1+2+1))
}

func TestScryptBounds(t *testing.T) {
	for _, tc := range []struct {
		why     string
		n, r, p int64
		err     error
	}{
		{"small", 16, 1, 1, nil},
		{"128 MiB and one more", 1 << 18, 8, 1, ErrIterations},
		{"N no power of two", 1000, 8, 1, ErrMalformed},
		{"N of one", 1, 8, 1, ErrMalformed},
		{"no r", 16, 0, 1, ErrMalformed},
		{"no p", 16, 1, 0, ErrMalformed},
		{"absurd p", 2, 1, 1 << 30, ErrIterations},
		{"p above the rounds", 1 << 14, 8, 20, ErrIterations},
		{"N beyond everything", 1 << 62, 8, 1, ErrIterations},
		{"all beyond everything", 1 << 62, math.MaxInt64, math.MaxInt64, ErrIterations},
		{"r beyond everything", 2, math.MaxInt64, 1, ErrIterations},
		{"product overflows", 1 << 20, 1 << 20, 1 << 20, ErrIterations},
	} {
		t.Run(tc.why, func(t *testing.T) {
			k := &KDF{n: tc.n, r: tc.r, p: tc.p, salt: []byte("salt")}
			_, err := k.Key([]byte("x"), 32, NewBudget(Limits{}))
			require.ErrorIs(t, err, tc.err)
		})
	}
	k := &KDF{n: 16, r: 1, p: 1, salt: []byte("salt")}
	_, err := k.Key(nil, 32, NewBudget(Limits{Work: 31}))
	require.ErrorIs(t, err, ErrIterations, "scrypt draws from the budget of the file")
}

func TestPassphrase(t *testing.T) {
	for _, tc := range []struct {
		why, in string
		want    []string
	}{
		{"ASCII", "ab", []string{"006100620000"}},
		{"empty has two forms", "", []string{"0000", ""}},
		{"two and three octets", "ä€", []string{"00e420ac0000"}},
		{"surrogate pair", "🔑", []string{"d83ddd110000"}},
		{"NUL inside", "a\x00b", []string{"0061000000620000"}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			p := NewPassphrase([]byte(tc.in))
			forms, err := p.UTF16()
			require.NoError(t, err)
			var got []string
			for _, f := range forms {
				got = append(got, hex.EncodeToString(f))
			}
			require.Equal(t, tc.want, got)
			p.TryWide()
			p.TryWide()
			require.Len(t, p.octets, 1+len(forms))
			p.Zero()
			for _, f := range append(p.octets, p.utf16...) {
				require.Equal(t, make([]byte, len(f)), f)
			}
		})
	}
	for _, bad := range []string{"\xff", "a\xc3", "\xed\xa0\x80"} { // the last one is half a surrogate pair
		_, err := NewPassphrase([]byte(bad)).UTF16()
		require.ErrorIs(t, err, ErrCharset)
	}
}

// TestOIDs holds the encoded identifiers against the dotted forms beside them.
func TestOIDs(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "oid.go", nil, parser.ParseComments)
	require.NoError(t, err)
	arcs, checked := map[string]string{}, 0
	value := func(e ast.Expr) (s string) {
		ast.Inspect(e, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				s += arcs[n.Name]
			case *ast.BasicLit:
				part, err := strconv.Unquote(n.Value)
				require.NoError(t, err)
				s += part
			}
			return true
		})
		return s
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Comment == nil {
			return true
		}
		s := value(spec.Values[0])
		arcs[spec.Names[0].Name] = s
		dotted, _, _ := strings.Cut(strings.TrimSpace(spec.Comment.Text()), ",")
		require.Equal(t, dotted, ber.OID(s).String(), spec.Names[0].Name)
		checked++
		return true
	})
	require.Greater(t, checked, 20)
}
