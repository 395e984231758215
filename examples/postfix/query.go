package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/examples/postfix/policymap"
)

// query tells about each next hop what Postfix would be told, and why. An error of the
// output counts like one of the command line: nobody has read an answer.
func query(ctx context.Context, m *policymap.Map, keys []string, out io.Writer) (err error) {
	w := &checked{Writer: out}
	for i, key := range keys {
		if i > 0 {
			fmt.Fprintln(w)
		}
		a, story := m.Explain(ctx, key)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if a.Status == policymap.Perm {
			return fmt.Errorf("%q is no next hop: %s", key, a.Why)
		}
		if a.Status == policymap.Temp {
			err = errWaits
		}
		fmt.Fprintf(w, "%s\n  Postfix is told  %s\n", shown(key), shown(a.String()))
		if full := a.Text(true); full != a.Text(false) {
			fmt.Fprintf(w, "  %-15s  %s\n", policymap.WithAttributes, full)
		}
		fmt.Fprintf(w, "  because          %s (row %s)\n", shown(a.Why), a.Row)
		if until := time.Until(a.Expires); until > 0 {
			fmt.Fprintf(w, "  valid for        %v\n", until.Round(time.Second))
		}
		for line := range strings.Lines(story) {
			fmt.Fprintf(w, "    %s\n", shown(strings.TrimRight(line, "\n")))
		}
		if w.err != nil {
			return w.err
		}
	}
	return err
}

// shown returns text for a terminal: what DNS and policy hosts wrote may hold control
// characters.
func shown(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
		return strconv.QuoteToASCII(text)
	}
	return text
}

// checked is a Writer that remembers its first error.
type checked struct {
	io.Writer
	err error
}

func (c *checked) Write(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Writer.Write(b)
	c.err = err
	return n, err
}
