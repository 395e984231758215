package mtasts

import (
	"bytes"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// world is a Client with a DNS, one policy host for any number of domains and a
// clock of the test's.
type world struct {
	*Client
	dns   *fakeDNS
	clock *stepClock
	gets  atomic.Int64
	mu    sync.Mutex
	body  string // "": 404
	block chan struct{}
	log   []Event
}

func newWorld() *world {
	w := &world{dns: newDNS(), clock: newClock(), body: goodBody}
	w.Client = &Client{Resolver: w.dns, Clock: w.clock, Fetch: FetchConfig{Transport: roundTrip(w.serve)}, Trace: func(e Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.log = append(w.log, e)
	}}
	w.dns.set("example.com", "v=STSv1; id=1;")
	return w
}

func (w *world) serve(r *http.Request) (*http.Response, error) {
	w.gets.Add(1)
	w.mu.Lock()
	body, block := w.body, w.block
	w.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	response := &http.Response{StatusCode: 200, ProtoMajor: 2, ContentLength: -1, Header: http.Header{"Content-Type": {"text/plain"}}, Body: http.NoBody}
	if body == "" {
		response.StatusCode = 404
		return response, nil
	}
	response.Body = &nopBody{Reader: bytes.NewReader([]byte(body))}
	return response, nil
}

type nopBody struct{ *bytes.Reader }

func (nopBody) Close() error { return nil }

func (w *world) setBody(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.body = s
}

// idle waits until no flight is under way.
func (w *world) idle() {
	g := w.start()
	for {
		g.mu.Lock()
		var f *flight
		for _, any := range g.flights {
			f = any
		}
		g.mu.Unlock()
		if f == nil {
			return
		}
		<-f.done
	}
}

func (w *world) events() (k []EventKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k = kinds(w.log)
	w.log = nil
	return k
}

func (w *world) lookup(t *testing.T) Result {
	t.Helper()
	r, err := w.Lookup(t.Context(), "example.com")
	require.NoError(t, err)
	return r
}
