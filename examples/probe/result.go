package main

import "time"

// Schema names the form of the -json output. Fields may be added under the same
// name; one that changes its meaning or goes away makes a new name.
const Schema = "smtpsec-probe-1"

// Status sums a Result up. The texts are stable.
type Status string

const (
	// StatusOK: mail would be delivered as asked, and no Advice is of severity error.
	StatusOK Status = "ok"
	// StatusMend: mail would not be delivered as asked, or an Advice is of severity
	// error.
	StatusMend Status = "mend"
	// StatusUnknown: it could not be found out from here.
	StatusUnknown Status = "unknown"
	// StatusInvalid: the text is no mail domain, and nothing was asked.
	StatusInvalid Status = "invalid"
)

// Result is all that was found out about one domain: one object, on a line of its
// own, of the -json output. Every text in it is printable ASCII of bounded length,
// whoever wrote it; other characters are escaped as in a Go string.
type Result struct {
	Schema string `json:"schema"`
	// Domain is in A-labels and lower case; with status invalid it is what was given.
	Domain string    `json:"domain"`
	Time   time.Time `json:"time"`
	Status Status    `json:"status"`
	// Why is a sentence about Status.
	Why   string `json:"why"`
	Asked Asked  `json:"asked"`
	MX    MX     `json:"mx"`
	// MTASTS is absent if nothing could be asked.
	MTASTS *MTASTS `json:"mtasts,omitempty"`
	TLSRPT *TLSRPT `json:"tlsrpt,omitempty"`
	// Hosts are in the order in which they would be tried.
	Hosts []Host `json:"hosts"`
	// Decisions are what would happen, under every combination of the settings that the
	// command line left open. There is none if the time ran out.
	Decisions []Decision `json:"decisions"`
	// Mend is what the owner of the domain should do, the gravest first.
	Mend []Advice `json:"mend"`
	// Notes are about this end: what could not be seen from here.
	Notes []string `json:"notes"`
}

// Asked are the settings that Status is about, and the port of the mail hosts.
type Asked struct {
	Mode   string `json:"mode"`
	DANE   string `json:"dane"`
	MTASTS string `json:"mtasts"`
	Port   uint16 `json:"port"`
}

// MX is the MX lookup.
type MX struct {
	Lookup   Lookup    `json:"lookup"`
	Implicit bool      `json:"implicit"` // no MX record: the domain itself is the host
	Null     bool      `json:"null"`     // a null MX: the domain takes no mail
	Hosts    []MXHost  `json:"hosts"`
	Dropped  []Dropped `json:"dropped"` // exchanges that are no host names
	// Malformed are records that name nothing at all, or "." beside other records.
	Malformed int `json:"malformed"`
	Beyond    int `json:"beyond"` // hosts that were not looked at, because there are too many
}

// MXHost is a mail exchanger.
type MXHost struct {
	Host string `json:"host"`
	Pref uint16 `json:"pref"`
}

// Dropped is an exchange that nobody can connect to.
type Dropped struct {
	Name string `json:"name"`
	Pref uint16 `json:"pref"`
	Why  string `json:"why"`
}

// Lookup is one DNS question and what its answer is worth.
type Lookup struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Outcome is found, nodata or nxdomain; empty if the lookup failed or was not made.
	Outcome string `json:"outcome"`
	// Security is secure, insecure, indeterminate (the resolver cannot tell) or bogus.
	Security string `json:"security"`
	// Canonical is where an alias led; empty without one.
	Canonical string `json:"canonical,omitempty"`
	Error     string `json:"error,omitempty"`
}

// MTASTS is the MTA-STS policy of the domain.
type MTASTS struct {
	// Outcome is that of package mtasts: enforce, testing, none, no-record,
	// multiple-records, invalid-record, dns-error, fetch-error, webpki, policy-invalid or
	// backoff.
	Outcome string   `json:"outcome"`
	Mode    string   `json:"mode,omitempty"`
	ID      string   `json:"id,omitempty"`
	MaxAge  int64    `json:"max_age"` // in seconds
	MX      []string `json:"mx"`      // patterns
	// Source is none, fresh, cached, stale or pinned: where the policy comes from.
	Source   string     `json:"source"`
	Fetched  *time.Time `json:"fetched,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"`
	Reason   string     `json:"reason,omitempty"` // why the last check failed, as in package mtasts
	Error    string     `json:"error,omitempty"`
	Findings []Finding  `json:"findings"`
}

// Finding is one of mtasts.Check: how the policy compares with what is there.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // info, warning or error
	Subject  string `json:"subject"`
	Detail   string `json:"detail"`
}

// TLSRPT is where the domain wants TLS reports to go (RFC 8460).
type TLSRPT struct {
	Record string `json:"record,omitempty"`
	Error  string `json:"error,omitempty"` // why there is none that can be used
	Absent bool   `json:"absent"`
}

