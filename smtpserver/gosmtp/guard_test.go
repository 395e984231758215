package gosmtp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestGuard(t *testing.T) {
	tests := []struct {
		name, in string
		limit    int64
		lenient  bool
		want     string // handed over before the end or the error
		fail     error
	}{
		{"lines", "a\r\nb\r\n", -1, false, "a\r\nb\r\n", nil},
		{"no octets", "", -1, false, "", nil},
		{"no line end behind the last line, as BDAT allows", "a\r\nb", -1, false, "a\r\nb", nil},
		{"empty lines", "\r\n\r\n\r\n", -1, false, "\r\n\r\n\r\n", nil},
		{"LF within a line", "a\nb\r\n", -1, false, "a", errBareNewline},
		{"LF at the beginning", "\na", -1, false, "", errBareNewline},
		{"LF behind CRLF", "a\r\n\nb\r\n", -1, false, "a\r\n", errBareNewline},
		{"LF . LF, the end of a message for some", "a\r\nb\n.\nMAIL", -1, false, "a\r\nb", errBareNewline},
		{"LF . CRLF", "a\n.\r\n", -1, false, "a", errBareNewline},
		{"CRLF . LF", "a\r\n.\nMAIL", -1, false, "a\r\n.", errBareNewline},
		{"CR within a line: what follows shows it", "a\rb\r\n", -1, false, "a\r", errBareNewline},
		{"CR . CR", "a\r.\r", -1, false, "a\r", errBareNewline},
		{"CR CR LF", "a\r\r\n", -1, false, "a\r", errBareNewline},
		{"CR at the end", "a\r\nb\r", -1, false, "a\r\nb\r", errBareNewline},
		{"a CR and an LF too many make the same number", "a\nb\rc\r\n", -1, false, "a", errBareNewline},
		{"LF CR", "a\n\rb", -1, false, "a", errBareNewline},
		{"a CR too many before an LF too many", "a\rb\nc\r\n", -1, false, "a\r", errBareNewline},
		{"lenient: everything", "a\nb\rc\r\r\n\n", -1, true, "a\nb\rc\r\r\n\n", nil},

		{"exactly the limit", "abc\r\n", 5, false, "abc\r\n", nil},
		{"one octet more", "abcd\r\n", 5, false, "abcd\r", errTooLarge},
		{"far more", strings.Repeat("x", 10000), 5, false, "xxxxx", errTooLarge},
		{"limit 0 and an empty message", "", 0, false, "", nil},
		{"limit 0", "x", 0, false, "", errTooLarge},
		{"lenient has a limit too", "a\nb", 2, true, "a\n", errTooLarge},
		{"the limit comes first", "abc\n", 2, false, "ab", errTooLarge},
		{"the bare LF comes first", "a\nbc", 2, false, "a", errBareNewline},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"at once":       func(r io.Reader) io.Reader { return r },
		"one octet":     iotest.OneByteReader,
		"half":          iotest.HalfReader,
		"EOF with data": iotest.DataErrReader,
	}
	for _, tt := range tests {
		for how, reader := range readers {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				g := &guard{r: reader(strings.NewReader(tt.in)), limit: tt.limit, lenient: tt.lenient}
				got, err := io.ReadAll(g)
				require.Equal(t, tt.want, string(got))
				if tt.fail == nil {
					require.NoError(t, err)
					require.Nil(t, g.failure())
					require.True(t, g.complete())
					return
				}
				require.Equal(t, tt.fail, err)
				require.Equal(t, tt.fail, error(g.failure()))
				require.False(t, g.complete())
				n, err := g.Read(make([]byte, 10))
				require.Zero(t, n, "nothing comes behind the error")
				require.Equal(t, tt.fail, err)
			})
		}
	}
}

// TestGuardBroken: the reader is told that the connection broke in its own words, and
// the message has failed, whatever the reader makes of it.
func TestGuardBroken(t *testing.T) {
	g := &guard{r: io.MultiReader(strings.NewReader("a\r"), iotest.ErrReader(io.ErrUnexpectedEOF)), limit: -1}
	_, err := io.ReadAll(g)
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Equal(t, errBrokenOff, g.failure())
	require.False(t, g.complete())
	_, err = g.Read(make([]byte, 10))
	require.Equal(t, errBrokenOff, err)
}

// FuzzGuard compares the guard with what it is for, in words: without the CRLFs there
// is no CR and no LF. It cuts the data into reads of any size.
func FuzzGuard(f *testing.F) {
	for _, seed := range []string{"", "a\r\n", "\r", "\n", "\r\r\n", "a\r\n.\r\n", "\n\r\n\r", "ab\ncd\ref\r\n"} {
		f.Add([]byte(seed), uint8(1), int16(-1))
		f.Add([]byte(seed), uint8(3), int16(4))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8, limit int16) {
		g := &guard{r: bytes.NewReader(data), limit: int64(limit)}
		var got []byte
		var err error
		buf := make([]byte, 1+int(size))
		for err == nil {
			var n int
			n, err = g.Read(buf)
			got = append(got, buf[:n]...)
		}
		allowed := data
		if limit >= 0 && len(data) > int(limit) {
			allowed = data[:limit]
		}
		bare := bytes.ContainsAny(bytes.ReplaceAll(allowed, []byte("\r\n"), nil), "\r\n")
		if len(allowed) < len(data) && bytes.HasSuffix(allowed, []byte("\r")) && !bytes.ContainsAny(bytes.ReplaceAll(allowed[:len(allowed)-1], []byte("\r\n"), nil), "\r\n") {
			bare = false // the limit stands between the CR and what follows
		}
		require.True(t, bytes.HasPrefix(data, got))
		switch {
		case bare:
			require.Equal(t, error(errBareNewline), err)
		case len(allowed) < len(data):
			require.Equal(t, error(errTooLarge), err)
			require.Equal(t, string(allowed), string(got))
		default:
			require.Equal(t, io.EOF, err)
			require.Equal(t, len(data), len(got))
		}
		clean := bytes.TrimSuffix(got, []byte("\r"))
		require.False(t, bytes.ContainsAny(bytes.ReplaceAll(clean, []byte("\r\n"), nil), "\r\n"), "what was handed over is clean")
	})
}

func TestGuardAllocs(t *testing.T) {
	data := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 100)
	r := bytes.NewReader(data)
	buf := make([]byte, 4096)
	g := &guard{r: r, limit: -1}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r.Reset(data)
		for {
			if _, err := g.Read(buf); errors.Is(err, io.EOF) {
				return
			}
		}
	}))
}

func BenchmarkGuard(b *testing.B) {
	data := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 130)
	r := bytes.NewReader(data)
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r.Reset(data)
		g := &guard{r: r, limit: -1}
		for {
			if _, err := g.Read(buf); err != nil {
				break
			}
		}
	}
}
