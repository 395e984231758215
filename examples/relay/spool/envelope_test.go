//go:build unix

package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// seal makes the head of an envelope file for the lines below it.
func seal(rest string) []byte {
	sum := sha256.Sum256([]byte(rest))
	return []byte(head + hex.EncodeToString(sum[:]) + headEnd + rest)
}

func encoded(t testing.TB, e *Envelope) []byte {
	t.Helper()
	file, err := e.encode()
	require.NoError(t, err)
	return file
}

// TestFileForPeople holds the file against one that people have read, so that a
// change of the format is seen.
func TestFileForPeople(t *testing.T) {
	want, err := os.ReadFile("testdata/envelope.json")
	require.NoError(t, err)
	require.Equal(t, string(want), string(encoded(t, fullEnvelope())))
	require.True(t, json.Valid(want))
	e, err := decode(want)
	require.NoError(t, err)
	require.Equal(t, fullEnvelope(), e)
}

func TestEveryFieldIsStored(t *testing.T) {
	e := reflect.ValueOf(*fullEnvelope())
	for i := range e.NumField() {
		require.False(t, e.Field(i).IsZero(), "the sample must have %s", e.Type().Field(i).Name)
	}
	r := reflect.ValueOf(fullEnvelope().Recipients[0])
	for i := range r.NumField() {
		require.False(t, r.Field(i).IsZero(), "the sample must have %s", r.Type().Field(i).Name)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := string(encoded(t, fullEnvelope()))
	rest := good[bodyAt:]
	change := func(from, to string) []byte {
		require.Contains(t, rest, from)
		return seal(strings.Replace(rest, from, to, 1))
	}
	for _, test := range []struct {
		why  string
		file []byte
	}{
		{"empty", nil},
		{"zeroes, as some file systems leave after a crash", make([]byte, 4096)},
		{"no JSON", []byte("rubbish")},
		{"only a head", []byte(good[:bodyAt])},
		{"upper case in the checksum", []byte(head + strings.ToUpper(good[len(head):bodyAt]) + rest)},
		{"checksum of other text", []byte(head + strings.Repeat("0", 64) + headEnd + rest)},
		{"recipient changed by hand", []byte(strings.Replace(good, "b@example.com", "x@example.com", 1))},
		{"unknown field", change(`"size": 5`, `"size": 5, "sizes": 5`)},
		{"field twice", change(`"size": 5`, "\"size\": 5,\n  \"size\": 5")},
		{"field in other letters", change(`"size"`, `"Size"`)},
		{"other spacing", change(`"size": 5`, `"size":5`)},
		{"something after the object", seal(rest + "{}\n")},
		{"no newline at the end", seal(strings.TrimSuffix(rest, "\n"))},
		{"null for a list", change(rest[strings.Index(rest, `[`):strings.LastIndex(rest, `]`)+1], "null")},
		{"no recipients", change(rest[strings.Index(rest, `[`):strings.LastIndex(rest, `]`)+1], "[]")},
		{"unknown state", change(`"held"`, `"hold"`)},
		{"empty state", change(`"held"`, `""`)},
		{"line break in an address", change(`b@example.com"`, `b@example.com\r\nDATA"`)},
		{"NUL in the sender", change(`sänder`, `\u0000`)},
		{"negative attempts", change(`"attempts": 2`, `"attempts": -2`)},
		{"attempts too large for any int", change(`"attempts": 2`, `"attempts": 99999999999999999999`)},
		{"id that leaves the directory", change(`20261124-091500-6b1f0c2d9e8a`, `../../etc/passwd`)},
		{"negative size", change(`"size": 5`, `"size": -5`)},
		{"short hash of the body", change(`0123456789abcdef0123`, `0123`)},
		{"unknown BODY", change(`8BITMIME`, `9BITMIME`)},
		{"unknown RET", change(`HDRS`, `HEAD`)},
		{"NEVER with others", change(`NEVER`, `NEVER,DELAY`)},
		{"NOTIFY in another order", change(`FAILURE,DELAY`, `DELAY,FAILURE`)},
		{"address not ASCII without SMTPUTF8", change("  \"smtputf8\": true,\n", "")},
		{"time with a zone", change(`2026-11-24T09:15:00.123456789Z`, `2026-11-24T10:15:00.123456789+01:00`)},
		{"time that is none", change(`2026-11-24T09:15:00.123456789Z`, `2026-13-24T09:15:00Z`)},
		{"client that is no address", change(`2001:db8::1`, `2001:db8`)},
		{"too large", bytes.Repeat([]byte(" "), maxEnvelope+1)},
		{"version zero", []byte(formatLine + "0,\n")},
		{"version without an end", []byte(formatLine + "2")},
	} {
		e, err := decode(test.file)
		require.Error(t, err, test.why)
		require.Nil(t, e, test.why)
		require.NotErrorIs(t, err, ErrVersion, test.why)
	}
	e, err := decode([]byte(formatLine + "2,\n  anything\n"))
	require.ErrorIs(t, err, ErrVersion)
	require.Nil(t, e)
}

// TestNoBitIsFree turns every bit and cuts at every place.
func TestNoBitIsFree(t *testing.T) {
	file := encoded(t, fullEnvelope())
	for i := range file {
		for bit := range 8 {
			file[i] ^= 1 << bit
			_, err := decode(file)
			require.Error(t, err, "octet %d bit %d", i, bit)
			file[i] ^= 1 << bit
		}
		_, err := decode(file[:i])
		require.Error(t, err, "cut at %d", i)
	}
	_, err := decode(file)
	require.NoError(t, err)
}

// TestLargestFits: an envelope that Commit took can be updated with the longest of
// error texts, whatever has to be escaped.
func TestLargestFits(t *testing.T) {
	e := fullEnvelope()
	r := e.Recipients[0]
	r.Address = strings.Repeat("\u2028", MaxAddress/3)
	r.OriginalRecipient = strings.Repeat("\u2028", MaxOriginalRecipient/3)
	r.LastError = strings.Repeat("\\", 5*MaxErrorText)
	e.Recipients = nil
	for range MaxRecipients {
		e.Recipients = append(e.Recipients, r)
	}
	e.tidy()
	file := encoded(t, e)
	t.Logf("the largest envelope has %d octets of %d", len(file), maxEnvelope)
	again, err := decode(file)
	require.NoError(t, err)
	require.Equal(t, e, again)
	e.Recipients = append(e.Recipients, r)
	_, err = e.encode()
	require.Error(t, err)
}

func TestTidyText(t *testing.T) {
	for _, test := range []struct{ why, in, want string }{
		{"nothing to do", "550 5.1.1 no <such> user", "550 5.1.1 no <such> user"},
		{"lines of a reply", "550-one\r\n550 two\r\n", "550-one  550 two  "},
		{"escape sequence for the operator's terminal", "\x1b[2J\u009b2J", " [2J 2J"},
		{"Latin-1", "550 f\xfcr", "550 f?r"},
		{"long", strings.Repeat("x", 5000), strings.Repeat("x", MaxErrorText)},
		{"cut between letters", "x" + strings.Repeat("é", MaxErrorText), "x" + strings.Repeat("é", (MaxErrorText-1)/2)},
		{"long and bad", strings.Repeat("\xff", 5*MaxErrorText), "?"},
	} {
		got := tidyText(test.in)
		require.Equal(t, test.want, got, test.why)
		require.Empty(t, problemWith(got, MaxErrorText), test.why)
		require.Equal(t, got, tidyText(got), test.why)
	}
}

func TestCheck(t *testing.T) {
	require.NoError(t, (&Envelope{Recipients: to("a@example.com")}).Check(), "the null reverse-path is one")
	for _, test := range []struct {
		why  string
		e    Envelope
		want string
	}{
		{"nobody to send to", Envelope{}, "no recipients"},
		{"command in an address", Envelope{Recipients: to("a@example.com>\r\nRSET")}, "U+000D"},
		{"long address", Envelope{Recipients: to(strings.Repeat("a", MaxAddress+1))}, "320 are allowed"},
		{"Latin-1", Envelope{SMTPUTF8: true, Recipients: to("\xe9@example.com")}, "UTF-8"},
		{"RFC 6531", Envelope{Recipients: to("é@example.com")}, "SMTPUTF8"},
		{"RFC 6531 for the sender", Envelope{Sender: "é@example.com", Recipients: to("a@example.com")}, "sender"},
		{"empty recipient", Envelope{Recipients: to("a@example.com", "")}, "recipient 2 is empty"},
		{"long ENVID", Envelope{EnvelopeID: strings.Repeat("a", 101), Recipients: to("a@example.com")}, "ENVID"},
	} {
		err := test.e.Check()
		require.ErrorContains(t, err, test.want, test.why)
		require.Empty(t, test.e.ID, "Check changes nothing")
	}
}

func TestNotifyText(t *testing.T) {
	for text, want := range map[string]Notify{
		"NEVER": NotifyNever, "success": NotifySuccess, "DELAY,failure": NotifyDelay | NotifyFailure, "SUCCESS,SUCCESS": NotifySuccess,
	} {
		var n Notify
		require.NoError(t, n.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{"", ",", "NEVER,SUCCESS", "FAIL", " NEVER", "SUCCESS,"} {
		n := NotifyDelay
		require.Error(t, n.UnmarshalText([]byte(text)), text)
		require.Equal(t, NotifyDelay, n, "unchanged after %q", text)
	}
	_, err := Notify(64).MarshalText()
	require.Error(t, err)
}

func TestDueAndDone(t *testing.T) {
	at := time.Unix(1000, 0)
	e := Envelope{Recipients: []Recipient{
		{Address: "a@Example.COM", State: Queued, NextAttempt: at.Add(2)},
		{Address: `"x@y"@example.com`, State: Queued, NextAttempt: at.Add(1)},
		{Address: "b@example.net", State: Held, NextAttempt: at},
		{Address: "postmaster", State: Queued, NextAttempt: at},
		{Address: "c@example.org", State: Delivered},
	}}
	require.Equal(t, map[string]time.Time{"example.com": at.Add(1), "": at}, e.Due())
	require.False(t, e.Done())
	for i := range e.Recipients {
		e.Recipients[i].State = Bounced
	}
	require.True(t, e.Done())
	require.Nil(t, e.Due())
	e.Recipients[2].State = Held
	require.False(t, e.Done(), "what is held is not done")
}

// FuzzEnvelope: what is read is whole and is written the same, octet for octet; what
// is not read is not read at all. The checksum is mended for the fuzzer, so that it
// comes to what is behind it.
func FuzzEnvelope(f *testing.F) {
	full := encoded(f, fullEnvelope())
	f.Add(full, false)
	f.Add(full[bodyAt:], true)
	small := fullEnvelope()
	*small = Envelope{ID: small.ID, Recipients: []Recipient{{Address: "a@b", State: Queued}}, SHA256: small.SHA256}
	f.Add(encoded(f, small)[bodyAt:], true)
	f.Add([]byte(formatLine+"7,\n"), false)
	f.Fuzz(func(t *testing.T, file []byte, mend bool) {
		if mend {
			file = seal(string(file))
		}
		e, err := decode(file)
		if err != nil {
			require.Nil(t, e)
			return
		}
		require.NoError(t, e.check())
		require.Equal(t, string(file), string(encoded(t, e)))
		c := e.clone()
		c.tidy()
		require.Equal(t, *e, c, "what was read is tidy")
		for i := range e.Recipients {
			require.NotContains(t, e.Recipients[i].Address, "\n")
		}
	})
}

// FuzzTidyText: any text of a peer becomes one that can be stored, and stays so.
func FuzzTidyText(f *testing.F) {
	f.Add("550 5.1.1 no\r\n")
	f.Add(strings.Repeat("\xf0\x9f\x98", 2000))
	f.Fuzz(func(t *testing.T, s string) {
		got := tidyText(s)
		require.Empty(t, problemWith(got, MaxErrorText))
		require.Equal(t, got, tidyText(got))
	})
}
