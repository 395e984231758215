package smtpclient

import (
	"bufio"
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// attack is what somebody between the Dialer and an honest server does to one
// connection. Offsets count the octets of the direction that they are about.
type attack struct {
	strip   string         // what STARTTLS becomes in what the server says; empty: nothing
	insert  map[int]string // what is put in, by offset in what the server says
	flip    int            // the octet of the server that is inverted; -1: none
	cut     int            // the connection ends at this offset of the server; -1: it does not
	stall   int            // nothing passes for pause at this offset of the server; -1: never
	pause   time.Duration
	chunk   int    // the server's octets pass in pieces of this size; 0: as they come
	upFlip  int    // the octet of the client that is inverted; -1: none
	upCut   int    // the connection ends at this offset of the client; -1: it does not
	instead string // what STARTTLS is answered with, in the server's place; empty: the server answers
	pose    pose   // whose certificate and key are used in the server's place
}

// pose is how an attacker does the server's part in the handshake.
type pose uint8

const (
	honestServer pose = iota // he does not
	selfSigned               // right names, his own signature
	unknownCA                // right names, his own authority
	trustedCA                // a good certificate, for names of his own
	wildcardCA               // the same for names that come close
	expiredCert              // right names, trusted, expired
	stolenCert               // the server's very certificate, without its key
	poses
)

// certificate returns what the attacker presents to be taken for the server.
func (p pose) certificate(st *stage, genuine tls.Certificate, names []string) tls.Certificate {
	switch p {
	case selfSigned:
		return testpki.SelfSigned(names).TLS()
	case unknownCA:
		return testpki.NewRoot("Stage Root").Leaf(names).TLS() // the name of an authority proves nothing
	case trustedCA:
		return st.pki.Leaf([]string{"attacker.example", "mx1.partner.example.attacker.example"}).TLS()
	case wildcardCA:
		return st.pki.Leaf([]string{"*.mx1.partner.example", "*.example", "xmx1.partner.example", "partner.example.attacker.example"}, testpki.CommonName("attacker.example")).TLS()
	case expiredCert:
		return st.pki.Leaf(names, testpki.Valid(time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour))).TLS()
	case stolenCert:
		genuine.PrivateKey = testpki.NewECDSA(elliptic.P256())
	}
	return genuine
}

func (a attack) String() string { return fmt.Sprintf("%#v", struct{ attack }{a}) }

// Things to say in a server's name.
var inserts = []string{
	"250 ok\r\n", "220 go\r\n", offers, "250-mx\r\n250 PIPELINING\r\n", "554 5.7.1 no\r\n", "550 5.1.1 no such user\r\n",
	"421 bye\r\n", "502 what?\r\n", "\r\n", "2", "\x00", "\x15\x03\x03\x00\x02\x02\x28", "\x15\x03\x03\x00\x02\x01\x00",
	"\x14\x03\x03\x00\x01\x01", "\x16\x03\x03\x00\x02\x00\x00", "\x17\x03\x03\x00\x05hello", strings.Repeat("250-x\r\n", 200),
}

func newAttack(r *rand.Rand) attack {
	// The session in clear takes about 70 octets, the handshake 2000, with a
	// post-quantum key share in front.
	offset := func() int {
		if r.IntN(2) == 0 {
			return r.IntN(110)
		}
		return r.IntN(2500)
	}
	sometimes := func() int {
		if r.IntN(8) == 0 {
			return offset()
		}
		return -1
	}
	a := attack{insert: map[int]string{}, flip: sometimes(), cut: sometimes(), stall: sometimes(), upFlip: sometimes(), upCut: sometimes()}
	if r.IntN(6) == 0 {
		a.strip = []string{"XXXXXXXX", "STARTTLX", "250 HELP", "\x00TARTTLS", "STARTTLS", "starttls"}[r.IntN(6)]
	}
	for range max(0, r.IntN(4)-1) {
		a.insert[offset()] = inserts[r.IntN(len(inserts))]
	}
	a.pause = []time.Duration{time.Second, 59 * time.Second, 61 * time.Second, 6 * time.Minute}[r.IntN(4)]
	a.chunk = []int{0, 0, 1, 7, 100}[r.IntN(5)]
	if r.IntN(8) == 0 {
		a.instead = []string{"220 go\r\n", "250 ok\r\n", "454 no\r\n", "554 5.7.1 no\r\n", "421 bye\r\n", "220 go\r\n250 ok\r\n"}[r.IntN(6)]
	}
	if r.IntN(4) == 0 {
		a.pose = pose(r.IntN(int(poses)))
	}
	return a
}

