package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
)

// senders are sending hosts as they are without any library: text out, text in.
// They are quick, so that the time of a session is the server's.
type senders struct {
	held []net.Conn
}

// letter is the message of the sessions, about 10 KiB.
var letter = strings.Repeat(strings.Repeat("x", 76)+"\r\n", 131) + ".\r\n"

const lettersPerSession = 10

// sessions are o.N whole sessions, one after the other: EHLO, with TLS also
// STARTTLS and EHLO again, ten messages, QUIT.
func (s *senders) sessions(o order) error {
	for range o.N {
		conn, text, err := s.open(o)
		if err != nil {
			return err
		}
		for range lettersPerSession {
			for _, step := range [...]struct{ say, code string }{
				{"MAIL FROM:<a@sender.example>\r\n", "250"}, {"RCPT TO:<b@receiver.example>\r\n", "250"}, {"DATA\r\n", "354"}, {letter, "250"},
			} {
				if err := say(conn, text, step.say, step.code); err != nil {
					return err
				}
			}
		}
		if err := say(conn, text, "QUIT\r\n", "221"); err != nil {
			return err
		}
		if err := conn.Close(); err != nil && !o.TLS { // inside TLS the server may be gone first
			return err
		}
	}
	return nil
}

// hold opens o.N sessions and leaves them idle before MAIL.
func (s *senders) hold(o order) error {
	for range o.N {
		conn, _, err := s.open(o)
		if err != nil {
			return err
		}
		s.held = append(s.held, conn)
	}
	return nil
}

// release ends the idle sessions without a word.
func (s *senders) release() error {
	for _, conn := range s.held {
		conn.Close()
	}
	s.held = nil
	return nil
}

// open connects and says EHLO, with TLS also STARTTLS and EHLO again.
func (s *senders) open(o order) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp4", o.Addr)
	if err != nil {
		return nil, nil, err
	}
	text := bufio.NewReader(conn)
	if err := say(conn, text, "", "220"); err != nil {
		return nil, nil, err
	}
	if err := say(conn, text, "EHLO mta.sender.example\r\n", "250"); err != nil {
		return nil, nil, err
	}
	if !o.TLS {
		return conn, text, nil
	}
	if err := say(conn, text, "STARTTLS\r\n", "220"); err != nil {
		return nil, nil, err
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: poolOf(o.Roots), ServerName: "mx.receiver.example"})
	text = bufio.NewReader(secure)
	return secure, text, say(secure, text, "EHLO mta.sender.example\r\n", "250")
}

// say sends a command and reads its reply, which must have the code.
func say(conn io.Writer, text *bufio.Reader, command, code string) error {
	if command != "" {
		if _, err := io.WriteString(conn, command); err != nil {
			return err
		}
	}
	for {
		line, err := text.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, code) {
			return fmt.Errorf("%.20q is answered with %q", command, line)
		}
		if line[3] == ' ' {
			return nil
		}
	}
}
