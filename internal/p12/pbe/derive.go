package pbe

import (
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"math/bits"

	"golang.org/x/crypto/scrypt"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
)

// Bounds of what a file may ask of the machine. The unit of work is one round
// of a derivation: about a third of a microsecond.
const (
	// MaxIterations is the highest count of one derivation. OpenSSL writes
	// 2,048, Java 10,000, NSS up to 600,000; careful people ask for 1,000,000.
	MaxIterations = 5_000_000
	// MaxWork is the most rounds of all derivations for one file, each count
	// taken once for every block of output. It is enough for a file with MAC,
	// encrypted certificates and one key that all ask for MaxIterations, in the
	// old schemes too (RC2 takes two blocks with the IV, triple DES three).
	MaxWork = 32_000_000
	// MaxScryptMemory is the most memory for one scrypt derivation in octets.
	MaxScryptMemory = 128 << 20
)

// Limits bound the work for one file. Zero fields take the package's bounds;
// nothing raises a bound above those.
type Limits struct {
	Iterations int // highest count of one derivation, rounds for scrypt; 0 means MaxIterations
	Work       int // rounds of all derivations together; 0 means MaxWork
}

// Budget is what is left of the work allowed for one file. The zero value
// allows nothing; see [NewBudget].
type Budget struct{ iterations, work int64 }

// NewBudget returns a full budget under the limits.
func NewBudget(l Limits) *Budget {
	b := &Budget{iterations: MaxIterations, work: MaxWork}
	if l.Iterations > 0 {
		b.iterations = min(b.iterations, int64(l.Iterations))
	}
	if l.Work > 0 {
		b.work = min(b.work, int64(l.Work))
	}
	return b
}

// Allows returns [ErrIterations] for a count above the limit for one derivation
// and [ErrMalformed] for zero.
func (b *Budget) Allows(count int64) error {
	if count < 1 {
		return malformed("iteration count is zero")
	}
	if count > b.iterations {
		return fmt.Errorf("%w: %s iterations, at most %d are allowed", ErrIterations, countText(count), b.iterations)
	}
	return nil
}

func countText(count int64) string {
	if count > 1<<32 {
		return "more than 2^32"
	}
	return fmt.Sprint(count)
}

// spend takes count rounds for each of blocks blocks.
func (b *Budget) spend(count int64, blocks int) error {
	if err := b.Allows(count); err != nil {
		return err
	}
	if count > b.work/int64(blocks) {
		return fmt.Errorf("%w: all derivations of the file together", ErrIterations)
	}
	b.work -= count * int64(blocks)
	return nil
}

// Purposes of a derived value (RFC 7292 appendix B.3).
const (
	forKey = 1
	forIV  = 2
	forMAC = 3
)

// PKCS12MACKey derives the key of the PKCS #12 MAC (RFC 7292 appendix B.4) with
// the digest named by id; its hash function is returned too.
func PKCS12MACKey(id ber.OID, form, salt []byte, count int64, b *Budget) ([]byte, func() hash.Hash, error) {
	newHash, err := Digest(id)
	if err != nil {
		return nil, nil, err
	}
	key, err := PKCS12Key(newHash, forMAC, form, salt, count, newHash().Size(), b)
	return key, newHash, err
}

// Digest returns the hash function that a PKCS #12 MAC names.
func Digest(id ber.OID) (func() hash.Hash, error) {
	if newHash := digests[id]; newHash != nil {
		return newHash, nil
	}
	return nil, Unsupported(id, "MAC digest")
}

// HMAC returns the hash function under an HMAC identifier; what says what the
// HMAC is used for.
func HMAC(id ber.OID, what string) (func() hash.Hash, error) {
	if newHash := macs[id]; newHash != nil {
		return newHash, nil
	}
	return nil, Unsupported(id, what)
}

// PKCS12Key derives n octets for the given purpose (RFC 7292 appendix B.2). form
// is the passphrase in UTF-16 with its terminator, or empty.
func PKCS12Key(newHash func() hash.Hash, purpose byte, form, salt []byte, count int64, n int, b *Budget) ([]byte, error) {
	h := newHash()
	u, v := h.Size(), h.BlockSize()
	if err := b.spend(count, (n+u-1)/u); err != nil {
		return nil, err
	}
	whole := func(n int) int { return (n + v - 1) / v * v }
	salted := whole(len(salt))
	in := make([]byte, salted+whole(len(form)))
	defer clear(in)
	repeat(in[:salted], salt)
	repeat(in[salted:], form)
	d := make([]byte, v)
	repeat(d, []byte{purpose})

	out := make([]byte, 0, whole(n)+u)
	a, fill := make([]byte, 0, u), make([]byte, v)
	defer func() { clear(a[:cap(a)]); clear(fill) }()
	for {
		h.Reset()
		h.Write(d)
		h.Write(in)
		a = h.Sum(a[:0])
		for range count - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		if out = append(out, a...); len(out) >= n {
			clear(out[n:])
			return out[:n], nil
		}
		repeat(fill, a)
		for j := 0; j < len(in); j += v {
			addOne(in[j:j+v], fill)
		}
	}
}

// repeat fills dst with copies of src, the last one cut.
func repeat(dst, src []byte) {
	for n := 0; n < len(dst); {
		n += copy(dst[n:], src)
	}
}

// addOne sets dst to dst + b + 1, both big-endian of equal length, modulo 2^(8n).
func addOne(dst, b []byte) {
	carry := 1
	for i := len(dst) - 1; i >= 0; i-- {
		carry += int(dst[i]) + int(b[i])
		dst[i] = byte(carry)
		carry >>= 8
	}
}

