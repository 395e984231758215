package smtpclient

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// ReuseKey tells which deliveries may share a connection: those with equal keys.
// It covers the host with its port, our source addresses, the requirement (kind,
// mode, fallback, identity, TLS profile, what the message asks for) and our
// certificate; with DANE the TLSA
// records and their base domain; with an enforced MTA-STS policy its domain and
// id; wherever a name in the certificate is checked the recipient domain, the
// route and the generation of the trust; and where the mode checks it whether the
// name of the MX host came out of protected DNS. So one domain's policy, or its lack of
// one, does not leak to another on the same host.
//
// A session that ended up in clear text has the key of the requirement that let it.
//
// It is comparable, and holds no secret. A pool asks Dialer.Plan for the keys of
// the new delivery's hosts, and uses a Session with one of them until
// Session.Expires.
type ReuseKey [sha256.Size]byte

// String returns the key in hexadecimal digits.
func (k ReuseKey) String() string { return hex.EncodeToString(k[:]) }

// identity says which names in the certificate are checked.
type identity uint8

const (
	identityVerify identity = 1 << iota
	identityHosted
	identitySTS
)

// keyParts is what the security of a connection rests on.
type keyParts struct {
	host        string
	port        uint16
	source      [2]netip.Addr
	kind        tlspolicy.Kind
	mode        tlspolicy.Mode
	fallback    tlspolicy.Fallback
	identity    identity
	strict      bool
	message     [2]bool // REQUIRETLS, TLS-Required: No
	certificate [sha256.Size]byte

	daneSet  [sha256.Size]byte // kind dane
	daneBase string            // kind dane

	stsDomain, stsID string // kind sts

	// Wherever a name is checked.
	domain, route string
	generation    uint64
	secureMX      bool // and the mode checks it

	serverName string // for sessions only
}

// keyParts collects the parts for a host. generation is that of the trust before
// anything was checked.
func (x *delivery) keyParts(p *hostPlan, generation uint64) keyParts {
	r := p.requirement
	k := keyParts{
		host: p.host.name, port: x.port, source: [2]netip.Addr{x.conf.d.LocalIPv4, x.conf.d.LocalIPv6},
		kind: r.Kind(), mode: r.Mode(), fallback: r.Fallback(), strict: r.StrictTLS(),
		message: [2]bool{r.SecureMXOnly(), r.ReportOnly()}, certificate: x.offer.fingerprint, serverName: p.serverName(),
	}
	if r.NeedsVerify() {
		k.identity |= identityVerify
	}
	if r.NeedsHosted() {
		k.identity |= identityHosted
	}
	if r.NeedsSTSName() {
		k.identity |= identitySTS
	}
	switch k.kind {
	case tlspolicy.KindDANE:
		k.daneSet, k.daneBase = p.dane.Verifier.Partition(), p.dane.RefIDs.Base()
	case tlspolicy.KindSTS:
		k.stsDomain, k.stsID = x.route.STSDomain(), p.stsID
	}
	if k.identity != 0 {
		k.domain, k.generation = x.domain, generation
		if x.hop != (Hop{}) {
			k.route = x.hop.String()
		}
	}
	k.secureMX = k.identity&(identityVerify|identityHosted) != 0 && p.names.MXSecure
	return k
}

// reuseKey is the key of a connection.
func (k keyParts) reuseKey() ReuseKey {
	k.serverName = ""
	return k.sum("connection")
}

// sessionKey is the key of a TLS session. What decides how a session was come by
// and what is done without one (mode, fallback, source address, the policy or
// message that led to a check) has no part in it: the checks are made again when it is resumed.
func (k keyParts) sessionKey() ReuseKey {
	k.source, k.mode, k.fallback = [2]netip.Addr{}, 0, 0
	k.stsID, k.message, k.secureMX = "", [2]bool{}, false
	return k.sum("session")
}

// sum hashes the parts, each with its length in front.
func (k *keyParts) sum(tag string) ReuseKey {
	b := make([]byte, 0, 512)
	text := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	text("smtpclient " + tag)
	text(k.host)
	b = binary.BigEndian.AppendUint16(b, k.port)
	for _, a := range k.source {
		text(string(a.AsSlice()))
		text(a.Zone())
	}
	b = append(b, byte(k.kind), byte(k.mode), byte(k.fallback), byte(k.identity))
	for _, set := range [...]bool{k.strict, k.message[0], k.message[1], k.secureMX} {
		if set {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	b = append(b, k.certificate[:]...)
	b = append(b, k.daneSet[:]...)
	for _, s := range [...]string{k.daneBase, k.stsDomain, k.stsID, k.domain, k.route, k.serverName} {
		text(s)
	}
	b = binary.BigEndian.AppendUint64(b, k.generation)
	return sha256.Sum256(b)
}
