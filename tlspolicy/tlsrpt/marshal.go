package tlsrpt

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The report on the wire, member by member in the order of RFC 8460 section 4.4.
type (
	wireReport struct {
		Organization string       `json:"organization-name"`
		Range        wireRange    `json:"date-range"`
		Contact      string       `json:"contact-info"`
		ID           string       `json:"report-id"`
		Policies     []wireResult `json:"policies"`
	}
	wireRange struct {
		Begin string `json:"start-datetime"`
		End   string `json:"end-datetime"`
	}
	wireResult struct {
		Policy  wirePolicy   `json:"policy"`
		Summary wireSummary  `json:"summary"`
		Details []wireDetail `json:"failure-details"`
	}
	wirePolicy struct {
		Type    PolicyType `json:"policy-type"`
		Lines   []string   `json:"policy-string"`
		Domain  string     `json:"policy-domain"`
		MXHosts []string   `json:"mx-host"`
	}
	wireSummary struct {
		Successes uint64 `json:"total-successful-session-count"`
		Failures  uint64 `json:"total-failure-session-count"`
	}
	wireDetail struct {
		Result        ResultType `json:"result-type"`
		SendingIP     netip.Addr `json:"sending-mta-ip,omitzero"`
		ReceivingMX   string     `json:"receiving-mx-hostname,omitempty"`
		ReceivingHelo string     `json:"receiving-mx-helo,omitempty"`
		ReceivingIP   netip.Addr `json:"receiving-ip,omitzero"`
		Count         uint64     `json:"failed-session-count"`
		Information   string     `json:"additional-information,omitempty"`
		Reason        string     `json:"failure-reason-code,omitempty"`
	}
)

// MarshalJSON returns the report as RFC 8460 section 4.4 defines it: I-JSON
// without white space, members in the order of the RFC, policies and details
// sorted, so that equal reports are equal octets. Arrays are arrays even if they
// are empty; optional members without value are left out, as are Extra members.
// The error is always nil.
func (r *Report) MarshalJSON() ([]byte, error) {
	w := wireReport{
		Organization: cleanText(r.Organization), Contact: cleanText(r.Contact), ID: cleanText(r.ID),
		Range:    wireRange{stamp(r.Begin), stamp(r.End)},
		Policies: make([]wireResult, len(r.Policies)),
	}
	order := make([]*PolicyReport, len(r.Policies))
	for i := range r.Policies {
		order[i] = &r.Policies[i]
	}
	slices.SortStableFunc(order, func(a, b *PolicyReport) int { return a.Policy.compare(&b.Policy) })
	for i, p := range order {
		w.Policies[i] = wireResult{
			Policy:  wirePolicy{PolicyType(cleanText(string(p.Policy.Type))), cleanTexts(p.Policy.Lines), cleanText(p.Policy.Domain), cleanTexts(p.Policy.MXHosts)},
			Summary: wireSummary{p.Successes, p.Failures},
			Details: wireDetails(p.Details),
		}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(w)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func wireDetails(details []FailureDetail) []wireDetail {
	out := make([]wireDetail, len(details))
	for i, d := range details {
		out[i] = wireDetail{
			ResultType(cleanText(string(d.Result))), plainAddr(d.SendingIP), cleanText(d.ReceivingMX), cleanText(d.ReceivingHelo),
			plainAddr(d.ReceivingIP), d.Count, cleanText(d.AdditionalInformation), cleanText(d.Reason),
		}
	}
	slices.SortStableFunc(out, func(a, b wireDetail) int {
		return cmp.Or(strings.Compare(string(a.Result), string(b.Result)), a.SendingIP.Compare(b.SendingIP),
			strings.Compare(a.ReceivingMX, b.ReceivingMX), strings.Compare(a.ReceivingHelo, b.ReceivingHelo),
			a.ReceivingIP.Compare(b.ReceivingIP), strings.Compare(a.Reason, b.Reason),
			strings.Compare(a.Information, b.Information), cmp.Compare(a.Count, b.Count))
	})
	return out
}

// plainAddr is an address as a report has it: IPv4 as IPv4, no zone.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func array(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// Gzip returns the report compressed, as it is sent. The header of the gzip
// format names no time and no file: equal reports are equal octets.
func (r *Report) Gzip() ([]byte, error) {
	text, err := r.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
