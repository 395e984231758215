package tlspolicy_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// keys are the words for each value, as they are after folding.
var (
	modeKeys = map[string]tlspolicy.Mode{
		"default": tlspolicy.ModeDefault, "inherit": tlspolicy.ModeDefault,
		"no": tlspolicy.No, "none": tlspolicy.No, "off": tlspolicy.No, "1": tlspolicy.No,
		"preferred": tlspolicy.Preferred, "on": tlspolicy.Preferred, "2": tlspolicy.Preferred,
		"required": tlspolicy.Required, "require": tlspolicy.Required, "3": tlspolicy.Required,
		"preferredverify": tlspolicy.PreferredVerify, "onverify": tlspolicy.PreferredVerify, "4": tlspolicy.PreferredVerify,
		"requiredverify": tlspolicy.RequiredVerify, "requireverify": tlspolicy.RequiredVerify, "5": tlspolicy.RequiredVerify,
		"requiredverifyhosted":        tlspolicy.RequiredVerifyHosted,
		"requiredverifyhosteddomain":  tlspolicy.RequiredVerifyHosted,
		"requiredverifyhosteddomains": tlspolicy.RequiredVerifyHosted,
		"6":                           tlspolicy.RequiredVerifyHosted,
	}
	daneKeys = map[string]tlspolicy.DANE{
		"default": tlspolicy.DANEDefault, "inherit": tlspolicy.DANEDefault,
		"none": tlspolicy.DANENone, "no": tlspolicy.DANENone, "off": tlspolicy.DANENone,
		"opportunistic": tlspolicy.DANEOpportunistic, "mandatory": tlspolicy.DANEMandatory,
	}
	mtastsKeys = map[string]tlspolicy.MTASTS{
		"default": tlspolicy.MTASTSDefault, "inherit": tlspolicy.MTASTSDefault,
		"off": tlspolicy.Off, "no": tlspolicy.Off, "disabled": tlspolicy.Off, "false": tlspolicy.Off,
		"on": tlspolicy.On, "yes": tlspolicy.On, "enabled": tlspolicy.On, "true": tlspolicy.On,
	}
	fallbackKeys = map[string]tlspolicy.Fallback{
		"default": tlspolicy.FallbackDefault, "inherit": tlspolicy.FallbackDefault,
		"after220": tlspolicy.FallbackAfter220, "always": tlspolicy.FallbackAlways, "before220": tlspolicy.FallbackBefore220,
	}
)

// spellings are ways of writing a folded key that must not matter.
func spellings(key string) []string {
	spaced := strings.Join(strings.Split(key, ""), " ")
	return []string{key, spaced, strings.ToUpper(key), "tls" + key, "TLS " + key, " \t" + key + "\u00a0",
		"(" + key + ")", "TLS \u2013 " + key, "tls_\u2014-." + key}
}

func TestParseEveryKeyInEverySpelling(t *testing.T) {
	testKeys(t, modeKeys, tlspolicy.ParseMode)
	testKeys(t, daneKeys, tlspolicy.ParseDANE)
	testKeys(t, mtastsKeys, tlspolicy.ParseMTASTS)
	testKeys(t, fallbackKeys, tlspolicy.ParseFallback)
}

func testKeys[V comparable](t *testing.T, keys map[string]V, parse func(string) (V, error)) {
	t.Helper()
	for key, want := range keys {
		for _, text := range spellings(key) {
			got, err := parse(text)
			require.NoError(t, err, "%q", text)
			require.Equal(t, want, got, "%q", text)
		}
	}
}

