package certs

import (
	"crypto/rsa"
	"math/big"
	"math/bits"
)

// Bounds of the search for broken RSA keys.
const (
	minExponent   = 65537 // FIPS 186-5 appendix A.1.1: 2^16 < e
	smallPrimes   = 752   // CA/Browser Forum Baseline Requirements section 6.1.6: no factor below
	fermatRounds  = 100   // the same, section 6.1.1.3: rounds of Fermat that must fail
	maxCheckWords = 256   // 16,384 bits; in larger keys nobody looks for close primes
	rocaGenerator = 65537 // of the library with CVE-2017-15361
	sievePrimes   = 241   // the primes up to it tell squares from other numbers
)

// rocaPrimes are those of the fingerprint of CVE-2017-15361: modulo each of
// them, a modulus of that library is a power of 65537, which of other numbers
// holds for one in 2^27 all told.
var rocaPrimes = [...]uint{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157}

// badRSA returns why a public key can be broken with little work, "" if none of
// the known patterns is there. It allocates nothing then.
func badRSA(key *rsa.PublicKey) string {
	switch {
	case key.E%2 == 0:
		return "the exponent is even: this is not an RSA key"
	case key.E < minExponent:
		return "the exponent is below 65537"
	}
	n := key.N.Bits()
	switch {
	case hasSmallFactor(n):
		return "the modulus has a factor below 752"
	case isROCA(n):
		return "the modulus has the fingerprint of a broken generator (ROCA, CVE-2017-15361): the key can be computed"
	case hasClosePrimes(key.N):
		return "the two primes are so close to each other that the key can be computed"
	}
	return ""
}

// residue returns n modulo m.
func residue(n []big.Word, m uint) uint {
	rem := uint(0)
	for i := len(n) - 1; i >= 0; i-- {
		rem = bits.Rem(rem, uint(n[i]), m)
	}
	return rem
}

// hasSmallFactor divides by all primes below smallPrimes. It goes through the
// number once for as many of them as have a product of one word.
func hasSmallFactor(n []big.Word) bool {
	if len(n) == 0 || n[0]%2 == 0 {
		return true
	}
	for p := uint(3); p < smallPrimes; {
		first, product := p, uint(1)
		for p < smallPrimes {
			if isPrime(p) {
				high, low := bits.Mul(product, p)
				if high != 0 {
					break
				}
				product = low
			}
			p += 2
		}
		rem := residue(n, product)
		for q := first; q < p; q += 2 {
			if rem%q == 0 && isPrime(q) {
				return true
			}
		}
	}
	return false
}

func isPrime(p uint) bool {
	for d := uint(3); d*d <= p; d += 2 {
		if p%d == 0 {
			return false
		}
	}
	return p > 2
}

// isROCA reports whether n is a power of 65537 modulo every prime of the
// fingerprint.
func isROCA(n []big.Word) bool {
	for _, p := range rocaPrimes {
		want, power := residue(n, p), uint(1)
		for power != want {
			if power = power * rocaGenerator % p; power == 1 {
				return false
			}
		}
	}
	return true
}

// hasClosePrimes reports whether fermatRounds rounds of Fermat's method factor n:
// whether a*a-n is a square for one of the first a from the root of n upwards.
// Most a fall because a*a-n is no square modulo some small prime; only what stands
// all of them costs numbers of full length.
func hasClosePrimes(n *big.Int) bool {
	words := n.Bits()
	if len(words) > maxCheckWords {
		return false
	}
	var space rootSpace
	root := space.sqrt(words)
	var fallen [fermatRounds + 1]bool
	left := len(fallen)
	for p := uint(3); p <= sievePrimes && left > 0; p += 2 {
		if !isPrime(p) {
			continue
		}
		var square [sievePrimes]bool
		for x := range p {
			square[x*x%p] = true
		}
		a, minusN := residue(root, p), p-residue(words, p)
		for k := range fallen {
			if !fallen[k] && !square[(a*a+minusN)%p] {
				fallen[k] = true
				left--
			}
			if a++; a == p {
				a = 0
			}
		}
	}
	for k := 0; k < len(fallen) && left > 0; k++ {
		if !fallen[k] && isSquareBehind(n, root, k) {
			return true
		}
	}
	return false
}

// isSquareBehind makes sure that (root+k)^2-n is a square.
func isSquareBehind(n *big.Int, root []big.Word, k int) bool {
	a := new(big.Int).SetBits(append([]big.Word(nil), root...))
	a.Add(a, big.NewInt(int64(k)))
	a.Mul(a, a).Sub(a, n)
	if a.Sign() < 0 {
		return false
	}
	b := new(big.Int).Sqrt(a)
	return b.Mul(b, b).Cmp(a) == 0
}

