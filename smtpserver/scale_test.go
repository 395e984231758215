package smtpserver

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// atScale returns a number for everyday tests, or the one of the acceptance tests when
// SMTPSERVER_SCALE=full is set. That takes some 19,000 file descriptors:
//
//	SMTPSERVER_SCALE=full go test -run 'NothingLeft|Idle|Reload|Slowloris' -v ./smtpserver
func atScale(everyday, full int) int {
	if os.Getenv("SMTPSERVER_SCALE") == "full" {
		return full
	}
	return everyday
}

// descriptors counts the open files of the process, -1 where /proc does not show them.
func descriptors() int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(files)
}

// settles waits until measure is back at most at limit. What is over leaves a moment
// later: goroutines when they have told the event, sockets when both ends are closed.
func settles(t *testing.T, what string, limit int, measure func() int) {
	t.Helper()
	now := measure()
	for end := time.Now().Add(20 * time.Second); now > limit && time.Now().Before(end); now = measure() {
		runtime.Gosched()
	}
	require.LessOrEqual(t, now, limit, what)
}

// TestNothingLeft: connects and closes, at any point of a session, leave no goroutine,
// no file descriptor and no entry behind.
func TestNothingLeft(t *testing.T) {
	w := serve(t, forAll(t, tlsPreferred))
	w.dial().want(greeting)
	goroutines, files := runtime.NumGoroutine(), descriptors()
	n := atScale(1000, 10_000)
	for i := range n {
		conn, err := net.Dial("tcp", w.addr)
		require.NoError(t, err)
		if i%4 > 0 { // after the greeting, a command, in a handshake
			io.ReadFull(conn, make([]byte, len(greeting)))
		}
		if i%4 > 1 {
			io.WriteString(conn, ehlo)
			io.ReadFull(conn, make([]byte, len(ehloClear)))
		}
		if i%4 > 2 {
			io.WriteString(conn, "STARTTLS\r\n")
			conn.Read(make([]byte, 10))
		}
		conn.Close()
	}
	w.events.wait(t, KindClosed, n)
	require.Equal(t, 1, w.listener.Stats().Active)
	settles(t, "goroutines", goroutines, runtime.NumGoroutine)
	settles(t, "file descriptors", files, descriptors)
	w.listener.mu.Lock()
	defer w.listener.mu.Unlock()
	require.Len(t, w.listener.perAddr, 1)
	require.Len(t, w.listener.conns, 1)
}

// from dials from an address of the loopback network that is the i-th of many.
func from(t testing.TB, addr string, i int) *peer {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+i>>16), byte(i>>8), byte(i)|1)}}
	conn, err := d.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return newPeer(t, conn)
}

// TestSlowloris: thousands of clients that say an octet and no more, before the
// greeting, in a command, in a handshake and in a message, do not keep good ones from
// delivering, nor do peers that are told why they are rejected.
func TestSlowloris(t *testing.T) {
	w := serve(t, Options{Table: compile(t,
		SenderGroup{Name: "bad", Senders: []string{"127.9.0.0/16"}, Policy: Policy{Access: Reject}},
		SenderGroup{Name: "rest", Senders: []string{"ALL"}, Policy: Policy{Access: Accept, TLS: TLSPreferred}})})
	slow := atScale(200, 4000)
	for i := range slow {
		p := from(t, w.addr, i)
		forever(p)
		switch i % 4 {
		case 0:
			continue
		case 1:
			p.want(greeting)
			p.send("E")
			continue
		}
		p.want(greeting)
		p.say(ehlo, ehloClear)
		if i%4 == 2 {
			p.say("STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n")
			p.send("\x16")
		} else {
			p.say(mail+rcpt+"DATA\r\n", mailOK+rcptOK+dataGo)
			p.send("x")
		}
	}
	for i := range 2 * DefaultMaxRefusing { // those above the limit are reset
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, byte(i>>8), byte(i)|1)}}
		if conn, err := d.Dial("tcp", w.addr); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	w.events.wait(t, KindRejected, DefaultMaxRefusing)
	good := atScale(20, 200)
	for i := range good {
		in := from(t, w.addr, 1<<17+i)
		if i%2 == 0 {
			in, _ = in.starttls(clientTLS())
		} else {
			in.want(greeting)
		}
		in.send(ehlo)
		in.ehloReply()
		in.say(mail+rcpt+"DATA\r\n", mailOK+rcptOK+dataGo)
		in.say("good\r\n.\r\nQUIT\r\n", queued+bye)
	}
	w.backend.see(func() { require.Len(t, w.backend.messages, good) })
	require.GreaterOrEqual(t, w.listener.Stats().Active, slow, "the slow ones are still there")
}

