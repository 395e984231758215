package tlsrpt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSlowHost: a host that takes its time for every report does not keep those of
// others away, however many domains name it.
func TestSlowHost(t *testing.T) {
	for why, answer := range map[string]error{"and takes it": nil, "and fails": errors.New("timeout")} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now() // midnight UTC
				store, records := new(Memory), make(map[string][]string)
				var names []string
				for i := range 500 {
					name := fmt.Sprintf("r%d.example", i)
					records[name] = []string{"v=TLSRPTv1;rua=mailto:in@slow.example"}
					if i%50 == 0 {
						records[name] = []string{fmt.Sprintf("v=TLSRPTv1;rua=mailto:in@good%d.example", i)}
					}
					names = append(names, name)
				}
				fill(t, store, DayOf(start).String(), names...)
				ctx, cancel := context.WithCancel(t.Context())
				var mu sync.Mutex
				good, slow := 0, 0
				r := &Reporter{Store: store, Resolver: &dns{records: records}, Organization: "S", Contact: "a@sender.example",
					Mail: func(_ context.Context, m *Message) error {
						mu.Lock()
						defer mu.Unlock()
						if !strings.HasSuffix(m.To, "@slow.example") {
							good++
							return nil
						}
						slow++
						mu.Unlock()
						time.Sleep(time.Minute)
						mu.Lock()
						return answer
					}}
				var all sync.WaitGroup
				all.Go(func() { require.ErrorIs(t, r.Run(ctx), context.Canceled) })
				time.Sleep(24*time.Hour + 5*time.Hour)
				cancel()
				all.Wait()
				require.Equal(t, 10, good, "within an hour of the last that was due")
				require.Positive(t, slow)
			})
		})
	}
}

// TestNotedAfterTime: an attempt that takes all the time of the lease is noted, so
// that the next one waits.
func TestNotedAfterTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(Memory)
		fill(t, store, DayOf(time.Now()).String(), "r.example")
		r := &Reporter{Store: store, Resolver: &dns{records: map[string][]string{"r.example": {"v=TLSRPTv1;rua=mailto:in@r.example"}}},
			Organization: "S", Contact: "a@sender.example", Mail: func(ctx context.Context, _ *Message) error { <-ctx.Done(); return ctx.Err() }}
		d := Delivery{DayOf(time.Now()), "r.example"}
		require.NoError(t, r.Deliver(t.Context(), d))
		p, err := store.Progress(t.Context(), d.Day, d.Domain)
		require.NoError(t, err)
		require.Equal(t, 1, p.Attempts)
		require.False(t, p.Next.IsZero())
	})
}

// TestSentIsNoted: a report that was sent while the process ends is not sent again
// by the next one.
func TestSentIsNoted(t *testing.T) {
	store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
	fill(t, store, "2026-03-01", "r.example")
	r, box, _ := newReporter(store, &dns{records: map[string][]string{"r.example": {"v=TLSRPTv1;rua=mailto:in@r.example"}}}, c)
	ctx, cancel := context.WithCancel(t.Context())
	r.Mail = func(ctx context.Context, m *Message) error {
		defer cancel()
		return box.mail(ctx, m)
	}
	d := Delivery{day("2026-03-01"), "r.example"}
	_ = r.Deliver(ctx, d) // may tell that ctx has ended
	next, again, _ := newReporter(store, r.Resolver, c)
	require.NoError(t, next.Deliver(t.Context(), d))
	require.Equal(t, 1, box.count()+again.count())
}

// TestSameTarget: a record that names one address in several ways gets one report.
func TestSameTarget(t *testing.T) {
	store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
	fill(t, store, "2026-03-01", "r.example")
	txt := "v=TLSRPTv1;rua=mailto:in@r.example,mailto:in@R.example,MAILTO:%69n@r.example,mailto:in@r.example?subject=x"
	r, box, _ := newReporter(store, &dns{records: map[string][]string{"r.example": {txt}}}, c)
	require.NoError(t, r.Deliver(t.Context(), Delivery{day("2026-03-01"), "r.example"}))
	require.Equal(t, 1, box.count())
}

// TestSendersSpread: senders do not all come to a receiver at the same second.
func TestSendersSpread(t *testing.T) {
	times := make(map[time.Time]bool)
	for i := range 10 {
		times[SendAt(day("2026-03-01"), "r.example", fmt.Sprintf("sender%d.example", i))] = true
	}
	require.Greater(t, len(times), 8)
}

// TestContactSpelling: nodes whose operators spell the contact differently make one
// report, and a contact that is an address in an encoded form alone is none.
func TestContactSpelling(t *testing.T) {
	var got [][]byte
	for _, contact := range []string{"tls@sender.example", "tls@Sender.EXAMPLE", "tls@sender.example."} {
		store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
		fill(t, store, "2026-03-01", "r.example")
		r, box, _ := newReporter(store, &dns{records: map[string][]string{"r.example": {"v=TLSRPTv1;rua=mailto:in@r.example"}}}, c)
		r.Contact = contact
		require.NoError(t, r.Deliver(t.Context(), Delivery{day("2026-03-01"), "r.example"}))
		got = append(got, box.got[0].Bytes())
	}
	require.True(t, bytes.Equal(got[0], got[1]) && bytes.Equal(got[0], got[2]))
	r, _, _ := newReporter(new(Memory), new(dns), newClock("2026-03-02T06:00:00Z"))
	r.Contact, r.From = "tls%40other.example", "tls@sender.example"
	require.Error(t, r.Deliver(t.Context(), Delivery{}))
	_, err := BuildMessage(&Report{Contact: r.Contact, ID: "x"}, MessageOptions{Domain: "r.example", From: r.From, To: Target{Scheme: "mailto", Address: "a@b.example"}})
	require.Error(t, err)
}
