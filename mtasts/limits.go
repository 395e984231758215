package mtasts

import "time"

// Limits are the intervals and bounds of a Client. A field of zero or less has
// the default that its comment states.
type Limits struct {
	// RecordInterval is the time between TXT queries for a domain in use: 10
	// minutes.
	RecordInterval time.Duration
	// RefreshInterval is the age at which a policy is fetched again (RFC 8461
	// section 3.3): 24 hours, and never more than half of max_age.
	RefreshInterval time.Duration
	// NegativeTTL is how long it is remembered that a domain has no record, or
	// several, or a malformed one: 15 minutes.
	NegativeTTL time.Duration
	// ErrorTTL is how long a failed TXT query is remembered: 1 minute.
	ErrorTTL time.Duration
	// MinFetchGap is the least time between two GETs for one domain, whatever
	// the ids: 30 seconds. It bounds what forged TXT answers can cause.
	MinFetchGap time.Duration
	// MinMaxAge raises the validity of enforce and testing policies, for those
	// who distrust very short ones: 0. Mode none is never raised.
	MinMaxAge time.Duration

	// LeaseWait is how long a process that holds no policy waits for another
	// that is asking, where the Store is a Leaser: 5 seconds.
	LeaseWait time.Duration

	// MaxFlights is how many discoveries run at once: 256.
	MaxFlights int
	// MaxPolicies is how many policies are held in memory: 100000.
	MaxPolicies int
	// MaxPolicyBytes bounds the memory of policies in octets of bodies and
	// parsed text: 256 MiB.
	MaxPolicyBytes int64
	// MaxNegative is how many domains without policy are remembered: 200000.
	MaxNegative int
}

func (l Limits) withDefaults() Limits {
	def(&l.RecordInterval, 10*time.Minute)
	def(&l.RefreshInterval, 24*time.Hour)
	def(&l.NegativeTTL, 15*time.Minute)
	def(&l.ErrorTTL, time.Minute)
	def(&l.MinFetchGap, 30*time.Second)
	def(&l.MinMaxAge, 0)
	l.MinMaxAge = min(l.MinMaxAge, MaxAge)
	def(&l.LeaseWait, 5*time.Second)
	def(&l.MaxFlights, 256)
	def(&l.MaxPolicies, 100000)
	def(&l.MaxPolicyBytes, 256<<20)
	def(&l.MaxNegative, 200000)
	return l
}

func def[T ~int | ~int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
