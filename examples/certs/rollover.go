package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/smtpsec/smtpsec/certs"
)

// The change to another key is that of RFC 7671 section 8.1 and RFC 7672 section 2.1.3:
// publish the next key, wait, switch, wait, drop the former key.

func rolloverStart(f *flag.FlagSet) action {
	var next certs.NextOptions
	records := addRecords(f)
	f.StringVar((*string)(&next.Algorithm), "algorithm", "", "as for self-signed (default: by the kind of the present key)")
	f.IntVar(&next.KeySize, "key-size", 0, "`bits` of an RSA key")
	return func(p *program, args []string) error {
		return p.withStore(toWrite, "none", func(s *certs.Store) error {
			d, err := s.Detail(args[0])
			if err != nil {
				return err
			}
			if _, err := records.owner(d.Chain[0]); err != nil { // before a key is made
				return err
			}
			if d.HasNext && next != (certs.NextOptions{}) {
				return fmt.Errorf("%q has a next key already: rollover abandon drops it", d.Name)
			}
			if _, err := s.PrepareNext(args[0], next); err != nil {
				return err
			}
			p.note("publish these records, then: certs rollover published %s -ttl TTL", d.Name)
			return records.ofEntry(p, s, args[0])
		})
	}
}

func rolloverRequest(f *flag.FlagSet) action {
	out := outFlag(f)
	return func(p *program, args []string) error {
		return p.withStore(toWrite, "none", func(s *certs.Store) error {
			d, err := s.Detail(args[0])
			if err != nil {
				return err
			}
			if !d.HasNext {
				return noNext(d)
			}
			next, err := s.PrepareNext(args[0], certs.NextOptions{})
			if err != nil {
				return err
			}
			return p.write(*out, next.Request)
		})
	}
}

func noNext(d certs.EntryDetail) error {
	return fmt.Errorf("%q has no next key: rollover start makes one", d.Name)
}

func rolloverInstall(f *flag.FlagSet) action {
	o, own, days := addInstall(f), f.Bool("self-signed", false, "the next key signs for itself"), daysFlag(f)
	return func(p *program, args []string) error {
		if *own != (len(args) == 1) {
			return usage("rollover install wants either FILE or -self-signed")
		}
		var data []byte
		if !*own {
			var err error
			if data, err = o.read(p, args[1]); err != nil {
				return err
			}
		}
		return p.withStore(toWrite, o.system, func(s *certs.Store) error {
			var r certs.Result
			var err error
			if *own {
				r, err = s.SelfSignNext(args[0], *days)
			} else {
				r, err = s.InstallNext(args[0], data, o.options)
				err = notFor(args[1], args[0], err)
			}
			if err != nil {
				return err
			}
			p.findings(r.Findings)
			p.note("the next key of %q has a certificate; nothing else is served yet", r.Name)
			return nil
		})
	}
}

func rolloverPublished(f *flag.FlagSet) action {
	ttl := f.Duration("ttl", 0, "the longest time to live that the TLSA records have had, such as 1h")
	return func(p *program, args []string) error {
		if *ttl == 0 {
			return usage("-ttl is needed: it says for how long resolvers may hold the former records")
		}
		return p.withStore(toWrite, "none", func(s *certs.Store) error {
			if err := s.ConfirmPublished(args[0], *ttl); err != nil {
				return err
			}
			return p.status(s, args[0])
		})
	}
}

func rolloverStatus(*flag.FlagSet) action {
	return func(p *program, args []string) error {
		return p.withStore(toRead, "none", func(s *certs.Store) error { return p.status(s, args[0]) })
	}
}

// status prints the steps that are left, the next one first.
func (p *program) status(s *certs.Store, name string) error {
	d, err := s.Detail(name)
	if err != nil {
		return err
	}
	former := len(d.Previous) > 0 && !bytes.Equal(d.Previous[0].RawSubjectPublicKeyInfo, d.Chain[0].RawSubjectPublicKeyInfo)
	if d.HasNext {
		if d.PromoteFrom.IsZero() {
			fmt.Fprintln(p.stdout, "publish: now; tlsa prints the records, then: rollover published")
		}
		if len(d.Next) == 0 {
			fmt.Fprintln(p.stdout, "install: now; rollover csr prints the request")
		}
		fmt.Fprintf(p.stdout, "switch:  %s\n", p.when(d.PromoteFrom, "two TTLs after the publication"))
	}
	if former {
		fmt.Fprintf(p.stdout, "finish:  %s\n", p.when(d.RetireFrom, "when the former records have left all caches: -force, for nobody has confirmed a publication"))
	} else if d.HasNext {
		fmt.Fprintln(p.stdout, "finish:  two TTLs after the switch")
	}
	if !d.HasNext && !former {
		fmt.Fprintln(p.stdout, "no rollover")
	}
	return nil
}

// when says from when on something may be done.
func (p *program) when(from time.Time, unknown string) string {
	switch {
	case from.IsZero():
		return unknown
	case p.now().Before(from):
		return "from " + moment(from) + " on"
	}
	return "now"
}

func rolloverSwitch(f *flag.FlagSet) action {
	force := f.Bool("force", false, "at once: for a host without TLSA records")
	return func(p *program, args []string) error {
		return p.withStore(toWrite, "none", func(s *certs.Store) error {
			r, err := s.Promote(args[0], *force)
			if errors.Is(err, certs.ErrNotFound) {
				if d, detailErr := s.Detail(args[0]); detailErr == nil {
					return noNext(d)
				}
			}
			if err != nil {
				return err
			}
			p.findings(r.Findings)
			p.note("%q has another key in service; keep the records of both until: certs rollover finish", r.Name)
			return p.status(s, args[0])
		})
	}
}

func rolloverFinish(f *flag.FlagSet) action {
	force := f.Bool("force", false, "at once")
	records := addRecords(f)
	return func(p *program, args []string) error {
		return p.withStore(toWrite, "none", func(s *certs.Store) error {
			d, err := s.Detail(args[0])
			if err != nil {
				return err
			}
			if _, err := records.owner(d.Chain[0]); err != nil { // before anything is dropped
				return err
			}
			if err := s.Retire(args[0], *force); err != nil {
				return err
			}
			p.note("the former key is gone; publish these records alone")
			return records.ofEntry(p, s, args[0])
		})
	}
}

func rolloverAbandon(*flag.FlagSet) action {
	return func(p *program, args []string) error {
		return p.withStore(toWrite, "none", func(s *certs.Store) error { return s.Abandon(args[0]) })
	}
}
