//go:build unix

package dirstore

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/stretchr/testify/require"
)

// internet is a domain with a policy, until it is forged away.
type internet struct{ forged bool }

func (i *internet) LookupTXT(_ context.Context, name string) ([]string, error) {
	if i.forged {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return []string{"v=STSv1; id=1;"}, nil
}

func (i *internet) RoundTrip(*http.Request) (*http.Response, error) {
	const policy = "version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 604800\n"
	return &http.Response{StatusCode: 200, ProtoMajor: 2, Header: http.Header{"Content-Type": {"text/plain"}}, ContentLength: -1, Body: io.NopCloser(strings.NewReader(policy))}, nil
}

// TestClientAfterRestart: a policy that was seen once holds after a restart, though
// the record is forged away by then.
func TestClientAfterRestart(t *testing.T) {
	dir, world := t.TempDir(), new(internet)
	start := func() *mtasts.Client {
		s, _ := open(t, dir)
		return &mtasts.Client{Resolver: world, Store: s, Fetch: mtasts.FetchConfig{Transport: world}}
	}
	r, err := start().Lookup(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, mtasts.SourceFresh, r.Source)
	world.forged = true
	again, err := start().Lookup(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, mtasts.OutcomeEnforce, again.Outcome)
	require.Equal(t, mtasts.SourceCached, again.Source)
	require.True(t, again.Match("mx.example.com"))
	require.True(t, r.Expires.Equal(again.Expires))
	require.NoError(t, start().Forget(t.Context(), "example.com", mtasts.ScopeAll))
	gone, err := start().Lookup(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, mtasts.OutcomeNoRecord, gone.Outcome)
}
