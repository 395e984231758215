package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os"
)

// builtin is a message with 8-bit text, two attachments, lines that begin with
// dots and a line that looks like the end of the data, to be told from it by
// dot-stuffing alone.
//
//go:embed message.eml
var builtin []byte

const (
	// maxMessage bounds what -message reads.
	maxMessage = 10 << 20
	// maxLine is the longest text line without its CRLF (RFC 5321 section
	// 4.5.3.1.6).
	maxLine = 998
)

// readMessage returns the message that is sent to every destination, with CRLF
// line ends: the built-in one, or that in the named file ("-": standard input),
// whose line ends may be LF.
func readMessage(name string, stdin io.Reader) ([]byte, error) {
	if name == "" {
		return builtin, nil
	}
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("message file: %w", err)
		}
		defer file.Close()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxMessage+1))
	if err != nil {
		return nil, fmt.Errorf("message file: %w", err)
	}
	msg, err := normalize(raw)
	if err != nil {
		return nil, fmt.Errorf("message file %s: %w", name, err)
	}
	return msg, nil
}

// normalize gives every line its CRLF and refuses what SMTP cannot carry.
func normalize(raw []byte) ([]byte, error) {
	switch {
	case len(raw) == 0:
		return nil, errors.New("empty")
	case len(raw) > maxMessage:
		return nil, fmt.Errorf("larger than %d octets", maxMessage)
	}
	var out bytes.Buffer
	out.Grow(len(raw) + len(raw)/32)
	number := 0
	for line := range bytes.Lines(raw) {
		number++
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		switch {
		case bytes.IndexByte(line, '\r') >= 0:
			return nil, fmt.Errorf("line %d: a CR that is not part of a line end", number)
		case bytes.IndexByte(line, 0) >= 0:
			return nil, fmt.Errorf("line %d: a NUL octet: not a text message", number)
		case len(line) > maxLine:
			return nil, fmt.Errorf("line %d: longer than %d octets", number, maxLine)
		}
		out.Write(line)
		out.WriteString("\r\n")
	}
	msg, err := mail.ReadMessage(bytes.NewReader(out.Bytes()))
	if err != nil {
		return nil, fmt.Errorf("not a message with a header (RFC 5322): %w", err)
	}
	if msg.Header.Get("From") == "" {
		return nil, errors.New("not a message with a header (RFC 5322): no From field")
	}
	return out.Bytes(), nil
}
