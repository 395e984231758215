// Certs keeps the certificates, keys and authorities of a mail host in a
// directory: the procedures of the AsyncOS chapter as commands, and the TLSA records
// that belong to them.
//
//	go run ./examples/certs -dir store self-signed mx.example.org
//	go run ./examples/certs -dir store tlsa mx.example.org
//	go run ./examples/certs help
//
// What a program may want to read goes to standard output; remarks about it go to
// standard error, each on a line of its own. No passphrase is ever taken from the
// command line. Files are made with mode 0600, and none is overwritten.
//
// Exit status: 0 if it was done, 1 if not, with one line on standard error that
// says why, 2 if the command line is not one.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// dirVariable names the directory where -dir does not.
const dirVariable = "CERTS_DIR"

func main() {
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.LookupEnv, now: time.Now, terminal: askTerminal}
	os.Exit(p.run(os.Args[1:]))
}

// program is what a command has of the world.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) (string, bool)
	now            func() time.Time
	terminal       func(prompt string) ([]byte, error) // asks for a passphrase without echo

	dir string
}

// action does a command's work with its arguments.
type action func(p *program, args []string) error

// command is one thing that the program does.
type command struct {
	name  string // one word or two
	args  string // for people
	about string
	least int // arguments
	most  int // -1: any number
	setup func(*flag.FlagSet) action
}

func commands() []command {
	return []command{
		{"self-signed", "HOST", "make a key and a certificate that it signs itself", 1, 1, selfSigned},
		{"csr", "NAME", "print the request for a certificate authority", 1, 1, request},
		{"install", "NAME FILE", "take the authority's answer, with its intermediates", 2, 2, install},
		{"renew", "NAME", "sign a self-signed certificate anew, with the same key", 1, 1, renew},
		{"import", "FILE", "take key and certificates in: PKCS #12, or PEM", 1, 1, importFile},
		{"inspect", "FILE", "show what is in a PKCS #12 file, and take nothing in", 1, 1, inspect},
		{"export", "NAME", "write key and certificates as PKCS #12, or certificates as PEM", 1, 1, export},
		{"list", "", "list what there is", 0, 0, list},
		{"assign", "ROLE [NAME...]", "say which certificates a listener or service uses; without names, none", 1, -1, assign},
		{"remove", "NAME", "remove a certificate with its key", 1, 1, remove},
		{"tlsa", "[NAME]", "print the TLSA records to publish", 0, 1, tlsa},
		{"rollover start", "NAME", "make the next key, and print the records for both", 1, 1, rolloverStart},
		{"rollover csr", "NAME", "print the request for the next key", 1, 1, rolloverRequest},
		{"rollover install", "NAME [FILE]", "take the authority's answer for the next key; -self-signed needs none", 1, 2, rolloverInstall},
		{"rollover published", "NAME", "say that the records of both keys are in the DNS from now on", 1, 1, rolloverPublished},
		{"rollover status", "NAME", "say what is next, and when", 1, 1, rolloverStatus},
		{"rollover switch", "NAME", "put the next key into service, once two TTLs have passed", 1, 1, rolloverSwitch},
		{"rollover finish", "NAME", "drop the former key, once two TTLs have passed", 1, 1, rolloverFinish},
		{"rollover abandon", "NAME", "drop the next key", 1, 1, rolloverAbandon},
		{"ca list", "", "list the authorities", 0, 0, authorityList},
		{"ca import", "FILE", "replace the custom list", 1, 1, authorityImport},
		{"ca export", "", "print a list, for editing and import", 0, 0, authorityExport},
		{"ca remove", "SHA256...", "remove authorities from the custom list", 1, -1, authorityRemove},
		{"ca enable", "LIST", "trust a list: system or custom", 1, 1, authorityEnable(true)},
		{"ca disable", "LIST", "trust a list no more", 1, 1, authorityEnable(false)},
	}
}

// usageError is a command line that is not one.
type usageError struct{ problem string }

func (e *usageError) Error() string { return e.problem }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// run does what the arguments say and returns the exit status.
func (p *program) run(args []string) int {
	err := p.dispatch(args)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(p.stderr, "certs: %s\n", oneLine(err))
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func (p *program) dispatch(args []string) error {
	general := flag.NewFlagSet("certs", flag.ContinueOnError)
	general.SetOutput(io.Discard)
	p.dirFlag(general)
	if err := general.Parse(args); errors.Is(err, flag.ErrHelp) {
		return p.help()
	} else if err != nil {
		return usage("%v", err)
	}
	args = general.Args()
	if len(args) == 0 {
		return usage("no command: certs help lists them")
	}
	if args[0] == "help" {
		return p.help()
	}
	c, rest, ok := find(args)
	if !ok {
		return usage("no command %q: certs help lists them", strings.Join(args[:min(2, len(args))], " "))
	}
	f := flag.NewFlagSet(c.name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	p.dirFlag(f)
	do := c.setup(f)
	rest, err := parse(f, rest)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return p.helpOn(c, f)
	case err != nil:
		return usage("%s: %v", c.name, err)
	case len(rest) < c.least || c.most >= 0 && len(rest) > c.most:
		return usage("%s has %d arguments: certs %s", c.name, len(rest), c.synopsis())
	}
	return do(p, rest)
}

func (p *program) dirFlag(f *flag.FlagSet) {
	f.StringVar(&p.dir, "dir", p.dir, "the `directory` of the store (else $"+dirVariable+")")
}

// find returns the command of the arguments and what is left of them.
func find(args []string) (command, []string, bool) {
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return c, args[len(words):], true
		}
	}
	return command{}, nil, false
}

// parse lets flags and arguments stand in any order. What is behind "--" is no flag.
func parse(f *flag.FlagSet, args []string) (rest []string, err error) {
	var last []string
	if i := slices.Index(args, "--"); i >= 0 {
		args, last = args[:i], args[i+1:]
	}
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return append(rest, last...), nil
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
}

func (c command) synopsis() string { return strings.TrimSpace(c.name + " " + c.args) }

func (p *program) help() error {
	fmt.Fprint(p.stdout, "certs [-dir DIRECTORY] COMMAND [-flag...] [ARGUMENT...]\n\n")
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %s\t%s\n", c.synopsis(), c.about)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(p.stdout, "\nThe directory is that of -dir or $"+dirVariable+". certs COMMAND -h shows the flags of a command.\nA FILE of - is standard input or output.\n")
	return err
}

func (p *program) helpOn(c command, f *flag.FlagSet) error {
	fmt.Fprintf(p.stdout, "certs %s\n\n%s.\n\n", c.synopsis(), strings.ToUpper(c.about[:1])+c.about[1:])
	f.SetOutput(p.stdout)
	f.PrintDefaults()
	return nil
}

// oneLine is an error for people, however many it is made of.
func oneLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "certs: ")
	}
	return plain(strings.Join(lines, "; "))
}
