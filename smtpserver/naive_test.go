package smtpserver

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// naive is an SMTP server with the faults that servers have been seen to have: it
// goes back to clear text when a handshake fails, without a word if silent is set;
// it writes its EHLO reply in pieces of three octets with STARTTLS at the end; it
// takes LF for a line end and STARTTLSX for STARTTLS.
type naive struct {
	config *tls.Config
	silent bool
	mu     sync.Mutex
	clear  []string // commands in clear text
	secret []string // commands inside TLS
	texts  []string
	served sync.WaitGroup
}

func (s *naive) serve(t testing.TB, ln net.Listener) {
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.served.Go(func() { s.session(conn) })
		}
	}()
	t.Cleanup(func() { ln.Close(); <-accepting; s.served.Wait() })
}

func (s *naive) note(list *[]string, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, text)
}

func (s *naive) seen() (clear, secret, texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clear, s.secret, s.texts
}

func (s *naive) session(raw net.Conn) {
	defer raw.Close()
	conn, in, list := raw, bufio.NewReaderSize(raw, 64<<10), &s.clear
	say := func(text string) { io.WriteString(conn, text) }
	say("220 naive.example ESMTP\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.note(list, line)
		switch word := strings.ToUpper(line); {
		case strings.HasPrefix(word, "STARTTLS"):
			say("220 go ahead\r\n")
			secure := tls.Server(raw, s.config)
			if err := secure.Handshake(); err != nil {
				if !s.silent {
					say("454 handshake failed, let us go on\r\n")
				}
				continue
			}
			conn, in, list = secure, bufio.NewReader(secure), &s.secret
		case strings.HasPrefix(word, "EHLO"):
			reply := "250-naive.example\r\n250-PIPELINING\r\n"
			if list == &s.clear {
				reply += "250-CHUNKING\r\n250 STARTTLS\r\n"
			} else {
				reply += "250 OK\r\n"
			}
			for len(reply) > 0 {
				n := min(3, len(reply))
				say(reply[:n])
				reply = reply[n:]
			}
		case word == "DATA":
			say("354 go\r\n")
			var text strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if strings.TrimRight(line, "\r\n") == "." {
					break
				}
				text.WriteString(line)
			}
			s.note(&s.texts, text.String())
			say("250 ok\r\n")
		case word == "QUIT":
			say("221 bye\r\n")
			return
		default:
			say("250 ok\r\n")
		}
	}
}
