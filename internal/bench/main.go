package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 21, "samples of each contender")
	length := flag.Duration("sample", 20*time.Millisecond, "about how long one sample takes")
	only := flag.String("run", "", "only jobs whose name matches this regular expression")
	samples := flag.String("samples", "", "file for every sample, in the format that benchstat reads")
	profile := flag.String("cpuprofile", "", "file for a CPU profile, labelled with job and contender")
	flag.Parse()
	err := profiled(*profile, func() error {
		return run(os.Stdout, plan{rounds: *rounds, sample: *length}, *only, *samples)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
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

// run measures the chosen rows, if their contenders agree, and prints the table
// and what was missed.
func run(w io.Writer, p plan, only, samples string) error {
	choice, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if p.rounds < 1 || p.sample <= 0 {
		return fmt.Errorf("%d rounds of %v measure nothing", p.rounds, p.sample)
	}
	log := io.Discard
	if samples != "" {
		f, err := os.Create(samples)
		if err != nil {
			return err
		}
		defer f.Close()
		log = f
	}
	fmt.Fprintf(w, "%s, %d rounds of %v, load before: %s\n\n", machine(), p.rounds, p.sample, load())
	var table [][]string
	var missed []string
	for _, r := range rows() {
		if !choice.MatchString(r.name) {
			continue
		}
		contenders := r.setup()
		if err := agree(contenders, 4); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		all := measure(r.name, contenders, p)
		if err := writeSamples(log, r.name, all); err != nil {
			return err
		}
		lines := evaluate(r, all)
		table = append(table, cells(r, lines)...)
		for _, l := range lines {
			if l.missed {
				missed = append(missed, fmt.Sprintf("%s, %s: %s", r.name, l.name, l.verdict))
			}
		}
	}
	if len(table) == 0 {
		return fmt.Errorf("no job matches %q", only)
	}
	if err := write(w, table); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nload after: %s\n", load())
	if len(missed) == 0 {
		fmt.Fprintln(w, "Every demand is met.")
		return nil
	}
	fmt.Fprintf(w, "Missed:\n  %s\n", strings.Join(missed, "\n  "))
	return nil
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

// machine names what the figures come from: Go, processor, peers.
func machine() string {
	parts := []string{runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if model := processor(); model != "" {
		parts = append(parts, model)
	}
	parts = append(parts, fmt.Sprintf("%d cores", runtime.NumCPU()))
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			switch m.Path {
			case "github.com/mjl-/mox", "github.com/foxcpp/go-mtasts", "github.com/miekg/dns":
				parts = append(parts, m.Path+" "+m.Version)
			}
		}
	}
	return strings.Join(parts, ", ")
}

// processor returns the model name of the first core, "" where Linux does not
// tell.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(text), "model name")
	model, _, _ := strings.Cut(after, "\n")
	return strings.TrimLeft(model, "\t :")
}

// load returns the load averages of the machine, which tell how far its figures
// can be trusted.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(3, len(fields))], " ")
}
