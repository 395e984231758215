package smtpclient

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func testLimits(t testing.TB) *Limits {
	l, err := Limits{}.resolved()
	require.NoError(t, err)
	return &l
}

func readReply(t testing.TB, src io.Reader) (*reply, int, error) {
	rr := newReplyReader(src, testLimits(t))
	var r reply
	err := rr.read(&r)
	return &r, rr.buffered(), err
}

func TestReplyAccepted(t *testing.T) {
	tests := []struct {
		name, in string
		code     int
		lines    []string
		left     int
	}{
		{"one line", "220 mx ESMTP\r\n", 220, []string{"mx ESMTP"}, 0},
		{"no text", "250\r\n", 250, []string{""}, 0},
		{"space and no text", "250 \r\n", 250, []string{""}, 0},
		{"several lines", "250-mx\r\n250-SIZE 1000\r\n250 STARTTLS\r\n", 250, []string{"mx", "SIZE 1000", "STARTTLS"}, 0},
		{"hyphen and no text", "250-\r\n250 \r\n", 250, []string{"", ""}, 0},
		{"bare LF", "250-mx\n250 OK\n", 250, []string{"mx", "OK"}, 0},
		{"last line without separator", "250-mx\r\n250\r\n", 250, []string{"mx", ""}, 0},
		{"UTF-8 is kept", "220 gr\xc3\xbc\xc3\x9fe\r\n", 220, []string{"gr\xc3\xbc\xc3\x9fe"}, 0},
		{"bytes behind stay", "220 go\r\n250 ok\r\n", 220, []string{"go"}, 8},
		{"599 is a code", "599 no\r\n", 599, []string{"no"}, 0},
		{"long line", "250 " + strings.Repeat("x", DefaultReplyLine-6) + "\r\n", 250, []string{strings.Repeat("x", DefaultReplyLine-6)}, 0},
		{"many lines", strings.Repeat("250-x\r\n", 99) + "250 x\r\n", 250, strings.Split(strings.Repeat("x", 100), ""), 0},
	}
	for _, test := range tests {
		for _, src := range []io.Reader{strings.NewReader(test.in), iotest.OneByteReader(strings.NewReader(test.in))} {
			r, left, err := readReply(t, src)
			require.NoError(t, err, test.name)
			require.Equal(t, test.code, r.code, test.name)
			var lines []string
			for i := range r.lines() {
				lines = append(lines, string(r.line(i)))
			}
			require.Equal(t, test.lines, lines, test.name)
			if _, whole := src.(*strings.Reader); whole {
				require.Equal(t, test.left, left, test.name)
			}
		}
	}
}

func TestReplyRefused(t *testing.T) {
	tests := []struct {
		name, in string
		want     error
	}{
		{"nothing", "", io.EOF},
		{"half a line", "220 mx", io.ErrUnexpectedEOF},
		{"half a reply", "250-mx\r\n", io.ErrUnexpectedEOF},
		{"empty line", "\r\n", ErrReplySyntax},
		{"two digits", "22\r\n", ErrReplySyntax},
		{"two digits and text", "22 mx\r\n", ErrReplySyntax},
		{"four digits", "2200 mx\r\n", ErrReplySyntax},
		{"1xx is not SMTP", "150 wait\r\n", ErrReplySyntax},
		{"6xx is not SMTP", "600 what\r\n", ErrReplySyntax},
		{"letters", "abc def\r\n", ErrReplySyntax},
		{"leading space", " 220 mx\r\n", ErrReplySyntax},
		{"another protocol", "SSH-2.0-OpenSSH_9.2\r\n", ErrReplySyntax},
		{"tab as separator", "220\tmx\r\n", ErrReplySyntax},
		{"codes change", "250-mx\r\n220 mx\r\n", ErrReplyCodes},
		{"class is the same, code is not", "250-mx\r\n251 mx\r\n", ErrReplyCodes},
		{"NUL", "220 m\x00x\r\n", ErrReplyOctets},
		{"bare CR", "220 m\rx\r\n", ErrReplyOctets},
		{"CR CR LF", "220 mx\r\r\n", ErrReplyOctets},
		{"line too long", "220 " + strings.Repeat("x", DefaultReplyLine) + "\r\n", ErrReplyLimit},
		{"one octet too long", "250 " + strings.Repeat("x", DefaultReplyLine-5) + "\r\n", ErrReplyLimit},
		{"line without end", strings.Repeat("2", 1<<20), ErrReplyLimit},
		{"too many lines", strings.Repeat("250-x\r\n", 100) + "250 x\r\n", ErrReplyLimit},
		{"reply too large", strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 40) + "250 x\r\n", ErrReplyLimit},
	}
	for _, test := range tests {
		for _, src := range []io.Reader{strings.NewReader(test.in), iotest.OneByteReader(strings.NewReader(test.in))} {
			_, _, err := readReply(t, src)
			require.Equal(t, test.want, err, test.name)
		}
	}
}

