package smtpserver

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

func TestGateAllocatesNothing(t *testing.T) {
	var g Gate
	p := settled(t, Policy{TLS: TLSPreferred})
	commands := [][]byte{[]byte(ehlo), []byte("STARTTLS x\r\n"), []byte(mail), []byte("AUTH PLAIN\r\n"), []byte("\r\n"), []byte("BDAT 1\r\n")}
	data := []byte(strings.Repeat("some text\r\n", 100) + ".\r\n")
	goData := []byte("DATA\r\n")
	reply, dst := []byte(ehloClear), make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		g.Reset(p, GateOptions{})
		g.Reply(220)
		for _, line := range commands {
			g.Command(line, false)
			g.Reply(250)
		}
		g.Reset(p, GateOptions{})
		g.Reply(220)
		g.Command(goData, false)
		g.Reply(354)
		if n, _ := g.Data(data); n != len(data) {
			panic(n)
		}
		dst = g.FilterEHLO(dst[:0], reply)
	}))
}

// script is a connection that gives the same octets over and over.
type script struct {
	net.Conn
	text   string
	at     int
	writes int
}

func (s *script) Read(p []byte) (int, error) {
	n := copy(p, s.text[s.at:])
	s.at = (s.at + n) % len(s.text)
	return n, nil
}
func (s *script) Write(p []byte) (int, error)      { s.writes++; return len(p), nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) RemoteAddr() net.Addr             { return tcpAddr(someone) }
func (s *script) Close() error                     { return nil }

// scripted returns a greeted connection of a filter that reads a script.
func scripted(t testing.TB, p Policy, text string) *Conn {
	t.Helper()
	hl, err := NewListener(newMemory(), func() Options { o := forAll(t, p); o.Certificate = serverCert(); return o }())
	require.NoError(t, err)
	c := hl.enter(&script{text: text})
	_, err = c.Write([]byte(greeting))
	require.NoError(t, err)
	return c
}

func TestConnAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops what it is given under the race detector")
	}
	p := make([]byte, 4096)
	reply := []byte(noop)
	for why, text := range map[string]string{
		"one by one": "NOOP\r\n", "pipelined": strings.Repeat("NOOP\r\n", 100), "with a refusal": "AUTH PLAIN\r\nNOOP\r\n",
	} {
		c := scripted(t, tlsPreferred, text)
		c.listener.options.MaxBadCommands = -1
		require.Zero(t, testing.AllocsPerRun(100, func() {
			n, err := c.Read(p)
			if err != nil || string(p[:n]) != "NOOP\r\n" {
				panic(fmt.Sprint(n, err))
			}
			c.Write(reply)
		}), why)
	}
	c := scripted(t, tlsPreferred, ehlo)
	lines := strings.SplitAfter(strings.TrimSuffix(ehloInTLS, "\r\n"), "\r\n")
	pieces := make([][]byte, len(lines))
	for i, l := range lines {
		pieces[i] = []byte(strings.TrimSuffix(l, "\r\n") + "\r\n")
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c.Read(p)
		for _, piece := range pieces {
			c.Write(piece)
		}
	}), "an EHLO reply in pieces")
	data := scripted(t, tlsNo, strings.Repeat("some text\r\n", 372)) // 4092 octets
	data.Read(p[:0])
	data.mu.Lock()
	data.gate.Command([]byte("DATA\r\n"), false)
	data.gate.Reply(354)
	data.setMode()
	data.mu.Unlock()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if n, err := data.Read(p); n == 0 || err != nil {
			panic(err)
		}
	}), "message data")
}

func BenchmarkGateCommand(b *testing.B) {
	var g Gate
	p := settled(b, tlsPreferred)
	g.Reset(p, GateOptions{})
	g.Reply(220)
	line := []byte(mail)
	b.ReportAllocs()
	for b.Loop() {
		g.Command(line, true)
		g.Reply(250)
	}
}

func BenchmarkGateData(b *testing.B) {
	var g Gate
	p := settled(b, tlsNo)
	data := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 53)[:4096])
	g.Reset(p, GateOptions{})
	g.Reply(220)
	g.Command([]byte("DATA\r\n"), false)
	g.Reply(354)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		g.line = lineStart
		g.Data(data)
	}
}

func BenchmarkConnCommand(b *testing.B) {
	c := scripted(b, tlsPreferred, "NOOP\r\n")
	p, reply := make([]byte, 4096), []byte(noop)
	b.ReportAllocs()
	for b.Loop() {
		c.Read(p)
		c.Write(reply)
	}
}