// between passes everything between p, which is the Dialer's other end, and an
// honest server, but for what the attack changes.
func (a attack) between(honest server, names []string) script {
	return func(p *peer) {
		if a.pose != honestServer {
			// No clone: that would have the server's keys for session tickets.
			honest.tls = &tls.Config{Certificates: []tls.Certificate{a.pose.certificate(p.stage, honest.tls.Certificates[0], names)}}
		}
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer far.Close()
			w := newWindow(far)
			peer := *p
			peer.Conn = w
			peer.r = bufio.NewReader(w)
			honest.run(&peer)
		}()
		up := make(chan struct{})
		go func() {
			defer close(up)
			a.upwards(p, near)
			near.Close()
		}()
		a.downwards(p, near)
		near.Close()
		p.Conn.Close()
		<-up
		<-done
	}
}

// downwards passes on what the server says.
func (a attack) downwards(p *peer, server net.Conn) {
	buf := make([]byte, 4096)
	for at := 0; ; {
		n, err := server.Read(buf)
		said := buf[:n]
		if a.strip != "" {
			said = bytes.ReplaceAll(said, []byte("STARTTLS"), []byte(a.strip))
		}
		var out []byte
		cut := false
		for _, c := range said {
			out = append(out, a.insert[at]...)
			if at == a.cut {
				cut = true
				break
			}
			if at == a.stall {
				p.send(out, a.chunk)
				out = nil
				p.pause(a.pause)
			}
			if at == a.flip {
				c = ^c
			}
			out = append(out, c)
			at++
		}
		if !p.send(out, a.chunk) || cut || err != nil {
			return
		}
	}
}

// send sends b in pieces.
func (p *peer) send(b []byte, chunk int) bool {
	if chunk <= 0 {
		chunk = max(1, len(b))
	}
	for len(b) > 0 {
		n := min(chunk, len(b))
		if !p.say(string(b[:n])) {
			return false
		}
		b = b[n:]
	}
	return true
}

// upwards passes on what the client says.
func (a attack) upwards(p *peer, server net.Conn) {
	buf := make([]byte, 4096)
	for at := 0; ; {
		n, err := p.r.Read(buf)
		said := buf[:n]
		if a.instead != "" && bytes.HasPrefix(said, []byte("STARTTLS\r\n")) {
			if !p.say(a.instead) {
				return
			}
			continue
		}
		if a.upFlip >= at && a.upFlip < at+n {
			said[a.upFlip-at] = ^said[a.upFlip-at]
		}
		if a.upCut >= at && a.upCut < at+n {
			server.Write(said[:a.upCut-at])
			return
		}
		at += n
		if _, werr := server.Write(said); werr != nil || err != nil {
			io.Copy(io.Discard, p.r)
			return
		}
	}
}

// noAttack passes everything as it is.
func noAttack() attack { return attack{flip: -1, cut: -1, stall: -1, upFlip: -1, upCut: -1} }

// tlsa puts partner.example into a signed zone, with a TLSA record for the
// stage's leaf at host.
func (st *stage) tlsa(host string, leaf *x509.Certificate, usage dane.Usage) {
	for q, a := range st.dns.Answers {
		a.Security, a.Final = dnssec.Secure, dnssec.Secure
		st.dns.Answers[q] = a
	}
	digest := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	data := append([]byte{byte(usage), byte(dane.SelectorSPKI), byte(dane.MatchingSHA256)}, digest[:]...)
	st.dns.Answers[dnssec.Question{Name: "_25._tcp." + host, Type: dnssec.TypeTLSA}] = dnssec.Answer{
		Security: dnssec.Secure, Final: dnssec.Secure, Records: []dnssec.Record{{Data: data}},
	}
}
