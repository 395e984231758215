package p12

import (
	"crypto/hmac"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
	"github.com/smtpsec/smtpsec/internal/p12/pbe"
)

// mac is MacData (RFC 7292 section 4), in one of two schemes: that of RFC 7292
// appendix B, or PBMAC1, whose parameters take the place of salt and count
// (RFC 9879 section 4).
type mac struct {
	value  []byte
	digest ber.OID
	salt   []byte
	count  int64
	pbmac1 *pbe.PBMAC1 // nil for the old scheme
}

func parseMAC(r *ber.Reader) (*mac, error) {
	data, err := r.Sequence("MAC data")
	if err != nil {
		return nil, err
	}
	info, err := data.Sequence("MAC")
	if err != nil {
		return nil, err
	}
	algorithm, err := info.Sequence("MAC algorithm")
	if err != nil {
		return nil, err
	}
	m := new(mac)
	if m.digest, err = algorithm.OID("MAC algorithm"); err != nil {
		return nil, err
	}
	if m.value, err = info.OctetString("MAC"); err != nil {
		return nil, err
	}
	if err := info.End("MAC"); err != nil {
		return nil, err
	}
	if m.salt, err = data.OctetString("MAC salt"); err != nil {
		return nil, err
	}
	m.count = 1 // DEFAULT 1
	if !data.Empty() {
		if m.count, err = data.Int("MAC iteration count"); err != nil {
			return nil, err
		}
	}
	size := 0
	if m.digest == oidPBMAC1 {
		if m.pbmac1, err = pbe.ParsePBMAC1(algorithm.Next()); err != nil {
			return nil, err
		}
		m.count, size = m.pbmac1.Count(), m.pbmac1.Size()
	} else {
		newHash, err := pbe.Digest(m.digest)
		if err != nil {
			return nil, err
		}
		size = newHash().Size()
	}
	if len(m.value) != size {
		return nil, malformed("MAC is not of the length of its digest")
	}
	return m, data.End("MAC data")
}

// verify returns nil when one form of the passphrase yields the MAC, and tells p
// which one. Comparison takes the same time wherever the first difference is.
func (m *mac) verify(message []byte, p *pbe.Passphrase, b *pbe.Budget) error {
	if m.pbmac1 != nil {
		sum, err := m.pbmac1.Sum(message, p.Octets(), b)
		if err != nil {
			return err
		}
		if !hmac.Equal(sum, m.value) {
			return ErrPassphrase
		}
		p.TryWide()
		return nil
	}
	forms, err := p.UTF16()
	if err != nil {
		return err
	}
	for i, form := range forms {
		key, newHash, err := pbe.PKCS12MACKey(m.digest, form, m.salt, m.count, b)
		if err != nil {
			return err
		}
		h := hmac.New(newHash, key)
		clear(key)
		h.Write(message)
		if hmac.Equal(h.Sum(nil), m.value) {
			p.Prefer(i)
			p.TryWide()
			return nil
		}
	}
	return ErrPassphrase
}

// MACIterations returns the iteration count of the file's MAC without deriving
// anything, so that a caller can refuse a file, or show progress, before a
// passphrase is asked for. Errors: [ErrNoMAC], [ErrIterations] for a count above
// [MaxIterations], [ErrTooLarge], [ErrMalformed], [*UnsupportedError].
func MACIterations(data []byte) (int, error) {
	f, err := parsePFX(data, 0, new(ber.Counter))
	if err != nil {
		return 0, err
	}
	defer f.zero()
	if f.mac == nil {
		return 0, ErrNoMAC
	}
	if err := pbe.NewBudget(pbe.Limits{}).Allows(f.mac.count); err != nil {
		return 0, err
	}
	return int(f.mac.count), nil
}
