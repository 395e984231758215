//go:build interop && linux

package soak

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// A client hands messages to a relay, with STARTTLS and, if it likes, without waiting for replies (RFC 2920) or in chunks
// (RFC 3030).
type client struct {
	net.Conn
	in       *bufio.Reader
	pipeline bool
	chunks   bool
}

// A refusal is a reply that is no success.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.code, r.text) }

// dial connects.
func dial(address string, pipeline bool) (_ *client, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn, in: bufio.NewReader(conn), pipeline: pipeline}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if err = c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err = c.reply(220); err != nil {
		return nil, err
	}
	if err = c.say("EHLO client.example\r\n", 250); err != nil {
		return nil, err
	}
	if err = c.say("STARTTLS\r\n", 220); err != nil {
		return nil, err
	}
	// The certificate of a relay in a test is its own.
	inner := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err = inner.Handshake(); err != nil {
		return nil, err
	}
	c.Conn, c.in = inner, bufio.NewReader(inner)
	return c, c.say("EHLO client.example\r\n", 250)
}

// reply reads one, whose code must be that.
func (c *client) reply(code int) (text string, err error) {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 4 {
			return "", fmt.Errorf("reply %q", line)
		}
		if line[3] == '-' {
			continue
		}
		got, err := strconv.Atoi(line[:3])
		if err != nil {
			return "", fmt.Errorf("reply %q", line)
		}
		if got != code {
			return "", &refusal{got, line[4:]}
		}
		return line[4:], nil
	}
}

func (c *client) say(line string, code int) error {
	if _, err := c.Write([]byte(line)); err != nil {
		return err
	}
	_, err := c.reply(code)
	return err
}

// send hands one message over and returns the id under which the relay has taken it. After an error that is not a
// *refusal, the relay may have taken it and may not.
func (c *client) send(from, options string, to []string, text []byte) (id string, err error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	commands := []string{"MAIL FROM:<" + from + ">" + options + "\r\n"}
	for _, rcpt := range to {
		commands = append(commands, "RCPT TO:<"+rcpt+">\r\n")
	}
	if c.pipeline {
		all := strings.Join(commands, "")
		if !c.chunks {
			all += "DATA\r\n"
		}
		if _, err := c.Write([]byte(all)); err != nil {
			return "", err
		}
	}
	var refused error
	for _, command := range commands {
		if !c.pipeline {
			if _, err := c.Write([]byte(command)); err != nil {
				return "", err
			}
		}
		if _, err := c.reply(250); err != nil {
			if _, ok := err.(*refusal); !ok {
				return "", err
			}
			refused = err
		}
	}
	if c.chunks || !c.pipeline {
		if refused != nil {
			return "", refused
		}
	}
	if c.chunks {
		return c.bdat(text)
	}
	if !c.pipeline {
		if _, err := c.Write([]byte("DATA\r\n")); err != nil {
			return "", err
		}
	}
	if _, err := c.reply(354); err != nil {
		return "", err
	}
	if refused != nil {
		c.Close() // anything but a message for those who were not refused
		return "", refused
	}
	stuffed := bytes.ReplaceAll(text, []byte("\n."), []byte("\n.."))
	if _, err := c.Write(append(stuffed, ".\r\n"...)); err != nil {
		return "", err
	}
	return c.taken()
}

// bdat hands the text over in two chunks.
func (c *client) bdat(text []byte) (id string, err error) {
	half := len(text) / 2
	if err := c.say(fmt.Sprintf("BDAT %d\r\n%s", half, text[:half]), 250); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "BDAT %d LAST\r\n%s", len(text)-half, text[half:]); err != nil {
		return "", err
	}
	return c.taken()
}

// taken reads the reply that tells the id of a message.
func (c *client) taken() (id string, err error) {
	reply, err := c.reply(250)
	if err != nil {
		return "", err
	}
	_, id, ok := strings.Cut(reply, "queued as ")
	if !ok {
		return "", fmt.Errorf("reply %q names no id", reply)
	}
	return id, nil
}
