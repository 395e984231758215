package smtpserver

import "github.com/smtpsec/smtpsec/internal/nameindex"

// hostIndex finds the first group of a host name. The keys are names, and tails
// that begin with a dot for all names that end in them.
type hostIndex struct {
	groups nameindex.Index[int32]
}

// maxHost is the longest host name that is looked up: RFC 1035 section 2.3.4 allows
// 255 octets in a message, which is at most 253 in text.
const maxHost = 255

func (x *hostIndex) add(key string, group int32) {
	if first, _ := x.groups.Add(key, group); group < *first {
		*first = group
	}
}

// lookup returns the least group of the name and its tails.
func (x *hostIndex) lookup(name string) int32 {
	if x.groups.Len() == 0 || len(name) > maxHost {
		return none
	}
	var buf [maxHost]byte
	n := copy(buf[:], name)
	if n > 0 && buf[n-1] == '.' {
		n--
	}
	for i, c := range buf[:n] {
		if 'A' <= c && c <= 'Z' {
			buf[i] = c + 'a' - 'A'
		}
	}
	found := none
	for i := range n {
		if i > 0 && buf[i] != '.' {
			continue
		}
		if i == 0 && buf[0] == '.' {
			return none // no host name begins with a dot
		}
		if group, ok := x.groups.Get(buf[i:n]); ok {
			found = min(found, group)
		}
	}
	return found
}
