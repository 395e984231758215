package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/smtpsec/smtpsec/certs"
)

// maxPassphrase bounds a passphrase in octets. It is this program's own.
const maxPassphrase = 4096

// passphraseFlags say where a passphrase comes from: a file, the environment, or
// else the terminal.
type passphraseFlags struct{ file, variable string }

func addPassphrase(f *flag.FlagSet) *passphraseFlags {
	o := &passphraseFlags{}
	f.StringVar(&o.file, "password-file", "", "the passphrase is the first line of this `file`")
	f.StringVar(&o.variable, "password-env", "", "the passphrase is in this environment `variable`")
	return o
}

// given reports whether a flag says where the passphrase is.
func (o *passphraseFlags) given() bool { return o.file != "" || o.variable != "" }

func (o *passphraseFlags) check() error {
	if o.file != "" && o.variable != "" {
		return usage("-password-file and -password-env cannot both have the passphrase")
	}
	return nil
}

// get returns the passphrase; from the terminal it is asked for twice if it is new.
func (o *passphraseFlags) get(p *program, prompt string, isNew bool) ([]byte, error) {
	switch {
	case o.variable != "":
		value, ok := p.getenv(o.variable)
		if !ok {
			return nil, fmt.Errorf("the environment has no %q", o.variable)
		}
		return []byte(value), nil
	case o.file != "":
		return o.fromFile(p)
	}
	first, err := p.terminal(prompt)
	if err != nil || !isNew {
		return first, err
	}
	second, err := p.terminal("Once more: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, certs.ErrPassphraseConfirm
	}
	return first, nil
}

func (o *passphraseFlags) fromFile(p *program) ([]byte, error) {
	if info, err := os.Stat(o.file); err == nil && o.file != standard && info.Mode().Perm()&0o077 != 0 {
		p.note("others than its owner may read or write %q", o.file)
	}
	data, err := p.read(o.file)
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) > maxPassphrase {
		return nil, fmt.Errorf("%q: the passphrase is %w: more than %d octets", o.file, certs.ErrTooLarge, maxPassphrase)
	}
	return line, nil
}

// errNoTerminal is for a program that nobody sits in front of.
var errNoTerminal = errors.New("a passphrase is needed, and there is no terminal to ask on: use -password-file or -password-env")

// askTerminal asks on the terminal, wherever input and output go.
func askTerminal(prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errNoTerminal
	}
	defer tty.Close()
	// First, so that the echo is off before anybody types.
	former, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return nil, errNoTerminal
	}
	line, err := term.NewTerminal(tty, "").ReadPassword(prompt)
	if err := errors.Join(err, term.Restore(int(tty.Fd()), former)); err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	return []byte(line), nil
}
