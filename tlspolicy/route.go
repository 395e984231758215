package tlspolicy

import "github.com/smtpsec/smtpsec/internal/hostname"

// Route is the way that a delivery takes: to the MX hosts of the recipient
// domain, to a configured host, or to the MX hosts of a configured domain. It
// says whose records and names count there:
//
//	                    MX hosts     configured host      MX hosts of a configured domain
//	MX records of       Domain       none                 Host
//	TLSA base domain    MX host      Host                 MX host
//	MTA-STS policy of   Domain       Host                 Host
//	receiving host      MX host      Host                 MX host
//	Hosted accepts      Domain,      Domain, Host         Domain, MX host, Host
//	                    MX host
//
// TLSA records of an MX host count only if the MX records that name it are
// secure (RFC 7672 section 2.2.1); for a configured host there are none that
// could be forged. Without a recipient domain Host takes its place wherever a
// certificate name is compared.
type Route struct {
	// Domain is the recipient domain. It is empty for a delivery to a configured
	// host that has none; an address in brackets counts as empty.
	Domain string
	// Host is the host or domain that the operator configured instead of the
	// recipient domain's MX hosts, "" if there is none. It may be an address,
	// with or without brackets.
	Host string
	// MX says that Host is a domain whose MX hosts are used. It has no meaning
	// for an address.
	MX bool
}

// MXDomain returns the domain whose MX records name the hosts, "" if there is
// one host, which is known without them.
func (r Route) MXDomain() string {
	switch {
	case r.Host == "":
		return nameOnly(r.Domain)
	case r.MX:
		return nameOnly(r.Host)
	}
	return ""
}

// STSDomain returns the domain whose MTA-STS policy applies: the recipient
// domain, or what was configured in its place, which RFC 8461 section 3.4 treats
// as the policy domain. It is "" for an address, which can have no policy: the
// finding is then STSNoPolicy.
func (r Route) STSDomain() string {
	if r.Host != "" {
		return nameOnly(r.Host)
	}
	return nameOnly(r.Domain)
}

// Names returns the names of one host of the route for [NewReferences]. mxHost
// is the host as the MX records name it, and secure what [PeerNames.MXSecure]
// says; neither counts where there are no MX records.
func (r Route) Names(mxHost string, secure bool) PeerNames {
	names := PeerNames{Domain: nameOnly(r.Domain), RouteHost: nameOnly(r.Host)}
	if r.MXDomain() != "" {
		names.MXHost, names.MXSecure = mxHost, secure
	}
	return names
}

// nameOnly returns "" for an address.
func nameOnly(host string) string {
	if host == "" || hostname.IsLiteral(host) {
		return ""
	}
	return host
}