// Host is one mail host.
type Host struct {
	Host    string   `json:"host"`
	Pref    uint16   `json:"pref"`
	Lookups []Lookup `json:"lookups"` // A, AAAA and TLSA
	DANE    DANE     `json:"dane"`
	// MTASTS is no-policy, discovery-error, or enforce- or testing- with mx-match or
	// mx-mismatch.
	MTASTS    string    `json:"mtasts"`
	Addresses []Address `json:"addresses"`
	Error     string    `json:"error,omitempty"` // why nothing was connected to
}

// DANE is what DNS says about the TLSA records of a host.
type DANE struct {
	// State is insecure, no-tlsa, unusable, usable, bogus, lookup-error, no-address, or
	// unknown if the time ran out.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"` // what State rests on
	// Owner is where the records are. Those of an insecure host count for nobody.
	Owner   string `json:"owner,omitempty"`
	Records []TLSA `json:"records"`
}

// TLSA is a TLSA record.
type TLSA struct {
	Record string `json:"record"` // as in a zone file: "3 1 1 ..."
	Usable bool   `json:"usable"`
	Why    string `json:"why,omitempty"` // what makes it unusable
	Advice string `json:"advice,omitempty"`
}

// Address is one address of a host and what was found there.
type Address struct {
	Address string `json:"address"` // with port
	// Stage is how far the conversation came: connect, greeting, ehlo, helo, starttls,
	// handshake, ehlo-tls or ready.
	Stage string `json:"stage"`
	Error string `json:"error,omitempty"` // why it did not come further
	// Ours is why this end may be to blame for Error: time (it ran out), route (there is
	// none from here) or turned-away (by the first words of the host); empty if it is not.
	Ours string `json:"ours,omitempty"`
	// STARTTLS is no-esmtp, not-offered, refused, handshake-failed or established; empty
	// if it did not come that far.
	STARTTLS string `json:"starttls,omitempty"`
	Greeting string `json:"greeting,omitempty"`
	Version  string `json:"version,omitempty"`
	Cipher   string `json:"cipher,omitempty"`
	// Strict is what a sender gets that takes nothing below TLS 1.2 and no weak cipher
	// suites: established or handshake-failed; empty if it was not tried separately.
	Strict string `json:"strict,omitempty"`
	// Certificates are what the host presented, its own first.
	Certificates []Certificate `json:"certificates"`
	// Chain is ok, untrusted or expired; empty if it was not checked.
	Chain string `json:"chain,omitempty"`
	// Unverified is why the certificate proves nothing to senders without DANE.
	Unverified string `json:"unverified,omitempty"`
	// HostName: the certificate is for the MX host, by a dNSName, as MTA-STS wants it.
	HostName bool `json:"host_name"`
	// VerifyName and HostedName: it is what the modes required-verify and
	// required-verify-hosted want.
	VerifyName bool `json:"verify_name"`
	HostedName bool `json:"hosted_name"`
	// TLSA has an entry for each of the host's TLSA records, in the same order.
	TLSA []Match `json:"tlsa"`
}

// Match is how one TLSA record compares with the certificates of an address.
type Match struct {
	OK  bool   `json:"ok"`
	Why string `json:"why,omitempty"` // what it failed on
}

// Certificate is one certificate of a chain.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Key       string    `json:"key"` // RSA, ECDSA, Ed25519
	Bits      int       `json:"bits"`
	Signature string    `json:"signature"`
	// SelfSigned: issued to itself.
	SelfSigned bool   `json:"self_signed"`
	SHA256     string `json:"sha256"` // of its DER
	TLSA       string `json:"tlsa"`   // the record 3 1 1 for its key
}

// Decision is what would happen under one combination of settings.
type Decision struct {
	Mode   string `json:"mode"`
	DANE   string `json:"dane"`
	MTASTS string `json:"mtasts"`
	// Action is deliver-tls-verified, deliver-tls-unverified, deliver-clear, defer or
	// bounce.
	Action string `json:"action"`
	// Reason is the rule of package tlspolicy that decided; empty if it was none.
	Reason string `json:"reason,omitempty"`
	// Host and Address are the first that would get the mail.
	Host    string `json:"host,omitempty"`
	Address string `json:"address,omitempty"`
	Text    string `json:"text"`
}

// Delivers tells whether the mail would be taken.
func (d *Decision) Delivers() bool { return d.Action != actionDefer && d.Action != actionBounce }

// Severity says what an Advice is about.
type Severity string

const (
	// SeverityError: senders who do what the domain itself publishes lose mail, or mail
	// goes out in clear text.
	SeverityError Severity = "error"
	// SeverityWarning: mail flows, but not all senders, or not for long.
	SeverityWarning Severity = "warning"
	// SeverityInfo: what would be better.
	SeverityInfo Severity = "info"
)

// Advice is one thing that the owner of the domain should do.
type Advice struct {
	Code     string   `json:"code"` // stable, see the README
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"` // the host, address or name that it is about
	Text     string   `json:"text"`    // what is wrong, and what to do
}
