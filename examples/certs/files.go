package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/smtpsec/smtpsec/certs"
)

// standard is the file name of standard input and output.
const standard = "-"

// maxFile bounds what is read: the largest input that package certs takes.
const maxFile = certs.MaxListInput

// read returns the content of a file.
func (p *program) read(name string) ([]byte, error) {
	if name == standard {
		return readAll("standard input", p.stdin)
	}
	info, err := os.Stat(name) // first: opening a named pipe waits for a writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(fmt.Sprintf("%q", name), f)
}

func readAll(what string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%w: more than %d octets", certs.ErrTooLarge, maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return data, nil
}

// inFile puts the name of the input in front of an error about it.
func inFile(name string, err error) error {
	if err == nil {
		return nil
	}
	if name == standard {
		name = "standard input"
	}
	return fmt.Errorf("%q: %w", name, certsError{err})
}

// certsError is an error of package certs without the package's name in front,
// which is the program's, too.
type certsError struct{ error }

func (e certsError) Error() string { return strings.TrimPrefix(e.error.Error(), "certs: ") }
func (e certsError) Unwrap() error { return e.error }

// outFlag is the flag for where the output goes.
func outFlag(f *flag.FlagSet) *string {
	return f.String("o", standard, "write to this new `file`")
}

// write makes a file, which must be new.
func (p *program) write(name string, data []byte) error {
	if name == standard {
		_, err := p.stdout.Write(data)
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%q is there already, and is not overwritten", name)
	}
	if err != nil {
		return err
	}
	err = f.Chmod(0o600) // the umask may have taken something
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}