// rootSpace is room for a square root, on the stack.
type rootSpace struct {
	rest   [maxCheckWords + 2]big.Word
	double [maxCheckWords/2 + 2]big.Word
}

// sqrt returns the largest number whose square is not above n, with the method for
// pen and paper: a digit of the root for two digits of n, where a digit is a word.
//
// n is shifted until one of its two top bits is set, so that twice the root so far
// begins with a one, and the quotient of the top words is at most two above the
// digit, as in long division.
func (s *rootSpace) sqrt(n []big.Word) []big.Word {
	m := (len(n) + 1) / 2
	if m == 0 {
		return nil
	}
	rest, double := s.rest[:2*m], s.double[:m+1]
	copy(rest[2*m-len(n):], n)
	shift := bits.LeadingZeros(uint(rest[2*m-1])) &^ 1
	shiftLeft(rest, uint(shift))
	digit := sqrtWord(uint(rest[2*m-1]), uint(rest[2*m-2]))
	high, low := bits.Mul(digit, digit)
	subtractAt(rest[2*m-2:], []big.Word{big.Word(low), big.Word(high)})
	double[m], double[m-1] = big.Word(digit>>(bits.UintSize-1)), big.Word(digit<<1)
	for j := 1; j < m; j++ {
		window, trial := rest[2*(m-j-1):2*m-j+1], double[m-j-1:]
		top := len(window) - 1
		high, low := uint(window[top])<<(bits.UintSize-1)|uint(window[top-1])>>1, uint(window[top-1])<<(bits.UintSize-1)|uint(window[top-2])>>1
		digit, lead := ^uint(0), uint(double[m-1])>>1|uint(double[m])<<(bits.UintSize-1)
		if high < lead {
			digit, _ = bits.Div(high, low, lead)
		}
		trial[0] = big.Word(digit)
		for below := subtractProduct(window, trial, digit); below; {
			digit--
			// One time more twice the root with the old digit, less one.
			trial[0] = big.Word(digit<<1 | 1)
			carry := digit >> (bits.UintSize - 1)
			below = !addTo(window, trial, carry)
		}
		trial[0] = big.Word(digit << 1)
		for i, carry := 1, digit>>(bits.UintSize-1); carry != 0; i++ {
			var sum uint
			sum, carry = bits.Add(uint(trial[i]), carry, 0)
			trial[i] = big.Word(sum)
		}
	}
	// Half of the double, and back by half of the shift of n. An odd number of
	// words left a word of zeros below.
	shiftRight(double, 1)
	if len(n)%2 == 1 {
		shift += bits.UintSize
	}
	if half := uint(shift / 2); half > 0 {
		shiftRight(double, half)
	}
	return double[:m]
}

// sqrtWord returns the root of a number of two words, the upper of which has one of
// its two top bits set.
func sqrtWord(high, low uint) uint {
	root := ^uint(0)
	for high < root { // Newton's method comes from above and stops at the root
		quotient, _ := bits.Div(high, low, root)
		if quotient >= root {
			break
		}
		root -= (root - quotient + 1) / 2
	}
	return root
}

func shiftLeft(x []big.Word, count uint) {
	low := big.Word(0)
	for i, w := range x {
		x[i] = w<<count | low
		low = w >> (bits.UintSize - count)
	}
}

func shiftRight(x []big.Word, count uint) {
	for i := range x {
		x[i] >>= count
		if i+1 < len(x) {
			x[i] |= x[i+1] << (bits.UintSize - count)
		}
	}
}

// subtractAt takes y from x, which is not the smaller one.
func subtractAt(x, y []big.Word) { subtractProduct(x, y, 1) }

// subtractProduct takes factor times y from x and reports whether it went below
// zero. x is as long as y, or one word longer.
func subtractProduct(x, y []big.Word, factor uint) bool {
	carry := uint(0)
	for i, w := range y {
		high, low := bits.Mul(uint(w), factor)
		low, over := bits.Add(low, carry, 0)
		diff, borrow := bits.Sub(uint(x[i]), low, 0)
		x[i] = big.Word(diff)
		carry = high + over + borrow
	}
	if len(x) == len(y) {
		return carry != 0
	}
	diff, borrow := bits.Sub(uint(x[len(y)]), carry, 0)
	x[len(y)] = big.Word(diff)
	return borrow != 0
}

// addTo adds y, and carry in its second word, to x and reports whether x came back
// above zero.
func addTo(x, y []big.Word, carry uint) bool {
	next := uint(0)
	for i := range x {
		w := uint(0)
		if i < len(y) {
			w = uint(y[i])
		}
		sum, over := bits.Add(uint(x[i]), w, next)
		next = over
		if i == 1 {
			sum, over = bits.Add(sum, carry, 0)
			next += over
		}
		x[i] = big.Word(sum)
	}
	return next != 0
}
