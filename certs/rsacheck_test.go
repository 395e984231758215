package certs

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"math/bits"
	mathrand "math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func prime(t testing.TB, bits int) *big.Int {
	p, err := rand.Prime(rand.Reader, bits)
	require.NoError(t, err)
	return p
}

// nextPrime returns the first prime above x that is at least distance away.
func nextPrime(x *big.Int, distance int64) *big.Int {
	p := new(big.Int).Add(x, big.NewInt(distance|1))
	p.SetBit(p, 0, 1)
	for !p.ProbablyPrime(20) {
		p.Add(p, big.NewInt(2))
	}
	return p
}

// rocaPrime makes a prime as the broken library did: k*M + (65537^a mod M).
func rocaPrime(t *testing.T) *big.Int {
	m := big.NewInt(1)
	for p := uint(2); p <= 167; p++ {
		if p == 2 || isPrime(p) {
			m.Mul(m, big.NewInt(int64(p)))
		}
	}
	for {
		a := prime(t, 62)
		p := new(big.Int).Exp(big.NewInt(65537), a, m)
		k := prime(t, 40)
		if p.Add(p, k.Mul(k, m)).ProbablyPrime(10) {
			return p
		}
	}
}

func TestBadRSA(t *testing.T) {
	product := func(p, q *big.Int) *big.Int { return new(big.Int).Mul(p, q) }
	p, q := prime(t, 512), prime(t, 512)
	good := product(p, q)
	// a-sqrt(n) is (p-q)^2/(8 sqrt(n)): this distance is beyond a hundred rounds.
	far := new(big.Int).Lsh(big.NewInt(1), 512/2+8)
	for _, tc := range []struct {
		why  string
		n    *big.Int
		e    int
		want string
	}{
		{"two random primes", good, 65537, ""},
		{"the largest exponent that Go reads", good, 1<<31 - 1, ""},
		{"exponent 3", good, 3, "exponent is below"},
		{"exponent 1: the signature is the message", good, 1, "exponent is below"},
		{"even exponent", good, 65536, "exponent is even"},
		{"even modulus", product(p, big.NewInt(2)), 65537, "factor below"},
		{"factor 3", product(p, big.NewInt(3)), 65537, "factor below"},
		{"factor 751, the largest one tried", product(p, big.NewInt(751)), 65537, "factor below"},
		{"factor 757 is beyond the bound", product(p, big.NewInt(757)), 65537, ""},
		{"next prime to the first", product(p, nextPrime(p, 2)), 65537, "so close"},
		{"the same prime twice", product(p, p), 65537, "so close"},
		{"a hundred thousand apart", product(p, nextPrime(p, 100_000)), 65537, "so close"},
		{"far enough apart for the hundred rounds", product(p, nextPrime(new(big.Int).Add(p, far), 2)), 65537, ""},
		{"primes of the broken library", product(rocaPrime(t), rocaPrime(t)), 65537, "ROCA"},
	} {
		got := badRSA(&rsa.PublicKey{N: tc.n, E: tc.e})
		if tc.want == "" {
			require.Empty(t, got, tc.why)
		} else {
			require.Contains(t, got, tc.want, tc.why)
		}
	}
}

// Fermat's method with the hundredth round as its last one finds these and not
// those: the primes are chosen for the round.
func TestFermatRounds(t *testing.T) {
	p := prime(t, 512)
	rounds := func(n *big.Int) int {
		root := new(big.Int).Sqrt(n)
		for k := 0; k <= 400; k++ {
			a := new(big.Int).Add(root, big.NewInt(int64(k)))
			a.Mul(a, a).Sub(a, n)
			if a.Sign() >= 0 {
				b := new(big.Int).Sqrt(a)
				if b.Mul(b, b).Cmp(a) == 0 {
					return k
				}
			}
		}
		return -1
	}
	within, beyond := 0, 0
	base := new(big.Int).Lsh(big.NewInt(1), 512/2) // about one round for each square of this distance times 8
	for i := int64(2); i <= 54; i += 4 {
		distance := new(big.Int).Mul(base, big.NewInt(i))
		n := new(big.Int).Mul(p, nextPrime(distance.Add(distance, p), 2))
		k := rounds(n)
		require.Equal(t, k >= 0 && k <= fermatRounds, hasClosePrimes(n), "round %d", k)
		if k >= 0 && k <= fermatRounds {
			within++
		} else {
			beyond++
		}
	}
	require.Positive(t, within)
	require.Positive(t, beyond)
}

func TestSqrt(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	check := func(n *big.Int) {
		var space rootSpace
		got := new(big.Int).SetBits(space.sqrt(n.Bits()))
		require.Zero(t, new(big.Int).Sqrt(n).Cmp(got), "%x", n)
	}
	one := big.NewInt(1)
	for bitLen := uint(1); bitLen <= 2200; bitLen += 1 + uint(random.IntN(40)) {
		x := new(big.Int).Lsh(one, bitLen)
		square := new(big.Int).Mul(x, x)
		for _, n := range []*big.Int{x, square, new(big.Int).Sub(square, one), new(big.Int).Add(square, one), new(big.Int).Sub(x, one)} {
			check(n)
		}
		words := make([]big.Word, 1+random.IntN(40))
		for i := range words {
			words[i] = big.Word(random.Uint64())
		}
		check(new(big.Int).SetBits(words))
	}
	check(new(big.Int).Sub(new(big.Int).Lsh(one, maxCheckWords*bits.UintSize), one)) // as large as it gets
	// The words at which the guess of a digit is most wrong.
	half := big.Word(1) << (bits.UintSize - 1)
	edges := []big.Word{0, 1, 2, half / 2, half/2 - 1, half, half - 1, ^big.Word(0), ^big.Word(0) - 1}
	for range 50_000 {
		words := make([]big.Word, 1+random.IntN(9))
		for i := range words {
			if words[i] = edges[random.IntN(len(edges))]; random.IntN(8) == 0 {
				words[i] = big.Word(random.Uint64())
			}
		}
		n := new(big.Int).SetBits(words)
		check(n)
		check(n.Mul(n, n))
	}
}

func TestPrimesOfTheSieve(t *testing.T) {
	for p := range int64(800) {
		if p != 2 {
			require.Equal(t, big.NewInt(p).ProbablyPrime(10), isPrime(uint(p)) && p%2 == 1, "%d", p)
		}
	}
}

func BenchmarkBadRSA(b *testing.B) {
	for _, size := range []int{1024, 2048, 4096} {
		key := &rsa.PublicKey{N: new(big.Int).Mul(prime(b, size/2), prime(b, size/2)), E: 65537}
		b.Run(keyKind(key), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				badRSA(key)
			}
		})
	}
}