func TestParseModeAsPeopleWriteIt(t *testing.T) {
	for text, want := range map[string]tlspolicy.Mode{
		"Preferred (Verify)":                   tlspolicy.PreferredVerify,
		"Preferred - Verify":                   tlspolicy.PreferredVerify,
		"TLS Required - Verify":                tlspolicy.RequiredVerify,
		"TLS Required - Verify Hosted Domains": tlspolicy.RequiredVerifyHosted,
		"TLS – Required Verify Hosted Domains": tlspolicy.RequiredVerifyHosted,
		"Required - Verify Hosted Domains":     tlspolicy.RequiredVerifyHosted,
		"5. Required (Verify)":                 tlspolicy.RequiredVerify,
		"(5) Required\u00a0Verify":             tlspolicy.RequiredVerify,
		"TLS 5. Required (Verify)":             tlspolicy.RequiredVerify,
		"6. Required - Verify Hosted Domains":  tlspolicy.RequiredVerifyHosted,
		"1. No":                                tlspolicy.No,
		"on_verify":                            tlspolicy.PreferredVerify,
		"tls.require":                          tlspolicy.Required,
		"REQUIRED" + strings.Repeat(" ", 64-8): tlspolicy.Required, // the longest text that is looked at
		"Tls Require\u2014Verify":              tlspolicy.RequiredVerify,
		"\u2013\u2013preferred\u2014\u2014":    tlspolicy.Preferred,
		"p-r_e.f(e)r r\te\u00a0d":              tlspolicy.Preferred,
		"TLS Required - Verify Hosted Domain":  tlspolicy.RequiredVerifyHosted,
		"tls_required_verify_hosted":           tlspolicy.RequiredVerifyHosted,
		" 2 ":                                  tlspolicy.Preferred,
		"4 Preferred Verify":                   tlspolicy.PreferredVerify,
	} {
		got, err := tlspolicy.ParseMode(text)
		require.NoError(t, err, "%q", text)
		require.Equal(t, want, got, "%q", text)
	}
}

func TestParseRefuses(t *testing.T) {
	parse := map[string]func(string) error{
		"Mode":     func(s string) error { _, err := tlspolicy.ParseMode(s); return err },
		"DANE":     func(s string) error { _, err := tlspolicy.ParseDANE(s); return err },
		"MTASTS":   func(s string) error { _, err := tlspolicy.ParseMTASTS(s); return err },
		"Fallback": func(s string) error { _, err := tlspolicy.ParseFallback(s); return err },
	}
	for _, c := range []struct{ types, text, why string }{
		{"Mode DANE MTASTS Fallback", "", "an unset variable must not choose"},
		{"Mode DANE MTASTS Fallback", " - ", "nothing is left"},
		{"Mode DANE MTASTS Fallback", "tls", "nothing behind it"},
		{"Mode DANE MTASTS Fallback", "tlstlsdefault", "only one tls is dropped"},
		{"Mode DANE MTASTS Fallback", "default!", "octet that is no separator"},
		{"Mode DANE MTASTS Fallback", "default\n", "a line end is no separator"},
		{"Mode DANE MTASTS Fallback", "default\x00", "control octet"},
		{"Mode DANE MTASTS Fallback", "default\u00ad", "soft hyphen"},
		{"Mode DANE MTASTS Fallback", "default\u2212", "minus sign"},
		{"Mode DANE MTASTS Fallback", "default\u2003", "em space"},
		{"Mode DANE MTASTS Fallback", "default\xa0", "half of a no-break space"},
		{"Mode DANE MTASTS Fallback", "default\xc2", "other half"},
		{"Mode DANE MTASTS Fallback", "default\xe2\x80", "piece of a dash"},
		{"Mode DANE MTASTS Fallback", "default" + strings.Repeat(" ", 58), "65 octets"},
		{"Mode DANE MTASTS Fallback", "defaults", "not a key"},
		{"Mode DANE MTASTS Fallback", "defaul", "not a key"},
		{"Mode DANE MTASTS Fallback", "0", "no value has the number 0"},
		{"Mode DANE MTASTS Fallback", "0 default", "default has no number"},
		{"Mode DANE MTASTS Fallback", "1 default", "default has no number"},
		{"Mode DANE MTASTS Fallback", "7", "no such number"},
		{"Mode DANE MTASTS Fallback", "\uff11", "full-width digit"},
		{"Mode", "3 Required Verify", "number and name disagree"},
		{"Mode", "22", "two digits"},
		{"Mode", "2 2", "two numbers"},
		{"Mode", "5 required (verify) 5", "number behind"},
		{"Mode", "required verify hosted domainss", "not a key"},
		{"Mode", "verify required", "order of words"},
		{"Mode", "5. TLS Required (Verify)", "tls is dropped in front only"},
		{"Mode", "opportunistic", "word of another setting"},
		{"DANE MTASTS Fallback", "1", "numbers name modes only"},
		{"DANE", "1 none", "the chapter gives no menu order"},
		{"DANE", "on", "which of the two?"},
		{"MTASTS", "1", "no boolean numbers"},
		{"Fallback", "220", "which side of it?"},
		{"Fallback", "never", "no such fallback"},
	} {
		for typ := range strings.FieldsSeq(c.types) {
			err := parse[typ](c.text)
			var bad *tlspolicy.ParseError
			require.ErrorAs(t, err, &bad, "%s %q: %s", typ, c.text, c.why)
			require.Equal(t, tlspolicy.ParseError{Type: typ, Input: c.text}, *bad)
		}
	}
}

