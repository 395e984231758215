package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// counting is what a sender keeps for the reports that it owes to domains (RFC
// 8460). A mail server would use a Store on disk, let the Aggregator Run, and have a
// tlsrpt.Reporter send to the domains that publish where; here the day ends with the
// program and the reports are shown.
type counting struct {
	store      tlsrpt.Memory
	aggregator *tlsrpt.Aggregator
}

func newCounting() (c *counting, err error) {
	c = &counting{}
	c.aggregator, err = tlsrpt.NewAggregator(&c.store, tlsrpt.AggregatorOptions{})
	return c, err
}

// owed is a report and the domain that gets it. What the report is about may be
// another: the owner of dane.example hears of the policy of mx.dane.example.
type owed struct {
	domain string
	report *tlsrpt.Report
}

// reports returns one report for each day and domain, in the order of both.
func (c *counting) reports(ctx context.Context) ([]owed, error) {
	if err := c.aggregator.Flush(ctx); err != nil {
		return nil, err
	}
	days, err := c.store.Days(ctx)
	if err != nil {
		return nil, err
	}
	var reports []owed
	for _, day := range days {
		var domains []string
		for domain, err := range c.store.Domains(ctx, day) {
			if err != nil {
				return nil, err
			}
			domains = append(domains, domain)
		}
		slices.Sort(domains)
		for _, domain := range domains {
			tally, err := c.store.Load(ctx, day, domain)
			if err != nil {
				return nil, err
			}
			reports = append(reports, owed{domain, &tlsrpt.Report{
				Organization: "Sender Example",
				Contact:      "postmaster@" + sender,
				ID:           tlsrpt.ReportID(day, domain, sender),
				Begin:        day.Begin(), End: day.End(),
				Policies: tally.Policies(),
			}})
		}
	}
	return reports, nil
}

// reports prints the reports as the domains would get them.
func (s *screen) reports(all []owed) error {
	for _, o := range all {
		text, err := json.MarshalIndent(o.report, "", "  ")
		if err != nil {
			return err
		}
		successes, failures := o.report.Totals()
		fmt.Fprintf(s.out, "\nTLS report to %s: %d sessions as its policies want, %d not\n%s\n", o.domain, successes, failures, text)
	}
	return nil
}
