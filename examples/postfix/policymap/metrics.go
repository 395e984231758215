package policymap

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// Metrics are counters of a Map and its Servers. The zero value is ready; it is safe
// for concurrent use and must not be copied.
type Metrics struct {
	hits, misses, renewals, underWay atomic.Int64
	answers                          [len(outcomes)]atomic.Int64

	buckets [len(bounds) + 1]atomic.Int64 // of look-ups by duration; the last one is for those beyond
	micros  atomic.Int64                  // of all look-ups together

	connections, open, refused, malformed atomic.Int64
}

// outcomes are the values of the label of the answers.
var outcomes = [...]string{"none", "may", "encrypt", "dane", "dane-only", "secure", "notfound", "perm", "temp"}

// bounds are the upper bounds of the buckets.
var bounds = [...]time.Duration{
	time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second,
}

// outcome returns the place of an answer in outcomes.
func outcome(a Answer) int {
	name := string(a.Level)
	switch a.Status {
	case NotFound:
		name = "notfound"
	case Perm:
		name = "perm"
	case Temp:
		name = "temp"
	}
	for i, o := range outcomes {
		if o == name {
			return i
		}
	}
	return len(outcomes) - 1
}

func (m *Metrics) count(a Answer) { m.answers[outcome(a)].Add(1) }

func (m *Metrics) took(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	m.buckets[i].Add(1)
	m.micros.Add(d.Microseconds())
}

// WriteMetrics writes the counters in the text format of Prometheus.
func (m *Map) WriteMetrics(w io.Writer) error {
	c := &m.Metrics
	var err error
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	metric := func(name, kind, help string, value int64) {
		line("# HELP policymap_%s %s\n# TYPE policymap_%[1]s %[3]s\npolicymap_%[1]s %[4]d", name, help, kind, value)
	}
	metric("cache_hits_total", "counter", "Requests that were answered from memory.", c.hits.Load())
	metric("cache_misses_total", "counter", "Requests that waited for a look-up.", c.misses.Load())
	metric("cache_renewals_total", "counter", "Answers that were looked up again before they expired.", c.renewals.Load())
	metric("cache_answers", "gauge", "Answers in memory.", int64(m.cache.len()))
	metric("lookups_running", "gauge", "Look-ups under way.", c.underWay.Load())
	line("# HELP policymap_answers_total Answers by security level, or what took its place.\n# TYPE policymap_answers_total counter")
	for i, name := range outcomes {
		line("policymap_answers_total{answer=%q} %d", name, c.answers[i].Load())
	}
	line("# HELP policymap_lookup_seconds Duration of look-ups.\n# TYPE policymap_lookup_seconds histogram")
	var sum int64
	for i := range bounds {
		sum += c.buckets[i].Load()
		line("policymap_lookup_seconds_bucket{le=%q} %d", fmt.Sprint(bounds[i].Seconds()), sum)
	}
	sum += c.buckets[len(bounds)].Load()
	line("policymap_lookup_seconds_bucket{le=\"+Inf\"} %d\npolicymap_lookup_seconds_sum %g\npolicymap_lookup_seconds_count %d", sum, float64(c.micros.Load())/1e6, sum)
	metric("connections_total", "counter", "Connections accepted.", c.connections.Load())
	metric("connections_open", "gauge", "Connections that are open.", c.open.Load())
	metric("connections_refused_total", "counter", "Connections closed at once because there were too many.", c.refused.Load())
	metric("requests_malformed_total", "counter", "Requests that are none, by which a connection ended.", c.malformed.Load())
	return err
}
