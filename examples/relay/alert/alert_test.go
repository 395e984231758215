//go:build unix

package alert

import (
	"context"
	"fmt"
	"log/slog"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func Example() {
	out := New(func(to []string, text string) error {
		fmt.Println(to, strings.Contains(text, "no room"))
		return nil
	}, slog.New(slog.DiscardHandler))
	settings := Settings{Hostname: "relay.example", From: "postmaster@relay.example", Mail: []string{"operator@relay.example"}, Every: time.Hour}
	fmt.Println(out.Send(settings, Alert{Kind: "spool-full", Text: "no room"}))
	fmt.Println(out.Send(settings, Alert{Kind: "spool-full", Text: "no room at all"}))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	out.Run(ctx)
	// Output:
	// true
	// false
	// [operator@relay.example] true
}

func TestPass(t *testing.T) {
	o := New(nil, nil)
	now := time.Now()
	require.True(t, o.pass("a", time.Hour, now))
	require.False(t, o.pass("a", time.Hour, now.Add(59*time.Minute)))
	require.True(t, o.pass("b", time.Hour, now), "another one")
	require.True(t, o.pass("a", time.Hour, now.Add(time.Hour)))
	for i := range maxKinds + 10 {
		o.pass(fmt.Sprint(i), time.Hour, now)
	}
	require.LessOrEqual(t, len(o.last), maxKinds)
}

// TestBounded: Send never waits, and says when too many wait already.
func TestBounded(t *testing.T) {
	var log strings.Builder
	o := New(func([]string, string) error { return nil }, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range maxWaiting + 1 {
		require.True(t, o.Send(Settings{Mail: []string{"x@x.example"}}, Alert{Kind: "k", About: fmt.Sprint(i)}))
	}
	require.Equal(t, 1, strings.Count(log.String(), "too many"))
}

// TestCommand: the command gets the text; what it leaves running does not hold up the
// next alert.
func TestCommand(t *testing.T) {
	var log strings.Builder
	o := New(nil, slog.New(slog.NewTextHandler(&log, nil)))
	got := filepath.Join(t.TempDir(), "got")
	o.send(t.Context(), Settings{Command: []string{"/bin/sh", "-c", `cat > "$0"`, got}}, Alert{Text: "no room"})
	text, err := os.ReadFile(got)
	require.NoError(t, err)
	require.Equal(t, "no room\n", string(text))
	require.Empty(t, log.String())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.send(ctx, Settings{Command: []string{"/bin/sleep", "1000"}}, Alert{Text: strings.Repeat("x", 1<<20)})
	require.Contains(t, log.String(), "alert command failed")
}

// TestMessage: whatever strangers have put into the text, it is one message with
// the header that it should have, in lines that mail can carry.
func TestMessage(t *testing.T) {
	s := Settings{Hostname: "relay.example", From: "postmaster@relay.example", Mail: []string{"a@x.example", "b@x.example"}}
	for _, text := range []string{
		"no room", "a\r\nb\n\n.\n..", "\x00\xff\x1b[2J", strings.Repeat("x", 5000), strings.Repeat("\u00e4", 3000), strings.Repeat("word ", 1000), "", "\n\n",
	} {
		got := s.message(Alert{Kind: "kind\r\nX: y", Text: text}, time.Now())
		m, err := mail.ReadMessage(strings.NewReader(got))
		require.NoError(t, err)
		require.Len(t, m.Header, 9)
		require.Equal(t, "relay.example: kind??X:?y", m.Header.Get("Subject"))
		require.Equal(t, "auto-generated", m.Header.Get("Auto-Submitted"))
		require.NotContains(t, strings.ReplaceAll(got, "\r\n", ""), "\r")
		require.NotContains(t, strings.ReplaceAll(got, "\r\n", ""), "\n")
		require.NotContains(t, got, "\x00")
		for line := range strings.SplitSeq(got, "\r\n") {
			require.LessOrEqual(t, len(line), maxLine)
		}
	}
}
