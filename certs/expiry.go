package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"
)

const day = 24 * time.Hour

// expiryState remembers what was told of each certificate.
type expiryState struct {
	told map[[sha256.Size]byte]expiryTold
}

type expiryTold struct {
	days    int       // the nearest of ExpiryDays at the last look; of no meaning after the end
	expired time.Time // when it was last told that it is over; zero: not yet
}

// CheckExpiry sends an event for each certificate whose validity ends on one of
// ExpiryDays or before, once for each of these days, and an event for each that is
// expired, once a day. It looks at the current and the next certificate of every
// entry, at their issuers, and at the custom authorities of the TrustStore.
// [Store.Watch] calls it; what was sent is forgotten with the Store. It returns the
// events. Error: [ErrNotOpen].
func (s *Store) CheckExpiry() ([]Event, error) {
	st, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer s.end()
	before := len(s.pending)
	former := s.expiry.told
	s.expiry.told = map[[sha256.Size]byte]expiryTold{} // of those that still exist
	for _, e := range st.sorted() {
		s.tellExpiry(former, e.name, "current", e.chain)
		if e.next != nil {
			s.tellExpiry(former, e.name, "next", e.next.chain)
		}
	}
	if s.options.Trust != nil {
		authorities, err := s.options.Trust.Authorities(CustomCAs)
		if err != nil {
			return nil, err
		}
		for _, a := range authorities {
			s.tellExpiry(former, "", "custom list", []*x509.Certificate{a.Certificate})
		}
	}
	return append([]Event(nil), s.pending[before:]...), nil
}

// tellExpiry queues the events about a chain. A certificate in several places
// counts in the first.
func (s *Store) tellExpiry(former map[[sha256.Size]byte]expiryTold, name, place string, chain []*x509.Certificate) {
	now := s.options.Now()
	for i, cert := range chain {
		if i > 0 {
			place = "issuer"
		}
		sum := fingerprint(cert)
		if _, seen := s.expiry.told[sum]; seen {
			continue
		}
		told, known := former[sum]
		left := cert.NotAfter.Sub(now)
		if left < 0 {
			// A time of telling that lies ahead was a wrong clock's.
			if told.expired.IsZero() || now.Sub(told.expired) >= day || now.Add(day).Before(told.expired) {
				told.expired = now
				s.note(certificateEvent(EventExpired, name, cert, place))
			}
		} else if days, near := s.threshold(left); !near {
			continue
		} else {
			if !known || !told.expired.IsZero() || days < told.days {
				s.note(certificateEvent(EventExpiring, name, cert, place))
			}
			told = expiryTold{days: days} // perhaps more than before: the clock was wrong then
		}
		s.expiry.told[sum] = told
	}
}

// threshold returns the nearest of ExpiryDays that is reached.
func (s *Store) threshold(left time.Duration) (days int, near bool) {
	for _, days := range s.options.ExpiryDays { // ascending
		if left <= time.Duration(days)*day {
			return days, true
		}
	}
	return 0, false
}

// expiring appends the finding of that name for a leaf that has reached one of
// ExpiryDays.
func (s *Store) expiring(dst []Finding, chain []*x509.Certificate) []Finding {
	left := chain[0].NotAfter.Sub(s.options.Now())
	if _, near := s.threshold(left); near && left >= 0 {
		dst = append(dst, Finding{Code: FindingExpiring, Severity: SeverityWarning, Cert: fingerprint(chain[0]),
			Detail: fmt.Sprintf("%d days are left, until %s", left/day, moment(chain[0].NotAfter))})
	}
	return dst
}
