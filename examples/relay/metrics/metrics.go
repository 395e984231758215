// Package metrics writes counters in the text format of Prometheus, version 0.0.4, by
// hand: a client library would put protobuf into the module graph of everybody who uses
// this module.
//
//	var dsns metrics.Counts
//	dsns.Add("failed")
//
//	w := metrics.NewWriter(out)
//	w.Counter("relay_dsns_total", "Notifications written, by action.", dsns.Samples("action")...)
//	w.Gauge("relay_queue_jobs", "Deliveries that wait.", metrics.Value(12))
//	err := w.Flush()
//
// What a label holds may be anything; names and help are the program's own.
package metrics

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ContentType is that of what a Writer writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Counts is a counter for each value of a label. The values should be few: each is
// kept. The zero value is ready; it is safe for concurrent use.
type Counts struct {
	mu sync.Mutex
	m  map[string]uint64
}

// Add counts one.
func (c *Counts) Add(value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]uint64{}
	}
	c.m[value]++
}

// All returns what was counted; nil if nothing was.
func (c *Counts) All() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.m)
}

// Samples returns a sample for each value of the label with this name, sorted.
func (c *Counts) Samples(name string) []Sample {
	var samples []Sample
	for value, n := range c.All() {
		samples = append(samples, Labelled(n, name, value))
	}
	return samples
}

// Sample is one line of a metric.
type Sample struct {
	labels string // "" or {name="value"}
	value  uint64
}

// Value is a sample without labels.
func Value(n uint64) Sample { return Sample{value: n} }

// Labelled is a sample with labels, given as names and values by turns.
func Labelled(n uint64, pairs ...string) Sample {
	b := []byte{'{'}
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, pairs[i]...)
		b = append(b, '=', '"')
		for _, c := range []byte(strings.ToValidUTF8(pairs[i+1], "?")) {
			switch c {
			case '\\', '"':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, `\n`...)
			default:
				b = append(b, c)
			}
		}
		b = append(b, '"')
	}
	return Sample{string(append(b, '}')), n}
}

// Writer writes metrics. It keeps the first error for Flush.
type Writer struct{ out *bufio.Writer }

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{bufio.NewWriter(w)} }

// Counter writes a number that only grows; its name ends in _total.
func (w *Writer) Counter(name, help string, samples ...Sample) {
	w.metric(name, "counter", help, samples)
}

// Gauge writes a number that goes up and down.
func (w *Writer) Gauge(name, help string, samples ...Sample) {
	w.metric(name, "gauge", help, samples)
}

func (w *Writer) metric(name, kind, help string, samples []Sample) {
	slices.SortStableFunc(samples, func(a, b Sample) int { return strings.Compare(a.labels, b.labels) })
	fmt.Fprintf(w.out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	for _, s := range samples {
		fmt.Fprintf(w.out, "%s%s %d\n", name, s.labels, s.value)
	}
}

// Flush writes what is buffered.
func (w *Writer) Flush() error { return w.out.Flush() }
