package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/examples/postfix/policymap"
)

// query tells about each next hop what Postfix would be told, and why.
func query(ctx context.Context, m *policymap.Map, keys []string, w io.Writer) (err error) {
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
		fmt.Fprintf(w, "%s\n  Postfix is told  %v\n", key, a)
		if full := a.Text(true); full != a.Text(false) {
			fmt.Fprintf(w, "  %-15s  %s\n", policymap.WithAttributes, full)
		}
		fmt.Fprintf(w, "  because          %s (row %s)\n", a.Why, a.Row)
		if until := time.Until(a.Expires); until > 0 {
			fmt.Fprintf(w, "  valid for        %v\n", until.Round(time.Second))
		}
		for line := range strings.Lines(story) {
			fmt.Fprintf(w, "    %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return err
}
