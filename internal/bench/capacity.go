package main

import (
	"fmt"
	"math"
)

// The assumptions of the arithmetic. The document states them from here.
const (
	billion     = 1e9
	secondsADay = 86_400
	peakFactor  = 3   // the busiest second over the average one
	atMost      = 0.5 // share of the processors that is used at the peak
	nodeCores   = 16
	answerLife  = 3600 // seconds that a validated answer lives
	recordEvery = 600  // seconds between TXT questions for a domain in use, the default
	perDomain   = 4    // DNS answers for a domain: MX, A, AAAA, TLSA
)

// basis is what the arithmetic starts from.
type basis struct {
	messages   map[string]float64 // ns of processor time per message, by way
	validation float64            // ns of processor time for all of a domain's answers, nothing known
	octets     map[string]float64 // by what is held
}

func basisOf(deliveries []measured, lines map[string][]line, memory []held) basis {
	b := basis{messages: make(map[string]float64), octets: make(map[string]float64), validation: math.NaN()}
	costs := make(map[string][]float64)
	for _, m := range deliveries {
		costs[m.curve] = append(costs[m.curve], m.cost.median)
	}
	for name, all := range costs { // it hardly depends on how many go on at a time
		b.messages[name] = spreadOf(all).median
	}
	if l := lines[coldDelivery]; l != nil {
		b.validation = l[0].ns.median
	}
	for _, h := range memory {
		b.octets[h.what] = h.octets
	}
	return b
}

// throughput says what a core and a fleet can send.
func (b basis) throughput() [][]string {
	peak := billion / secondsADay * peakFactor
	lines := [][]string{{"what is remembered", "CPU per message", "messages per second and core", "cores for a billion a day", fmt.Sprintf("nodes of %d cores", nodeCores)}}
	for _, w := range ways {
		ns := b.messages[w.name]
		cores := peak * ns / 1e9 / atMost
		lines = append(lines, []string{w.name, figure(ns/1e3) + " µs", grouped(round2(1e9 / ns)), grouped(int(math.Ceil(cores))),
			grouped(int(math.Ceil(cores / nodeCores)))})
	}
	return lines
}

// perMillion says what a million domains cost a node.
func (b basis) perMillion() [][]string {
	gigabytes := func(octets float64) string { return fmt.Sprintf("%.2f GB", octets*million/1e9) }
	lines := [][]string{
		{"a million domains, each with", "on each node"},
		{"an MTA-STS policy in memory", gigabytes(b.octets[heldPolicy])},
		{"no MTA-STS policy, and that remembered", gigabytes(b.octets[heldNoPolicy])},
		{"an entry in the destination table", gigabytes(b.octets[heldEntry])},
		{fmt.Sprintf("%d validated DNS answers in the cache", perDomain), gigabytes(perDomain * b.octets[heldAnswer])},
		{"a TLS session and a verified chain", gigabytes(b.octets[heldSession])},
		{fmt.Sprintf("its answers validated anew every %d s", answerLife), fmt.Sprintf("%.2f cores", million/answerLife*b.validation/1e9)},
		{fmt.Sprintf("its MTA-STS record asked for every %d s", recordEvery), grouped(million/recordEvery) + " questions per second"},
	}
	return append(lines, []string{"an MTA-STS policy in Redis (once, not on each node; text alone)", gigabytes(b.octets[heldStored])})
}

// sums states the arithmetic in words.
func (b basis) sums() string {
	return fmt.Sprintf("A billion messages a day are %s a second on average and, taking the busiest second for %d times that, %s a second. "+
		"Cores are counted with %.0f %% of their time at that moment.\n",
		grouped(round2(billion/secondsADay)), peakFactor, grouped(round2(billion*peakFactor/secondsADay)), atMost*100)
}
