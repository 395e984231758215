// Postfix answers the TLS policy lookups of Postfix (smtp_tls_policy_maps) from
// DANE, MTA-STS and a destination table. README.md has the main.cf lines and what
// each answer means.
//
//	postfix -listen inet:127.0.0.1:8461 -table /etc/smtpsec/destinations -cache /var/lib/smtpsec-postfix
//	postfix -query partner.example
//	go run ./examples/postfix -lab -query
//
// Exit status: 0 if it ended as it should, and with -query if Postfix gets an answer
// for every next hop; 1 if with -query mail for one of them has to wait; 2 if the
// program could not be run as asked.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

const (
	exitGood  = 0
	exitWaits = 1
	exitUsage = 2
)

// errWaits is a query with an answer that makes mail wait. All that there is to say
// about it has been printed.
var errWaits = errors.New("mail has to wait")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitGood
	}
	if err == nil {
		err = start(ctx, o, stdout, stderr)
	}
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errWaits):
		return exitWaits
	}
	fmt.Fprintf(stderr, "postfix: %v\n", err)
	return exitUsage
}

// options are the command line.
type options struct {
	listen  []address
	table   string
	cache   string
	metrics string
	port    uint
	query   bool
	keys    []string
	lab     bool
	dnssec  bool
	allowed []netip.Prefix
	verbose bool
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("postfix", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Func("listen", "answer socketmap requests at `inet:host:port` or unix:path; may be given more than once", func(text string) error {
		a, err := parseAddress(text)
		o.listen = append(o.listen, a)
		return err
	})
	f.Func("listen-tcp", "answer tcp_table requests at `host:port`; may be given more than once", func(text string) error {
		a, err := parseAddress("inet:" + text)
		a.line = true
		o.listen = append(o.listen, a)
		return err
	})
	f.StringVar(&o.table, "table", "", "destination table `file`; it is read again on SIGHUP")
	f.StringVar(&o.cache, "cache", "", "`folder` in which MTA-STS policies outlive a restart")
	f.StringVar(&o.metrics, "metrics", "", "serve /metrics for Prometheus at `host:port`")
	f.UintVar(&o.port, "port", smtpclient.DefaultPort, "`port` of next hops that name none: what smtp_tcp_port in main.cf says")
	f.BoolVar(&o.query, "query", false, "tell what Postfix would be told about the next hops that follow, and why")
	f.BoolVar(&o.lab, "lab", false, "use an Internet in this process instead of the real one")
	f.BoolVar(&o.dnssec, "require-dnssec", false, "stop at start if the resolver cannot tell which DNS answers are secure, as DANE needs it")
	f.Func("allow-prefix", "fetch MTA-STS policies from this network of inside `addresses` too, such as 10.0.0.0/8; may be given more than once", func(text string) error {
		p, err := netip.ParsePrefix(text)
		o.allowed = append(o.allowed, p)
		return err
	})
	f.BoolVar(&o.verbose, "v", false, "log every look-up")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "Postfix answers TLS policy lookups of Postfix. Usage: postfix -listen ADDRESS [...], or postfix -query NEXTHOP...")
			f.SetOutput(stderr)
			f.PrintDefaults()
		}
		return nil, err
	}
	o.keys = f.Args()
	switch {
	case o.port < 1 || o.port > 65535:
		return nil, fmt.Errorf("-port %d: want 1 to 65535", o.port)
	case !o.query && len(o.keys) > 0:
		return nil, fmt.Errorf("unexpected argument %q: next hops follow -query", o.keys[0])
	case o.query && len(o.listen) > 0:
		return nil, errors.New("-query and -listen: one at a time")
	case o.query && len(o.keys) == 0 && !o.lab:
		return nil, errors.New("-query: which next hop?")
	case !o.query && len(o.listen) == 0 && !o.lab:
		return nil, errors.New("nothing to do: want -listen inet:127.0.0.1:8461, or -query and a next hop")
	case !o.query && len(o.listen) == 0:
		o.listen = []address{{network: "tcp", at: "127.0.0.1:0"}}
	}
	return o, nil
}

// start does what the command line says.
func start(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	// What MTA-STS clients tell at level info is a line or two for every domain.
	level, policies := slog.LevelInfo, slog.LevelWarn
	switch {
	case o.verbose:
		level, policies = slog.LevelDebug, slog.LevelDebug
	case o.query: // the answer says it all
		level, policies = slog.LevelError, slog.LevelError
	}
	logTo := func(level slog.Level) *slog.Logger {
		return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	}
	logger := logTo(level)
	reload := make(chan os.Signal, 1)
	if !o.query { // a reload while the resolver is still being tried must not end the service
		signal.Notify(reload, syscall.SIGHUP)
		defer signal.Stop(reload)
	}
	table, err := readTable(o.table)
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, o, logger, logTo(policies))
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.answers.Reload(table); err != nil {
		return err
	}
	if o.query {
		if len(o.keys) == 0 {
			o.keys = w.destinations
		}
		return query(ctx, w.answers, o.keys, stdout)
	}
	return serve(ctx, o, w, logger, reload)
}

// labDestinations returns the names of the lab's domains.
func labDestinations(all []lab.Destination) (names []string) {
	for _, d := range all {
		names = append(names, d.Domain)
	}
	slices.Sort(names)
	return names
}

// defaults are the settings where the table says nothing: both kinds of policy are
// obeyed, and the mode is left to main.cf.
func defaults() tlspolicy.Settings {
	return tlspolicy.Settings{DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways}
}
