package ststest

// Fault is what is wrong with a policy host. The comment of each says what a client
// makes of it, as the Reason of its result.
type Fault uint8

const (
	FaultNone Fault = iota // zero value: 200, text/plain, the policy

	FaultRefused   // TCP connection refused: connect
	FaultSilent    // takes the connection and never says a word of TLS: timeout
	FaultHandshake // an alert for every ClientHello: tls
	FaultOldTLS    // TLS 1.1 at most: tls

	FaultExpired    // certificate out of date: cert
	FaultWrongName  // certificate of another host: cert
	FaultSelfSigned // certificate that no authority has signed: cert

	FaultNotFound    // status 404: status
	FaultServerError // status 503 with the policy as its body: status
	FaultRedirect    // status 302 to a path where the policy is: redirect
	FaultMediaType   // the policy as text/html: media-type
	FaultNoType      // the policy without Content-Type: media-type
	FaultGzip        // Content-Encoding gzip, though nobody asked: content-coding
	FaultHiddenGzip  // compressed without saying so: syntax
	FaultUnframed    // neither Content-Length nor chunked, ends by closing: unframed
	FaultTruncated   // closes before the promised end: body-read
	FaultEmpty       // status 200 and no body: empty
	FaultTooLarge    // a valid policy of 65537 octets: too-large
	FaultBigHeader   // a header of 64 KiB: too-large
	FaultInterim     // interim replies (1xx) without end: too-large
	FaultHang        // takes the request and never answers: timeout
	FaultDrip        // an octet of the body now and then, without end: timeout
	FaultNoHTTP      // answers in another protocol: body-read

	faults // how many there are
)

var faultNames = [faults]string{
	"none", "refused", "silent", "handshake", "old TLS", "expired", "wrong name", "self-signed", "not found",
	"server error", "redirect", "media type", "no type", "gzip", "hidden gzip", "unframed", "truncated", "empty",
	"too large", "big header", "interim", "hang", "drip", "no HTTP",
}

// String returns the fault in words.
func (f Fault) String() string { return name(faultNames[:], uint8(f)) }
