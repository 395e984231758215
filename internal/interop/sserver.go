//go:build interop

package interop

import (
	"bufio"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// An OpenSSLServer is the TLS of "openssl s_server" with just enough SMTP around it. What it accepts it keeps.
type OpenSSLServer struct {
	Addr netip.AddrPort
	Log  *Log // what s_server says

	mu       sync.Mutex
	messages []string
}

// StartOpenSSL starts s_server with options such as "-tls1_2", and a front for it that listens at addr.
func StartOpenSSL(t testing.TB, addr netip.AddrPort, options ...string) *OpenSSLServer {
	t.Helper()
	openssl := program(t, "openssl", "openssl")
	// What comes from standard input goes to the client, unless it begins with a letter that is a command of s_server; SMTP
	// replies begin with digits. Standard output has what the client says and what s_server says, the latter in lines that
	// are no SMTP commands.
	cmd := exec.Command(openssl, append([]string{"s_server", "-accept", "127.0.0.1:0"}, options...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &OpenSSLServer{Addr: addr, Log: newLog()}
	listener, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var open conns
	t.Cleanup(func() {
		listener.Close()
		open.close()
		cmd.Process.Kill()
		group.Wait()
		cmd.Wait()
		if t.Failed() {
			t.Logf("openssl:\n%s", strings.Join(s.Log.Since(0), "\n"))
		}
	})
	group.Go(func() { s.Log.read(stderr) })
	lines := bufio.NewReader(stdout)
	var at []string
	for at == nil {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("openssl s_server does not start: %v", err)
		}
		at = regexp.MustCompile(`^ACCEPT (\S+:\d+)`).FindStringSubmatch(line)
	}
	group.Go(func() { s.speak(lines, stdin, false) })
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.add(client)
			group.Go(func() {
				defer client.Close()
				in := bufio.NewReader(client)
				fmt.Fprint(client, "220 front ESMTP\r\n")
				if !s.speak(in, client, true) {
					return
				}
				server, err := net.Dial("tcp", at[1])
				if err != nil {
					return
				}
				open.add(server)
				group.Go(func() {
					io.Copy(server, in)
					server.(*net.TCPConn).CloseWrite()
				})
				io.Copy(client, server)
				server.Close()
			})
		}
	})
	return s
}

// conns are connections to be closed at the end.
type conns struct {
	mu   sync.Mutex
	all  []net.Conn
	over bool
}

func (c *conns) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		conn.Close()
	}
	c.all = append(c.all, conn)
}

func (c *conns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for _, conn := range c.all {
		conn.Close()
	}
}

// speak answers commands until QUIT or STARTTLS, which it reports, in clear; behind s_server it ignores what is no
// command and goes on for as long as there are lines.
func (s *OpenSSLServer) speak(in *bufio.Reader, out io.Writer, inClear bool) bool {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return false
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		switch verb {
		case "EHLO":
			if inClear {
				fmt.Fprint(out, "250-front\r\n250-STARTTLS\r\n")
			} else {
				fmt.Fprint(out, "250-inside\r\n")
			}
			fmt.Fprint(out, "250 8BITMIME\r\n")
		case "MAIL", "RCPT":
			fmt.Fprint(out, "250 ok\r\n")
		case "DATA":
			fmt.Fprint(out, "354 go on\r\n")
			var message strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return false
				}
				if line == ".\r\n" {
					break
				}
				message.WriteString(line)
			}
			s.mu.Lock()
			s.messages = append(s.messages, message.String())
			s.mu.Unlock()
			fmt.Fprint(out, "250 ok\r\n")
		case "STARTTLS":
			if inClear {
				fmt.Fprint(out, "220 go on\r\n")
				return true
			}
		case "QUIT":
			fmt.Fprint(out, "221 bye\r\n")
			if inClear {
				return false
			}
		default:
			s.Log.add(strings.TrimRight(line, "\r\n"), false)
		}
	}
}

// Session returns version and suite of the last TLS session that s_server told of from a mark of the Log on. They
// are the fields of its SSL_SESSION structure (i2d_SSL_SESSION(3)).
func (s *OpenSSLServer) Session(t testing.TB, mark int) (version, suite uint16) {
	t.Helper()
	text := []byte(strings.Join(s.Log.Since(mark), "\n"))
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		var session struct {
			Structure, Version int
			Suite              []byte
		}
		if _, err := asn1.Unmarshal(block.Bytes, &session); err == nil && len(session.Suite) == 2 {
			version, suite = uint16(session.Version), binary.BigEndian.Uint16(session.Suite)
		}
	}
	return version, suite
}

// Messages returns the texts of the messages accepted.
func (s *OpenSSLServer) Messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.messages...)
}
