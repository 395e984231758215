package policymap

import (
	"bufio"
	"errors"
	"io"
	"strconv"
)

// ErrNetstring says that what was read is no netstring (D. J. Bernstein, Netstrings,
// 1997), or a longer one than allowed. Where the next one begins is not known then.
var ErrNetstring = errors.New("policymap: not a netstring")

// readNetstring reads "5:hello," and returns hello, in buf if that has room for it. Longer
// ones than limit are not read. An end of file in the middle is ErrNetstring, and one
// before the first octet io.EOF.
func readNetstring(r *bufio.Reader, buf []byte, limit int) ([]byte, error) {
	n := -1
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil && n < 0:
			return nil, err
		case err != nil:
			return nil, errors.Join(ErrNetstring, err)
		case c == ':' && n >= 0:
		case c < '0' || c > '9', n == 0: // "0" alone may begin with a zero
			return nil, ErrNetstring
		default:
			n = max(n, 0)*10 + int(c-'0')
			if n > limit {
				return nil, ErrNetstring
			}
			continue
		}
		break
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, errors.Join(ErrNetstring, err)
	}
	if c, err := r.ReadByte(); err != nil || c != ',' {
		return nil, errors.Join(ErrNetstring, err)
	}
	return buf, nil
}

// appendNetstring appends the parts as one netstring.
func appendNetstring(b []byte, parts ...string) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, ':')
	for _, p := range parts {
		b = append(b, p...)
	}
	return append(b, ',')
}
