//go:build interop

package interop

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// A TLSUse is what a mail server does with STARTTLS.
type TLSUse uint8

const (
	AnyTLS TLSUse = iota // TLS 1.2 and 1.3
	OnlyTLS12
	OnlyTLS13
	NoTLS // STARTTLS is not offered
)

// A Listener is one address of a mail server, with its own name, certificate and rules.
type Listener struct {
	Name     string // host name
	Addr     netip.AddrPort
	TLS      TLSUse
	CertFile string // PEM: certificate and intermediates; with NoTLS empty
	KeyFile  string // PEM
	AskCert  bool   // ask for the client's certificate
}

// A Receiver is a running mail server that accepts mail for everybody.
type Receiver struct {
	Name    string // of the program
	Version string
	Log     *Log
	Mailbox string // a maildir to which all mail is delivered

	// Closed and Delivered match the line that the server writes when a connection has ended, and when a message is in the
	// Mailbox.
	Closed, Delivered *regexp.Regexp
	// accepted matches the line about a message that a client has handed over, established that about a TLS session, with
	// the groups version and, from servers that tell it, sni, and trusted the one about a good client certificate.
	accepted, established, trusted *regexp.Regexp
}

// Seen is what a server's log says about one or more connections.
type Seen struct {
	Messages int    // handed over
	TLS      string // version, such as "1.3", or ""
	SNI      string // if the server tells it
	Trusted  bool   // the client's certificate
}

// Saw reads the lines of a log.
func (r *Receiver) Saw(lines []string) (s Seen) {
	for _, line := range lines {
		if r.accepted.MatchString(line) {
			s.Messages++
		}
		if match := r.established.FindStringSubmatch(line); match != nil {
			s.TLS = match[r.established.SubexpIndex("version")]
			if i := r.established.SubexpIndex("sni"); i >= 0 {
				s.SNI = match[i]
			}
		}
		s.Trusted = s.Trusted || r.trusted.MatchString(line)
	}
	return s
}

// Messages returns the files in the mailbox.
func (r *Receiver) Messages(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.Mailbox, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	messages := make([]string, len(files))
	for i, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		messages[i] = string(content)
	}
	return messages
}
