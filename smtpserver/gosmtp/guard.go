package gosmtp

import (
	"bytes"
	"io"
	"sync"

	"github.com/emersion/go-smtp"
)

// guard reads message data and stops where it goes beyond the size limit or, unless
// it is lenient, has a CR or an LF on its own. From there on it returns the error
// that the client is to get. What came before has been handed over by then.
type guard struct {
	r       io.Reader
	limit   int64 // octets that may still come; below 0: any number
	lenient bool
	cr      bool // the last octet was a CR

	mu   sync.Mutex      // a Backend may report statuses from another goroutine
	fail *smtp.SMTPError // why the message is refused
	done bool            // the end was reached and nothing was wrong
}

// failure returns why the message is refused, nil if it is not.
func (g *guard) failure() *smtp.SMTPError {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fail
}

// complete says whether the whole message was read and nothing was wrong.
func (g *guard) complete() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.done
}

// end notes why the message is refused, nil if its end was reached.
func (g *guard) end(fail *smtp.SMTPError) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail, g.done = fail, fail == nil
}

// Read implements io.Reader.
func (g *guard) Read(p []byte) (int, error) {
	if fail := g.failure(); fail != nil {
		return 0, fail
	}
	n, err := g.r.Read(p)
	var fail *smtp.SMTPError
	if g.limit >= 0 && int64(n) > g.limit {
		n, fail = int(g.limit), errTooLarge
	}
	if g.limit >= 0 {
		g.limit -= int64(n)
	}
	if !g.lenient {
		good, ok := g.scan(p[:n])
		if n = good; !ok || fail == nil && err == io.EOF && g.cr {
			fail = errBareNewline
		}
	}
	switch {
	case fail != nil:
		g.end(fail)
		return n, fail
	case err == io.EOF:
		g.end(nil)
	case err == io.ErrUnexpectedEOF:
		g.end(errBrokenOff)
	}
	return n, err
}

// scan returns how many octets of b come before the first CR or LF on its own, and
// whether there is none. It remembers a CR at the end of b.
func (g *guard) scan(b []byte) (good int, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	cr := g.cr
	g.cr = b[len(b)-1] == '\r'
	// Every LF has a CR before it, and there are as many of one as of the other: then
	// none is alone.
	pairs := 0
	for at := 0; ; pairs++ {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			break
		}
		at += i
		if at == 0 && !cr || at > 0 && b[at-1] != '\r' {
			return firstBare(b, cr), false
		}
		at++
	}
	crs := bytes.Count(b, []byte{'\r'})
	if cr {
		crs++
	}
	if g.cr {
		crs--
	}
	if crs != pairs {
		return firstBare(b, cr), false
	}
	return len(b), true
}

// firstBare returns the index of the first octet of b that shows a CR or LF to be on
// its own, if there is one; cr says that a CR came before b.
func firstBare(b []byte, cr bool) int {
	for i, c := range b {
		if cr != (c == '\n') {
			return i
		}
		cr = c == '\r'
	}
	return len(b)
}
