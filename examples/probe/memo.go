package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/smtpsec/smtpsec/dane/dnssec"
)

// memo asks each question once in the course of one look at a domain, so that all
// that is told about it rests on the same answers. How many questions there can be
// is bounded by the bounds on hosts, addresses and aliases.
type memo struct {
	dnssec.Resolver
	mu      sync.Mutex
	answers map[dnssec.Question]memoized
}

type memoized struct {
	answer *dnssec.Answer
	err    error
}

// Lookup implements dnssec.Resolver.
func (m *memo) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	q := dnssec.Question{Name: strings.ToLower(strings.TrimSuffix(name, ".")), Type: t}
	m.mu.Lock()
	known, ok := m.answers[q]
	m.mu.Unlock()
	if ok {
		return known.answer, known.err
	}
	answer, err := m.Resolver.Lookup(ctx, name, t)
	if ctx.Err() == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.answers == nil {
			m.answers = map[dnssec.Question]memoized{}
		}
		m.answers[q] = memoized{answer, err}
	}
	return answer, err
}

// checkResolver is what mtasts.Check asks.
type checkResolver struct{ dnssec.NetResolver }

// LookupMX implements mtasts.CheckResolver.
func (r checkResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	set, err := dnssec.LookupMX(ctx, r.Resolver, name)
	if err != nil {
		return nil, fmt.Errorf("MX lookup: %w", err)
	}
	var records []*net.MX
	for _, mx := range set.Hosts {
		records = append(records, &net.MX{Host: mx.Host, Pref: mx.Pref})
	}
	return records, nil
}
