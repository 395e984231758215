package config

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/smtpsec/smtpsec/smtpserver"
)

func (c *Config) restartNeeded(old *Config) []string {
	var changed []string
	differ := func(what string, was, is any) {
		if was != is {
			changed = append(changed, fmt.Sprintf("%s: %v is to become %v", what, printable(was), printable(is)))
		}
	}
	differ("hostname", old.Hostname, c.Hostname)
	for _, l := range c.Listeners {
		i := slices.IndexFunc(old.Listeners, func(o Listener) bool { return o.Name == l.Name })
		if i < 0 {
			changed = append(changed, fmt.Sprintf("listener %s is new", show(l.Name)))
			continue
		}
		was := old.Listeners[i]
		name := "listener " + show(l.Name) + ": "
		differ(name+"address", was.Address, l.Address)
		differ(name+"implicit-tls", was.Options.ImplicitTLS, l.Options.ImplicitTLS)
		differ(name+"largest max-message-size", showSize(was.MaxMessageBytes), showSize(l.MaxMessageBytes))
		differ(name+"largest max-recipients", was.MaxRecipients, l.MaxRecipients)
		if frozen(was.Options) != frozen(l.Options) {
			changed = append(changed, name+"its limits and time limits")
		}
	}
	for _, l := range old.Listeners {
		if !slices.ContainsFunc(c.Listeners, func(n Listener) bool { return n.Name == l.Name }) {
			changed = append(changed, fmt.Sprintf("listener %s is gone", show(l.Name)))
		}
	}
	differ("resolver.kind", wordOf(resolverKinds, old.Resolver.Kind), wordOf(resolverKinds, c.Resolver.Kind))
	if old.Resolver.Kind == c.Resolver.Kind && !reflect.DeepEqual(old.Resolver, c.Resolver) {
		changed = append(changed, "resolver: its servers, and how far they are trusted")
	}
	if !old.Trust.Snapshot().Pool().Equal(c.Trust.Snapshot().Pool()) {
		changed = append(changed, "trust: for fetching MTA-STS policies; deliveries use it at once")
	}
	differ("mta-sts.directory", old.MTASTSDirectory, c.MTASTSDirectory)
	differ("spool.directory", old.Spool.Dir, c.Spool.Dir)
	differ("spool.min-free", showSize(old.Spool.Options.MinFree), showSize(c.Spool.Options.MinFree))
	differ("queue.per-domain", old.Queue.PerDomain, c.Queue.PerDomain)
	differ("queue.total", old.Queue.Total, c.Queue.Total)
	was, is := reportsOf(old), reportsOf(c)
	differ("tls-reports.directory", was.Dir, is.Dir)
	if was.Dir = is.Dir; was != is {
		changed = append(changed, "tls-reports: who sends them, and whether")
	}
	differ("metrics.address", old.Metrics, c.Metrics)
	differ("log.format", wordOf(formats, old.Log.JSON), wordOf(formats, c.Log.JSON))
	differ("log.level", wordOf(levels, old.Log.Level), wordOf(levels, c.Log.Level))
	return changed
}

func reportsOf(c *Config) Reports {
	if c.Reports == nil {
		return Reports{}
	}
	return *c.Reports
}

// frozen returns the options that a listener cannot take in while it runs, as far as
// the file has them.
func frozen(o smtpserver.Options) any {
	return [...]any{
		o.SessionTickets, o.MaxConns, o.DNSTimeout, o.EarlyTalker, o.CommandTimeout,
		o.HandshakeTimeout, o.DataTimeout, o.WriteTimeout, o.IdleTimeout, o.MaxConnAge,
	}
}

// printable shows an empty text as none.
func printable(v any) any {
	if v == "" {
		return "none"
	}
	if s, ok := v.(string); ok {
		return show(s)
	}
	return v
}
