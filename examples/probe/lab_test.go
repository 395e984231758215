package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
)

// inLab starts a world and a prober that looks into it.
func inLab(t testing.TB, w lab.World) (*lab.Lab, *prober) {
	t.Helper()
	l, err := lab.Start(w)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	p := &prober{port: 25, timeout: time.Minute, now: time.Now}
	require.NoError(t, p.lookInto(l))
	p.policies = &mtasts.Client{Resolver: dnssec.NetResolver{Resolver: p.resolver}, Fetch: p.fetch}
	return l, p
}

// output runs the program as main does.
func output(t testing.TB, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

// results reads JSON output.
func results(t testing.TB, out string) []*Result {
	t.Helper()
	var all []*Result
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	for d.More() {
		var r Result
		require.NoError(t, d.Decode(&r))
		all = append(all, &r)
	}
	return all
}

func codes(r *Result) []string {
	var all []string
	for _, a := range r.Mend {
		all = append(all, a.Code)
	}
	return all
}
