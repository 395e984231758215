package dnssec

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

func TestRootAnchors(t *testing.T) {
	anchors := RootAnchors()
	require.Len(t, anchors, 2, "the key of 2017 and the one after it")
	require.Equal(t, uint16(20326), anchors[0].KeyTag)
	require.Equal(t, uint16(38696), anchors[1].KeyTag)
	for _, a := range anchors {
		require.Equal(t, ".", a.Zone)
		require.Equal(t, uint8(algRSASHA256), a.Algorithm)
		require.Equal(t, uint8(digestSHA256), a.DigestType)
		require.Len(t, a.Digest, 32)
	}
	anchors[0].Digest[0] ^= 1
	require.NotEqual(t, anchors, RootAnchors(), "each caller has its own")
}

// What the distribution ships is what is built in, where there is such a file.
func TestRootAnchorsOfTheDistribution(t *testing.T) {
	for _, file := range []string{"/usr/share/dns/root.ds", "/usr/share/dns/root.key"} {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			t.Log(file, "is not there")
			continue
		}
		require.NoError(t, err)
		anchors, err := ParseAnchors(strings.NewReader(string(text)))
		require.NoError(t, err)
		require.NotEmpty(t, anchors)
		for _, a := range anchors {
			require.Contains(t, RootAnchors(), a, file)
		}
	}
}

const ds = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"

func TestParseAnchors(t *testing.T) {
	key := newKeyPair(t, "zone.example.", 13, dnstest.FlagZone|dnstest.FlagSEP, 0)
	keyLine := strings.ReplaceAll(key.Public.String(), "\t", " ")
	digest, err := hex.DecodeString(key.DS(dns.SHA256).Digest)
	require.NoError(t, err)
	keyAnchor := Anchor{"zone.example.", key.Public.KeyTag(), 13, 2, digest}
	root := RootAnchors()[0]
	for _, tt := range []struct {
		why, text string
		want      []Anchor
	}{
		{"nothing", "", nil},
		{"comments", "; a\n  ;b\n\n\t\n", nil},
		{"a DS line", ds, []Anchor{root}},
		{"with a TTL", strings.Replace(ds, "IN", "172800 IN", 1), []Anchor{root}},
		{"TTL after class", strings.Replace(ds, "IN", "IN 172800", 1), []Anchor{root}},
		{"without class", strings.Replace(ds, "IN ", "", 1), []Anchor{root}},
		{"lower case, digest in parts, tabs, CRLF", ".\tin\tds\t20326 8 2 e06d44b80b8f1d39a95c0b0d7c65d08458e88040 9bbc683457104237c7f8ec8d\r\n", []Anchor{root}},
		{"a DNSKEY line", keyLine, []Anchor{keyAnchor}},
		{"of unbound, valid", keyLine + " ;{id = 1 (ksk), size = 256b} ;;state=2 [  VALID  ] ;;count=0", []Anchor{keyAnchor}},
		{"of unbound, missing", keyLine + " ;;state=3 [ MISSING ]", []Anchor{keyAnchor}},
		{"of unbound, not accepted yet", keyLine + " ;;state=1 [ ADDPEND ] ;;count=3", nil},
		{"of unbound, revoked", keyLine + " ;;state=4 [ REVOKED ]", nil},
		{"of unbound, removed", keyLine + " ;;state=5 [ REMOVED ]", nil},
		{"a revoked key", strings.Replace(keyLine, "DNSKEY 257", "DNSKEY 385", 1), nil},
		{"no key of a zone", strings.Replace(keyLine, "DNSKEY 257", "DNSKEY 1", 1), nil},
		{"two", ds + "\n" + keyLine + "\n", []Anchor{root, keyAnchor}},
	} {
		got, err := ParseAnchors(strings.NewReader(tt.text))
		require.NoError(t, err, tt.why)
		require.Equal(t, tt.want, got, tt.why)
	}
	for _, tt := range []struct{ why, text, want string }{
		{"a type that is no anchor", ds + "\n. IN NS a.root-servers.net. x y z", "line 2"},
		{"cut", ". IN DS 20326 8 2", `". IN DS 20326 8 2"`},
		{"alone", ".", "no whole"},
		{"a digest that is not hexadecimal", ". IN DS 20326 8 2 XYZ", "XYZ"},
		{"half an octet", ". IN DS 20326 8 2 E06", "E06"},
		{"a tag that is too large", ". IN DS 65536 8 2 00", "65536"},
		{"an algorithm that is too large", ". IN DS 1 256 2 00", "256"},
		{"an empty label", "a..b. IN DS 1 8 2 00", "empty label"},
		{"a key that is not base64", ". IN DNSKEY 257 3 8 !!!", "!!!"},
		{"parentheses", ". IN DS 20326 8 2 ( E06D )", "E06D"},
		{"a directive", "$ORIGIN .", "$ORIGIN"},
	} {
		_, err := ParseAnchors(strings.NewReader(tt.text))
		require.ErrorIs(t, err, KindUnusable, tt.why)
		require.ErrorContains(t, err, tt.want, tt.why)
	}
	_, err = ParseAnchors(strings.NewReader(strings.Repeat(ds+"\n", maxAnchors+2)))
	require.ErrorIs(t, err, KindUnusable, "too many")
	_, err = ParseAnchors(strings.NewReader(strings.Repeat(";", maxAnchorOctets+2)))
	require.ErrorIs(t, err, KindUnusable, "too long a line")
	_, err = ParseAnchors(strings.NewReader(strings.Repeat("; a comment\n", maxAnchorOctets/8)))
	require.ErrorIs(t, err, KindUnusable, "too long a file")
}