// BenchmarkSession compares whole sessions with and without the filter, in turn: EHLO,
// STARTTLS where it is wanted, EHLO, ten messages of 10 KiB, QUIT.
func BenchmarkSession(b *testing.B) {
	text := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 131) + ".\r\n"
	accept := smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return blackHole{}, nil })
	for _, secure := range []bool{false, true} {
		addr := map[bool]string{}
		for _, filtered := range []bool{false, true} {
			var ln net.Listener = listen(b)
			cert := serverCert()
			config := &tls.Config{GetCertificate: cert.GetCertificate, SessionTicketsDisabled: true}
			addr[filtered] = ln.Addr().String()
			if filtered {
				o := forAll(b, tlsPreferred)
				o.Certificate = cert
				hl, err := NewListener(ln, o)
				require.NoError(b, err)
				ln, config = hl, hl.TLSConfig()
			}
			goSMTP(b, ln, config, func(s *smtp.Server) { s.Backend = accept })
		}
		var took [2][]float64
		b.Run(fmt.Sprintf("tls=%t", secure), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				filtered := i%2 == 1
				begin := time.Now()
				benchSession(b, addr[filtered], secure, text)
				took[i%2] = append(took[i%2], time.Since(begin).Seconds())
			}
			if len(took[1]) > 0 {
				b.ReportMetric(100*(median(took[1])/median(took[0])-1), "%slower")
			}
		})
	}
}

type blackHole struct{ smtp.Session }

func (blackHole) Reset()                               {}
func (blackHole) Logout() error                        { return nil }
func (blackHole) Mail(string, *smtp.MailOptions) error { return nil }
func (blackHole) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (blackHole) Data(r io.Reader) error               { _, err := io.Copy(io.Discard, r); return err }

func median(v []float64) float64 {
	sorted := append([]float64(nil), v...)
	for i := range sorted {
		for j := i; j > 0 && sorted[j] < sorted[j-1]; j-- {
			sorted[j], sorted[j-1] = sorted[j-1], sorted[j]
		}
	}
	return sorted[len(sorted)/2]
}

func benchSession(b *testing.B, addr string, secure bool, text string) {
	conn, err := net.Dial("tcp", addr)
	require.NoError(b, err)
	defer conn.Close()
	p := newPeer(b, conn)
	p.want(greeting)
	p.send(ehlo)
	p.ehloReply()
	if secure {
		p.say("STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n")
		p = newPeer(b, tls.Client(conn, clientTLS()))
		p.send(ehlo)
		p.ehloReply()
	}
	for range 10 {
		p.say(mail, mailOK)
		p.say(rcpt, rcptOK)
		p.say("DATA\r\n", dataGo)
		p.say(text, queued)
	}
	p.say("QUIT\r\n", bye)
}

// TestIdleMemory bounds the heap of idle connections, without the sockets and
// without the server's own.
func TestIdleMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector keeps shadows")
	}
	const n = 10_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	hl, err := NewListener(newMemory(), func() Options {
		o := forAll(t, Policy{TLS: TLSPreferred, MaxConnsPerIP: -1})
		o.Certificate = serverCert()
		return o
	}())
	require.NoError(t, err)
	blocked := &stalled{wait: make(chan struct{})}
	before, goroutines := heap(), runtime.NumGoroutine()
	conns := make([]*Conn, n)
	for i := range conns {
		conns[i] = hl.enter(blocked)
		conns[i].Write([]byte(greeting))
		conns[i].room(false) // as when it waits for a command
	}
	require.Equal(t, goroutines, runtime.NumGoroutine())
	clear := (heap() - before) / n
	require.LessOrEqual(t, clear, uint64(4096))
	for _, c := range conns {
		c.mu.Lock()
		c.gate.phase = PhaseHandshake
		c.startHandshake()
		c.handshake.verified = true
		c.secured(c.handshake)
		c.info = &TLSInfo{}
		c.mu.Unlock()
		c.giveBack()
	}
	heap() // empties the pool
	secure := (heap() - before) / n
	t.Logf("octets of heap per idle connection: %d in clear text, %d inside TLS", clear, secure)
	require.LessOrEqual(t, secure, uint64(1024))
	runtime.KeepAlive(conns)
}

type stalled struct {
	script
	wait chan struct{}
}
