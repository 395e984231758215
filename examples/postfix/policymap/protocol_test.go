package policymap

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixed answers by key, without a look at anything.
func fixed(_ context.Context, key string) Answer {
	switch key {
	case "temp.example":
		return temp("A19", "a reason\r\nof two lines, and ü")
	case "perm.example":
		return Answer{Status: Perm, Why: "no"}
	case "found.example":
		return Answer{Status: Found, Level: Encrypt}
	case "long.example":
		return Answer{Status: Found, Level: Secure, Match: strings.Split(strings.Repeat("mail.example ", 400), " ")}
	}
	return Answer{Status: NotFound}
}

// conversation is what a server replies to all of in.
func conversation(p Protocol, in []byte) (out []byte) {
	r := bufio.NewReaderSize(bytes.NewReader(in), 4*MaxRequest)
	for {
		request, err := p.read(r, make([]byte, MaxRequest))
		switch {
		case err == io.EOF:
			return out
		case err != nil:
			return p.refuse(out)
		}
		out = p.respond(context.Background(), out, request, fixed)
	}
}

func TestSocketmap(t *testing.T) {
	const (
		refused = "PERM not a request"
		noTable = "PERM there are the tables policy and policy-tlsrpt"
		noKey   = "PERM a request is the name of a table, a space and a key"
	)
	for _, test := range []struct {
		in   string
		want []string
		why  string
	}{
		{"20:policy found.example,", []string{"OK encrypt"}, "an entry"},
		{"27:policy-tlsrpt found.example,", []string{"OK encrypt"}, "no attributes to add"},
		{"20:policy other.example,", []string{"NOTFOUND "}, "the space belongs to it"},
		{"19:policy temp.example,", []string{"TEMP a reason??of two lines, and ??"}, "one printable line"},
		{"19:policy perm.example,", []string{"PERM no"}, ""},
		{"20:policy found.example,20:policy other.example,", []string{"OK encrypt", "NOTFOUND "}, "two at once"},
		{"20:tables found.example,", []string{noTable}, "unknown table"},
		{"20:Policy found.example,", []string{noTable}, "main.cf is to be taken at its word"},
		{"6:policy,", []string{noKey}, "no key"},
		{"0:,", []string{noKey}, "nothing at all"},
		{"7:policy ,", []string{"NOTFOUND "}, "an empty key is for the Map to judge"},
		{"", nil, "no request, no reply"},

		{"policy found.example\n", []string{refused}, "no netstring"},
		{"020:policy found.example,", []string{refused}, "a zero in front"},
		{"-1:,", []string{refused}, ""},
		{" 5:hello,", []string{refused}, ""},
		{":,", []string{refused}, "no length"},
		{"20:policy found.example;", []string{refused}, "no comma"},
		{"21:policy found.example,", []string{refused}, "cut off"},
		{"20", []string{refused}, "cut off in the length"},
		{"1281:" + strings.Repeat("x", 1281) + ",", []string{refused}, "longer than any request"},
		{"99999999999999999999999999:", []string{refused}, "a length that fits into no number"},
		{"20:policy found.example,oops", []string{"OK encrypt", refused}, "the good one first"},
	} {
		var want []byte
		for _, reply := range test.want {
			want = appendNetstring(want, reply)
		}
		require.Equal(t, string(want), string(conversation(Socketmap, []byte(test.in))), "%.60q %s", test.in, test.why)
	}
}