func TestParseErrorText(t *testing.T) {
	_, err := tlspolicy.ParseFallback("never")
	require.EqualError(t, err, `tlspolicy: "never" is no value of Fallback; use one of after-220, always, before-220; or default in a destination table, to inherit`)
	_, err = tlspolicy.ParseDANE(strings.Repeat("\x1b", 1000))
	require.Less(t, len(err.Error()), 400, "a long text does not fill the log")
	require.NotContains(t, err.Error(), "\x1b")
	for _, typ := range []string{"Mode", "DANE", "MTASTS", "Fallback"} {
		require.Regexp(t, `; use one of [^;]*; or default in a destination table, to inherit$`, (&tlspolicy.ParseError{Type: typ}).Error())
	}
	require.EqualError(t, &tlspolicy.ParseError{Type: "Colour", Input: "red"}, `tlspolicy: "red" is no value of Colour`)
}

// textValue is what all settings types can do.
type textValue interface {
	fmt.Stringer
	encoding.TextMarshaler
	encoding.TextAppender
}

func TestMarshalText(t *testing.T) {
	for want, v := range map[string]textValue{
		"default": tlspolicy.ModeDefault, "no": tlspolicy.No, "preferred": tlspolicy.Preferred,
		"required": tlspolicy.Required, "preferred-verify": tlspolicy.PreferredVerify,
		"required-verify": tlspolicy.RequiredVerify, "required-verify-hosted": tlspolicy.RequiredVerifyHosted,
		"none": tlspolicy.DANENone, "opportunistic": tlspolicy.DANEOpportunistic, "mandatory": tlspolicy.DANEMandatory,
		"off": tlspolicy.Off, "on": tlspolicy.On,
		"after-220": tlspolicy.FallbackAfter220, "always": tlspolicy.FallbackAlways, "before-220": tlspolicy.FallbackBefore220,
	} {
		require.Equal(t, want, v.String())
		text, err := v.MarshalText()
		require.NoError(t, err)
		require.Equal(t, want, string(text))
		text, err = v.AppendText([]byte("x="))
		require.NoError(t, err)
		require.Equal(t, "x="+want, string(text))
	}
	for _, v := range []textValue{tlspolicy.Mode(7), tlspolicy.DANE(4), tlspolicy.MTASTS(3), tlspolicy.Fallback(4),
		tlspolicy.Mode(255), tlspolicy.DANE(255), tlspolicy.MTASTS(255), tlspolicy.Fallback(255)} {
		_, err := v.MarshalText()
		require.Error(t, err, "%v", v)
		require.Regexp(t, `^(Mode|DANE|MTASTS|Fallback)\(\d+\)$`, v.String())
	}
}

