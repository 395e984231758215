package main

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/smtpsec/smtpsec/certs"
)

// leastDigits are those of a SHA-256 that name an authority, if no other one begins
// with them.
const leastDigits = 8

func listOf(name string) (certs.CAList, error) {
	for _, list := range []certs.CAList{certs.SystemCAs, certs.CustomCAs} {
		if name == list.String() {
			return list, nil
		}
	}
	return 0, usage("no list %q: system or custom", name)
}

// listJSON is a list in ca list -json.
type listJSON struct {
	List        string          `json:"list"`
	Enabled     bool            `json:"enabled"`
	Source      string          `json:"source"`
	Version     string          `json:"version"`
	Updated     string          `json:"updated"` // empty if unknown
	Count       int             `json:"count"`
	Authorities []authorityJSON `json:"authorities"`
}

type authorityJSON struct {
	Subject       string        `json:"subject"`
	Issuer        string        `json:"issuer"`
	Serial        string        `json:"serial"`
	NotBefore     string        `json:"not_before"`
	NotAfter      string        `json:"not_after"`
	Key           string        `json:"key"`
	Bits          int           `json:"bits"`
	Signature     string        `json:"signature"`
	SHA256        string        `json:"sha256"`
	DistrustAfter string        `json:"distrust_after"` // empty without one
	Findings      []findingJSON `json:"findings"`
}

func authorityList(f *flag.FlagSet) action {
	which := f.String("list", "custom", "system or custom")
	asJSON := f.Bool("json", false, "for programs")
	system := f.String("system", "mozilla", systemUsage)
	return func(p *program, _ []string) error {
		list, err := listOf(*which)
		if err != nil {
			return err
		}
		return p.withTrust(toRead, *system, func(t *certs.TrustStore) error {
			authorities, err := t.Authorities(list)
			if err != nil {
				return err
			}
			if *asJSON {
				return p.json(describe(t, list, authorities))
			}
			return p.authorities(t, list, authorities)
		})
	}
}

func describe(t *certs.TrustStore, list certs.CAList, authorities []certs.Authority) listJSON {
	v := t.VersionInfo(list)
	out := listJSON{List: list.String(), Enabled: t.Enabled(list), Source: v.Source, Version: v.Version, Count: v.Count, Authorities: []authorityJSON{}}
	if !v.Updated.IsZero() {
		out.Updated = moment(v.Updated)
	}
	for _, a := range authorities {
		distrust := ""
		if !a.DistrustAfter.IsZero() {
			distrust = moment(a.DistrustAfter)
		}
		out.Authorities = append(out.Authorities, authorityJSON{Subject: a.Subject, Issuer: a.Issuer, Serial: a.Serial, NotBefore: moment(a.NotBefore), NotAfter: moment(a.NotAfter),
			Key: a.KeyKind, Bits: a.KeyBits, Signature: a.SignatureAlgorithm, SHA256: hexOf(a.SHA256), DistrustAfter: distrust, Findings: findingsJSON(a.Findings)})
	}
	return out
}

func (p *program) authorities(t *certs.TrustStore, list certs.CAList, authorities []certs.Authority) error {
	state := "disabled"
	if t.Enabled(list) {
		state = "enabled"
	}
	v := t.VersionInfo(list)
	fmt.Fprintf(p.stdout, "list: %v, %s\nsource: %s\n", list, state, plain(v.Source))
	if v.Version != "" {
		fmt.Fprintf(p.stdout, "version: %s\n", plain(v.Version))
	}
	fmt.Fprintf(p.stdout, "authorities: %d\n", len(authorities))
	if len(authorities) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SHA-256\tEXPIRES\tSUBJECT")
	for _, a := range authorities {
		fmt.Fprintf(w, "%x\t%s\t%s\n", a.SHA256, date(a.NotAfter), plain(a.Subject))
	}
	return w.Flush()
}

