//go:build interop && linux

package soak

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
)

// bench is a relay with a small spool, a host that takes its mail, and one that takes none.
func bench(t *testing.T, disk string) (*network, *program) {
	t.Helper()
	n := connect(t,
		hostOf("dane.example", lab.Signed, lab.Host{TLSA: []lab.TLSA{lab.TLSAMatch}}),
		hostOf("dead.example", lab.Unsigned, lab.Host{Fault: lab.Refused()}))
	return n, onDisk(t, n, disk)
}

// onDisk starts a relay whose spool is on a file system of its own.
func onDisk(t *testing.T, n *network, disk string) *program {
	t.Helper()
	p := build(t, smallDisk(t, disk)+"/spool", n.configuration("IDLE", "none"))
	p.start()
	return p
}

// hand hands in a message that must be accepted, and returns its id.
func hand(t *testing.T, to string, text string) string {
	t.Helper()
	id, err := try(t, to, text)
	require.NoError(t, err)
	return id
}

func try(t *testing.T, to, text string) (string, error) {
	t.Helper()
	c, err := dial(relayAddress, true)
	require.NoError(t, err)
	defer c.Close()
	return c.send("alice@dane.example", "", []string{to}, []byte("Subject: damage\r\n\r\n"+text+"\r\n"))
}

// arrived waits until the host of dane.example has a message with each of the texts in it, and each of them once.
func arrived(t *testing.T, n *network, p *program, texts ...string) {
	t.Helper()
	p.drain(patience, func(e *spool.Envelope) bool { return waits(e.Recipients[0].Address) })
	for _, text := range texts {
		count := 0
		for _, m := range n.Host("mx.dane.example").Mailbox() {
			if bytes.Contains(m.Data, []byte("\r\n\r\n"+text+"\r\n")) {
				count++
			}
		}
		require.Equal(t, 1, count, text)
	}
}

// TestFullDisk: while the disk is full mail is refused with 452 and one alert, what is in the queue stays there, and
// with room everything goes on by itself.
func TestFullDisk(t *testing.T) {
	if !inside(t) {
		return
	}
	n, p := bench(t, "size=2m")
	waiting := hand(t, "bob@dead.example", "waits")
	full := p.log.expect("kind=spool-full")
	free := fill(t, filepath.Dir(p.spool))
	for range 3 {
		_, err := try(t, "bob@dane.example", strings.Repeat("x", 9000))
		var no *refusal
		require.ErrorAs(t, err, &no)
		require.Equal(t, 452, no.code, no.text)
	}
	full()
	p.log.count(3, "message not accepted")
	p.log.count(1, "kind=spool-full")
	free()
	hand(t, "bob@dane.example", "there is room again")
	arrived(t, n, p, "there is room again")
	require.Contains(t, p.order("-queue"), waiting)
	p.stop()

	// The same with another sort of full: no more files.
	p = onDisk(t, n, "nr_inodes=20")
	var names []string
	for i := 0; ; i++ {
		f, err := os.Create(filepath.Join(filepath.Dir(p.spool), fmt.Sprint(i)))
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			break
		}
		f.Close()
		names = append(names, f.Name())
	}
	_, err := try(t, "bob@dane.example", "no")
	var no *refusal
	require.ErrorAs(t, err, &no)
	require.Equal(t, 452, no.code, no.text)
	for _, name := range names {
		require.NoError(t, os.Remove(name))
	}
	hand(t, "bob@dane.example", "there are files again")
	arrived(t, n, p, "there are files again")
	p.stop()
}

// TestReadOnlyDisk: a spool that cannot be written refuses mail with 451, loses nothing, and when it can be written
// again everything goes on. A relay does not start on it.
func TestReadOnlyDisk(t *testing.T) {
	if !inside(t) {
		return
	}
	n, p := bench(t, "size=8m")
	waiting := hand(t, "bob@dead.example", "waits")
	queue := filepath.Join(p.spool, "queue")
	// A disk with a file open for writing does not become read-only, but a second view of it does.
	readOnly := func(dir string) {
		require.NoError(t, syscall.Mount(dir, dir, "", syscall.MS_BIND, ""))
		require.NoError(t, syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	}
	writable := func(dir string) { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) }
	told := p.log.expect("kind=spool-failed")
	readOnly(queue)
	for range 2 {
		_, err := try(t, "bob@dane.example", "no")
		var no *refusal
		require.ErrorAs(t, err, &no)
		require.Equal(t, 451, no.code, no.text)
	}
	told()
	p.log.count(2, "message not accepted")
	p.log.count(1, "kind=spool-failed")
	writable(queue)
	hand(t, "bob@dane.example", "writable again")
	arrived(t, n, p, "writable again")
	require.Contains(t, p.order("-queue"), waiting)
	p.stop()

	readOnly(p.spool)
	refused := p.log.expect("read-only file system")
	p.launch()
	require.Error(t, p.wait(), "the exit status is that of failure")
	t.Log(refused())
	writable(p.spool)
	p.start()
	require.Contains(t, p.order("-queue"), waiting)
	p.stop()
}

