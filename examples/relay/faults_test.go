//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

// TestOtherReplies: the first digit of a reply decides (RFC 5321 section 4.2), and
// what is no reply of SMTP decides nothing.
func TestOtherReplies(t *testing.T) {
	for _, tc := range []struct {
		why, at, reply string
		want           string // in the log
		dots           int    // messages that the host has seen the end of
	}{
		{"taken, in unusual words", ".", "251 2.0.0 taken", "msg=delivered", 1},
		{"an unusual yes to MAIL", "MAIL", "251 go on", "msg=delivered", 1},
		{"an unusual yes to RCPT", "RCPT", "252 cannot verify", "msg=delivered", 1},
		{"no code of SMTP at the end", ".", "600 what", "msg=deferred", 1},
		{"no code of SMTP to RCPT", "RCPT", "999 what", "msg=deferred", 0},
		{"354 to RCPT", "RCPT", "354 go on", "msg=deferred", 0},
		{"yes to DATA", "DATA", "250 yes", "msg=deferred", 0},
	} {
		t.Run(tc.why, func(t *testing.T) {
			h := newHost(t, func(line string) string {
				if strings.HasPrefix(line, tc.at) {
					return tc.reply
				}
				return ""
			})
			b := begin(t, makeLab(t), nil, routed(map[string]*host{"there.example": h})...)
			id := b.send("alice@good.example", nil, "bob@there.example")
			b.wait(0, "attempts=1", id, tc.want)
			require.Equal(t, tc.dots, h.count("."))
		})
	}
}

// TestRefusedAgain: a host that refuses the EHLO which go-smtp says after RSET refuses
// no mail.
func TestRefusedAgain(t *testing.T) {
	var h *host
	h = newHost(t, func(line string) string {
		switch {
		case strings.HasPrefix(line, "EHLO") && h.count("RSET") == 1 && h.count("EHLO") == 2:
			return "554 5.7.1 once is enough"
		case strings.HasPrefix(line, "RCPT TO:<busy"):
			return "450 4.2.1 busy"
		}
		return ""
	})
	b := begin(t, makeLab(t), func(c *config.Config) { c.Queue.ConnIdle = time.Minute }, routed(map[string]*host{"there.example": h})...)
	id := b.send("alice@good.example", nil, "busy@there.example")
	b.wait(0, "msg=deferred", id)
	id = b.send("alice@good.example", nil, "bob@there.example")
	b.wait(0, "msg=delivered", id, "attempts=1")
}

// TestNotAside: a damaged message that cannot be put aside is not forgotten.
func TestNotAside(t *testing.T) {
	h := newHost(t, func(string) string { return "" })
	b := begin(t, makeLab(t), nil, routed(map[string]*host{"there.example": h})...)
	b.stopWork()
	b.workers.Wait()
	id := b.send("alice@good.example", nil, "bob@there.example")
	dir := b.setup.Load().config.Spool.Dir
	flip(t, dir+"/queue/"+id+".json")
	replaceByFile(t, dir+"/corrupt")
	again := b.attempt(t.Context(), spool.Job{ID: id, Domain: "there.example"})
	require.False(t, again.IsZero())
}

// TestUnreadableAtStart: what cannot be read when the relay starts is not forgotten.
func TestUnreadableAtStart(t *testing.T) {
	l := makeLab(t)
	h := newHost(t, func(string) string { return "" })
	b := begin(t, l, nil, routed(map[string]*host{"there.example": h})...)
	b.stopWork()
	b.workers.Wait()
	id := b.send("alice@good.example", nil, "bob@there.example")
	dir := b.setup.Load().config.Spool.Dir
	b.stop(t.Context())
	// A link that leads out of the spool cannot be followed, also by root.
	envelope := dir + "/queue/" + id + ".json"
	away := filepath.Join(t.TempDir(), "away")
	require.NoError(t, os.Rename(envelope, away))
	require.NoError(t, os.Symlink(away, envelope))
	next := begin(t, l, func(c *config.Config) { c.Spool.Dir = dir }, routed(map[string]*host{"there.example": h})...)
	next.wait(0, "level=ERROR", id)
	require.NoError(t, os.Remove(envelope))
	require.NoError(t, os.Rename(away, envelope))
	require.NoError(t, next.operator().Wake(id)) // or in a minute
	next.woken()
	next.wait(0, "msg=delivered", id)
}

// TestBodyGoneAtStart: mail that was taken in and is not there any more is an error that
// the operator is alerted of.
func TestBodyGoneAtStart(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil)
	b.stopWork()
	b.workers.Wait()
	id := b.send("alice@good.example", nil, "bob@there.example")
	dir := b.setup.Load().config.Spool.Dir
	b.stop(t.Context())
	require.NoError(t, os.Remove(dir+"/queue/"+id+".eml"))
	next := begin(t, l, func(c *config.Config) { c.Spool.Dir = dir })
	next.wait(0, "level=ERROR", "msg=spool", id)
	next.wait(0, "msg=alert", "kind=spool-failed", id)
	require.EqualValues(t, 1, next.metrics.corrupt.Load())
}

// TestToBeBounced: whoever can send can be told.
func TestToBeBounced(t *testing.T) {
	b := begin(t, makeLab(t), quick)
	r := b.raw()
	r.say(250, "MAIL FROM:<al\u00adice\u200b@good.example> SMTPUTF8")
	r.say(250, "RCPT TO:<bob@nowhere.example>")
	r.say(354, "DATA")
	require.NoError(t, r.PrintfLine("Subject: x\r\n\r\nx\r\n."))
	id := strings.Fields(r.want(250, "queued as"))[3]
	b.wait(0, "msg=bounced", id)
	b.wait(0, "sender told", id)
	require.Zero(t, b.metrics.unreturned.Load())
}

// replaceByFile puts a file where a directory was, so that nothing can be made there,
// not even by root.
func replaceByFile(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.WriteFile(dir, nil, 0o600))
}
