package smtpclient

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// stallerName is the environment variable that makes TestManyStalled be the mail
// host: "greeting" for one that never says a word, "handshake" for one that says no
// more after the ClientHello. It is a process of its own, because neither its
// descriptors nor its memory are to be counted.
const stallerName = "SMTPSEC_TEST_STALLER"

// beStaller serves until its input ends. It writes its address on a line of its own,
// then a dot for each connection that waits.
func beStaller(t *testing.T, where string) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	fmt.Println(l.Addr())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go stall(c, where)
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0) // nothing of go test's belongs on the output
}

func stall(c net.Conn, where string) {
	defer c.Close()
	r := bufio.NewReader(c)
	if where == "handshake" {
		io.WriteString(c, "220 mx ESMTP\r\n")
		skipLine(r)
		io.WriteString(c, offers)
		skipLine(r)
		io.WriteString(c, "220 go\r\n")
		r.ReadByte()
	}
	os.Stdout.WriteString(".")
	io.Copy(io.Discard, r)
}

// startStaller starts this test binary as such a host. waiting reads the dots.
func startStaller(t *testing.T, where string) (addr string, waiting *bufio.Reader) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestManyStalled$")
	cmd.Env = append(os.Environ(), stallerName+"="+where)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		require.NoError(t, cmd.Wait())
	})
	waiting = bufio.NewReader(out)
	addr, err = waiting.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(addr), waiting
}

func skipLine(r *bufio.Reader) {
	for {
		if c, err := r.ReadByte(); err != nil || c == '\n' {
			return
		}
	}
}

// resident returns the resident memory of the process in octets, 0 where the system
// does not tell.
func resident() int {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return kib << 10
}

// TestManyStalled: Dials to a host that stalls take little memory, in silence as in
// the TLS handshake, and end with their context without leaving anything behind. With
// SMTPSEC_DIALS=10000 in the environment there are so many at a time, and they fit
// into 1 GiB.
func TestManyStalled(t *testing.T) {
	if where := os.Getenv(stallerName); where != "" {
		beStaller(t, where)
	}
	dials, err := strconv.Atoi(os.Getenv("SMTPSEC_DIALS"))
	if err != nil {
		dials = 500
		if raceEnabled {
			dials = 100
		}
	}
	for _, where := range []string{"greeting", "handshake"} {
		t.Run(where, func(t *testing.T) {
			addr, waiting := startStaller(t, where)
			debug.FreeOSMemory()
			goroutines, files, memory := runtime.NumGoroutine(), openFiles(), resident()
			d := &Dialer{
				Hostname: "mta.sender.example", Resolver: staticMX(t, netip.MustParseAddr("192.0.2.1")),
				Policy: fixed(modeOnly(tlspolicy.Preferred)),
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var all sync.WaitGroup
			for range dials {
				all.Go(func() {
					_, err := d.Dial(ctx, "partner.example")
					if !assert.ErrorIs(t, err, context.Canceled) {
						cancel()
					}
				})
			}
			over := make(chan struct{}) // if the Dials end, nobody waits for dots any more
			go func() {
				all.Wait()
				close(over)
			}()
			arrived := make(chan struct{})
			go func() {
				io.CopyN(io.Discard, waiting, int64(dials))
				close(arrived)
			}()
			select {
			case <-arrived:
			case <-over:
				t.FailNow()
			}
			require.LessOrEqual(t, runtime.NumGoroutine()-goroutines, dials+2, "a Dial that waits has one goroutine")
			runtime.GC()
			now := resident()
			if dials <= 10000 {
				require.LessOrEqual(t, now, 1<<30)
			}
			begin := time.Now()
			cancel()
			<-over
			t.Logf("%d Dials: %d KiB each, %d MiB resident in all, gone after %v",
				dials, (now-memory)/dials>>10, now>>20, time.Since(begin).Round(time.Millisecond))
			for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines || openFiles() > files; runtime.Gosched() {
				if time.Now().After(end) {
					t.Fatalf("left behind: %d goroutines (%d before), %d descriptors (%d before)",
						runtime.NumGoroutine(), goroutines, openFiles(), files)
				}
			}
		})
	}
}
