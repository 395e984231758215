package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
)

// A group holds the records of one usage, selector and matching type, so that a
// certificate is hashed once for all of them. Their ranks follow each other.
type group struct {
	selector Selector
	matching MatchingType
	first    int // rank of the first record
	sums256  [][sha256.Size]byte
	sums512  [][sha512.Size]byte
	full     [][]byte
}

// addToGroup puts the entry with this rank into the last group of its usage, or
// opens the next one.
func (v *Verifier) addToGroup(rank int) {
	r := &v.entries[rank].record
	groups := &v.groups[r.Usage]
	n := len(*groups)
	if n == 0 || (*groups)[n-1].selector != r.Selector || (*groups)[n-1].matching != r.MatchingType {
		*groups = append(*groups, group{selector: r.Selector, matching: r.MatchingType, first: rank})
		n++
	}
	g := &(*groups)[n-1]
	switch r.MatchingType {
	case MatchingSHA256:
		g.sums256 = append(g.sums256, [sha256.Size]byte(r.Data))
	case MatchingSHA512:
		g.sums512 = append(g.sums512, [sha512.Size]byte(r.Data))
	default:
		g.full = append(g.full, r.Data)
	}
}

// match returns the least rank of a record with the selected part of cert, -1 if
// there is none.
func match(groups []group, cert *x509.Certificate) int {
	for i := range groups {
		if rank := groups[i].match(cert); rank >= 0 {
			return rank
		}
	}
	return -1
}

// match returns the rank of the record of g that cert satisfies, or -1. There is
// one at most: equal records were merged.
func (g *group) match(cert *x509.Certificate) int {
	part := cert.Raw
	if g.selector == SelectorSPKI {
		part = cert.RawSubjectPublicKeyInfo
	}
	switch g.matching {
	case MatchingSHA256:
		sum := sha256.Sum256(part)
		for i := range g.sums256 {
			if g.sums256[i] == sum {
				return g.first + i
			}
		}
	case MatchingSHA512:
		sum := sha512.Sum512(part)
		for i := range g.sums512 {
			if g.sums512[i] == sum {
				return g.first + i
			}
		}
	default:
		for i := range g.full {
			if bytes.Equal(g.full[i], part) {
				return g.first + i
			}
		}
	}
	return -1
}
