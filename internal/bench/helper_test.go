package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A helper answers each order, and an order that fails with its reason.
func TestHelp(t *testing.T) {
	for _, tc := range []struct{ why, orders, want string }{
		{"no more orders", ``, ""},
		{"an order that there is not", `{"Do":"dance"}`, `no order "dance"`},
		{"nobody listens there", `{"Do":"sessions","N":1,"Addr":"127.0.0.1:1"}`, "connection refused"},
		{"the same, to be held", `{"Do":"hold","N":1,"Addr":"127.0.0.1:1"}`, "connection refused"},
		{"nothing is held", `{"Do":"release"}`, ""},
	} {
		var out strings.Builder
		require.NoError(t, help(strings.NewReader(tc.orders), &out), tc.why)
		if tc.orders == "" {
			require.Empty(t, out.String())
			continue
		}
		var r report
		require.NoError(t, json.Unmarshal([]byte(out.String()), &r), tc.why)
		require.Contains(t, r.Err, tc.want, tc.why)
		require.Equal(t, tc.want == "", r.Err == "", tc.why)
		require.Positive(t, r.CPU, tc.why)
	}
	require.Error(t, help(strings.NewReader("no order"), &strings.Builder{}))
	require.ErrorIs(t, help(strings.NewReader(`{"Do":"cpu"}`), broken{}), errBroken)
}

// Sessions end as they should, or the program ends: a refusal is an error.
func TestSenders(t *testing.T) {
	r := newReceiver(true)
	defer r.close()
	var s senders
	for _, secure := range []bool{false, true} {
		o := order{Addr: r.addr, N: 2, TLS: secure, Roots: r.roots}
		require.NoError(t, s.sessions(o))
		require.NoError(t, s.hold(o))
		require.Len(t, s.held, 2)
		require.NoError(t, s.release())
	}
	other := newReceiver(false)
	defer other.close()
	require.ErrorContains(t, s.sessions(order{Addr: other.addr, N: 1, TLS: true, Roots: r.roots}), "certificate", "the wrong root")
}
