package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"

	"github.com/smtpsec/smtpsec/certs"
)

func importFile(f *flag.FlagSet) action {
	var o certs.ImportOptions
	name, keyFile := nameFlag(f), f.String("key", "", "the private key is in this PEM `file`")
	passphrase := addPassphrase(f)
	f.StringVar(&o.Select, "select", "", "of several keys take the one with this `name`, local key id, or SHA-256 of its certificate")
	f.BoolVar(&o.IncludeRoot, "include-root", false, "keep the root in the chain: for TLSA records 2 x x of it")
	f.BoolVar(&o.FQDN, "fqdn", false, "refuse names that are not fully qualified")
	system := f.String("system", "mozilla", systemUsage)
	return func(p *program, args []string) error {
		if err := passphrase.check(); err != nil {
			return err
		}
		data, take, err := p.importInput(args[0], *keyFile)
		if err != nil {
			return err
		}
		return p.withStore(toCreate, *system, func(s *certs.Store) error {
			var r certs.Result
			err := p.unlock(passphrase, args[0], func(secret []byte) (err error) {
				o.Passphrase = secret
				r, err = take(s, *name, data, o)
				return err
			})
			return p.did(r, err)
		})
	}
}

// importer is one of the store's two ways to take a key in.
type importer func(s *certs.Store, name string, data []byte, o certs.ImportOptions) (certs.Result, error)

// importInput returns what is to be imported and how.
func (p *program) importInput(file, keyFile string) ([]byte, importer, error) {
	data, err := p.read(file)
	if err != nil {
		return nil, nil, err
	}
	if keyFile == "" {
		if !isDER(data) {
			return data, (*certs.Store).ImportPEM, nil
		}
		return data, (*certs.Store).ImportPKCS12, notPKCS12(file, data)
	}
	key, err := p.read(keyFile)
	if err != nil {
		return nil, nil, err
	}
	if isDER(data) || isDER(key) {
		return nil, nil, usage("-key wants both files in PEM: openssl x509 -inform DER and openssl pkey -inform DER convert them")
	}
	if err := certificatesOnly(file, data); err != nil {
		return nil, nil, err
	}
	m, err := certs.ReadBytes(key, certs.ReadOptions{})
	if err == nil {
		_, err = m.Key()
	}
	if err != nil && !errors.Is(err, certs.ErrPassphraseNeeded) { // which comes later
		return nil, nil, inFile(keyFile, err)
	}
	return slices.Concat(data, []byte("\n"), key), (*certs.Store).ImportPEM, nil
}

// isDER reports whether an input is not text: everything that matters here is an
// ASN.1 SEQUENCE.
func isDER(data []byte) bool { return bytes.HasPrefix(data, []byte{0x30}) }

// notPKCS12 names a DER file that is something else.
func notPKCS12(file string, data []byte) error {
	m, err := certs.ReadBytes(data, certs.ReadOptions{})
	switch {
	case err != nil: // it is not one of ours
		return nil
	case len(m.Certificates) > 0:
		return fmt.Errorf("%q is a certificate in DER, without its key: install is for the answer of an authority, ca import for an authority", file)
	}
	return fmt.Errorf("%q is a private key in DER, without a certificate", file)
}

// unlock calls open with the passphrase of the flags, or without one and, if it is
// needed then, with that of the terminal.
func (p *program) unlock(o *passphraseFlags, file string, open func([]byte) error) error {
	var secret []byte
	var err error
	if o.given() {
		if secret, err = o.get(p, "", false); err != nil {
			return err
		}
		return inFile(file, open(secret))
	}
	err = open(nil)
	if !errors.Is(err, certs.ErrPassphraseNeeded) && !errors.Is(err, certs.ErrPassphrase) {
		return inFile(file, err)
	}
	if secret, err = o.get(p, fmt.Sprintf("Passphrase of %q: ", file), false); err != nil {
		return inFile(file, err)
	}
	defer clear(secret)
	return inFile(file, open(secret))
}

func inspect(f *flag.FlagSet) action {
	passphrase := addPassphrase(f)
	return func(p *program, args []string) error {
		if err := passphrase.check(); err != nil {
			return err
		}
		data, err := p.read(args[0])
		if err != nil {
			return err
		}
		var seen *certs.Inspection
		if err := p.unlock(passphrase, args[0], func(secret []byte) (err error) {
			seen, err = certs.Inspect(data, secret, certs.InspectOptions{Now: p.now()})
			return err
		}); err != nil {
			return err
		}
		for i, key := range seen.Keys {
			fmt.Fprintf(p.stdout, "key %d: %s, friendly name %q, local key id %q\n", i+1, key.KeyKind, key.FriendlyName, key.LocalKeyID)
			if key.Err != nil {
				fmt.Fprintf(p.stdout, "  cannot be imported: %s\n", oneLine(key.Err))
			}
			for _, cert := range key.Chain {
				fmt.Fprintf(p.stdout, "  %s\n", certificateLine(cert))
			}
			p.findings(key.Findings)
		}
		fmt.Fprintf(p.stdout, "certificates: %d\n", len(seen.Certificates))
		return nil
	}
}

func export(f *flag.FlagSet) action {
	o := certs.ExportOptions{}
	out := f.String("o", "", "write to this new `file`; PKCS #12 goes to standard output for - alone")
	pem := f.Bool("pem", false, "the certificates alone, in PEM")
	legacy := f.Bool("legacy", false, "PKCS #12 with Triple DES and SHA-1, for old programs")
	passphrase := addPassphrase(f)
	return func(p *program, args []string) error {
		if err := passphrase.check(); err != nil {
			return err
		}
		if *pem && (*legacy || passphrase.given()) {
			return usage("-pem writes no key: a passphrase or -legacy means nothing to it")
		}
		switch {
		case *out == "" && !*pem:
			return usage("export wants -o FILE: PKCS #12 is nothing to look at")
		case *out == "":
			*out = standard
		}
		if *legacy {
			o.Profile = certs.LegacyDES
		}
		return p.withStore(toRead, "none", func(s *certs.Store) error {
			data, err := s.CertificatePEM(args[0]) // for PKCS #12, too: no passphrase is asked for in vain
			if err == nil && !*pem {
				if o.Passphrase, err = passphrase.get(p, "Passphrase of the new file: ", true); err != nil {
					return err
				}
				defer clear(o.Passphrase)
				o.Confirm = o.Passphrase
				data, err = s.ExportPKCS12(args[0], o)
			}
			if err != nil {
				return err
			}
			return p.write(*out, data)
		})
	}
}
