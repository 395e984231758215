package pbe

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
)

// Object identifiers in the octets of their encoding, so that they can be
// constants; a test holds them against the dotted forms beside them.
const (
	arcPKCS5   = "\x2a\x86\x48\x86\xf7\x0d\x01\x05"     // 1.2.840.113549.1.5, RFC 8018 appendix C
	arcPBE12   = "\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01" // 1.2.840.113549.1.12.1, RFC 7292 appendix C
	arcDigest  = "\x2a\x86\x48\x86\xf7\x0d\x02"         // 1.2.840.113549.2
	arcCiphers = "\x2a\x86\x48\x86\xf7\x0d\x03"         // 1.2.840.113549.3
	arcNIST    = "\x60\x86\x48\x01\x65\x03\x04"         // 2.16.840.1.101.3.4

	oidPBKDF2 ber.OID = arcPKCS5 + "\x0c"                      // 1.2.840.113549.1.5.12
	oidPBES2  ber.OID = arcPKCS5 + "\x0d"                      // 1.2.840.113549.1.5.13
	oidScrypt ber.OID = "\x2b\x06\x01\x04\x01\xda\x47\x04\x0b" // 1.3.6.1.4.1.11591.4.11, RFC 7914 section 7

	oidPBE3DES    ber.OID = arcPBE12 + "\x03" // 1.2.840.113549.1.12.1.3
	oidPBERC2x128 ber.OID = arcPBE12 + "\x05" // 1.2.840.113549.1.12.1.5
	oidPBERC2x40  ber.OID = arcPBE12 + "\x06" // 1.2.840.113549.1.12.1.6

	oidHMACSHA1   ber.OID = arcDigest + "\x07" // 1.2.840.113549.2.7
	oidHMACSHA224 ber.OID = arcDigest + "\x08" // 1.2.840.113549.2.8
	oidHMACSHA256 ber.OID = arcDigest + "\x09" // 1.2.840.113549.2.9
	oidHMACSHA384 ber.OID = arcDigest + "\x0a" // 1.2.840.113549.2.10
	oidHMACSHA512 ber.OID = arcDigest + "\x0b" // 1.2.840.113549.2.11

	oidSHA1   ber.OID = "\x2b\x0e\x03\x02\x1a" // 1.3.14.3.2.26
	oidSHA256 ber.OID = arcNIST + "\x02\x01"   // 2.16.840.1.101.3.4.2.1
	oidSHA384 ber.OID = arcNIST + "\x02\x02"   // 2.16.840.1.101.3.4.2.2
	oidSHA512 ber.OID = arcNIST + "\x02\x03"   // 2.16.840.1.101.3.4.2.3
	oidSHA224 ber.OID = arcNIST + "\x02\x04"   // 2.16.840.1.101.3.4.2.4

	oidAES128CBC ber.OID = arcNIST + "\x01\x02" // 2.16.840.1.101.3.4.1.2
	oidAES192CBC ber.OID = arcNIST + "\x01\x16" // 2.16.840.1.101.3.4.1.22
	oidAES256CBC ber.OID = arcNIST + "\x01\x2a" // 2.16.840.1.101.3.4.1.42
	oidDES3CBC   ber.OID = arcCiphers + "\x07"  // 1.2.840.113549.3.7
)

// digests are the hash functions of the PKCS #12 MAC.
var digests = map[ber.OID]func() hash.Hash{
	oidSHA1: sha1.New, oidSHA224: sha256.New224, oidSHA256: sha256.New, oidSHA384: sha512.New384, oidSHA512: sha512.New,
}

// macs are the hash functions under HMAC, in PBKDF2 and in PBMAC1.
var macs = map[ber.OID]func() hash.Hash{
	oidHMACSHA1: sha1.New, oidHMACSHA224: sha256.New224, oidHMACSHA256: sha256.New, oidHMACSHA384: sha512.New384, oidHMACSHA512: sha512.New,
}

// names are those of algorithms and contents that are not read but known.
var names = map[ber.OID]string{
	arcPKCS5 + "\x01": "PBES1 MD2-DES",
	arcPKCS5 + "\x03": "PBES1 MD5-DES",
	arcPKCS5 + "\x04": "PBES1 MD2-RC2",
	arcPKCS5 + "\x06": "PBES1 MD5-RC2",
	arcPKCS5 + "\x0a": "PBES1 SHA1-DES",
	arcPKCS5 + "\x0b": "PBES1 SHA1-RC2",

	arcPBE12 + "\x01": "SHA1-RC4-128",
	arcPBE12 + "\x02": "SHA1-RC4-40",
	arcPBE12 + "\x04": "SHA1-2DES",

	arcDigest + "\x02":  "MD2",
	arcDigest + "\x05":  "MD5",
	arcDigest + "\x0c":  "HMAC-SHA-512/224",
	arcDigest + "\x0d":  "HMAC-SHA-512/256",
	arcCiphers + "\x02": "RC2-CBC",
	arcCiphers + "\x04": "RC4",
	arcCiphers + "\x09": "RC5-CBC",

	arcNIST + "\x02\x05": "SHA-512/224",
	arcNIST + "\x02\x06": "SHA-512/256",
	arcNIST + "\x02\x07": "SHA3-224",
	arcNIST + "\x02\x08": "SHA3-256",
	arcNIST + "\x02\x09": "SHA3-384",
	arcNIST + "\x02\x0a": "SHA3-512",
	arcNIST + "\x01\x06": "AES-128-GCM",
	arcNIST + "\x01\x1a": "AES-192-GCM",
	arcNIST + "\x01\x2e": "AES-256-GCM",

	"\x2b\x0e\x03\x02\x07": "DES-CBC",

	"\x2a\x83\x08\x8c\x9a\x4b\x3d\x01\x01\x01\x02": "Camellia-128-CBC",
	"\x2a\x83\x08\x8c\x9a\x4b\x3d\x01\x01\x01\x03": "Camellia-192-CBC",
	"\x2a\x83\x08\x8c\x9a\x4b\x3d\x01\x01\x01\x04": "Camellia-256-CBC",

	"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02": "SignedData",
	"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03": "EnvelopedData",
}
