package p12_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/p12"
)

// A hostile input of the largest size, with one iteration wherever a count is
// needed, so that all its time is spent outside of key derivation.
type hostile struct {
	why   string
	in    []byte
	err   error // nil when it is read
	noMAC bool
	pass  string
}

func hostiles(t testing.TB) []hostile {
	const room = p12.MaxSize - 600
	pbeOf := func(kind string) []byte {
		return seq(oid(arcPBE+kind), seq(octets([]byte("salt")), integer(1)))
	}
	encrypted := func(algorithm []byte) []byte {
		content := make([]byte, room/16*16)
		return seq(integer(3), data(seq(seq(oid(arcPKCS7+"\x06"), tag0(seq(integer(0), seq(oid(arcPKCS7+"\x01"), algorithm, tlv(0x80, content))))))))
	}
	salted := func(n int) []byte {
		return seq(oid(arcPBE+"\x03"), seq(octets(make([]byte, n)), integer(1)))
	}
	small := certificate(t, "testdata", "leaf").Raw
	list := []hostile{
		{why: "open without end", in: bytes.Repeat([]byte{0x30, 0x80}, p12.MaxSize/2), err: p12.ErrTooLarge},
		{why: "open octets without end", in: bytes.Repeat([]byte{0x24, 0x80}, p12.MaxSize/2), err: p12.ErrTooLarge},
		{why: "tiny elements", in: seq(bytes.Repeat([]byte{5, 0}, room/2)), err: p12.ErrTooLarge},
		{why: "tag number without end", in: append([]byte{0x30, 0x80}, bytes.Repeat([]byte{0xBF, 0x80}, room/2)...), err: p12.ErrMalformed},
		{why: "zeros behind 0x30", in: append([]byte{0x30}, make([]byte, room)...), err: p12.ErrMalformed},
		{why: "PEM without end", in: bytes.Repeat([]byte("-----BEGIN "), room/11), err: p12.ErrMalformed},
		{why: "base64 without end", in: bytes.Repeat([]byte("MI"), room/2), err: p12.ErrMalformed},
		{why: "identifier without end", in: seq(integer(3), seq(tlv(6, bytes.Repeat([]byte{0x81}, room), []byte{1}))), err: p12.ErrMalformed},
		{why: "pieces of pieces", in: pfxOf(deepPieces(5000)), err: p12.ErrPassphrase},
		{why: "one large octet string, wrong MAC", in: pfxOf(octets(make([]byte, room))), err: p12.ErrPassphrase},
		{why: "as many certificates as elements allow", in: pfx(safes(bytes.Repeat(certBag(small), 1240)), testPass), pass: testPass},
		{why: "one certificate of many names", in: pfx(safes(certBag(largeCertificate(t, 45_000))), testPass), pass: testPass},
		{why: "one certificate of zeros", in: pfx(safes(certBag(make([]byte, room-200))), testPass), pass: testPass},
		{why: "salt of the whole size", in: seq(integer(3), data(safes(bag(2, seq(salted(room), octets(make([]byte, 8))))))), err: p12.ErrPassphrase, noMAC: true},
		{why: "salt of the whole size under the MAC", in: seq(integer(3), data(safes()), macData(idSHA256, nil, make([]byte, 32), make([]byte, room), integer(1))), err: p12.ErrPassphrase},
		{why: "friendly name of the whole size", in: pfx(safes(certBag(small, attribute(20, tlv(0x1E, make([]byte, room-1000))))), testPass), pass: testPass},
	}
	for _, a := range []struct{ name, kind string }{{"triple DES", "\x03"}, {"RC2", "\x06"}} {
		in := encrypted(pbeOf(a.kind))
		list = append(list, hostile{why: a.name + " over the whole size, wrong passphrase", in: in, err: p12.ErrPassphrase, noMAC: true, pass: "x"})
	}
	plain := append(bytes.Repeat(certBag(small), 1000), bag(9, octets(make([]byte, room-1000*len(certBag(small))-1000)))...)
	list = append(list, hostile{why: "triple DES over the whole size, right passphrase, many certificates", in: seq(integer(3), data(seq(encryptedSafe3DES(seq(plain), testPass)))), noMAC: true, pass: testPass})
	return list
}

// pfxOf puts a MAC that fits nothing behind the content.
func pfxOf(content []byte) []byte {
	return seq(integer(3), seq(oid(arcPKCS7+"\x01"), tag0(content)), macData(idSHA256, nil, make([]byte, 32), []byte("salt"), integer(1)))
}

// deepPieces is an octet string in n pieces, each as deep as allowed, that share
// the largest size.
func deepPieces(n int) []byte {
	piece := octets(make([]byte, (p12.MaxSize-600)/n-8))
	all := bytes.Repeat(piece, n)
	for range 12 {
		all = tlv(0x24, all)
	}
	return all
}

func largeCertificate(t testing.TB, names int) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "large"}}
	for i := range names {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("host%d.p12.example", i))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return der
}

func (h hostile) run() (*p12.Contents, error) {
	return p12.Decode(h.in, []byte(h.pass), p12.Options{AllowNoMAC: h.noMAC})
}

// TestHostile gives each of them to Decode. BenchmarkHostile shows the time.
func TestHostile(t *testing.T) {
	for _, h := range hostiles(t) {
		t.Run(h.why, func(t *testing.T) {
			require.LessOrEqual(t, len(h.in), p12.MaxSize)
			_, err := h.run()
			require.ErrorIs(t, err, h.err)
			if h.err == nil {
				require.NoError(t, err)
			}
		})
	}
}

func BenchmarkHostile(b *testing.B) {
	for _, h := range hostiles(b) {
		b.Run(h.why, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = h.run()
			}
		})
	}
}
