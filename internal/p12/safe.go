package p12

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"unicode/utf16"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
	"github.com/smtpsec/smtpsec/internal/p12/pbe"
)

// decoder walks the safes of one file.
type decoder struct {
	p       *pbe.Passphrase
	budget  *pbe.Budget
	counter *ber.Counter
	out     *Contents
}

// authenticatedSafe reads the list of safes (RFC 7292 section 4.1).
func (d *decoder) authenticatedSafe(data []byte) error {
	e, err := ber.Parse(data, d.counter)
	if err != nil {
		return fmt.Errorf("list of safes: %w", err)
	}
	r, err := e.Sequence("list of safes")
	if err != nil {
		return err
	}
	for i := 1; !r.Empty(); i++ {
		if err := d.contentInfo(r.Next()); err != nil {
			return fmt.Errorf("safe %d: %w", i, err)
		}
	}
	return nil
}

// contentInfo reads one safe, in the clear or encrypted under the passphrase.
func (d *decoder) contentInfo(e ber.Element) error {
	r, err := e.Sequence("safe")
	if err != nil {
		return err
	}
	id, err := r.OID("safe")
	if err != nil {
		return err
	}
	if id != oidData && id != oidEncryptedData {
		return pbe.Unsupported(id, "safe")
	}
	content, err := r.Explicit(0, "safe")
	if err != nil {
		return err
	}
	if err := r.End("safe"); err != nil {
		return err
	}
	if id == oidEncryptedData {
		return d.encryptedData(content)
	}
	octets, copied, err := content.OctetString("safe")
	if err != nil {
		return err
	}
	if copied {
		defer clear(octets)
	}
	bags, err := ber.Parse(octets, d.counter)
	if err != nil {
		return err
	}
	return d.safeContents(bags)
}

// encryptedData reads EncryptedData (RFC 5652 section 8).
func (d *decoder) encryptedData(e ber.Element) error {
	r, err := e.Sequence("encrypted safe")
	if err != nil {
		return err
	}
	if _, err := r.Int("encrypted safe version"); err != nil {
		return err
	}
	info, err := r.Sequence("encrypted safe")
	if err != nil {
		return err
	}
	id, err := info.OID("encrypted safe")
	if err != nil {
		return err
	}
	if id != oidData {
		return pbe.Unsupported(id, "content of an encrypted safe")
	}
	algorithm := info.Next()
	content := info.Next()
	if !content.Is(ber.Context, 0) {
		return malformed("encrypted safe is empty")
	}
	ciphertext, _, err := content.ImplicitOctetString("encrypted safe")
	if err != nil {
		return err
	}
	var bags ber.Element
	plain, err := pbe.Decrypt(algorithm, ciphertext, d.p, d.budget, func(plain []byte) error {
		used := *d.counter
		var err error
		if bags, err = ber.Parse(plain, &used); err != nil {
			return err
		}
		if _, err = bags.Sequence("list of bags"); err != nil {
			return err
		}
		*d.counter = used
		return nil
	})
	if err != nil {
		return err
	}
	defer clear(plain)
	return d.safeContents(bags)
}

// safeContents reads a list of bags (RFC 7292 section 4.2). It calls itself for
// a list in a bag, no deeper than the encoding that holds both.
func (d *decoder) safeContents(e ber.Element) error {
	r, err := e.Sequence("list of bags")
	if err != nil {
		return err
	}
	for i := 1; !r.Empty(); i++ {
		if err := d.safeBag(r.Next()); err != nil {
			return fmt.Errorf("bag %d: %w", i, err)
		}
	}
	return nil
}

func (d *decoder) safeBag(e ber.Element) error {
	r, err := e.Sequence("bag")
	if err != nil {
		return err
	}
	id, err := r.OID("bag")
	if err != nil {
		return err
	}
	value, err := r.Explicit(0, "bag")
	if err != nil {
		return err
	}
	var a attributes
	if !r.Empty() {
		if a, err = parseAttributes(r.Next()); err != nil {
			return err
		}
	}
	if err := r.End("bag"); err != nil {
		return err
	}
	switch id {
	case oidKeyBag:
		return d.key(value, a, pbe.PrivateKeyInfo)
	case oidShroudedKeyBag:
		return d.key(value, a, func(e ber.Element) ([]byte, error) {
			return pbe.DecryptKey(e, d.p, d.budget, d.counter)
		})
	case oidCertBag:
		return d.certificate(value, a)
	case oidSafeContentsBag:
		return d.safeContents(value)
	case oidCRLBag:
		d.out.Skipped.CRLs++
	case oidSecretBag:
		d.out.Skipped.Secrets++
	default:
		d.out.Skipped.Other++
	}
	return nil
}

