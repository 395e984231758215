package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/pprof"
	"strings"
	"time"
)

func main() {
	if os.Getenv(helperMark) != "" {
		exit(help(os.Stdin, os.Stdout))
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 11, "samples of each contender")
	flag.DurationVar(&o.sample, "sample", 20*time.Millisecond, "about how long one sample takes")
	flag.BoolVar(&o.quick, "quick", false, "few samples and small sizes, to see that everything runs")
	flag.StringVar(&o.only, "run", "", "only jobs and series whose name matches this regular expression")
	flag.StringVar(&o.samples, "samples", "", "file for every sample, in the format that benchstat reads")
	flag.StringVar(&o.write, "write", "", "folder of performance.md, whose tables and drawings are then written anew")
	profile := flag.String("cpuprofile", "", "file for a CPU profile, labelled with job and contender")
	flag.Parse()
	if o.quick {
		o.rounds, o.sample = 2, time.Millisecond
	}
	exit(profiled(*profile, func() error { return run(os.Stdout, o) }))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// options are the flags.
type options struct {
	plan
	only, samples, write string
}

// profiled runs f, under the profiler if file is not empty.
func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	w, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(w); err != nil {
		return errors.Join(err, w.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, w.Close())
}

// run measures what is chosen, prints it, and writes the document if it is asked to.
func run(w io.Writer, o options) error {
	choice, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	if o.rounds < 1 || o.sample <= 0 {
		return fmt.Errorf("%d rounds of %v measure nothing", o.rounds, o.sample)
	}
	document := ""
	if o.write != "" {
		if o.only != "" {
			return errors.New("-write wants everything, and -run a part")
		}
		if document, err = readDocument(o.write); err != nil {
			return err
		}
	}
	log := io.Discard
	if o.samples != "" {
		f, err := os.Create(o.samples)
		if err != nil {
			return err
		}
		defer f.Close()
		log = f
	}
	s := session{out: w, log: log, plan: o.plan, choice: choice, lines: make(map[string][]line)}
	if err := s.everything(); err != nil {
		return err
	}
	if o.write == "" {
		return nil
	}
	return writeDocument(o.write, document, s.parts, s.charts)
}

// writeSamples writes a line for each sample as package testing would.
func writeSamples(w io.Writer, job string, all []series) error {
	for _, s := range all {
		name := strings.ReplaceAll(job+"/"+s.name, " ", "_")
		for _, x := range s.samples {
			_, err := fmt.Fprintf(w, "Benchmark%s %d %.4g ns/op %d B/op %d allocs/op\n", name, x.n, x.ns, x.octets, x.allocs)
			if err != nil {
				return err
			}
		}
	}
	return nil
}
