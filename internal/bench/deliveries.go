package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// body is a message of 4 KiB.
var body = strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64)

// way is what a sender remembers from one delivery to the next.
type way struct {
	name             string
	sessions, chains int // Dialer.Sessions, PoolOptions.CacheEntries
	messages         int // in one connection
}

var ways = []way{
	{"nothing remembered", -1, -1, 1},
	{"verified chains", -1, 0, 1},
	{"chains and TLS sessions", 0, 0, 1},
	{"chains and TLS sessions, 10 messages a connection", 0, 0, 10},
}

// crowd are the numbers of destinations that are delivered to at the same time.
func crowd(p plan) []int {
	if p.quick {
		return []int{1, 4}
	}
	return []int{1, 4, 16, 64, 256}
}

// deliveryStudy sends messages of 4 KiB to as many destinations at the same time
// as x says, in mode Required-Verify-Hosted, to mail hosts in another process.
func deliveryStudy(p plan) study {
	return study{
		name: "Deliveries", perSecond: true,
		chart: chart{file: "deliveries", title: "Messages per second, sender and mail hosts on the same machine",
			x: "destinations delivered to at the same time", y: "messages per second"},
		setup: func() (all []studied) {
			most := 0
			for _, n := range crowd(p) {
				most = max(most, n)
			}
			hosts := newMailHosts(most)
			for _, w := range ways {
				d := hosts.dialer(tlspolicy.RequiredVerifyHosted, w.sessions, w.chains)
				for _, n := range crowd(p) {
					all = append(all, studied{w.name, n, hosts.deliver(d, w, n)})
				}
			}
			all[0].close = hosts.end.close
			return all
		},
	}
}

// ofSender shows the same measurements as processor time of the sender alone.
func (s study) ofSender() study {
	s.perSecond = false
	s.chart.file, s.chart.title = "sender", "Processor time of the sender for a message"
	s.chart.y = "ns of processor time per message"
	return s
}

// deliver shares messages among as many workers as there are destinations, each
// of which delivers to its own.
func (h *mailHosts) deliver(d *smtpclient.Dialer, w way, destinations int) contender {
	return contender{
		name: fmt.Sprintf("%s, %d at a time", w.name, destinations), kind: ours, end: h.end, least: 2 * destinations * w.messages,
		run: func(n int) {
			var taken atomic.Int64
			var workers sync.WaitGroup
			for i := range min(destinations, (n+w.messages-1)/w.messages) {
				workers.Go(func() {
					for {
						begin := taken.Add(int64(w.messages)) - int64(w.messages)
						if begin >= int64(n) {
							return
						}
						send(d, destinationName(i), min(w.messages, n-int(begin)))
					}
				})
			}
			workers.Wait()
		},
	}
}

// send delivers messages in one connection.
func send(d *smtpclient.Dialer, domain string, messages int) {
	s := must(d.Dial(context.Background(), domain))
	c := must(s.NetSMTP())
	for range messages {
		check(c.Mail("a@sender.example"))
		check(c.Rcpt("b@" + domain))
		w := must(c.Data())
		must(io.WriteString(w, body))
		check(w.Close())
	}
	check(c.Quit())
}
