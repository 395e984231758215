package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/smtpsec/smtpsec/certs"
)

// defaultDays is how long a self-signed certificate is valid unless told otherwise.
const defaultDays = 365

func daysFlag(f *flag.FlagSet) *int {
	return f.Int("days", defaultDays, "for how many `days` it is valid")
}

func nameFlag(f *flag.FlagSet) *string {
	return f.String("name", "", "the `name` in the store (default the common name)")
}

func selfSigned(f *flag.FlagSet) action {
	form := certs.Form{}
	name, days := nameFlag(f), daysFlag(f)
	f.StringVar(&form.Organization, "organization", "", "`O` of the subject")
	f.StringVar(&form.OrganizationalUnit, "unit", "", "`OU` of the subject")
	f.StringVar(&form.Locality, "city", "", "`L` of the subject")
	f.StringVar(&form.Province, "state", "", "`ST` of the subject")
	f.StringVar(&form.Country, "country", "", "`C` of the subject: two letters")
	f.StringVar((*string)(&form.Algorithm), "algorithm", string(certs.ECDSAWithSHA256), "ecdsa-with-sha256, ecdsa-with-sha384, sha256WithRSAEncryption, sha384WithRSAEncryption or sha512WithRSAEncryption")
	f.IntVar(&form.KeySize, "key-size", 0, "`bits` of an RSA key: 2048, 3072 or 4096")
	f.BoolVar(&form.AllowInsecure1024, "allow-insecure-1024", false, "permit -key-size 1024")
	f.BoolVar(&form.FQDN, "fqdn", false, "refuse a host that is not fully qualified")
	f.Func("dns", "one more host `name`; may be repeated, or hold several parted by commas", func(names string) error {
		form.DNSNames = append(form.DNSNames, strings.Split(names, ",")...)
		return nil
	})
	return func(p *program, args []string) error {
		form.CommonName, form.Days = args[0], *days
		return p.withStore(toCreate, "none", func(s *certs.Store) error {
			return p.did(s.CreateSelfSigned(*name, form))
		})
	}
}

// did says what became of a change of an entry.
func (p *program) did(r certs.Result, err error) error {
	if err != nil {
		return err
	}
	p.findings(r.Findings)
	p.note("%q is in the store", r.Name)
	return nil
}

// installed is did for a new certificate of an entry, which may need other records.
func (p *program) installed(r certs.Result, err error) error {
	if err != nil {
		return err
	}
	p.findings(r.Findings)
	p.note("%q has a new certificate", r.Name)
	switch {
	case r.Changed.Key:
		p.note("TLSA records 3 1 1 change")
	case r.Changed.Issuers:
		p.note("TLSA records 3 1 1 stay right; those of an issuer (2 x x) may change")
	case r.Changed.Certificate:
		p.note("TLSA records 3 1 1 stay right; 3 0 1 changes")
	}
	return nil
}

func request(f *flag.FlagSet) action {
	out := outFlag(f)
	return func(p *program, args []string) error {
		return p.withStore(toWrite, "none", func(s *certs.Store) error {
			csr, err := s.CSR(args[0])
			if err != nil {
				return err
			}
			return p.write(*out, csr)
		})
	}
}

// installFlags are those of a certificate from an authority.
type installFlags struct {
	intermediates, system string
	options               certs.InstallOptions
}

func addInstall(f *flag.FlagSet) *installFlags {
	o := &installFlags{}
	f.StringVar(&o.intermediates, "intermediates", "", "take more certificates from this `file`")
	f.BoolVar(&o.options.IncludeRoot, "include-root", false, "send the root, too: for TLSA records 2 x x of it")
	f.BoolVar(&o.options.FQDN, "fqdn", false, "refuse names that are not fully qualified")
	f.StringVar(&o.system, "system", "mozilla", systemUsage)
	return o
}

// read returns the input, and puts the intermediates into the options.
func (o *installFlags) read(p *program, file string) (data []byte, err error) {
	if data, err = p.read(file); err == nil && o.intermediates != "" {
		o.options.Intermediates, err = p.read(o.intermediates)
	}
	if err == nil {
		err = certificatesOnly(file, data)
	}
	if err == nil && o.intermediates != "" {
		err = certificatesOnly(o.intermediates, o.options.Intermediates)
	}
	return data, err
}

// certificatesOnly looks whether a file is one of certificates, so that an error
// about it can name it.
func certificatesOnly(name string, data []byte) error {
	m, err := certs.ReadBytes(data, certs.ReadOptions{})
	if err == nil {
		_, err = m.Certs()
	}
	return inFile(name, err)
}

// notFor names the file of a certificate for another key.
func notFor(file, name string, err error) error {
	if errors.Is(err, certs.ErrKeyMismatch) {
		return fmt.Errorf("%q has no certificate for the key of %q: %w", file, name, certsError{err})
	}
	return err
}

func install(f *flag.FlagSet) action {
	o := addInstall(f)
	return func(p *program, args []string) error {
		data, err := o.read(p, args[1])
		if err != nil {
			return err
		}
		return p.withStore(toWrite, o.system, func(s *certs.Store) error {
			r, err := s.Install(args[0], data, o.options)
			return p.installed(r, notFor(args[1], args[0], err))
		})
	}
}

func renew(f *flag.FlagSet) action {
	days := daysFlag(f)
	return func(p *program, args []string) error {
		return p.withStore(toWrite, "none", func(s *certs.Store) error {
			return p.installed(s.SelfSign(args[0], *days))
		})
	}
}

func assign(*flag.FlagSet) action {
	return func(p *program, args []string) error {
		return p.withStore(toWrite, "none", func(s *certs.Store) error {
			if len(args) == 1 {
				return s.Unassign(args[0])
			}
			findings, err := s.Assign(args[0], args[1:]...)
			if err == nil {
				p.findings(findings)
			}
			return err
		})
	}
}

func remove(f *flag.FlagSet) action {
	force := f.Bool("force", false, "even if a role uses it")
	return func(p *program, args []string) error {
		return p.withStore(toWrite, "none", func(s *certs.Store) error { return s.Remove(args[0], *force) })
	}
}
