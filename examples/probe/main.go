// Probe tells what would happen to mail for a domain, why, and what the domain's
// owner should mend: MX records, DNSSEC, TLSA records, MTA-STS, and TLS and
// certificates of every address of every mail host, and the delivery under each mode.
// It sends no mail.
//
//	go run ./examples/probe -lab
//	go run ./examples/probe example.org example.net
//	go run ./examples/probe -json -mode required-verify - < domains.txt
//
// It asks real DNS and connects to port 25, which many networks do not let out;
// -lab shows it on an Internet of its own, in one process and on loopback only.
//
// Exit status, the highest of all domains: 0 mail would be delivered as asked and
// nothing is gravely wrong, 1 it would not be or something is, 2 that could not be
// found out, 3 what was given is no domain, or the program could not be run as asked.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/smtpsec/smtpsec/dane/dnssec"
)

const (
	exitOK      = 0
	exitMend    = 1
	exitUnknown = 2
	exitUsage   = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt does not wait
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// options are the command line.
type options struct {
	question question
	json     bool
	lab      bool
	resolver string
	cache    string
	helo     string
	port     uint
	parallel int
	timeout  time.Duration
	colour   string
	domains  []string
}

// Bounds of what can be asked for: a sender with more conversations at a time would
// look like an attack.
const maxParallel = 64

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("probe", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Func("mode", "judge deliveries under this TLS `mode` only: no, preferred, required, preferred-verify, required-verify or required-verify-hosted", o.question.setMode)
	f.Func("dane", "with this DANE `setting` only: none, opportunistic or mandatory", o.question.setDANE)
	f.Func("sts", "with this MTA-STS `setting` only: off or on", o.question.setSTS)
	f.BoolVar(&o.json, "json", false, "one JSON object a line for each domain; see the README for its fields")
	f.BoolVar(&o.lab, "lab", false, "look at the domains of an Internet in this process, and not at the real one")
	f.StringVar(&o.resolver, "resolver", "system", "`who` answers DNS questions: system (its servers, checked for what they are good for), validator (its servers, with all signatures checked here), or the address of a server (checked here too)")
	f.StringVar(&o.cache, "cache", "", "keep MTA-STS policies in this `directory`, such as that of a mail server, and tell what it holds")
	f.StringVar(&o.helo, "helo", "", "our `name` in EHLO; without it that of this machine")
	f.UintVar(&o.port, "port", 25, "`port` of the mail hosts")
	f.IntVar(&o.parallel, "parallel", 8, fmt.Sprintf("so `many` domains at a time, at most %d", maxParallel))
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "`time` for one domain")
	f.StringVar(&o.colour, "color", "auto", "`when` to use colours: auto (on a terminal), always or never")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "Usage: probe [flags] domain...\n\nProbe tells what would happen to mail for domains, and what their owners should mend. \"-\" stands for\na list on standard input, one domain a line; so does no domain at all if standard input is no terminal.\n\nFlags:")
			f.SetOutput(stderr)
			f.PrintDefaults()
		}
		return nil, err
	}
	o.domains = f.Args()
	return o, o.validate()
}

func (o *options) validate() error {
	switch {
	case o.port == 0 || o.port > 65535:
		return fmt.Errorf("-port %d: want 1 to 65535", o.port)
	case o.parallel < 1 || o.parallel > maxParallel:
		return fmt.Errorf("-parallel %d: want 1 to %d", o.parallel, maxParallel)
	case o.timeout <= 0:
		return fmt.Errorf("-timeout %s: want more than nothing", o.timeout)
	case !slices.Contains([]string{"auto", "always", "never"}, o.colour):
		return fmt.Errorf("-color %q: want auto, always or never", o.colour)
	case o.lab && o.resolver != "system":
		return errors.New("-resolver has no meaning with -lab, which has its own DNS")
	case o.lab && o.port != 25:
		return errors.New("-port has no meaning with -lab, whose mail hosts listen on port 25")
	}
	return nil
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		return fail(stderr, exitUsage, err)
	}
	items, err := o.items(stdin)
	if err != nil {
		return fail(stderr, exitUsage, err)
	}
	p, closing, err := o.prober(ctx)
	if err != nil {
		var dns *dnssec.Error
		if errors.As(err, &dns) {
			return fail(stderr, exitUnknown, err)
		}
		return fail(stderr, exitUsage, err)
	}
	defer closing()

	screen := newScreen(stdout, stderr, o)
	status := exitOK
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err = inOrder(ctx, o.parallel, items,
		func(text string) *Result {
			screen.begun()
			return p.probe(ctx, text)
		},
		func(r *Result) {
			status = max(status, exitStatus(r.Status))
			if err := screen.show(r); err != nil {
				stop(err) // nobody reads any more
			}
		})
	screen.end()
	switch {
	case err != nil:
		return fail(stderr, exitUnknown, fmt.Errorf("standard input: %w", err))
	case screen.failed() != nil:
		return fail(stderr, exitUnknown, fmt.Errorf("output: %w", screen.failed()))
	case ctx.Err() != nil:
		return fail(stderr, exitUnknown, errors.New("interrupted; domains that are not shown were not looked at"))
	case screen.shown() == 0:
		return fail(stderr, exitUsage, errNoDomain)
	}
	return status
}

var errNoDomain = errors.New("no domain given: name one, or write a list to standard input; -lab shows how it looks, -help lists the flags")

// fail prints the one line that ends the program.
func fail(stderr io.Writer, status int, err error) int {
	fmt.Fprintf(stderr, "probe: %s\n", clean(err.Error()))
	return status
}

// items are the domains to look at.
func (o *options) items(stdin io.Reader) (iter.Seq2[string, error], error) {
	switch {
	case len(o.domains) > 0:
		return arguments(o.domains, stdin), nil
	case o.lab:
		return arguments(labChoice, nil), nil
	}
	if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return nil, errNoDomain
	}
	return lines(stdin), nil
}

func exitStatus(s Status) int {
	switch s {
	case StatusOK:
		return exitOK
	case StatusMend:
		return exitMend
	case StatusInvalid:
		return exitUsage
	}
	return exitUnknown
}