func (d *decoder) key(value ber.Element, a attributes, read func(ber.Element) ([]byte, error)) error {
	der, err := read(value)
	if err != nil {
		return err
	}
	d.out.Keys = append(d.out.Keys, Key{PKCS8: der, FriendlyName: a.friendlyName, LocalKeyID: a.localKeyID})
	return nil
}

// certificate reads CertBag (RFC 7292 section 4.2.3).
func (d *decoder) certificate(value ber.Element, a attributes) error {
	r, err := value.Sequence("certificate bag")
	if err != nil {
		return err
	}
	id, err := r.OID("certificate bag")
	if err != nil {
		return err
	}
	if id != oidX509Certificate {
		d.out.Skipped.Other++
		return nil
	}
	octets, err := r.Explicit(0, "certificate")
	if err != nil {
		return err
	}
	der, copied, err := octets.OctetString("certificate")
	if err != nil {
		return err
	}
	if !copied {
		der = bytes.Clone(der)
	}
	c := Certificate{DER: der, FriendlyName: a.friendlyName, LocalKeyID: a.localKeyID}
	if c.Parsed, err = x509.ParseCertificate(der); err != nil {
		c.Parsed, c.Err = nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	d.out.Certificates = append(d.out.Certificates, c)
	return r.End("certificate bag")
}

// attributes are those bag attributes that mean something here. The others,
// Oracle's trusted key usage and Microsoft's names among them, are passed over.
type attributes struct {
	friendlyName string
	localKeyID   []byte
}

// parseAttributes reads the SET of PKCS12Attribute (RFC 7292 section 4.2). The
// first value of the first attribute of a kind counts.
func parseAttributes(e ber.Element) (a attributes, err error) {
	set, err := e.Inside(ber.Universal, ber.TagSet, "bag attributes")
	if err != nil {
		return a, err
	}
	for !set.Empty() {
		r, err := set.Sequence("bag attribute")
		if err != nil {
			return a, err
		}
		id, err := r.OID("bag attribute")
		if err != nil {
			return a, err
		}
		values, err := r.Next().Inside(ber.Universal, ber.TagSet, "values of a bag attribute")
		if err != nil {
			return a, err
		}
		if values.Empty() {
			continue
		}
		switch {
		case id == oidFriendlyName && a.friendlyName == "":
			if a.friendlyName, err = parseName(values.Next()); err != nil {
				return a, err
			}
		case id == oidLocalKeyID && a.localKeyID == nil:
			octets, err := values.OctetString("local key id")
			if err != nil {
				return a, err
			}
			a.localKeyID = append([]byte{}, octets...)
		}
	}
	return a, nil
}

// parseName reads a friendly name: a BMPString (RFC 2985 section 5.5.1), with or
// without a zero character at its end. What is no UTF-16 becomes U+FFFD. A UTF8String is
// taken too.
func parseName(e ber.Element) (string, error) {
	if e.Is(ber.Universal, ber.TagUTF8String) && !e.Constructed {
		return string(bytes.ToValidUTF8(e.Content, []byte("\uFFFD"))), nil
	}
	if !e.Is(ber.Universal, ber.TagBMPString) || e.Constructed || len(e.Content)%2 != 0 {
		return "", malformed("friendly name is no BMPString")
	}
	wide := make([]uint16, 0, len(e.Content)/2)
	for i := 0; i < len(e.Content); i += 2 {
		wide = append(wide, uint16(e.Content[i])<<8|uint16(e.Content[i+1]))
	}
	if n := len(wide); n > 0 && wide[n-1] == 0 {
		wide = wide[:n-1]
	}
	return string(utf16.Decode(wide)), nil
}