func TestReplyReaderGivesUpOnEmptyReads(t *testing.T) {
	_, _, err := readReply(t, readerFunc(func([]byte) (int, error) { return 0, nil }))
	require.Equal(t, io.ErrNoProgress, err)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestEnhancedStatus(t *testing.T) {
	tests := []struct {
		text string
		code int
		want string
	}{
		{"4.7.5 no", 454, "4.7.5"},
		{"5.7.10", 554, "5.7.10"},
		{"5.111.222 x", 550, "5.111.222"},
		{"4.7.5 class differs", 554, ""},
		{"5.7", 554, ""},
		{"5.7.", 554, ""},
		{"5..7 x", 554, ""},
		{"5.7.1x", 554, ""},
		{"5.7.1.", 554, ""},
		{"5.1234.1 x", 554, ""},
		{"no", 554, ""},
		{"", 554, ""},
	}
	for _, test := range tests {
		require.Equal(t, test.want, enhancedStatus([]byte(test.text), test.code), test.text)
	}
}

func TestPrintable(t *testing.T) {
	require.Equal(t, "plain ~", printable([]byte("plain ~"), 100))
	require.Equal(t, "a?b??c", printable([]byte("a\x1bb\xc3\xbcc"), 100))
	require.Equal(t, "abc", printable([]byte("abcdef"), 3))
	in := []byte("a\x00b")
	printable(in, 10)
	require.Equal(t, "a\x00b", string(in), "the input belongs to somebody else")
}

// naiveReply reads a reply as RFC 5321 section 4.2 describes it, without limits
// and with every tolerance: any line ends, any separator.
func naiveReply(in []byte) (code string, lines []string, rest []byte, ok bool) {
	r := bufio.NewReader(bytes.NewReader(in))
	used := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", nil, nil, false
		}
		used += len(line)
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" {
			return "", nil, nil, false
		}
		code = line[:3]
		text := ""
		if len(line) > 4 {
			text = line[4:]
		}
		lines = append(lines, text)
		if len(line) == 3 || line[3] != '-' {
			return code, lines, in[used:], true
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"220 mx\r\n", "250-a\r\n250 b\r\nrest", "250-a\n250\n", "220 x\ry\r\n", "250-a\r\n251 b\r\n",
		"22\r\n", "2200 x\r\n", "220-\r\n220-\r\n220 \r\n", "\x00\r\n", "199 x\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, left, err := readReply(t, bytes.NewReader(in))
		slow, _, slowErr := readReply(t, iotest.OneByteReader(bytes.NewReader(in)))
		require.Equal(t, err, slowErr, "segments must not matter")
		if err != nil {
			return
		}
		require.Equal(t, r.code, slow.code)
		require.Equal(t, string(r.text), string(slow.text))
		require.Equal(t, r.ends, slow.ends)
		code, lines, rest, ok := naiveReply(in)
		require.True(t, ok, "accepted what a naive reader refuses")
		require.Equal(t, code, string([]byte{byte('0' + r.code/100), byte('0' + r.code/10%10), byte('0' + r.code%10)}))
		require.Len(t, lines, r.lines())
		for i, line := range lines {
			require.Equal(t, line, string(r.line(i)))
		}
		require.True(t, len(rest) >= left && bytes.HasSuffix(in, rest))
	})
}

func TestReplyAllocs(t *testing.T) {
	if raceEnabled {
		return // sync.Pool drops entries on purpose under -race
	}
	text := []byte("250-mx.partner.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250 STARTTLS\r\n")
	limits := testLimits(t)
	src := bytes.NewReader(text)
	rr := newReplyReader(src, limits)
	var r reply
	require.NoError(t, rr.read(&r))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		src.Reset(text)
		if err := rr.read(&r); err != nil {
			t.Fatal(err)
		}
	}))
}

func BenchmarkReply(b *testing.B) {
	text := []byte("250-mx.partner.example greets you\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ETRN\r\n" +
		"250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n")
	src := bytes.NewReader(text)
	rr := newReplyReader(src, testLimits(b))
	var r reply
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(text)
		if err := rr.read(&r); err != nil {
			b.Fatal(err)
		}
	}
}
