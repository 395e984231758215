package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	gomtasts "github.com/foxcpp/go-mtasts"

	"github.com/smtpsec/smtpsec/mtasts"
)

// lookupRows look up domains in a filled policy cache, on the system's clock.
// Every second domain has a policy, the others are known to have none.
//
// go-mtasts asks for the TXT record on every Get and does not remember that there
// is none; its resolver here answers at once, as no network does.
func lookupRows() []row {
	const domains = 100_000
	rows := []row{{name: "MTA-STS cache hit, 100,000 domains, 1 core", goalNs: 150, setup: func() []contender {
		w := newCaches(domains)
		return []contender{w.ours(us, ours, 1), newCaches(thousand).ours("smtpsec, 1,000 domains", other, 1), w.bare("map lookup", 1), w.goMTASTS(1)}
	}}}
	if runtime.NumCPU() < 2 {
		return rows
	}
	const alone = "smtpsec on 1 core"
	return append(rows, row{name: "MTA-STS cache hit, 100,000 domains, 2 cores", clock: wall, goalNs: 150, limit: 1, limitOf: alone, setup: func() []contender {
		w := newCaches(domains)
		return []contender{w.ours(us, ours, 2), w.ours(alone, other, 1), w.bare("map lookup on 2 cores", 2), w.goMTASTS(2)}
	}})
}

// caches are the policy caches of the contenders, filled alike.
type caches struct {
	client *mtasts.Client
	theirs *gomtasts.Cache
	plain  map[string]mtasts.PolicyMode
	names  []string
}

func newCaches(domains int) *caches {
	w := &caches{
		client: &mtasts.Client{
			Resolver: records{}, Fetch: mtasts.FetchConfig{Transport: policyHosts{}},
			// Nothing falls due while the row is measured.
			Limits: mtasts.Limits{RecordInterval: 24 * time.Hour, NegativeTTL: 24 * time.Hour},
		},
		theirs: gomtasts.NewRAMCache(),
		plain:  make(map[string]mtasts.PolicyMode),
	}
	w.theirs.Resolver = records{}
	for i := range domains {
		name := fmt.Sprintf("domain%d.example.com", i)
		w.names = append(w.names, name)
		must(w.client.Lookup(context.Background(), name))
		w.plain[name] = mtasts.ModeUnknown
		if published(name) {
			w.plain[name] = mtasts.ModeEnforce
			check(w.theirs.Store.Store(name, recordID, time.Now(), must(readPolicy(strings.NewReader(policyText)))))
		}
	}
	return w
}

const recordID = "20160831085700Z"

// published says whether a domain has a policy: those with an even number.
func published(domain string) bool {
	number, _, _ := strings.Cut(domain, ".")
	return (number[len(number)-1]-'0')%2 == 0
}

// records is a DNS that answers at once.
type records struct{}

var (
	oneRecord = []string{recordText}
	noRecord  = &net.DNSError{Err: "no such host", IsNotFound: true}
)

func (records) LookupTXT(_ context.Context, name string) ([]string, error) {
	if published(strings.TrimPrefix(name, "_mta-sts.")) {
		return oneRecord, nil
	}
	return nil, noRecord
}

// policyHosts serves the policy for every domain.
type policyHosts struct{}

func (policyHosts) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 2, ContentLength: int64(len(policyText)), Request: r,
		Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(policyText)),
	}, nil
}

// stride leads through all domains in an order that no cache foresees. To it is
// added some part of the last result that is always zero. The processor, which
// does not know that, has to end one lookup before it begins the next, as it is
// when each belongs to a delivery of its own.
const stride = 7919

// A walker does n lookups beginning with the given domain and returns what the
// last one found.
type walker func(first, n int) (policy bool)

// walk shares the lookups among cores. The first core goes on where it ended.
func (w *caches) walk(name string, k kind, cores int, do walker) contender {
	var found bool
	next := 0
	return contender{
		name: name, kind: k,
		run: func(n int) {
			var others sync.WaitGroup
			for core := 1; core < cores; core++ {
				others.Go(func() { do((next+core*len(w.names)/cores)%len(w.names), n/cores) })
			}
			mine := n - (cores-1)*(n/cores)
			found = do(next, mine)
			others.Wait()
			next = (next + mine*stride) % len(w.names)
		},
		answer: func() string {
			if found {
				return "policy"
			}
			return "none"
		},
	}
}

func (w *caches) ours(name string, k kind, cores int) contender {
	ctx := context.Background()
	return w.walk(name, k, cores, func(i, n int) (policy bool) {
		for range n {
			r := must(w.client.Lookup(ctx, w.names[i]))
			policy = r.Outcome == mtasts.OutcomeEnforce
			i = (i + stride + int(r.Outcome>>7)) % len(w.names)
		}
		return policy
	})
}

func (w *caches) bare(name string, cores int) contender {
	return w.walk(name, floor, cores, func(i, n int) (policy bool) {
		for range n {
			mode := w.plain[w.names[i]]
			policy = mode == mtasts.ModeEnforce
			i = (i + stride + int(mode>>7)) % len(w.names)
		}
		return policy
	})
}

func (w *caches) goMTASTS(cores int) contender {
	ctx := context.Background()
	return w.walk(goMTASTS, peer, cores, func(i, n int) (policy bool) {
		for range n {
			p, err := w.theirs.Get(ctx, w.names[i])
			if err != nil && !gomtasts.IsNoPolicy(err) {
				panic(err)
			}
			age := 0
			if policy = p != nil; policy {
				age = p.MaxAge
			}
			i = (i + stride + age>>40) % len(w.names)
		}
		return policy
	})
}