func authorityImport(f *flag.FlagSet) action {
	add := f.Bool("add", false, "add to the custom list, and do not replace it")
	var o certs.CAImportOptions
	fqdn := f.Bool("fqdn", false, "remark on names that are not fully qualified, which those of authorities seldom are")
	f.BoolVar(&o.Lenient, "lenient", false, "leave out what cannot be used, with a remark, instead of taking nothing")
	passphrase := addPassphrase(f)
	system := f.String("system", "mozilla", systemUsage)
	return func(p *program, args []string) error {
		if err := passphrase.check(); err != nil {
			return err
		}
		data, err := p.read(args[0])
		if err == nil && isDER(data) {
			data, err = p.certificatesOf(args[0], data, passphrase)
		}
		if err != nil {
			return err
		}
		return p.withTrust(toCreate, *system, func(t *certs.TrustStore) error {
			change := t.Import
			if *add {
				change = t.Add
			}
			report, err := change(bytes.NewReader(data), o)
			if err != nil {
				return inFile(args[0], err)
			}
			for _, finding := range report.Findings {
				if finding.Code == certs.FindingFQDN && !*fqdn {
					continue
				}
				about := ""
				if a, err := t.Detail(finding.Cert); err == nil {
					about = a.Subject + ": "
				}
				fmt.Fprintln(p.stderr, plain(about+finding.String()))
			}
			p.note("%d added, %d removed, %d with another date of distrust, %d twice or there before", len(report.Added), len(report.Removed), len(report.Changed), report.Duplicates)
			return nil
		})
	}
}

// certificatesOf returns what can be imported of a DER file: a certificate as it is,
// those of a PKCS #12 file without keys as PEM.
func (p *program) certificatesOf(name string, data []byte, o *passphraseFlags) ([]byte, error) {
	if _, err := certs.ReadBytes(data, certs.ReadOptions{}); err == nil {
		return data, nil
	}
	var seen *certs.Inspection
	if err := p.unlock(o, name, func(secret []byte) (err error) {
		seen, err = certs.Inspect(data, secret, certs.InspectOptions{Now: p.now()})
		return err
	}); err != nil {
		return nil, err
	}
	if len(seen.Keys) > 0 {
		return nil, fmt.Errorf("%q has a private key, which is nothing for a list of authorities", name)
	}
	var text []byte
	for _, cert := range seen.Certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return text, nil
}

func authorityExport(f *flag.FlagSet) action {
	which := f.String("list", "custom", "system or custom")
	out := outFlag(f)
	system := f.String("system", "mozilla", systemUsage)
	return func(p *program, _ []string) error {
		list, err := listOf(*which)
		if err != nil {
			return err
		}
		return p.withTrust(toRead, *system, func(t *certs.TrustStore) error {
			var text bytes.Buffer
			if err := t.Export(&text, list); err != nil {
				return err
			}
			return p.write(*out, text.Bytes())
		})
	}
}

func authorityRemove(f *flag.FlagSet) action {
	system := f.String("system", "mozilla", systemUsage)
	return func(p *program, args []string) error {
		return p.withTrust(toWrite, *system, func(t *certs.TrustStore) error {
			var sums [][32]byte
			for _, arg := range args { // all are known before one is removed
				sum, err := authority(t, arg)
				if err != nil {
					return err
				}
				sums = append(sums, sum)
			}
			for _, sum := range sums {
				if err := t.Delete(sum); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// authority returns the authority that a SHA-256, or its beginning, is for.
func authority(t *certs.TrustStore, text string) (sum [32]byte, err error) {
	digits := strings.ToLower(strings.ReplaceAll(text, ":", ""))
	if _, err := hex.DecodeString(digits[:len(digits)&^1]); err != nil || len(digits) < leastDigits || len(digits) > 2*len(sum) {
		return sum, usage("%q is not the SHA-256 of an authority: %d to %d hexadecimal digits, as ca list shows them", text, leastDigits, 2*len(sum))
	}
	found := 0
	for _, list := range []certs.CAList{certs.CustomCAs, certs.SystemCAs} {
		authorities, err := t.Authorities(list)
		if errors.Is(err, certs.ErrNotEnumerable) {
			continue // nothing of that list can be removed anyway
		}
		if err != nil {
			return sum, err
		}
		for _, a := range authorities {
			if strings.HasPrefix(hexOf(a.SHA256), digits) && (found == 0 || a.SHA256 != sum) {
				sum = a.SHA256
				found++
			}
		}
	}
	switch found {
	case 0:
		return sum, fmt.Errorf("authority %s: %w", digits, certs.ErrNotFound)
	case 1:
		return sum, nil
	}
	return sum, fmt.Errorf("%d authorities begin with %s: give more digits", found, digits)
}

func authorityEnable(on bool) func(*flag.FlagSet) action {
	return func(*flag.FlagSet) action {
		return func(p *program, args []string) error {
			list, err := listOf(args[0])
			if err != nil {
				return err
			}
			return p.withTrust(toWrite, "none", func(t *certs.TrustStore) error { return t.Enable(list, on) })
		}
	}
}
