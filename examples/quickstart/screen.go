package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A screen prints for a person: with boxes and colour on a terminal, as plain
// text with columns parted by blanks elsewhere.
type screen struct {
	out  *printer
	err  io.Writer
	look look
	live bool // stderr is a terminal: show progress there
}

// widest is how wide the table gets at the most, however wide the terminal is.
const widest = 160

func newScreen(stdout, stderr io.Writer, when string) *screen {
	s := &screen{out: &printer{w: stdout}, err: stderr}
	width, terminal := terminalWidth(stdout)
	_, s.live = terminalWidth(stderr)
	switch when {
	case "always":
		s.look = look{box: true, colour: true}
	case "auto":
		s.look = look{box: terminal, colour: terminal && os.Getenv("NO_COLOR") == ""}
	}
	if s.look.box {
		s.look.width = widest
		if terminal {
			s.look.width = min(width, widest)
		}
	}
	return s
}

// A printer keeps the first error of its writer, so that not every line has to
// look at it.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.w.Write(b)
	p.err = err
	return n, err
}

// terminalWidth tells whether w is a terminal, and how many columns it has.
func terminalWidth(w io.Writer) (int, bool) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return width, true
}

// progress shows how far the deliveries have come, on a terminal only.
func (s *screen) progress(done, of int) {
	if !s.live {
		return
	}
	fmt.Fprintf(s.err, "\r\x1b[Kdelivering %d of %d", done, of)
	if done == of {
		fmt.Fprint(s.err, "\r\x1b[K")
	}
}

// results prints the table and what the mail hosts hold.
func (s *screen) results(t *trial, a audit) {
	g := grid{head: []cell{{text: "destination"}}}
	for _, mode := range t.modes {
		name := mode.String()
		if s.look.box {
			name = strings.ReplaceAll(name, "-", " ") // may then be broken
		}
		g.head = append(g.head, cell{text: name})
	}
	for i, row := range t.results {
		line := []cell{{text: t.destinations[i].Domain}}
		for j := range row {
			line = append(line, row[j].cell())
		}
		g.rows = append(g.rows, line)
	}
	g.render(s.out, s.look)
	s.legend()

	var count [tlspolicy.ReconnectClear + 1]int
	for _, row := range t.results {
		for j := range row {
			count[row[j].got.Action]++
		}
	}
	fmt.Fprintf(s.out, "%d deliveries in %.1f s: %d verified, %d encrypted only, %d in clear, %d deferred.\n",
		len(t.destinations)*len(t.modes), t.elapsed.Round(100*time.Millisecond).Seconds(),
		count[tlspolicy.DeliverVerified], count[tlspolicy.DeliverUnverified], count[tlspolicy.DeliverClear], count[tlspolicy.Next])
	if len(a.problems) == 0 {
		fmt.Fprintf(s.out, "The mail hosts hold these %d messages, octet for octet, %d of them received in clear, and no other.\n", a.messages, a.inClear)
	}
	fmt.Fprintf(s.out, "Why it came out so, for one of them: go run ./examples/quickstart -explain %s\n", t.destinations[0].Domain)
}

func (s *screen) legend() {
	for _, l := range []struct {
		tone tone
		text string
	}{
		{verified, "tls: ...  delivered over TLS, peer authenticated by what is named"},
		{encrypted, "tls       delivered over TLS, peer not authenticated"},
		{inClear, "clear     delivered in clear text"},
		{deferred, "- ...     deferred, and why; nothing was sent"},
	} {
		name, rest := l.text[:8], l.text[8:]
		if s.look.colour {
			name = colours[l.tone] + name + "\x1b[0m"
		}
		fmt.Fprintln(s.out, "  "+name+rest)
	}
}

