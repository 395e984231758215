//go:build unix

// Relay is a mail relay built on smtpsec: a host access table in front, a durable
// spool, delivery under a destination table with DANE and MTA-STS, bounces, and what
// an operator needs. It is an example that reads as a tutorial of the library, and one
// that you might dare to run.
//
//	go run ./examples/relay -config examples/relay/demo.toml    # an Internet in the process, to look at
//	relay -config /etc/relay/relay.toml                         # run until SIGTERM; SIGHUP reads the file again
//	relay -config /etc/relay/relay.toml -check                  # every mistake in the file
//	relay -config /etc/relay/relay.toml -queue                  # what waits, and why
//
// Where to read first: front.go and session.go take mail in, deliver.go plans and
// records attempts, which the package outbound makes, and bounce.go tells the sender.
//
// Exit status: 0 if all went well, 1 if not, 2 if the command line is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/smtpsec/smtpsec/examples/relay/config"
)

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2

	// grace is how long sessions and deliveries may go on after SIGTERM. Give the
	// service manager more.
	grace = 30 * time.Second
	// lookInterval is how often the relay looks for an operator's wishes.
	lookInterval = time.Second
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, os.Interrupt)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, signals))
}

// options are the command line.
type options struct {
	config                string
	check, untilIdle      bool
	queue, flush          bool
	hold, release, remove string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("relay", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.config, "config", "", "the configuration `file`")
	f.BoolVar(&o.check, "check", false, "check the file and do nothing else")
	f.BoolVar(&o.untilIdle, "until-idle", false, "end when nothing but deferred mail is left")
	f.BoolVar(&o.queue, "queue", false, "list what waits in the spool")
	f.BoolVar(&o.flush, "flush", false, "have a running relay try everything now")
	f.StringVar(&o.hold, "hold", "", "keep the message `id` back")
	f.StringVar(&o.release, "release", "", "let the message `id` go")
	f.StringVar(&o.remove, "remove", "", "delete the message `id`; nobody is told")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.config == "" {
		return nil, errors.New("-config is missing: try -config examples/relay/demo.toml")
	}
	orders := 0
	for _, given := range []bool{o.check, o.queue, o.flush, o.hold != "", o.release != "", o.remove != ""} {
		if given {
			orders++
		}
	}
	if orders > 1 {
		return nil, errors.New("one of -check, -queue, -flush, -hold, -release, -remove at a time")
	}
	if o.untilIdle && orders > 0 {
		return nil, errors.New("-until-idle is for a relay that runs")
	}
	return o, nil
}

// run is the program; it returns the exit status.
func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	if err != nil {
		fmt.Fprintf(stderr, "relay: %v\n", err)
		return exitUsage
	}
	c, err := config.Load(o.config)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	switch {
	case o.check:
		for _, w := range c.Warnings {
			fmt.Fprintln(stdout, w)
		}
		fmt.Fprintf(stdout, "%s: no mistakes, %d warnings\n", o.config, len(c.Warnings))
		return exitDone
	case o.queue, o.flush, o.hold != "", o.release != "", o.remove != "":
		err = operate(c.Spool.Dir, o, stdout)
	default:
		err = serve(c, o, stdout, stderr, signals)
	}
	if err != nil {
		fmt.Fprintf(stderr, "relay: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// serve runs the relay until a signal ends it.
func serve(c *config.Config, o *options, stdout, stderr io.Writer, signals <-chan os.Signal) error {
	log := slog.New(c.Log.Handler(stderr))
	for _, w := range c.Warnings {
		log.Warn("configuration", "problem", w.String())
	}
	w, err := openWorld(context.Background(), c, log)
	if err != nil {
		return err
	}
	defer w.close()
	r, err := start(context.Background(), c, w, log)
	if err != nil {
		return err
	}
	if w.lab != nil {
		if err := r.inject(); err != nil {
			log.Error("demo mail", "err", err)
		}
	}
	r.loop(o.untilIdle, w, stdout, signals)

	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.stop(ctx)
	}()
	for {
		select {
		case <-stopped:
			return nil
		case s := <-signals: // once more: at once
			if s != syscall.SIGHUP {
				cancel()
			}
		}
	}
}

// loop does what signals and operators ask for, until it is time to stop.
func (r *relay) loop(untilIdle bool, w *world, stdout io.Writer, signals <-chan os.Signal) {
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	told := w.lab == nil
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return
			}
			r.reload()
		case <-look.C:
			r.woken()
			if r.queue.Busy() {
				continue
			}
			if !told {
				told = true
				r.tell(w.lab, stdout)
			}
			if untilIdle {
				return
			}
		}
	}
}
