// Quickstart sends one real message to some two dozen domains under each of the
// six delivery modes, on an Internet of its own: real DNS with DNSSEC, real
// HTTPS, real TLS and real SMTP, in one process and on loopback only.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -explain sts-mx.example
//	go run ./examples/quickstart -message mail.eml -dane mandatory
//	go run ./examples/quickstart -explain sts-mx.example -reports
//
// It prints what became of the message for each destination and mode, then looks
// into the mail hosts: they must hold exactly the messages that the table says,
// octet for octet, and none that policy forbids. What it expects is computed from
// the decision tables of package tlspolicy and from what each domain declares
// about itself, not from what the dialer reported.
//
// Exit status: 0 if every cell is what the decision tables say, 1 if one is not,
// 2 if the program could not be run as asked.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

const (
	exitAsExpected = 0
	exitUnexpected = 1
	exitUsage      = 2
)

// errUnexpected is a run whose outcome is not what the decision tables say. All
// that there is to say about it has been printed.
var errUnexpected = errors.New("not what the decision tables say")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitAsExpected
	}
	if err == nil {
		err = quickstart(ctx, o, stdin, stdout, stderr)
	}
	switch {
	case err == nil:
		return exitAsExpected
	case errors.Is(err, errUnexpected):
		return exitUnexpected
	}
	fmt.Fprintf(stderr, "quickstart: %v\n", err)
	return exitUsage
}

// options are the command line.
type options struct {
	message string
	explain string
	modes   []tlspolicy.Mode
	// settings holds everything but the mode.
	settings tlspolicy.Settings
	resolver string
	dns      string
	reports  bool
	hold     bool
	colour   string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{settings: tlspolicy.Recommended(), modes: allModes()}
	f := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.message, "message", "", "send this message `file` (\"-\": standard input) and not the built-in one")
	f.StringVar(&o.explain, "explain", "", "tell the whole story of one destination `domain`")
	f.Func("mode", "use these `modes` only, parted by commas", func(text string) (err error) {
		o.modes, err = parseModes(text)
		return err
	})
	f.TextVar(&o.settings.DANE, "dane", o.settings.DANE, "DANE `setting`: none, opportunistic or mandatory")
	f.TextVar(&o.settings.MTASTS, "sts", o.settings.MTASTS, "MTA-STS `setting`: off or on")
	f.TextVar(&o.settings.Fallback, "fallback", o.settings.Fallback, "fallback `setting`: after which failures Preferred may use clear text: after-220, always or before-220")
	f.StringVar(&o.resolver, "resolver", "validator", "`who` says which DNS answers are secure: our own validator, or a stub that believes the lab's resolver")
	f.StringVar(&o.dns, "dns", "", "let the validating resolver listen on this loopback `address`, as 127.0.0.1:5353")
	f.BoolVar(&o.reports, "reports", false, "show the TLS reports (RFC 8460) that the sender owes to the domains")
	f.BoolVar(&o.hold, "hold", false, "keep the Internet running until interrupted, to look around in it")
	f.StringVar(&o.colour, "color", "auto", "`when` to draw boxes and colours: auto (on a terminal), always or never")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "Quickstart sends a message to many domains under each delivery mode, and shows what becomes of it.")
			f.SetOutput(stderr)
			f.PrintDefaults()
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: destinations are built in, see -explain", f.Arg(0))
	}
	if !slices.Contains([]string{"auto", "always", "never"}, o.colour) {
		return nil, fmt.Errorf("-color %q: want auto, always or never", o.colour)
	}
	return o, nil
}

func allModes() []tlspolicy.Mode {
	return []tlspolicy.Mode{tlspolicy.No, tlspolicy.Preferred, tlspolicy.Required,
		tlspolicy.PreferredVerify, tlspolicy.RequiredVerify, tlspolicy.RequiredVerifyHosted}
}

func parseModes(text string) ([]tlspolicy.Mode, error) {
	var modes []tlspolicy.Mode
	for word := range strings.SplitSeq(text, ",") {
		mode, err := tlspolicy.ParseMode(word)
		switch {
		case err != nil:
			return nil, err
		case mode == tlspolicy.ModeDefault:
			return nil, errors.New("there is no entry to inherit the default from; name a mode")
		case !slices.Contains(modes, mode):
			modes = append(modes, mode)
		}
	}
	return modes, nil
}

// quickstart starts the lab, delivers, prints and checks.
func quickstart(ctx context.Context, o *options, stdin io.Reader, stdout, stderr io.Writer) error {
	if err := o.settled(); err != nil {
		return err
	}
	message, err := readMessage(o.message, stdin)
	if err != nil {
		return err
	}
	world, destinations := lab.Destinations()
	if o.explain != "" {
		if destinations, err = only(destinations, o.explain); err != nil {
			return err
		}
	}
	world.FrontAddr = o.dns
	internet, err := lab.Start(world)
	if err != nil {
		return err
	}
	defer internet.Close()

	screen := newScreen(stdout, stderr, o.colour)
	trial, err := newTrial(internet, o, message, destinations)
	if err != nil {
		return err
	}
	if err := trial.run(ctx, screen.progress); err != nil {
		return err
	}
	var problems []string
	if o.explain != "" {
		screen.story(trial)
		problems = trial.unexpected()
	} else {
		audit := trial.audit()
		screen.results(trial, audit)
		problems = append(trial.unexpected(), audit.problems...)
	}
	if trial.counted != nil {
		reports, err := trial.counted.reports(ctx)
		if err == nil {
			err = screen.reports(reports)
		}
		if err != nil {
			return err
		}
	}
	screen.problems(problems)
	if err := screen.out.err; err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if o.hold {
		screen.hold(internet)
		<-ctx.Done()
	}
	if len(problems) > 0 {
		return errUnexpected
	}
	return nil
}

// settled refuses settings that leave something to be inherited, resolvers that
// there are not, and one that others could see.
func (o *options) settled() error {
	for _, s := range []struct{ flag, value string }{
		{"-dane", o.settings.DANE.String()}, {"-sts", o.settings.MTASTS.String()}, {"-fallback", o.settings.Fallback.String()},
	} {
		if s.value == "default" {
			return fmt.Errorf("%s default: there is no entry to inherit from; name a setting", s.flag)
		}
	}
	if o.resolver != "validator" && o.resolver != "stub" {
		return fmt.Errorf("-resolver %q: want validator or stub", o.resolver)
	}
	if o.dns != "" {
		if at, err := netip.ParseAddrPort(o.dns); err != nil || !at.Addr().IsLoopback() {
			return fmt.Errorf("-dns %q: want a loopback address and a port, as 127.0.0.1:5353", o.dns)
		}
	}
	return nil
}

// only returns the destination of that name alone.
func only(destinations []lab.Destination, name string) ([]lab.Destination, error) {
	var known []string
	for _, d := range destinations {
		if strings.EqualFold(d.Domain, strings.TrimSuffix(name, ".")) {
			return []lab.Destination{d}, nil
		}
		known = append(known, d.Domain)
	}
	return nil, fmt.Errorf("-explain %q: no such destination; there are %s", name, strings.Join(known, ", "))
}