// What is read can be written down and read again, and nothing else is ever trusted.
func FuzzParseAnchors(f *testing.F) {
	f.Add(ds)
	f.Add("zone. 300 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ== ;;state=2 [  VALID  ]")
	f.Add("; comment\n\n" + ds + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		anchors, err := ParseAnchors(strings.NewReader(text))
		if err != nil {
			require.ErrorIs(t, err, KindUnusable)
			return
		}
		var again strings.Builder
		for _, a := range anchors {
			fmt.Fprintf(&again, "%s IN DS %d %d %d %x\n", a.Zone, a.KeyTag, a.Algorithm, a.DigestType, a.Digest)
		}
		same, err := ParseAnchors(strings.NewReader(again.String()))
		require.NoError(t, err)
		require.Equal(t, anchors, same)
	})
}

func TestAnchorOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "anchors")
	require.NoError(t, os.WriteFile(file, []byte("nonsense"), 0o600))
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("; nothing"), 0o600))
	root := RootAnchors()
	for _, tt := range []struct {
		why  string
		o    ValidatorOptions
		want Kind
	}{
		{"a file that is not there", ValidatorOptions{AnchorFile: file + "x"}, KindUnusable},
		{"a file that cannot be read", ValidatorOptions{AnchorFile: file}, KindUnusable},
		{"a file without anchors", ValidatorOptions{AnchorFile: empty}, KindUnusable},
		{"both", ValidatorOptions{AnchorFile: file, Anchors: root}, KindUnusable},
		{"none", ValidatorOptions{Anchors: []Anchor{}}, KindUnusable},
		{"an algorithm that is not known", ValidatorOptions{Anchors: []Anchor{{".", 1, 253, 2, make([]byte, 32)}}}, KindUnusable},
		{"a digest that is not known", ValidatorOptions{Anchors: []Anchor{{".", 1, 8, 3, make([]byte, 32)}}}, KindUnusable},
		{"SHA-1", ValidatorOptions{Anchors: []Anchor{{".", 1, 8, 1, make([]byte, 20)}}}, KindUnusable},
		{"a zone that is no name", ValidatorOptions{Anchors: []Anchor{{"a..b", 1, 8, 2, make([]byte, 32)}}}, KindBadName},
		{"an insecure zone that is no name", ValidatorOptions{InsecureZones: []string{""}}, KindBadName},
		{"both secure and insecure", ValidatorOptions{InsecureZones: []string{"."}}, KindUnusable},
	} {
		tt.o.Upstream.Servers = servers("127.0.0.1:53")
		_, err := NewValidator(tt.o)
		require.ErrorIs(t, err, tt.want, tt.why)
	}
	_, err := NewValidator(ValidatorOptions{Common: Common{Upstream: Upstream{Servers: servers()}}})
	require.ErrorIs(t, err, KindUnusable, "no server")
}
