//go:build unix

package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// An envelope file begins with these lines, and the hash is of what follows them.
const (
	formatLine = "{\n  \"spool-envelope\": "
	head       = formatLine + "1,\n  \"sha256\": \""
	headEnd    = "\",\n"
	bodyAt     = len(head) + 2*sha256.Size + len(headEnd)

	// maxEnvelope bounds what is read of an envelope: MaxRecipients with every
	// text at its limit and each octet of it escaped fit in.
	maxEnvelope = 8 << 20
)

// ErrVersion: the envelope was written by another release in a form that this one
// does not read. It is left alone.
var ErrVersion = errors.New("spool: envelope of another release")

// encode returns the file of an envelope, which must be tidy.
func (e *Envelope) encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	rest := text.Bytes()[len("{\n"):]
	sum := sha256.Sum256(rest)
	file := make([]byte, 0, bodyAt+len(rest))
	file = append(file, head...)
	file = hex.AppendEncode(file, sum[:])
	file = append(file, headEnd...)
	file = append(file, rest...)
	if len(file) > maxEnvelope {
		return nil, fmt.Errorf("spool: envelope has %d octets, %d are allowed", len(file), maxEnvelope)
	}
	return file, nil
}

// decode reads the file of an envelope. There is one way to write each envelope:
// what encode would not have written is an error, and nothing of it is returned.
func decode(file []byte) (*Envelope, error) {
	if len(file) > maxEnvelope {
		return nil, fmt.Errorf("envelope exceeds %d octets", maxEnvelope)
	}
	if !bytes.HasPrefix(file, []byte(head)) {
		return nil, headProblem(file)
	}
	if len(file) < bodyAt || string(file[bodyAt-len(headEnd):bodyAt]) != headEnd {
		return nil, errors.New("envelope has no checksum")
	}
	sum := sha256.Sum256(file[bodyAt:])
	if want := file[len(head) : bodyAt-len(headEnd)]; hex.EncodeToString(sum[:]) != string(want) {
		return nil, fmt.Errorf("checksum of the envelope is %x, not %.64q", sum, want)
	}
	dec := json.NewDecoder(bytes.NewReader(append([]byte("{\n"), file[bodyAt:]...)))
	dec.DisallowUnknownFields()
	e := new(Envelope)
	if err := dec.Decode(e); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	// Whatever JSON would forgive, such as a field that is there twice, differs now.
	e.tidy()
	again, err := e.encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, file) {
		return nil, errors.New("envelope is not as this program writes it")
	}
	return e, nil
}

// headProblem tells the envelope of another release from a damaged one.
func headProblem(file []byte) error {
	rest, ok := strings.CutPrefix(string(file[:min(len(file), 64)]), formatLine)
	number, _, end := strings.Cut(rest, ",\n")
	if ok && end && number != "" && number != "1" && number[0] != '0' && strings.Trim(number, "0123456789") == "" {
		return fmt.Errorf("%w: version %s", ErrVersion, number)
	}
	return errors.New("not an envelope")
}
