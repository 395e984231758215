//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/smtpsec/smtpsec/examples/relay/metrics"
)

// counters are what the relay counts itself; its listeners count too.
type counters struct {
	received, refused            atomic.Uint64  // messages; commands and messages
	delivered, deferred, bounced atomic.Uint64  // recipients, by attempt
	unreturned                   atomic.Uint64  // messages without a sender that were given up
	corrupt                      atomic.Uint64  // messages put aside
	secured, events              metrics.Counts // recipients delivered, by rule; events of the dialer
	dsns, alerts, reloads        metrics.Counts
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
		w.Header().Set("Content-Type", metrics.ContentType)
		_ = r.writeMetrics(w)
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

func (r *relay) writeMetrics(out io.Writer) error {
	w, m := metrics.NewWriter(out), &r.metrics
	w.Counter("relay_messages_received_total", "Messages acknowledged with 250.", metrics.Value(m.received.Load()))
	w.Counter("relay_refusals_total", "Commands and messages refused by the relay itself.", metrics.Value(m.refused.Load()))
	w.Counter("relay_recipients_total", "Recipients by the result of an attempt.",
		metrics.Labelled(m.delivered.Load(), "result", "delivered"),
		metrics.Labelled(m.deferred.Load(), "result", "deferred"),
		metrics.Labelled(m.bounced.Load(), "result", "bounced"))
	w.Counter("relay_delivered_total", "Recipients delivered, by the rule of the TLS policy that let the session be used.", m.secured.Samples("rule")...)
	w.Counter("relay_tls_events_total", "Events of outgoing sessions by kind.", m.events.Samples("kind")...)
	w.Counter("relay_dsns_total", "Delivery status notifications written, by action.", m.dsns.Samples("action")...)
	w.Counter("relay_unreturned_total", "Messages that were given up without a sender who can be told.", metrics.Value(m.unreturned.Load()))
	w.Counter("relay_corrupt_total", "Messages put aside because they are damaged.", metrics.Value(m.corrupt.Load()))
	w.Counter("relay_alerts_total", "Alerts by kind, those that were held back included.", m.alerts.Samples("kind")...)
	w.Counter("relay_reloads_total", "Reloads of the configuration by result.", m.reloads.Samples("result")...)
	w.Gauge("relay_queue_jobs", "Deliveries that wait: one for each message and domain.", metrics.Value(uint64(r.queue.Len())))

	var active, kinds, groups []metrics.Sample
	for _, f := range r.fronts {
		stats := f.listener.Stats()
		active = append(active, metrics.Labelled(uint64(stats.Active), "listener", f.name))
		for kind, n := range stats.Kinds {
			kinds = append(kinds, metrics.Labelled(n, "listener", f.name, "kind", kind.String()))
		}
		for group, n := range stats.Groups {
			groups = append(groups, metrics.Labelled(n, "listener", f.name, "group", group))
		}
	}
	w.Gauge("relay_connections_active", "Connections of clients now.", active...)
	w.Counter("relay_listener_events_total", "Events of the host access table by kind.", kinds...)
	w.Counter("relay_group_connections_total", "Connections by sender group.", groups...)
	return w.Flush()
}
