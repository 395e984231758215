package dnstest

import (
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestQueryLog(t *testing.T) {
	s := faultyServer(t)
	query := question("A.eXample.", dns.TypeA)
	query.AuthenticatedData, query.CheckingDisabled = true, true
	exchange(t, s.Addr(), query)
	plain := new(dns.Msg).SetQuestion("b.example.", dns.TypeTXT)
	plain.RecursionDesired = false
	_, _, err := (&dns.Client{Net: "tcp"}).Exchange(plain, s.Addr().String())
	require.NoError(t, err)

	log := s.Queries()
	require.Len(t, log, 2)
	require.Equal(t, 2, s.Count())
	require.True(t, log[0].From.Addr().IsLoopback())
	require.NotZero(t, log[0].From.Port())
	log[0].From, log[1].From = s.Addr(), s.Addr()
	require.Equal(t, []Query{
		{"udp", s.Addr(), query.Id, "A.eXample.", dns.TypeA, true, true, true, true, true, 4096},
		{"tcp", s.Addr(), plain.Id, "b.example.", dns.TypeTXT, false, false, false, false, false, 0},
	}, log)
	s.Reset()
	require.Zero(t, s.Count())
	require.Empty(t, s.Queries())
}

func TestListenErrors(t *testing.T) {
	tree := NewTree(Options{})
	require.NoError(t, tree.Sign())
	s, err := ServeAuthoritative(tree, "127.0.0.1:0")
	require.NoError(t, err)
	defer s.Close()
	_, err = ServeRecursive(tree, Validating, s.Addr().String())
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.ErrorContains(t, err, s.Addr().String())

	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer udp.Close()
	_, err = ServeRecursive(tree, Validating, udp.LocalAddr().String())
	require.ErrorIs(t, err, syscall.EADDRINUSE, "only UDP is busy")

	for _, addr := range []string{"localhost:53", "127.0.0.1", "127.0.0.1:x"} {
		_, err = ServeAuthoritative(tree, addr)
		require.ErrorContains(t, err, addr, "an address is an IP address and a port")
	}

	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "closing twice does no harm")
	again, err := ServeAuthoritative(tree, s.Addr().String())
	require.NoError(t, err, "the port is free again")
	require.NoError(t, again.Close())
}

func TestCloseLeavesNothing(t *testing.T) {
	tree := sampleTree(t)
	for range 5 {
		s, err := ServeAuthoritative(tree, "")
		require.NoError(t, err)
		var clients sync.WaitGroup
		for _, network := range []string{"udp", "tcp"} {
			for range 5 {
				clients.Go(func() {
					client := &dns.Client{Net: network}
					if reply, _, err := client.Exchange(question("nsec.com.", dns.TypeMX), s.Addr().String()); err == nil && reply.Rcode != 0 {
						t.Errorf("unexpected %s", reply)
					}
				})
			}
		}
		idle, err := net.Dial("tcp", s.Addr().String())
		require.NoError(t, err)
		clients.Wait()
		require.NoError(t, s.Close())
		idle.Close()
	}
	// Close has waited for the work of each goroutine; the scheduler may still be about to take the
	// last of them away.
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		left := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(left, "dnstest.(*Server)") && !strings.Contains(left, "dnstest.serve") && !strings.Contains(left, "miekg/dns.(*Server)") {
			return
		}
		require.True(t, time.Now().Before(end), left)
	}
}
