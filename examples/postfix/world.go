package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/examples/postfix/policymap"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/dirstore"
)

// A world is what answers come from.
type world struct {
	answers      *policymap.Map
	policies     *mtasts.Client
	destinations []string // of the lab
	close        func()
}

// newWorld sets up the resolver and the MTA-STS client: those of this machine, or
// those of the lab.
func newWorld(ctx context.Context, o *options, logger, policyLogger *slog.Logger) (*world, error) {
	w := &world{policies: &mtasts.Client{Logger: policyLogger}, close: func() {}}
	if o.cache != "" {
		store, err := dirstore.Open(o.cache, dirstore.Options{Report: func(path string, err error) {
			logger.Warn("put aside", "file", path, "error", err)
		}})
		if err != nil {
			return nil, fmt.Errorf("-cache: %w", err)
		}
		w.policies.Store = store
	}
	var resolver dnssec.Resolver
	if o.lab {
		all, destinations := lab.Destinations()
		internet, err := lab.Start(all)
		if err != nil {
			return nil, err
		}
		w.close = func() { internet.Close() }
		w.destinations = labDestinations(destinations)
		resolver = internet.Resolver()
		w.policies.Fetch = mtasts.FetchConfig{RootCAs: internet.Roots(), DialContext: internet.DialContext,
			AllowPrefixes: append(lab.Prefixes(), netip.MustParsePrefix("127.0.0.0/8"))}
	} else {
		w.policies.Fetch.AllowPrefixes = o.allowed
		var err error
		if resolver, err = dnssec.FromSystem(ctx, dnssec.Common{Logger: logger}); err != nil {
			return nil, err
		}
		if checker, ok := resolver.(dnssec.Checker); ok {
			switch err := checker.Check(ctx); {
			case err != nil && o.dnssec:
				return nil, fmt.Errorf("-require-dnssec: %w", err)
			case err != nil:
				logger.Error("no answer will rest on DANE", "error", err)
			}
		}
	}
	w.policies.Resolver = dnssec.NetResolver{Resolver: resolver}
	w.answers = &policymap.Map{Resolver: resolver, MTASTS: w.policies, Port: uint16(o.port), Logger: logger}
	return w, nil
}