// story tells everything about one destination, mode by mode.
func (s *screen) story(t *trial) {
	for i, d := range t.destinations {
		fmt.Fprintf(s.out, "%s: %s.\n", d.Domain, d.Story)
		for j, mode := range t.modes {
			r := &t.results[i][j]
			c := r.cell()
			title := fmt.Sprintf("%s: %s", mode, c.text)
			if s.look.colour {
				title = colours[c.tone] + title + "\x1b[0m"
			}
			fmt.Fprintf(s.out, "\n%s\n", title)
			if r.report != nil {
				indent(s.out, r.report.Explain())
			}
			if r.err != nil {
				indent(s.out, "Error: "+r.err.Error())
			}
		}
	}
}

func indent(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintln(w, "  "+strings.TrimRight(line, "\n"))
	}
}

// problems prints what is not as it should be; nothing if all is well.
func (s *screen) problems(problems []string) {
	for _, p := range problems {
		if s.look.colour {
			p = colours[wrong] + p + "\x1b[0m"
		}
		fmt.Fprintln(s.out, "WRONG: "+p)
	}
}

// hold says where the Internet can be looked at.
func (s *screen) hold(internet *lab.Lab) {
	front := internet.Front()
	fmt.Fprintf(s.out, "\nThe Internet stays up until you interrupt it (Ctrl-C). Ask its resolver, which validates:\n")
	fmt.Fprintf(s.out, "  dig @%s -p %d +dnssec _25._tcp.mx.dane.example TLSA\n", front.Addr(), front.Port())
}

// cell is the short text of a result.
func (r *result) cell() cell {
	if r.got != r.want {
		return cell{"WRONG: " + r.got.String(), wrong}
	}
	switch r.got.Action {
	case tlspolicy.DeliverVerified:
		return cell{"tls: " + proof(r.got.Reason), verified}
	case tlspolicy.DeliverUnverified:
		return cell{"tls", encrypted}
	case tlspolicy.DeliverClear:
		return cell{"clear", inClear}
	}
	if r.got.Reason == tlspolicy.ReasonNone {
		return cell{"- " + r.silence(), deferred}
	}
	return cell{"- " + obstacle(r.got.Reason), deferred}
}

// proof names what authenticated the peer.
func proof(r tlspolicy.Reason) string {
	switch r {
	case tlspolicy.ReasonDANEVerified:
		return "dane"
	case tlspolicy.ReasonSTSVerified:
		return "mta-sts"
	case tlspolicy.ReasonSTSModeVerified:
		return "mta-sts, name"
	case tlspolicy.ReasonModeVerified:
		return "name"
	}
	return r.String()
}

// silence says why a message was deferred without any rule being asked.
func (r *result) silence() string {
	if r.report != nil && r.report.MX.Err != nil {
		return "mx lookup failed"
	}
	return "no host reached"
}

// obstacle says in two or three words why mail was deferred; a reason that has
// no short form is written out.
func obstacle(r tlspolicy.Reason) string {
	name := r.String()
	switch {
	case strings.HasSuffix(name, "-absent"):
		return "no starttls"
	case strings.HasSuffix(name, "-refused"):
		return "starttls refused"
	case strings.HasSuffix(name, "handshake-failed"):
		return "no handshake"
	}
	switch r {
	case tlspolicy.ReasonDANEMismatch:
		return "tlsa mismatch"
	case tlspolicy.ReasonDANEBogus:
		return "dnssec bogus"
	case tlspolicy.ReasonDANELookupError:
		return "tlsa lookup failed"
	case tlspolicy.ReasonDANERequiredInsecure:
		return "dns not signed"
	case tlspolicy.ReasonDANERequiredNoTLSA:
		return "no tlsa"
	case tlspolicy.ReasonDANERequiredUnusable:
		return "tlsa unusable"
	case tlspolicy.ReasonSTSMXMismatch:
		return "mx not in policy"
	case tlspolicy.ReasonSTSCertUntrusted, tlspolicy.ReasonModeCertUntrusted:
		return "cert untrusted"
	case tlspolicy.ReasonSTSCertNameMismatch, tlspolicy.ReasonModeCertNameMismatch:
		return "cert name"
	}
	return name
}