// TestDamage: files of the spool that somebody has damaged, under the running relay or between two runs, are put aside
// with one line in the log each, and no other message suffers.
func TestDamage(t *testing.T) {
	if !inside(t) {
		return
	}
	n, p := bench(t, "size=64m")
	queue := filepath.Join(p.spool, "queue")
	damages := []struct {
		name string
		file string // ending of the file that suffers
		do   func(file string) error
	}{
		{"envelope cut", ".json", func(file string) error { return os.Truncate(file, 100) }},
		{"envelope empty", ".json", func(file string) error { return os.Truncate(file, 0) }},
		{"envelope of noise", ".json", func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte{0, 0xff, '{'}, 1000), 0o600) }},
		{"recipient changed", ".json", func(file string) error { return edit(file, "bob@dead.example", "eve@dane.example") }},
		{"body cut", ".eml", func(file string) error { return os.Truncate(file, 60) }},
		{"body longer", ".eml", func(file string) error { return edit(file, "damage", "damage, and more of it") }},
		{"body changed", ".eml", func(file string) error { return edit(file, "damage", "garage") }},
		{"body gone", ".eml", os.Remove},
	}
	for _, when := range []string{"while it runs", "between two runs"} {
		var ids []string
		for range damages {
			ids = append(ids, hand(t, "bob@dead.example", when))
		}
		unharmed := hand(t, "bob@dead.example", "unharmed")
		if when != "while it runs" {
			p.stop()
		}
		for i, d := range damages {
			require.NoError(t, d.do(filepath.Join(queue, ids[i]+d.file)), d.name)
		}
		// What is no message at all.
		require.NoError(t, os.WriteFile(filepath.Join(queue, "README"), []byte("somebody's note"), 0o600))
		require.NoError(t, os.MkdirAll(filepath.Join(queue, "lost+found"), 0o700))
		n.Host("mx.dead.example").SetFault(lab.Fault{}) // now their turn comes
		var found []func() string
		if when == "while it runs" {
			for _, id := range ids {
				found = append(found, p.log.expect("level=ERROR msg=spool id="+id))
			}
			p.order("-flush")
		} else {
			for _, id := range ids {
				found = append(found, p.log.expect(id))
			}
			p.start()
		}
		for i, wait := range found {
			t.Logf("%s, %s: %s", damages[i].name, when, wait())
		}
		hand(t, "bob@dane.example", "the rest goes on "+when)
		arrived(t, n, p, "the rest goes on "+when)
		require.Eventually(t, func() bool {
			left, err := os.ReadDir(queue)
			require.NoError(t, err)
			return len(left) == 2
		}, patience, 100*time.Millisecond, "nothing but the note and the directory stays in the queue")
		for _, m := range n.Host("mx.dead.example").Mailbox() {
			require.Contains(t, string(m.Data), "id "+unharmed+"\r\n", "no damaged message is delivered: %s", m.Data)
		}
		require.Len(t, n.Host("mx.dead.example").Mailbox(), 1)
		n.Host("mx.dead.example").Forget()
		n.Host("mx.dead.example").SetFault(lab.Refused())
		for i, id := range ids {
			require.Len(t, slices.DeleteFunc(p.log.lines(id), func(line string) bool {
				return strings.Contains(line, "level=INFO") || strings.Contains(line, "msg=alert")
			}), 1, "%s: one line", damages[i].name)
			aside, err := filepath.Glob(filepath.Join(p.spool, "corrupt", "*", id+"*"))
			require.NoError(t, err)
			more, err := filepath.Glob(filepath.Join(p.spool, "corrupt", id+"*"))
			require.NoError(t, err)
			require.NotEmpty(t, append(aside, more...), "%s: it is kept for somebody to look at", damages[i].name)
		}
	}
	p.stop()
}

// edit replaces a word in a file.
func edit(file, old, new string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte(old)) {
		return errors.New("the word is not there")
	}
	return os.WriteFile(file, bytes.Replace(text, []byte(old), []byte(new), 1), 0o600)
}
