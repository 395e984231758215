package smtpclient

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// What a server may make us read. RFC 5321 section 4.5.3.1.5 allows 512 octets
// in a reply line; servers exceed it in EHLO and in explanations, so the bound
// is wider, but it is a bound.
const (
	// DefaultReplyLine is the longest accepted reply line in octets, its line
	// end included.
	DefaultReplyLine = 2000
	// DefaultReplyLines is the largest number of lines in one reply.
	DefaultReplyLines = 100
	// DefaultReplyBytes is the largest size of one reply in octets.
	DefaultReplyBytes = 32 << 10

	// replyBuffer is the size of the pooled read buffers, one for each Dial that
	// waits for a reply. A line of the default length fits.
	replyBuffer = 2048
	// emptyReads is how often a reader may return nothing and no error.
	emptyReads = 100
)

// The ways in which a reply can break the rules. They are reached through
// *ProtocolError with errors.Is.
var (
	// ErrReplySyntax is a line that is not "three digits, then space, hyphen or
	// line end", or a code outside 200 to 599 (RFC 5321 section 4.2).
	ErrReplySyntax = errors.New("reply line is malformed")
	// ErrReplyCodes is a reply whose lines carry different codes (RFC 5321
	// section 4.2.1).
	ErrReplyCodes = errors.New("lines of one reply carry different codes")
	// ErrReplyOctets is a NUL, or a CR that no LF follows.
	ErrReplyOctets = errors.New("reply holds a NUL or a bare CR")
	// ErrReplyLimit is a line, a number of lines or a reply beyond Limits.
	ErrReplyLimit = errors.New("reply exceeds the limits")
	// ErrReplyExtra are bytes behind a reply while no command is outstanding.
	ErrReplyExtra = errors.New("bytes behind the reply that nobody asked for")
	// ErrReplyCode is a well-formed reply whose code cannot answer the command.
	ErrReplyCode = errors.New("reply code does not fit the command")
)

// reply is one SMTP reply. It is reused: its text is valid until the next
// reply is read into it.
type reply struct {
	code int
	text []byte // the text of every line, one behind the other, as received
	ends []int  // where each line ends in text

	command []byte // the command that it answers; kept here to be reused
}

func (r *reply) reset() {
	r.code, r.text, r.ends = 0, r.text[:0], r.ends[:0]
}

// lines returns how many lines the reply has.
func (r *reply) lines() int { return len(r.ends) }

// line returns the text of line i, without code and line end.
func (r *reply) line(i int) []byte {
	start := 0
	if i > 0 {
		start = r.ends[i-1]
	}
	return r.text[start:r.ends[i]]
}

// replyReader reads replies strictly. net/textproto would let a reply change
// its code in the middle, accept any number of digits and any length, and has
// no notion of bytes that came too early.
type replyReader struct {
	src    io.Reader
	buf    []byte
	r, w   int // buf[r:w] is read and not yet used
	limits *Limits
}

var bufferPool = sync.Pool{New: func() any { return new([replyBuffer]byte) }}

// newReplyReader returns a reader on src. release gives its buffer back.
func newReplyReader(src io.Reader, limits *Limits) replyReader {
	rr := replyReader{src: src, limits: limits}
	if limits.ReplyLine <= replyBuffer {
		rr.buf = bufferPool.Get().(*[replyBuffer]byte)[:]
	} else {
		rr.buf = make([]byte, limits.ReplyLine)
	}
	return rr
}

func (rr *replyReader) release() {
	if len(rr.buf) == replyBuffer {
		bufferPool.Put((*[replyBuffer]byte)(rr.buf))
	}
	*rr = replyReader{}
}

// buffered tells how many bytes were received beyond the last reply.
func (rr *replyReader) buffered() int { return rr.w - rr.r }

// read reads one whole reply into dst. On an error the stream has no defined
// position any more and the connection must be given up.
func (rr *replyReader) read(dst *reply) error {
	dst.reset()
	total := 0
	for {
		line, size, err := rr.line()
		if err != nil {
			if err == io.EOF && dst.lines() > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if total += size; total > rr.limits.ReplyBytes {
			return ErrReplyLimit
		}
		code, more, ok := parseReplyLine(line)
		switch {
		case !ok:
			return ErrReplySyntax
		case dst.lines() == 0:
			dst.code = code
		case dst.code != code:
			return ErrReplyCodes
		}
		if dst.lines() == rr.limits.ReplyLines {
			return ErrReplyLimit
		}
		if len(line) > 4 {
			dst.text = append(dst.text, line[4:]...)
		}
		dst.ends = append(dst.ends, len(dst.text))
		if !more {
			return nil
		}
	}
}

// parseReplyLine splits a line without its line end. more means that another
// line of the same reply follows.
func parseReplyLine(line []byte) (code int, more, ok bool) {
	if len(line) < 3 {
		return 0, false, false
	}
	a, b, c := line[0], line[1], line[2]
	if a < '2' || a > '5' || b < '0' || b > '9' || c < '0' || c > '9' {
		return 0, false, false
	}
	code = int(a-'0')*100 + int(b-'0')*10 + int(c-'0')
	if len(line) == 3 {
		return code, false, true
	}
	switch line[3] {
	case ' ':
		return code, false, true
	case '-':
		return code, true, true
	}
	return 0, false, false
}

// line returns the next line without its line end, and its size with it. The
// line is valid until the next call.
func (rr *replyReader) line() ([]byte, int, error) {
	seen := 0 // octets of buf[r:w] known to hold no LF
	for {
		if i := bytes.IndexByte(rr.buf[rr.r+seen:rr.w], '\n'); i >= 0 {
			size := seen + i + 1
			if size > rr.limits.ReplyLine {
				return nil, 0, ErrReplyLimit
			}
			line := rr.buf[rr.r : rr.r+size-1]
			rr.r += size
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
				return nil, 0, ErrReplyOctets
			}
			return line, size, nil
		}
		seen = rr.w - rr.r
		if seen >= rr.limits.ReplyLine {
			return nil, 0, ErrReplyLimit
		}
		if err := rr.fill(); err != nil {
			if err == io.EOF && seen > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, 0, err
		}
	}
}

// fill reads more bytes behind those that are there.
func (rr *replyReader) fill() error {
	if rr.r == rr.w {
		rr.r, rr.w = 0, 0
	} else if rr.w == len(rr.buf) {
		rr.w = copy(rr.buf, rr.buf[rr.r:rr.w])
		rr.r = 0
	}
	for range emptyReads {
		n, err := rr.src.Read(rr.buf[rr.w:])
		rr.w += n
		if n > 0 {
			return nil // an error with it comes again at the next read
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// printable returns b as text that is safe in logs, headers and replies:
// octets other than printable ASCII become question marks, and what exceeds
// limit is cut.
func printable(b []byte, limit int) string {
	if len(b) > limit {
		b = b[:limit]
	}
	for i, c := range b {
		if c < ' ' || c > '~' {
			out := append([]byte(nil), b...)
			for j := i; j < len(out); j++ {
				if out[j] < ' ' || out[j] > '~' {
					out[j] = '?'
				}
			}
			return string(out)
		}
	}
	return string(b)
}
