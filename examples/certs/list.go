package main

import (
	"crypto/x509"
	"flag"
	"fmt"
	"text/tabwriter"

	"github.com/smtpsec/smtpsec/certs"
)

// entryJSON is a certificate of the store in list -json. Fields are added, and
// never change their meaning.
type entryJSON struct {
	Name       string        `json:"name"`
	CommonName string        `json:"common_name"`
	DNSNames   []string      `json:"dns_names"`
	Issuer     string        `json:"issuer"`
	Serial     string        `json:"serial"`
	Origin     string        `json:"origin"`
	Key        string        `json:"key"`
	NotBefore  string        `json:"not_before"`
	NotAfter   string        `json:"not_after"`
	Expired    bool          `json:"expired"`
	Roles      []string      `json:"roles"`
	SHA256     string        `json:"sha256"`
	TLSA311    string        `json:"tlsa_3_1_1"`
	Chain      int           `json:"chain"` // certificates, the first one counted
	Next       bool          `json:"next"`  // a rollover has begun
	Findings   []findingJSON `json:"findings"`
}

type findingJSON struct {
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Detail   string `json:"detail"`
}

func list(f *flag.FlagSet) action {
	asJSON := f.Bool("json", false, "for programs")
	system := f.String("system", "mozilla", systemUsage)
	return func(p *program, _ []string) error {
		return p.withStore(toRead, *system, func(s *certs.Store) error {
			entries, err := s.List()
			if err != nil {
				return err
			}
			details := make([]certs.EntryDetail, len(entries))
			for i, e := range entries {
				if details[i], err = s.Detail(e.Name); err != nil {
					return err
				}
			}
			if *asJSON {
				return p.json(p.entriesJSON(details))
			}
			return p.table(details)
		})
	}
}

func (p *program) entriesJSON(details []certs.EntryDetail) []entryJSON {
	out := make([]entryJSON, len(details))
	for i, d := range details {
		out[i] = entryJSON{Name: d.Name, CommonName: d.CommonName, DNSNames: notNil(d.DNSNames), Issuer: d.Issuer, Serial: d.Serial,
			Origin: string(d.Origin), Key: d.KeyKind, NotBefore: moment(d.NotBefore), NotAfter: moment(d.NotAfter), Expired: d.NotAfter.Before(p.now()),
			Roles: notNil(d.Roles), SHA256: hexOf(d.SHA256), TLSA311: hexOf(d.KeySHA256), Chain: len(d.Chain), Next: d.HasNext, Findings: findingsJSON(d.All)}
	}
	return out
}

func findingsJSON(findings []certs.Finding) []findingJSON {
	out := make([]findingJSON, len(findings))
	for i, f := range findings {
		out[i] = findingJSON{string(f.Code), f.Severity.String(), f.Detail}
	}
	return out
}

// notNil makes an empty list of none, which is how programs want it.
func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (p *program) table(details []certs.EntryDetail) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCOMMON NAME\tEXPIRES\tKEY\tORIGIN\tROLES\tREMARK")
	for _, d := range details {
		remark := string(d.Worst.Code)
		switch {
		case remark == "":
			remark = "-"
		case d.Findings > 1:
			remark += fmt.Sprintf(" and %d more", d.Findings-1)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(d.Name), plain(d.CommonName), date(d.NotAfter), d.KeyKind, d.Origin, plain(many(d.Roles)), remark)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, d := range details {
		fmt.Fprintf(p.stdout, "\n%s\n  SHA-256     %x\n  TLSA 3 1 1  %x\n", plain(d.Name), d.SHA256, d.KeySHA256)
	}
	return nil
}

// certificateLine names a certificate of a chain.
func certificateLine(cert *x509.Certificate) string {
	return plain(fmt.Sprintf("%s, issued by %s, until %s", cert.Subject, cert.Issuer, date(cert.NotAfter)))
}