func TestTCPTable(t *testing.T) {
	const refused = "400 not%20a%20request\n"
	for _, test := range []struct{ in, want, why string }{
		{"get found.example\n", "200 encrypt\n", "an entry"},
		{"get %66ound.exampl%65\n", "200 encrypt\n", "encoded, in any case"},
		{"get %66OUND.example\n", "500 not%20found\n", "the key is not ours to change"},
		{"get temp.example\n", "400 a%20reason??of%20two%20lines,%20and%20??\n", "one line"},
		{"get perm.example\n", "400 no\n", "there is no permanent error"},
		{"get long.example\n", "400 the%20entry%20is%20too%20long%20for%20this%20protocol:%20use%20socketmap\n", "and is not cut"},
		{"get other.example\nget found.example\n", "500 not%20found\n200 encrypt\n", "two at once"},
		{"put found.example none\n", "400 there%20is%20the%20request%20get,%20a%20space%20and%20a%20key\n", "nobody writes here"},
		{"GET / HTTP/1.1\r\n", "400 there%20is%20the%20request%20get,%20a%20space%20and%20a%20key\n", ""},
		{"\n", "400 there%20is%20the%20request%20get,%20a%20space%20and%20a%20key\n", ""},
		{"get found.example\r\n", "400 the%20key%20is%20not%20well%20encoded\n", "CR is not encoded"},
		{"get a b\n", "400 the%20key%20is%20not%20well%20encoded\n", ""},
		{"get a%\n", "400 the%20key%20is%20not%20well%20encoded\n", ""},
		{"get a%2\n", "400 the%20key%20is%20not%20well%20encoded\n", ""},
		{"get a%zz\n", "400 the%20key%20is%20not%20well%20encoded\n", ""},
		{"get found.example", refused, "cut off"},
		{"get " + strings.Repeat("x", 8000) + "\n", refused, "longer than any request"},
		{strings.Repeat("x", 1<<20), refused, "without end"},
		{"", "", ""},
	} {
		require.Equal(t, test.want, string(conversation(TCPTable, []byte(test.in))), "%.60q %s", test.in, test.why)
	}
}

// Whatever comes in, what goes out is whole replies, and nothing more than one for each request.
func FuzzSocketmap(f *testing.F) {
	f.Add([]byte("20:policy found.example,19:policy temp.example,"))
	f.Add([]byte("0:,1:a,2: b,oops"))
	f.Add([]byte("27:policy-tlsrpt found.example,99:x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(conversation(Socketmap, in)))
		requests, replies := bytes.Count(in, []byte(","))+1, 0
		for ; ; replies++ {
			reply, err := readNetstring(r, nil, 100_000)
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			word, _, ok := strings.Cut(string(reply), " ")
			require.True(t, ok, "%q", reply)
			require.Contains(t, []string{"OK", "NOTFOUND", "TEMP", "PERM"}, word)
			require.NotContains(t, string(reply), "\n")
		}
		require.LessOrEqual(t, replies, requests)
	})
}

func FuzzTCPTable(f *testing.F) {
	f.Add([]byte("get found.example\nget temp.example\n"))
	f.Add([]byte("put a b\nget %00%25%0a\nget"))
	f.Add([]byte("get long.example\n\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		out := string(conversation(TCPTable, in))
		require.LessOrEqual(t, strings.Count(out, "\n"), bytes.Count(in, []byte("\n"))+1)
		for line := range strings.Lines(out) {
			require.LessOrEqual(t, len(line), maxLine)
			require.Regexp(t, `^(200|400|500) [!-~]*\n$`, line)
		}
	})
}

// What is read is what was written, in the one form that there is for it.
func FuzzNetstring(f *testing.F) {
	f.Add([]byte("5:hello,0:,"))
	f.Add([]byte("005:hello,"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		var written []byte
		for {
			s, err := readNetstring(r, nil, MaxRequest)
			if err != nil {
				break
			}
			require.LessOrEqual(t, len(s), MaxRequest)
			written = appendNetstring(written, string(s))
		}
		require.True(t, bytes.HasPrefix(in, written), "%q %q", in, written)
		got, err := readNetstring(bufio.NewReader(bytes.NewReader(appendNetstring(nil, string(in)))), nil, len(in))
		require.NoError(t, err)
		require.Equal(t, in, append([]byte{}, got...))
	})
}
