package tlsrpt

import (
	"encoding/json"
	"fmt"
	"time"
)

// report reads the object that a report is (RFC 8460 section 4.4).
func (p *reportParser) report() (*Report, error) {
	first, err := p.token()
	if err != nil {
		return nil, err
	}
	if first != json.Delim('{') {
		return nil, fmt.Errorf("tlsrpt: %w: no JSON object", ErrReportSyntax)
	}
	r := &Report{Policies: []PolicyReport{}}
	var seen uint
	err = p.members(func(name string) (err error) {
		switch name {
		case "organization-name":
			p.once(&seen, 0, name)
			r.Organization, err = p.text(name)
		case "date-range":
			p.once(&seen, 1, name)
			r.Begin, r.End, err = p.dateRange(&r.Extra)
		case "contact-info":
			p.once(&seen, 2, name)
			r.Contact, err = p.text(name)
		case "report-id":
			p.once(&seen, 3, name)
			r.ID, err = p.text(name)
		case "policies":
			p.once(&seen, 4, name)
			r.Policies = []PolicyReport{}
			err = p.elements(name, func(first json.Token) error { return p.policyReport(first, r) })
			p.policy = -1
		default:
			err = p.keep(&r.Extra, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if seen&(1<<1) == 0 {
		return nil, fmt.Errorf("tlsrpt: %w: no date-range", ErrReportSyntax)
	}
	for bit, name := range [...]string{"organization-name", "", "contact-info", "report-id", "policies"} {
		if name != "" && seen&(1<<bit) == 0 {
			p.warn(WarnMissing, name, "")
		}
	}
	return r, nil
}

// dateRange reads the range. An end at midnight is the end of the day before.
func (p *reportParser) dateRange(extra *[]Member) (begin, end time.Time, err error) {
	first, err := p.token()
	if err != nil {
		return begin, end, err
	}
	if first != json.Delim('{') {
		return begin, end, fmt.Errorf("tlsrpt: %w: date-range is no object", ErrReportSyntax)
	}
	err = p.members(func(name string) (err error) {
		switch name {
		case "start-datetime":
			begin, err = p.moment("date-range."+name, false)
		case "end-datetime":
			end, err = p.moment("date-range."+name, true)
		default:
			err = p.keep(extra, "date-range."+name)
		}
		return err
	})
	switch {
	case err != nil:
		return begin, end, err
	case begin.IsZero(), end.IsZero(), end.Before(begin):
		return begin, end, fmt.Errorf("tlsrpt: %w: no range of dates", ErrReportSyntax)
	}
	if midnight := end.Unix()%daySeconds == 0; midnight {
		p.warn(WarnRange, "date-range", stamp(end))
		if end.Equal(begin) {
			end = DayOf(begin).End()
		} else {
			end = end.Add(-time.Second)
		}
	}
	return begin, end, nil
}

// policyReport reads an element of policies and adds it to the report.
func (p *reportParser) policyReport(first json.Token, r *Report) error {
	p.policy, p.detail = len(r.Policies), -1
	if p.policies++; p.policies > p.limits.Policies {
		return p.overLimit(p.limits.Policies, "policies")
	}
	if first != json.Delim('{') {
		p.warn(WarnMissing, "", "")
		return p.rest(first)
	}
	out := PolicyReport{Policy: PolicyInfo{Lines: []string{}, MXHosts: []string{}}, Details: []FailureDetail{}}
	var seen uint
	counted := false
	err := p.members(func(name string) (err error) {
		switch name {
		case "policy":
			p.once(&seen, 0, name)
			out.Policy, err = p.policyInfo(&out.Extra)
		case "summary":
			p.once(&seen, 1, name)
			counted, err = p.summary(&out)
		case "failure-details":
			p.once(&seen, 2, name)
			out.Details = []FailureDetail{}
			err = p.elements(name, func(first json.Token) error { return p.failureDetail(first, &out) })
			p.detail = -1
		default:
			err = p.keep(&out.Extra, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	if seen&1 == 0 {
		p.warn(WarnMissing, "policy", "")
	}
	sum := out.DetailSum()
	if !counted {
		out.Failures, out.Computed = sum, true
	}
	if !counted || out.Failures < sum {
		p.warn(WarnSummary, "summary", "")
	}
	r.Policies = append(r.Policies, out)
	return nil
}

// DetailSum returns the sum over the Details. It is larger than Failures if
// sessions failed in several ways, or if the sender counts in another way.
func (p *PolicyReport) DetailSum() uint64 {
	sum := uint64(0)
	for i := range p.Details {
		sum = add(sum, p.Details[i].Count)
	}
	return sum
}

// policyInfo reads the member policy.
func (p *reportParser) policyInfo(extra *[]Member) (PolicyInfo, error) {
	info := PolicyInfo{Lines: []string{}, MXHosts: []string{}}
	first, err := p.token()
	if err != nil {
		return info, err
	}
	if first != json.Delim('{') {
		p.warn(WarnMissing, "policy", "")
		return info, p.rest(first)
	}
	var seen uint
	err = p.members(func(name string) (err error) {
		where := "policy." + name
		switch name {
		case "policy-type":
			p.once(&seen, 0, where)
			info.Type, err = kind[PolicyType](p, where)
		case "policy-string":
			p.once(&seen, 1, where)
			info.Lines, err = p.texts(where)
		case "policy-domain":
			p.once(&seen, 2, where)
			info.Domain, err = p.text(where)
		case "mx-host":
			p.once(&seen, 3, where)
			info.MXHosts, err = p.texts(where)
		default:
			err = p.keep(extra, where)
		}
		return err
	})
	if err == nil && seen&(1<<0) == 0 {
		p.warn(WarnMissing, "policy.policy-type", "")
	}
	if err == nil && seen&(1<<2) == 0 {
		p.warn(WarnMissing, "policy.policy-domain", "")
	}
	return info, err
}

// summary reads the counts, and reports whether that of failures was among them.
func (p *reportParser) summary(out *PolicyReport) (counted bool, err error) {
	first, err := p.token()
	if err != nil {
		return false, err
	}
	if first != json.Delim('{') {
		return false, p.rest(first)
	}
	var seen uint
	out.Successes, out.Failures = 0, 0
	err = p.members(func(name string) (err error) {
		where := "summary." + name
		switch name {
		case "total-successful-session-count":
			p.once(&seen, 0, where)
			out.Successes, _, err = p.count(where)
		case "total-failure-session-count":
			p.once(&seen, 1, where)
			out.Failures, counted, err = p.count(where)
		default:
			err = p.keep(&out.Extra, where)
		}
		return err
	})
	return counted, err
}

// failureDetail reads an element of failure-details and adds it.
func (p *reportParser) failureDetail(first json.Token, out *PolicyReport) error {
	p.detail = len(out.Details)
	if p.details++; p.details > p.limits.Details {
		return p.overLimit(p.limits.Details, "failure details")
	}
	if first != json.Delim('{') {
		p.warn(WarnMissing, "", "")
		return p.rest(first)
	}
	var d FailureDetail
	var seen uint
	err := p.members(func(name string) (err error) {
		switch name {
		case "result-type":
			p.once(&seen, 0, name)
			d.Result, err = kind[ResultType](p, name)
		case "sending-mta-ip":
			p.once(&seen, 1, name)
			d.SendingIP, err = p.addr(name)
		case "receiving-mx-hostname":
			p.once(&seen, 2, name)
			d.ReceivingMX, err = p.text(name)
		case "receiving-mx-helo":
			p.once(&seen, 3, name)
			d.ReceivingHelo, err = p.text(name)
		case "receiving-ip":
			p.once(&seen, 4, name)
			d.ReceivingIP, err = p.addr(name)
		case "failed-session-count":
			p.once(&seen, 5, name)
			d.Count, _, err = p.count(name)
		case "additional-information", "additional-info-uri": // section 4.4, and the name that its text uses
			p.once(&seen, 6, name)
			d.AdditionalInformation, err = p.text(name)
		case "failure-reason-code":
			p.once(&seen, 7, name)
			d.Reason, err = p.text(name)
		default:
			err = p.keep(&d.Extra, name)
		}
		return err
	})
	if err == nil && seen&1 == 0 {
		p.warn(WarnMissing, "result-type", "")
	}
	out.Details = append(out.Details, d)
	return err
}
