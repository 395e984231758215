//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The metrics are written by hand in the text format of Prometheus: a client library
// would put protobuf into the module graph of everybody who uses smtpsec.

// metrics are the counters of a relay.
type metrics struct {
	received, refused            atomic.Uint64 // messages; commands and messages
	delivered, deferred, bounced atomic.Uint64 // recipients, by attempt
	unreturned                   atomic.Uint64 // messages without a sender that were given up
	corrupt                      atomic.Uint64
	secured, events              counts // recipients delivered, by rule; events of the dialer
	dsns, alerts, reloads        counts
}

// counts is a counter for each value of a label. The values are names of ours.
type counts struct {
	mu sync.Mutex
	m  map[string]uint64
}

func (c *counts) add(label string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]uint64{}
	}
	c.m[label]++
}

func (c *counts) all() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.m)
}

// listenHTTP opens the endpoint for metrics and health.
func (r *relay) listenHTTP(address string) (err error) {
	if address == "" {
		return nil
	}
	if r.web, err = net.Listen("tcp", address); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		r.writeMetrics(w)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if r.draining.Load() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	r.http = &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	r.tasks.Go(func() { _ = r.http.Serve(r.web) })
	return nil
}

// A sample is one line of a metric.
type sample struct {
	labels string // "" or {name="value"}
	value  uint64
}

func (r *relay) writeMetrics(w io.Writer) {
	out := bufio.NewWriter(w)
	defer out.Flush()
	metric := func(name, kind, help string, samples ...sample) {
		fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		for _, s := range samples {
			fmt.Fprintf(out, "%s%s %d\n", name, s.labels, s.value)
		}
	}
	m := &r.metrics
	metric("relay_messages_received_total", "counter", "Messages acknowledged with 250.", sample{value: m.received.Load()})
	metric("relay_refusals_total", "counter", "Commands and messages refused by the relay itself.", sample{value: m.refused.Load()})
	metric("relay_recipients_total", "counter", "Recipients by the result of an attempt.",
		sample{label("result", "delivered"), m.delivered.Load()},
		sample{label("result", "deferred"), m.deferred.Load()},
		sample{label("result", "bounced"), m.bounced.Load()})
	metric("relay_delivered_total", "counter", "Recipients delivered, by the rule of the TLS policy that let the session be used.", labelled("rule", m.secured.all())...)
	metric("relay_tls_events_total", "counter", "Events of outgoing sessions by kind.", labelled("kind", m.events.all())...)
	metric("relay_dsns_total", "counter", "Delivery status notifications written, by action.", labelled("action", m.dsns.all())...)
	metric("relay_unreturned_total", "counter", "Messages from the null sender that were given up; nobody is told.", sample{value: m.unreturned.Load()})
	metric("relay_corrupt_total", "counter", "Messages put aside because they are damaged.", sample{value: m.corrupt.Load()})
	metric("relay_alerts_total", "counter", "Alerts by kind, those that were held back included.", labelled("kind", m.alerts.all())...)
	metric("relay_reloads_total", "counter", "Reloads of the configuration by result.", labelled("result", m.reloads.all())...)
	metric("relay_queue_jobs", "gauge", "Deliveries that wait: one for each message and domain.", sample{value: uint64(r.queue.Len())})

	var active, kinds, groups []sample
	for _, f := range r.fronts {
		stats := f.listener.Stats()
		active = append(active, sample{label("listener", f.name), uint64(stats.Active)})
		for kind, n := range stats.Kinds {
			kinds = append(kinds, sample{label("listener", f.name, "kind", kind.String()), n})
		}
		for group, n := range stats.Groups {
			groups = append(groups, sample{label("listener", f.name, "group", group), n})
		}
	}
	metric("relay_connections_active", "gauge", "Connections of clients now.", active...)
	metric("relay_listener_events_total", "counter", "Events of the host access table by kind.", sorted(kinds)...)
	metric("relay_group_connections_total", "counter", "Connections by sender group.", sorted(groups)...)
}

// label writes a label set from names and values.
func label(pairs ...string) string {
	b := []byte{'{'}
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, pairs[i]...)
		b = append(b, '=', '"')
		for _, c := range []byte(pairs[i+1]) {
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
	return string(append(b, '}'))
}

func labelled(name string, values map[string]uint64) []sample {
	var samples []sample
	for _, value := range slices.Sorted(maps.Keys(values)) {
		samples = append(samples, sample{label(name, value), values[value]})
	}
	return samples
}

func sorted(samples []sample) []sample {
	slices.SortFunc(samples, func(a, b sample) int {
		if a.labels < b.labels {
			return -1
		}
		return 1
	})
	return samples
}
