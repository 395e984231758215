package smtpserver

import "bytes"

// Types of TLS records (RFC 8446 section 5.1).
const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordApplicationData  = 23
)

const (
	recordHeader = 5
	// maxRecord is the longest payload: 2^14 octets and what encryption may add in
	// TLS 1.2 (RFC 5246 section 6.2.3).
	maxRecord = 1<<14 + 2048
	// encryptedAlert is the length of an alert in TLS 1.3: level, description, the
	// type of the record and a tag of 16 octets. No Finished message and no reply of
	// SMTP is as short.
	encryptedAlert = 2 + 1 + 16
)

// record is what the guard looks at in a record.
type record struct {
	kind  byte
	size  int     // of the payload
	first [2]byte // of the payload
}

type recordState uint8

const (
	recordPartial recordState = iota // more octets are needed
	recordComplete
	recordBroken // these are no TLS records
)

// records follows one direction of a connection record by record.
type records struct {
	head [recordHeader + 2]byte
	n    int  // octets of head that have come
	left int  // octets of the payload that are still to come
	open bool // a record has come: the first is of a handshake, or an alert
}

// next takes octets up to the end of a record and says how many it took. Of a
// broken record it takes no more than the header, and no line end of that.
func (r *records) next(b []byte) (n int, rec record, state recordState) {
	for n < len(b) && r.n < recordHeader {
		r.head[r.n] = b[n]
		n, r.n = n+1, r.n+1
		if !r.plausible() {
			return n - 1 + headerRest(b[n-1:], recordHeader-r.n), record{}, recordBroken
		}
		if r.n == recordHeader {
			r.left = r.size()
		}
	}
	if r.n < recordHeader {
		return n, record{}, recordPartial
	}
	for n < len(b) && r.left > 0 && r.n < len(r.head) {
		r.head[r.n] = b[n]
		n, r.n, r.left = n+1, r.n+1, r.left-1
	}
	skip := min(r.left, len(b)-n)
	n, r.left = n+skip, r.left-skip
	if r.left > 0 {
		return n, record{}, recordPartial
	}
	rec = record{kind: r.head[0], size: r.size(), first: [2]byte{r.head[5], r.head[6]}}
	*r = records{open: true}
	return n, rec, recordComplete
}

// headerRest returns how much the server may have from the octet of a header on that
// breaks it: that one and, so that a TLS stack can see what is wrong, up to more of the
// header. But nothing that a line ends in: "DATA" and an LF are as long as a header.
func headerRest(b []byte, more int) int {
	n := min(1+more, len(b))
	if bytes.ContainsAny(b[:n], "\r\n") {
		return 1
	}
	return n
}

func (r *records) size() int { return int(r.head[3])<<8 | int(r.head[4]) }

// plausible looks at the octet of the header that has just come.
func (r *records) plausible() bool {
	switch r.n {
	case 1:
		// crypto/tls gives up on any other first record behind its header, without
		// an alert, and a server might take the payload for commands.
		return isRecordType(r.head[0]) && (r.open || r.head[0] == recordHandshake || r.head[0] == recordAlert)
	case 2:
		return r.head[1] == 3
	case 5:
		return r.size() <= maxRecord
	}
	return true
}

func isRecordType(b byte) bool { return recordChangeCipherSpec <= b && b <= recordApplicationData }

// looksLikeRecord says whether what a server writes begins with a record header, as
// far as it goes.
func looksLikeRecord(b []byte) bool {
	return len(b) > 0 && isRecordType(b[0]) && (len(b) < 2 || b[1] == 3)
}
