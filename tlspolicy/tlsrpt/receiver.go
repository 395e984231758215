package tlsrpt

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"
)

// receiveTime bounds how long the body of a POST may take.
const receiveTime = 60 * time.Second

// Receiver is the http.Handler of an https target: it takes the reports that others
// post (RFC 8460 section 5.4). Serve it at the URI of one's record. The fields are
// read-only once it serves.
//
// Nothing proves who posts a report, and every text in it is that of a stranger:
// see Report.Sanitized. It must not be served by a host whose TLS may fail together
// with that of the mail hosts.
type Receiver struct {
	// Accept takes a report and must be set. An error answers the POST with status
	// 503, so that the sender tries again; so a report may come twice, and Accept
	// returns nil for one that it has. Only a report that is equal in all is the
	// same one: the id can be foretold, and whoever posts another report with it
	// beforehand must not keep the true one out. It is called by AtOnce goroutines
	// at once.
	Accept func(ctx context.Context, r *Report, warnings []Warning) error
	// Limits bound a report.
	Limits Limits
	// AtOnce bounds the reports that are read and given to Accept at the same time,
	// each of which may take some times Limits.Decompressed of memory; 0: 4. What is
	// beyond waits, and gets status 503 after 10 seconds. The bodies that are still
	// coming do not count here, but take 2 * (AtOnce+1) * Limits.Compressed of
	// memory together at most; what is beyond gets status 503.
	AtOnce int
	// Trace is told of each POST that brought no report; nil: nobody is.
	Trace func(r *http.Request, err error)

	slots slots
}

// ServeHTTP answers a POST with 201 if the report was accepted, 400 if it is none,
// 413 if it is too large, 415 if it is of another type, and 503 if it should come
// again later; other methods with 405.
func (h *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	status, err := h.receive(w, request)
	if err != nil && h.Trace != nil {
		h.Trace(request, err)
	}
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "900")
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}

var (
	errMethod  = errors.New("tlsrpt: not a POST")
	errType    = errors.New("tlsrpt: not a TLS report by its media type")
	errTooMany = errors.New("tlsrpt: too many reports at once")
)

func (h *Receiver) receive(w http.ResponseWriter, request *http.Request) (int, error) {
	if request.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, errMethod
	}
	if !reportType(request) {
		return http.StatusUnsupportedMediaType, errType
	}
	atOnce := h.AtOnce
	if atOnce <= 0 {
		atOnce = defaultAtOnce
	}
	// A server without a deadline of its own must not wait for ever. A writer that
	// knows no deadlines is a test's.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(receiveTime))
	limits := h.Limits.withDefaults()
	if request.ContentLength > limits.Compressed {
		return http.StatusRequestEntityTooLarge, ErrReportLimit
	}
	// Beyond the limit the connection is closed, not drained.
	body, free, err := h.slots.body(http.MaxBytesReader(w, request.Body, limits.Compressed), bodyShare*int64(atOnce+1)*limits.Compressed)
	defer free()
	switch {
	case tooLarge(err):
		return http.StatusRequestEntityTooLarge, err
	case errors.Is(err, errTooMany):
		return http.StatusServiceUnavailable, err
	case err != nil:
		return http.StatusBadRequest, err
	}
	leave, ok := h.slots.enter(request.Context(), atOnce)
	if !ok {
		return http.StatusServiceUnavailable, errTooMany
	}
	defer leave()
	report, warnings, err := ParseReport(bytes.NewReader(body), limits)
	switch {
	case errors.Is(err, ErrReportLimit):
		return http.StatusRequestEntityTooLarge, err
	case err != nil:
		return http.StatusBadRequest, err
	}
	if err := h.Accept(request.Context(), report, warnings); err != nil {
		return http.StatusServiceUnavailable, err
	}
	return http.StatusCreated, nil
}

// reportType reports whether the media type is one of a report, or one of those
// under which senders post JSON and gzip. What it really is, the content shows.
func reportType(request *http.Request) bool {
	coding := strings.ToLower(strings.TrimSpace(request.Header.Get("Content-Encoding")))
	if coding != "" && coding != "identity" && coding != "gzip" {
		return false
	}
	media, _, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	if err != nil {
		return request.Header.Get("Content-Type") == ""
	}
	switch media {
	case TypeGzip, TypeJSON, "application/json", "application/gzip", "application/x-gzip", "application/octet-stream":
		return true
	}
	return false
}
