package dnssec

import (
	"context"
	"time"
)

// upstreams returns the servers that can be asked, and checks them if that is due.
func (v *Validator) upstreams(ctx context.Context) (*upstreams, *Error) {
	now := v.options.Now()
	list := v.source.current(now)
	if ups := v.ups.Load(); ups != nil && ups.list == list && now.Before(ups.due) {
		return ups, nil
	}
	return v.check(ctx, list)
}

// check asks each server of list for signatures, once for all who want it at the same time.
func (v *Validator) check(ctx context.Context, list *serverList) (*upstreams, *Error) {
	ups, err, ok := v.checks.do(ctx, list, func(ctx context.Context) (*upstreams, error) {
		ups, failed := v.tryServers(ctx, list)
		if failed != nil {
			return nil, failed
		}
		return v.adopt(ups), nil
	})
	switch {
	case !ok:
		return nil, ended(ctx, v.checkQuery(), nil)
	case err != nil:
		return nil, err.(*Error)
	}
	return ups, nil
}

func (v *Validator) checkQuery() query {
	return query{name: v.checkZone(), typ: TypeDNSKEY, cd: true, do: true}
}

// tryServers sorts the servers. An error is no verdict about them: none has replied.
func (v *Validator) tryServers(ctx context.Context, list *serverList) (*upstreams, *Error) {
	type result struct {
		reply  reply
		unfit  string
		failed *Error
	}
	type numbered struct {
		number int
		result
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan numbered, len(list.servers))
	for i := range list.servers {
		go func() {
			r, unfit, failed := v.tryServer(ctx, list, i)
			done <- numbered{i, result{r, unfit, failed}}
		}()
	}
	// A server that is down must not hold up the others: once its first try is over, one that is fit is enough.
	patience := time.NewTimer(list.timeout)
	defer patience.Stop()
	results := make([]*result, len(list.servers))
	fit := 0
	for waiting := len(results); waiting > 0; waiting-- {
		var tired <-chan time.Time
		if fit > 0 {
			tired = patience.C
		}
		select {
		case r := <-done:
			results[r.number] = &r.result
			if r.failed == nil && r.unfit == "" {
				fit++
			}
		case <-tired:
			waiting = 1
		}
	}
	ups := &upstreams{list: list, due: v.options.Now().Add(fitFor)}
	var failure *Error
	for i, r := range results {
		switch {
		case r == nil:
		case r.failed != nil:
			failure = moreTelling(failure, r.failed)
		case r.unfit != "":
			ups.reason = &Error{Kind: KindUnusable, Reason: r.unfit, EDE: noEDE, Server: list.servers[i]}
		default:
			if ups.servers == nil {
				ups.check.Store(&checkReply{v.checkZone(), v.options.Now(), r.reply})
			}
			ups.servers = append(ups.servers, list.servers[i])
		}
	}
	switch {
	case ups.servers != nil:
		ups.reason = nil
	case ups.reason != nil:
		ups.due = v.options.Now().Add(unfitFor)
	default:
		return nil, failure
	}
	return ups, nil
}

// tryServer asks one server for keys with signatures. Only an answer is evidence that it has none to give.
func (v *Validator) tryServer(ctx context.Context, list *serverList, i int) (r reply, unfit string, failed *Error) {
	start, server, q := time.Now(), list.servers[i], v.checkQuery()
	r, failed = v.net.ask(ctx, list, list.servers[i:i+1], q)
	event := Event{
		Kind: EventCheck, Question: Question{q.name.String(), q.typ}, Server: server, Elapsed: time.Since(start),
	}
	if failed != nil {
		event.Err = failed
	} else if set := newSection(r.answer).find(q.name, q.typ); set == nil || len(set.signatures) == 0 {
		unfit = "it strips DNSSEC: it has no signed DNSKEY records for the zone " + q.name.String() +
			"; name a resolver that passes DNSSEC records on"
		event.Err = unusable(unfit, nil)
	}
	v.options.Trace(event)
	return r, unfit, failed
}

// adopt makes ups what is used from now on.
func (v *Validator) adopt(ups *upstreams) *upstreams {
	v.adopting.Lock()
	defer v.adopting.Unlock()
	old := v.ups.Load()
	if old == nil || old.list != ups.list {
		ups.generation = v.cache.purge()
	} else {
		ups.generation = old.generation
	}
	v.ups.Store(ups)
	switch {
	case v.silent.Load():
	case ups.reason == nil && (old == nil || old.reason != nil):
		v.options.Trace(Event{Kind: EventTrusted})
	case ups.reason != nil && (old == nil || old.reason == nil || old.reason.Error() != ups.reason.Error()):
		v.options.Logger.Warn("DNS answers cannot be validated", "reason", ups.reason)
		v.options.Trace(Event{Kind: EventUntrusted, Err: ups.reason})
	}
	return ups
}
