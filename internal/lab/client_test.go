package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for something that must come; it is no
// assertion about speed.
const patience = 20 * time.Second

// start runs a world until the end of the test, which fails if anything is left.
func start(t *testing.T, w World) *Lab {
	t.Helper()
	noLeak(t)
	l, err := Start(w)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// startHost runs one unsigned domain, partner.example, with one host.
func startHost(t *testing.T, h Host) (*Lab, *MailHost) {
	t.Helper()
	h.Name = "mx.partner.example"
	l := start(t, World{Domains: []Domain{{Name: "partner.example", Hosts: []Host{h}}}})
	return l, l.Host(h.Name)
}

// noLeak compares goroutines and descriptors at the end of the test with now.
func noLeak(t *testing.T) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), descriptors()
	t.Cleanup(func() {
		end := time.Now().Add(patience)
		for runtime.NumGoroutine() > goroutines || descriptors() > files {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("goroutines %d, now %d; descriptors %d, now %d\n%s", goroutines, runtime.NumGoroutine(),
					files, descriptors(), stacks[:runtime.Stack(stacks, true)])
			}
			runtime.Gosched() // a goroutine that has said good-bye may need a moment to be gone
		}
	})
}

// descriptors returns the number of open files; 0 where that cannot be seen.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// client is an SMTP client that can be told to do anything.
type client struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

// dial connects to a mail host through the lab and reads nothing.
func dial(t *testing.T, l *Lab, host string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := l.DialContext(ctx, "tcp", net.JoinHostPort(host, "25"))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	return &client{t, c, bufio.NewReader(c)}
}

// reply reads one reply, or what there is of it before an error.
func (c *client) reply() (string, error) {
	var all strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		all.WriteString(line)
		if err != nil || len(line) < 4 || line[3] != '-' {
			return all.String(), err
		}
	}
}

// want reads a reply and checks its code.
func (c *client) want(code int) string {
	c.Helper()
	reply, err := c.reply()
	require.NoError(c, err)
	require.True(c, strings.HasPrefix(reply, strconv.Itoa(code)), "want %d, got %q", code, reply)
	return reply
}

// say sends a line.
func (c *client) say(line string) {
	c.Helper()
	_, err := c.Write([]byte(line + "\r\n"))
	require.NoError(c, err)
}

// hello reads the greeting and says EHLO.
func (c *client) hello() string {
	c.Helper()
	c.want(220)
	c.say("EHLO client.test")
	return c.want(250)
}

// handshake continues with TLS behind a 220.
func (c *client) handshake(config *tls.Config) (tls.ConnectionState, error) {
	c.Helper()
	if config == nil {
		config = &tls.Config{InsecureSkipVerify: true}
	}
	secure := tls.Client(c.Conn, config)
	if err := secure.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	c.Conn, c.in = secure, bufio.NewReader(secure)
	return secure.ConnectionState(), nil
}

// startTLS says STARTTLS and does the handshake.
func (c *client) startTLS(config *tls.Config) (tls.ConnectionState, error) {
	c.Helper()
	c.say("STARTTLS")
	c.want(220)
	return c.handshake(config)
}

// closed reads until the end and returns what came and how it ended, nil for EOF.
func (c *client) closed() (string, error) {
	var all strings.Builder
	_, err := c.in.WriteTo(&all)
	return all.String(), err
}

// idle waits until the host's record is complete.
func idle(t *testing.T, h *MailHost) []Connection {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, h.Idle(ctx))
	return h.Connections()
}
