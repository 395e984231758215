package dnssec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	const header = "\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00"
	const question = "\x01a\x02bC\x00\x00\x41\x00\x01"
	sent := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question
	s := sentQuery{octets: []byte(sent), question: []byte(question)}
	for _, c := range []struct {
		reply string
		want  echo
		why   string
	}{
		{header + question, echoExact, ""},
		{header + question + "more", echoExact, "what follows is for the parser"},
		{header + "\x01A\x02bc\x00\x00\x41\x00\x01", echoCase, "the case of letters"},
		{header + "\x01a\x02bC\x00\x00\x61\x00\x01", echoNone, "type 97 is not type 65 in lower case"},
		{header + "\x01a\x02bC\x00\x00\x41\x00\x03", echoNone, "class"},
		{header + "\x01a\x02bD\x00\x00\x41\x00\x01", echoNone, "name"},
		{header + question[:len(question)-1], echoNone, "cut"},
		{header[:11], echoNone, "cut"},
		{"", echoNone, "empty"},
		{"\x12\x35" + header[2:] + question, echoNone, "low octet of the ID"},
		{"\x13\x34" + header[2:] + question, echoNone, "high octet of the ID"},
		{header[:2] + "\x01\x80" + header[4:] + question, echoNone, "a query"},
		{header[:2] + "\x91\x80" + header[4:] + question, echoNone, "opcode"},
		{header[:5] + "\x02" + header[6:] + question + question, echoNone, "two questions"},
		{header[:2] + "\x80\x01\x00\x00" + header[6:], echoHeader, "FORMERR alone"},
		{header[:2] + "\x80\x00\x00\x00" + header[6:], echoNone, "success alone is no reply"},
		{header[:2] + "\x80\x01" + header[4:], echoNone, "a question announced and not there"},
		{header[:2] + "\x80\x01\x00\x00\x00\x01" + header[8:], echoNone, "an answer announced and not there"},
	} {
		require.Equal(t, c.want, s.match([]byte(c.reply)), "%s: %q", c.why, c.reply)
	}
}
