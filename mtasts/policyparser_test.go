package mtasts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const rfcPolicy = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n"

func parse(mode Mode, text string) (*Policy, []Warning, error) {
	var warnings []Warning
	p := new(Policy)
	err := Parser{Mode: mode, Warn: func(w Warning) { warnings = append(warnings, w) }}.Policy(text, p)
	return p, warnings, err
}

func TestPolicyManyFieldsTakeLinearTime(t *testing.T) {
	var b strings.Builder
	b.WriteString("version:STSv1\nmode:enforce\nmax_age:86400\n")
	for i := range 20000 {
		fmt.Fprintf(&b, "x%d:y\nmx:a%d.b\n", i, i)
	}
	b.WriteString("x7:z\n")
	p := new(Policy)
	require.NoError(t, Parser{}.Policy(b.String(), p))
	require.Len(t, p.Extensions, 20000, "the last is a repetition")
	require.Len(t, p.MX, 20000)
	require.Equal(t, Field{"x7", "y"}, p.Extensions[7])
}

func TestPolicyReuse(t *testing.T) {
	p := new(Policy)
	require.NoError(t, Parser{}.Policy(rfcPolicy+"x: y\n", p))
	require.Error(t, Parser{}.Policy("version: STSv1\nmode: none\n", p))
	require.NoError(t, Parser{}.Policy("version: STSv1\nmode: none\nmax_age: 1\n", p))
	require.True(t, p.Equal(&Policy{Mode: ModeNone, MaxAge: time.Second}), "nothing is left of the policies before")
}