func TestSettingsInJSON(t *testing.T) {
	const text = `{"mode":"Required (Verify)","dane":"mandatory","mtasts":"yes"}`
	var s tlspolicy.Settings
	require.NoError(t, json.Unmarshal([]byte(text), &s))
	require.Equal(t, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANEMandatory, MTASTS: tlspolicy.On}, s)
	out, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"Mode":"required-verify","DANE":"mandatory","MTASTS":"on","Fallback":"default"}`, string(out))
	require.Error(t, json.Unmarshal([]byte(`{"mode":""}`), &s), "an empty text is no mode")
	require.Equal(t, tlspolicy.RequiredVerify, s.Mode, "an error leaves the value alone")
}

func TestSettingsAsFlags(t *testing.T) {
	s := tlspolicy.BuiltIn()
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.TextVar(&s.Mode, "tls", s.Mode, "")
	flags.TextVar(&s.DANE, "dane", s.DANE, "")
	flags.TextVar(&s.MTASTS, "mta-sts", s.MTASTS, "")
	flags.TextVar(&s.Fallback, "fallback", s.Fallback, "")
	require.NoError(t, flags.Parse([]string{"-tls=required", "-dane=opportunistic", "-mta-sts=on", "-fallback=always"}))
	require.Equal(t, tlspolicy.Settings{Mode: tlspolicy.Required, DANE: tlspolicy.DANEOpportunistic,
		MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways}, s)
	require.Error(t, flags.Parse([]string{"-tls=", "-dane=none"}))
}

func TestBuiltInAndRecommended(t *testing.T) {
	require.Equal(t, "mode preferred, DANE none, MTA-STS off, fallback after-220", tlspolicy.BuiltIn().String())
	require.Equal(t, "mode preferred, DANE opportunistic, MTA-STS on, fallback after-220", tlspolicy.Recommended().String())
}

// separators are dropped by a reading that shares nothing with the package.
var separators = regexp.MustCompile("[ \t\u00a0_().\u2013\u2014-]")

// naiveKey folds a text with regular expressions; ok is false if the text has
// octets that no spelling has.
func naiveKey(text string) (key string, ok bool) {
	if len(text) > 64 || !utf8.ValidString(text) {
		return "", false
	}
	key = separators.ReplaceAllString(text, "")
	if regexp.MustCompile(`[^A-Za-z0-9]`).MatchString(key) {
		return "", false
	}
	key = strings.ToLower(key)
	if rest, cut := strings.CutPrefix(key, "tls"); cut && rest != "" {
		key = rest
	}
	return key, true
}

func FuzzModeUnmarshalText(f *testing.F) {
	seedKeys(f, modeKeys)
	f.Add("5. Required (Verify)")
	f.Add("3. Required (Verify)")
	f.Add("0inherit") // Default is 0 in Go and has no number in the menus
	f.Fuzz(func(t *testing.T, text string) {
		key, ok := naiveKey(text)
		if ok && len(key) > 1 && key[0] >= '0' && key[0] <= '9' {
			want, named := modeKeys[key[1:]]
			number := modeKeys[key[:1]] // Default if there is none
			if ok = ok && named && len(key) > 2 && want == number && number != tlspolicy.ModeDefault; ok {
				key = key[1:]
			}
		}
		checkUnmarshal(t, text, modeKeys, key, ok, new(tlspolicy.Mode))
	})
}

func FuzzDANEUnmarshalText(f *testing.F) {
	seedKeys(f, daneKeys)
	f.Fuzz(func(t *testing.T, text string) {
		key, ok := naiveKey(text)
		checkUnmarshal(t, text, daneKeys, key, ok, new(tlspolicy.DANE))
	})
}

func FuzzMTASTSUnmarshalText(f *testing.F) {
	seedKeys(f, mtastsKeys)
	f.Fuzz(func(t *testing.T, text string) {
		key, ok := naiveKey(text)
		checkUnmarshal(t, text, mtastsKeys, key, ok, new(tlspolicy.MTASTS))
	})
}

func FuzzFallbackUnmarshalText(f *testing.F) {
	seedKeys(f, fallbackKeys)
	f.Fuzz(func(t *testing.T, text string) {
		key, ok := naiveKey(text)
		checkUnmarshal(t, text, fallbackKeys, key, ok, new(tlspolicy.Fallback))
	})
}

func seedKeys[V any](f *testing.F, keys map[string]V) {
	for key := range keys {
		for _, text := range spellings(key) {
			f.Add(text)
		}
	}
	f.Add("")
	f.Add("\xc2")
	f.Add("\xe2\x80")
}

// checkUnmarshal asserts that a text is read exactly if the naive reading knows
// its key, as the same value, that the canonical text reads back, and that a
// text that is not read leaves the value alone.
func checkUnmarshal[V interface {
	~uint8
	encoding.TextMarshaler
}, P interface {
	*V
	encoding.TextUnmarshaler
}](t *testing.T, text string, keys map[string]V, key string, ok bool, p P) {
	want, known := keys[key]
	*p = 99
	err := p.UnmarshalText([]byte(text))
	if !ok || !known {
		var bad *tlspolicy.ParseError
		require.True(t, errors.As(err, &bad), "%q must not be read, got %v", text, *p)
		require.Equal(t, V(99), *p)
		return
	}
	require.NoError(t, err, "%q", text)
	require.Equal(t, want, *p, "%q", text)
	out, err := (*p).MarshalText()
	require.NoError(t, err)
	require.NoError(t, p.UnmarshalText(out))
	require.Equal(t, want, *p)
}