// KDF is PBKDF2 or scrypt with its parameters, see [ParseKDF].
type KDF struct {
	KeyLength int64 // as stated in the parameters, 0 when absent
	Count     int64 // iteration count of PBKDF2, 0 for scrypt
	salt      []byte
	prf       func() hash.Hash // nil for scrypt
	n, r, p   int64            // scrypt
}

// ParseKDF reads the AlgorithmIdentifier of a key derivation function: PBKDF2 (RFC
// 8018 appendix A.2) or scrypt (RFC 7914 section 7). Counts are not judged.
// Errors: [ErrMalformed], [*UnsupportedError].
func ParseKDF(algorithm ber.Element) (*KDF, error) {
	r, err := algorithm.Sequence("key derivation")
	if err != nil {
		return nil, err
	}
	id, err := r.OID("key derivation")
	if err != nil {
		return nil, err
	}
	if id != oidPBKDF2 && id != oidScrypt {
		return nil, Unsupported(id, "key derivation")
	}
	params, err := r.Sequence("key derivation parameters")
	if err != nil {
		return nil, err
	}
	if params.Peek(ber.Universal, ber.TagSequence) { // salt from another source: nobody defined one
		other, _ := params.Sequence("salt source")
		id, err := other.OID("salt source")
		if err != nil {
			return nil, err
		}
		return nil, Unsupported(id, "salt source")
	}
	k := new(KDF)
	if k.salt, err = params.OctetString("salt"); err != nil {
		return nil, err
	}
	if id == oidScrypt {
		err = k.parseScrypt(&params)
	} else {
		err = k.parsePBKDF2(&params)
	}
	if err != nil {
		return nil, err
	}
	return k, params.End("key derivation parameters")
}

func (k *KDF) parsePBKDF2(params *ber.Reader) (err error) {
	if k.Count, err = params.Int("iteration count"); err != nil {
		return err
	}
	if err = k.parseKeyLength(params); err != nil {
		return err
	}
	prf := oidHMACSHA1 // DEFAULT algid-hmacWithSHA1
	if !params.Empty() {
		r, err := params.Sequence("pseudorandom function")
		if err != nil {
			return err
		}
		if prf, err = r.OID("pseudorandom function"); err != nil {
			return err
		}
	}
	k.prf, err = HMAC(prf, "pseudorandom function")
	return err
}

func (k *KDF) parseScrypt(params *ber.Reader) (err error) {
	if k.n, err = params.Int("scrypt cost"); err != nil {
		return err
	}
	if k.r, err = params.Int("scrypt block size"); err != nil {
		return err
	}
	if k.p, err = params.Int("scrypt parallelization"); err != nil {
		return err
	}
	return k.parseKeyLength(params)
}

func (k *KDF) parseKeyLength(params *ber.Reader) (err error) {
	if !params.Peek(ber.Universal, ber.TagInteger) {
		return nil
	}
	if k.KeyLength, err = params.Int("key length"); err == nil && k.KeyLength == 0 {
		err = malformed("key length is zero")
	}
	return err
}

// Key derives n octets from the passphrase. Errors: [ErrIterations], [ErrMalformed].
func (k *KDF) Key(passphrase []byte, n int, b *Budget) ([]byte, error) {
	if k.prf == nil {
		return k.scrypt(passphrase, n, b)
	}
	return pbkdf2(k.prf, passphrase, k.salt, k.Count, n, b)
}

// pbkdf2 is RFC 8018 section 5.2. The standard library's takes the passphrase
// as a string, which cannot be zeroed.
func pbkdf2(newHash func() hash.Hash, passphrase, salt []byte, count int64, n int, b *Budget) ([]byte, error) {
	mac := hmac.New(newHash, passphrase)
	size := mac.Size()
	blocks := (n + size - 1) / size
	if err := b.spend(count, blocks); err != nil {
		return nil, err
	}
	out := make([]byte, 0, blocks*size)
	u := make([]byte, 0, size)
	for i := range blocks {
		mac.Reset()
		mac.Write(salt)
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(i+1)))
		u = mac.Sum(u[:0])
		out = append(out, u...)
		t := out[i*size:]
		for range count - 1 {
			mac.Reset()
			mac.Write(u)
			u = mac.Sum(u[:0])
			subtle.XORBytes(t, t, u)
		}
	}
	clear(u)
	clear(out[n:])
	return out[:n], nil
}

// scrypt is RFC 7914. Its memory is bounded by [MaxScryptMemory]; its time is
// counted as 2*n*r*p rounds, about what it takes. The library makes a string of
// the passphrase, the one copy that cannot be zeroed.
func (k *KDF) scrypt(passphrase []byte, n int, b *Budget) ([]byte, error) {
	if k.n < 2 || k.n&(k.n-1) != 0 || k.r < 1 || k.p < 1 {
		return nil, malformed("scrypt parameters")
	}
	const most = MaxScryptMemory / 128
	if k.n > most || k.r > most || k.n*k.r > most || k.p > most {
		return nil, fmt.Errorf("%w: scrypt may use %d MiB", ErrIterations, MaxScryptMemory>>20)
	}
	hi, rounds := bits.Mul64(uint64(2*k.n*k.r), uint64(k.p))
	if hi != 0 || rounds > uint64(b.iterations) {
		return nil, fmt.Errorf("%w: scrypt parallelization %d", ErrIterations, k.p)
	}
	if err := b.spend(int64(rounds), 1); err != nil {
		return nil, err
	}
	key, err := scrypt.Key(passphrase, k.salt, int(k.n), int(k.r), int(k.p), n)
	if err != nil {
		return nil, malformed("scrypt parameters")
	}
	return key, nil
}