// TestIdleSockets holds sessions of go-smtp open on real sockets and says what each of
// them costs the process, the server's own and the client's part included. Beyond what
// the descriptors of a process allow, TestIdleMemory has connections without sockets.
func TestIdleSockets(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector keeps shadows")
	}
	n := atScale(200, 9000)
	measure := func() (total, goroutines int) {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
	}
	costs := map[bool]int{}
	for _, filtered := range []bool{false, true} {
		var ln net.Listener = listen(t)
		addr := ln.Addr().String()
		if filtered {
			hl, err := NewListener(ln, forAll(t, Policy{MaxConnsPerIP: -1}))
			require.NoError(t, err)
			ln = hl
		}
		s, _ := goSMTP(t, ln, nil)
		before, goroutines := measure()
		conns := make([]net.Conn, n)
		greeted := make([]byte, len(greeting))
		for i := range conns {
			var err error
			conns[i], err = net.Dial("tcp", addr)
			require.NoError(t, err)
			_, err = io.ReadFull(conns[i], greeted)
			require.NoError(t, err)
			_, err = io.WriteString(conns[i], "NOOP\r\n")
			require.NoError(t, err)
			_, err = io.ReadFull(conns[i], make([]byte, len(noop)))
			require.NoError(t, err)
		}
		after, running := measure()
		costs[filtered] = (after - before) / n
		require.LessOrEqual(t, running-goroutines, n+2, "one goroutine each, the server's")
		for _, conn := range conns {
			conn.Close()
		}
		s.Close()
	}
	t.Logf("%d sessions of go-smtp: %d octets each, %d behind the filter", n, costs[false], costs[true])
	require.LessOrEqual(t, costs[true]-costs[false], 6<<10, "4 KiB of heap, and what the stack of a reader grows by")
}

// TestReloadUnderLoad swaps tables while clients come and go: the setting and the
// banner of a session belong together.
func TestReloadUnderLoad(t *testing.T) {
	one := forAll(t, Policy{TLS: TLSPreferred, Banner: &Banner{Host: "one.example", Text: "x"}})
	two := forAll(t, Policy{TLS: TLSNo, Banner: &Banner{Host: "two.example", Text: "x"}})
	w := serve(t, one)
	sessions, enough := make(chan string), make(chan struct{})
	var clients sync.WaitGroup
	for range atScale(10, 100) {
		clients.Go(func() {
			for {
				select {
				case sessions <- reloadClient(w.addr):
				case <-enough:
					return
				}
			}
		})
	}
	for i := range 1000 {
		require.NoError(t, w.listener.SetTable([]*Table{two.Table, one.Table}[i%2]))
		require.Empty(t, <-sessions)
	}
	close(enough)
	clients.Wait()
	w.events.wait(t, KindTableSwapped, 1000)
}

// reloadClient has a session and says what was a mixture of two tables in it.
func reloadClient(addr string) string {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, ehlo+"QUIT\r\n"); err != nil {
		return err.Error()
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	text := string(all)
	first, offered := strings.HasPrefix(text, "220 one.example x\r\n"), strings.Contains(text, "STARTTLS")
	if first != offered || !first && !strings.HasPrefix(text, "220 two.example x\r\n") {
		return fmt.Sprintf("a mixture: %q", text)
	}
	return ""
}
