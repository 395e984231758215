package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// secretForms returns the texts in which a secret number would show in an output:
// hexadecimal, decimal, base64, a list of octets, and the words of a big.Int.
func secretForms(secret []byte) []string {
	middle := secret[len(secret)/4 : len(secret)*3/4]
	forms := []string{
		hex.EncodeToString(middle), strings.ToUpper(hex.EncodeToString(middle)),
		new(big.Int).SetBytes(secret).String(),
		strings.Trim(fmt.Sprint(middle), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", middle), "[]byte{"), "}"),
		string(middle),
	}
	for offset := range 3 { // base64 depends on where in the octets it begins
		forms = append(forms, base64.RawStdEncoding.EncodeToString(secret[offset:len(secret)-(len(secret)-offset)%3]))
	}
	for word := range bytesOfWords(secret) {
		forms = append(forms, fmt.Sprint(word), fmt.Sprintf("%x", word))
	}
	return forms
}

func bytesOfWords(secret []byte) map[uint64]bool {
	words := map[uint64]bool{}
	for i := len(secret); i >= 8; i -= 8 {
		if w := binary.BigEndian.Uint64(secret[i-8 : i]); w > 1<<40 {
			words[w] = true
		}
	}
	return words
}

func requireNoSecret(t *testing.T, out, why string, forms []string) {
	t.Helper()
	for _, form := range forms {
		if strings.Contains(out, form) {
			t.Fatalf("%s: the output shows %q", why, form)
		}
	}
}

// dump walks through everything that reflection reaches, unexported fields
// included, as debugging printers do. It does not call methods.
func dump(b *bytes.Buffer, v reflect.Value, depth int) {
	if depth > 12 || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		dump(b, v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			fmt.Fprintf(b, "%s: ", v.Type().Field(i).Name)
			dump(b, v.Field(i), depth+1)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			for i := range v.Len() {
				fmt.Fprintf(b, "%02x", v.Index(i).Uint())
			}
			return
		}
		for i := range v.Len() {
			dump(b, v.Index(i), depth+1)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			dump(b, v.MapIndex(k), depth+1)
		}
	default:
		fmt.Fprintf(b, "%v ", v)
	}
}

func TestPrivateKeyIsNeverPrinted(t *testing.T) {
	ec := testpki.NewECDSA(elliptic.P256())
	ecSecret, err := ec.(*ecdsa.PrivateKey).Bytes()
	require.NoError(t, err)
	ed := testpki.NewEd25519()
	secrets := map[string]struct {
		signer crypto.Signer
		octets []byte
	}{
		"ECDSA":   {ec, ecSecret},
		"Ed25519": {ed, ed.(ed25519.PrivateKey).Seed()},
		"RSA":     {checkRSA1024, checkRSA1024.(*rsa.PrivateKey).D.Bytes()},
	}
	for kind, s := range secrets {
		forms := secretForms(s.octets)
		key, err := NewPrivateKey(s.signer)
		require.NoError(t, err)
		cert := tls.Certificate{PrivateKey: key, Leaf: testpki.SelfSigned([]string{"a.example"}, testpki.Key(s.signer)).Cert}
		config := &tls.Config{Certificates: []tls.Certificate{cert}}
		type nested struct{ hidden, Shown any }
		values := map[string]any{
			"key": key, "pointer": &key, "certificate": cert, "certificate pointer": &cert, "config": config,
			"material": &Material{Keys: []PrivateKey{key}}, "map": map[string]PrivateKey{"k": key}, "nested": nested{key, key},
			"error": fmt.Errorf("with %v: %w", key, &ParseError{Line: 1, Err: ErrMalformed}),
		}
		for why, v := range values {
			why = kind + ", " + why
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%t", "%e", "%c", "%U", "%p", "%10.3v", "%T"} {
				requireNoSecret(t, fmt.Sprintf(verb, v), why+" "+verb, forms)
			}
			requireNoSecret(t, fmt.Sprint(v)+fmt.Sprintln(v), why, forms)
			out, _ := json.Marshal(v)
			requireNoSecret(t, string(out), why+" json", forms)
			out, _ = xml.Marshal(v)
			requireNoSecret(t, string(out), why+" xml", forms)
			var b bytes.Buffer
			_ = gob.NewEncoder(&b).Encode(v)
			slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v)
			slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v)
			dump(&b, reflect.ValueOf(v), 0)
			requireNoSecret(t, b.String(), why+" gob, slog, reflection", forms)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			require.Equal(t, redacted, fmt.Sprintf(verb, key))
		}
		_, err = json.Marshal(key)
		require.Error(t, err)
		// The test can fail: the bare key shows in the same outputs.
		var b bytes.Buffer
		dump(&b, reflect.ValueOf(s.signer), 0)
		found := false
		for _, form := range forms {
			found = found || strings.Contains(b.String()+fmt.Sprintf("%v %x", s.signer, s.signer), form)
		}
		require.True(t, found, "%s: the forms do not match how the bare key prints", kind)
	}
}

// Errors about a key tell where it is bad and show nothing of it, nor of the
// passphrase.
func TestErrorsShowNoSecret(t *testing.T) {
	f := newReadFixture(t)
	secret, err := f.key.(*ecdsa.PrivateKey).Bytes()
	require.NoError(t, err)
	forms := secretForms(secret)
	lines := strings.Split(f.keyPEM, "\n")
	forms = append(forms, lines[1], lines[2], "correct horse")
	flipped := bytes.Clone(f.pkcs8)
	flipped[30] ^= 0xff
	inputs := []string{
		f.keyPEM[:len(f.keyPEM)-10], strings.Replace(f.keyPEM, "\n", "!\n", 2), strings.ReplaceAll(f.keyPEM, "PRIVATE KEY", "SECRET"),
		strings.ReplaceAll(f.keyPEM, "PRIVATE KEY", "CERTIFICATE"), strings.ReplaceAll(f.keyPEM, "PRIVATE KEY", "RSA PRIVATE KEY"),
		strings.ReplaceAll(f.keyPEM, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), lines[0] + lines[1] + lines[2], lines[1] + "-----BEGIN PRIVATE KEY-----",
		"-----BEGIN " + lines[1] + "-----\n", string(f.pkcs8[:50]), string(flipped), block("PRIVATE KEY", flipped),
	}
	for i := range 20 { // every place of the inner structure, cut and bent
		bent := bytes.Clone(f.pkcs8)
		bent[i*6%len(bent)] ^= byte(1 + i)
		inputs = append(inputs, block("PRIVATE KEY", bent), string(bent))
	}
	failed := 0
	for _, in := range inputs {
		for _, o := range []ReadOptions{{}, {Passphrase: []byte("correct horse")}, {List: true}, {List: true, Lenient: true}} {
			m, err := ReadBytes([]byte(in), o)
			if err != nil {
				failed++
				requireNoSecret(t, fmt.Sprintf("%v %+v %#v", err, err, err), "error", forms[:len(forms)-3])
				requireNoSecret(t, err.Error(), "error", forms[len(forms)-3:])
				continue
			}
			for _, finding := range m.Findings {
				requireNoSecret(t, finding.String(), "finding", forms)
			}
		}
	}
	require.Greater(t, failed, len(inputs))
}
