//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// life takes a message through all operations and calls acked after each.
func life(s *Spool, acked func()) error {
	id, err := add(s, sampleBody, &Envelope{Sender: "a@example.org", Recipients: to("b@example.com")})
	if err != nil {
		return err
	}
	acked()
	for _, step := range []func() error{
		func() error {
			return s.change(id, func(r *Recipient) { r.Attempts, r.LastError = 1, strings.Repeat("451 ", 200) })
		},
		func() error { return s.Hold(id) },
		func() error { return s.Release(id) },
		func() error { // another message, given up
			w, err := s.Create(100)
			if err != nil {
				return err
			}
			_, err = io.WriteString(w, "half a mess")
			w.Abort()
			return err
		},
		func() error { return s.Remove(id) },
	} {
		if err := step(); err != nil {
			return err
		}
		acked()
	}
	return nil
}

// lifeStates is what there is of the message after so many acknowledgements.
var lifeStates = []string{"nothing", "0 queued", "1 queued", "1 held", "1 queued", "1 queued", "nothing"}

// requireAlive opens a spool after a crash: what was acknowledged is there whole, and
// of what was under way, all or nothing.
func requireAlive(t *testing.T, dir string, acked int, where string) {
	t.Helper()
	s, err := Open(dir, Options{Report: func(err error) {
		if damage := (*CorruptError)(nil); errors.As(err, &damage) {
			require.Zero(t, acked, "%s: %v", where, err)
		}
	}})
	require.NoError(t, err, where)
	defer s.Close()
	ids, problems := all(s)
	for _, err := range problems {
		require.NoError(t, err, where)
	}
	got := "nothing"
	for _, id := range ids {
		e, body, err := content(s, id)
		require.NoError(t, err, where)
		require.Equal(t, "nothing", got, "one message")
		require.Equal(t, sampleBody, body)
		got = fmt.Sprint(e.Recipients[0].Attempts, " ", e.Recipients[0].State)
	}
	allowed := lifeStates[acked:min(acked+2, len(lifeStates))]
	require.Contains(t, allowed, got, "%s: after %d acknowledgements", where, acked)
	// And nothing else lies about.
	require.Len(t, files(t, filepath.Join(dir, queueDir)), 2*len(ids), where)
	mustAdd(t, s)
}

// pending is a change of a directory that is not synced.
type pending struct {
	dir   string // whose sync makes it durable
	set   string // this name is then of inode
	inode *inode
	clear string // and this one is gone
}

type inode struct {
	synced []byte // nil: nothing is promised
	name   string // where it is now, "" if nowhere
	isDir  bool
}

// platter is what a disk may have when the power goes. It follows the calls of the
// spool and promises no more than POSIX: data after a sync of the file, names after
// a sync of the directory, and of the rest any part, in any order.
type platter struct {
	durable map[string]*inode // by name
	now     map[string]*inode
	pending []pending
}

func (p *platter) note(dir, op, name string) {
	base := filepath.Dir(name)
	switch op {
	case "create", "mkdir":
		i := &inode{name: name, isDir: op == "mkdir"}
		p.now[name] = i
		p.pending = append(p.pending, pending{dir: base, set: name, inode: i})
	case "rename":
		name, target, _ := strings.Cut(name, " ")
		i := p.now[name]
		delete(p.now, name)
		if old := p.now[target]; old != nil {
			old.name = ""
		}
		p.now[target], i.name = i, target
		p.pending = append(p.pending, pending{dir: filepath.Dir(target), set: target, inode: i, clear: name})
	case "remove":
		i := p.now[name]
		if i == nil {
			return
		}
		i.name = ""
		delete(p.now, name)
		p.pending = append(p.pending, pending{dir: base, clear: name})
	case "sync":
		if i := p.now[name]; i != nil && !i.isDir {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				panic(err)
			}
			i.synced = text
			return
		}
		var rest []pending
		for _, change := range p.pending {
			if change.dir == name {
				change.apply(p.durable)
			} else {
				rest = append(rest, change)
			}
		}
		p.pending = rest
	}
}

func (c pending) apply(names map[string]*inode) {
	if c.clear != "" {
		delete(names, c.clear)
	}
	if c.set != "" {
		names[c.set] = c.inode
	}
}

// each calls f with every directory that can be found after the loss of power.
func (p *platter) each(dir string, f func(found map[string][]byte)) {
	for subset := range 1 << len(p.pending) {
		names := map[string]*inode{}
		for name, i := range p.durable {
			names[name] = i
		}
		for n, change := range p.pending {
			if subset>>n&1 == 1 {
				change.apply(names)
			}
		}
		for _, lost := range []func([]byte) []byte{
			func(b []byte) []byte { return b },
			func(b []byte) []byte { return b[:len(b)/2] },
			func([]byte) []byte { return nil },
			func(b []byte) []byte { return make([]byte, len(b)) },
		} {
			found, same := map[string][]byte{}, true
			for name, i := range names {
				if up := filepath.Dir(name); i.isDir || strings.HasPrefix(up, corruptDir) && names[up] == nil {
					continue // in a directory that is not there: out of reach
				}
				found[name] = i.synced
				if i.synced == nil {
					same = false
					text, _ := os.ReadFile(filepath.Join(dir, i.name))
					found[name] = lost(text)
				}
			}
			f(found)
			if same {
				break
			}
		}
	}
}

// TestPowerLoss takes the power away before and after every change, and looks at all
// that a disk may then have.
func TestPowerLoss(t *testing.T) {
	s, dir := newSpool(t)
	p := &platter{durable: map[string]*inode{}, now: map[string]*inode{}}
	acked, tried := 0, 0
	seen := map[string]bool{}
	lose := func(where string) {
		p.each(dir, func(found map[string][]byte) {
			key := fmt.Sprintf("%d %q", acked, found)
			if seen[key] {
				return
			}
			seen[key] = true
			tried++
			requireAlive(t, lay(t, found), acked, where)
		})
	}
	s.disk.before = func(op, name string) error {
		lose("before " + op + " " + name)
		p.note(dir, op, name)
		return nil
	}
	require.NoError(t, life(s, func() { lose("before the acknowledgement"); acked++; lose("after it") }))
	require.Equal(t, len(lifeStates)-1, acked)
	require.Greater(t, tried, 30)
	t.Logf("%d different disks", tried)
}

// lay makes a spool of files that were found.
func lay(t *testing.T, found map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, queueDir), 0o700))
	for name, text := range found {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	return dir
}

// TestPowerLossWhileMovingAside: of a damaged message no file is lost either.
func TestPowerLossWhileMovingAside(t *testing.T) {
	s, dir := newSpool(t)
	id := mustAdd(t, s)
	require.NoError(t, os.Truncate(filepath.Join(dir, envelopeName(id)), 100))
	p := &platter{durable: map[string]*inode{}, now: map[string]*inode{}}
	for _, name := range []string{bodyName(id), envelopeName(id)} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		p.now[name] = &inode{name: name, synced: text}
		p.durable[name] = p.now[name]
	}
	tried := 0
	lose := func(where string) {
		p.each(dir, func(found map[string][]byte) {
			tried++
			after := lay(t, found)
			again, err := Open(after, Options{})
			require.NoError(t, err, where)
			ids, _ := all(again)
			require.Empty(t, ids, where)
			require.NoError(t, again.Close())
			var sizes []int
			for _, name := range files(t, after) {
				text, err := os.ReadFile(filepath.Join(after, name))
				require.NoError(t, err)
				require.Contains(t, name, corruptDir+"/"+id, where)
				sizes = append(sizes, len(text))
			}
			require.ElementsMatch(t, []int{len(sampleBody), 100}, sizes, where)
		})
	}
	s.disk.before = func(op, name string) error {
		lose("before " + op + " " + name)
		p.note(dir, op, name)
		return nil
	}
	_, err := s.Get(id)
	require.ErrorContains(t, err, "was moved")
	lose("at the end")
	require.Greater(t, tried, 10)
}

// TestPowerLossNeedsEachSync: the model above is able to find what it looks for. A
// spool without one of its syncs loses mail in it.
func TestPowerLossNeedsEachSync(t *testing.T) {
	for skip := range 3 {
		s, dir := newSpool(t)
		p := &platter{durable: map[string]*inode{}, now: map[string]*inode{}}
		syncs := 0
		s.disk.before = func(op, name string) error {
			if op == "sync" {
				if syncs++; syncs-1 == skip {
					return nil // is done, and the model does not know
				}
			}
			p.note(dir, op, name)
			return nil
		}
		id := mustAdd(t, s)
		e, err := os.ReadFile(filepath.Join(dir, envelopeName(id)))
		require.NoError(t, err)
		lost := 0
		p.each(dir, func(found map[string][]byte) {
			if string(found[bodyName(id)]) != sampleBody || string(found[envelopeName(id)]) != string(e) {
				lost++
			}
		})
		require.Equal(t, 3, syncs)
		require.Positive(t, lost, "without sync %d", skip+1)
	}
}

func init() {
	// life: is killed before its nth change, and tells what was acknowledged.
	childJobs["life"] = func(dir, arg string) error {
		n, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		s, err := Open(dir, Options{before: func(_, _ string) error {
			if n--; n == 0 {
				killSelf()
			}
			return nil
		}})
		if err != nil {
			return err
		}
		return life(s, func() { fmt.Println("acked") })
	}
	// busy: works until it is killed, and tells what it was promised.
	childJobs["busy"] = func(dir, arg string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		seed, _ := strconv.ParseUint(arg, 10, 64)
		var workers sync.WaitGroup
		for n := range uint64(4) {
			workers.Go(func() { busy(s, rand.New(rand.NewPCG(seed, n))) })
		}
		workers.Wait()
		return nil
	}
}

func busy(s *Spool, random *rand.Rand) {
	for {
		body := strings.Repeat("line of a message\r\n", random.IntN(2000))
		id, err := add(s, body, &Envelope{Recipients: to("a@example.com")})
		fmt.Println("created", id, len(body))
		for n := 1; err == nil && n <= random.IntN(3); n++ {
			if err = s.change(id, func(r *Recipient) { r.Attempts = n }); err == nil {
				fmt.Println("updated", id, n)
			}
		}
		if err == nil && random.IntN(2) == 0 {
			fmt.Println("removing", id, 0)
			err = s.Remove(id)
		}
		if err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
	}
}

// TestKillAtEveryChange kills a process before each change that it makes.
func TestKillAtEveryChange(t *testing.T) {
	for n := 1; ; n++ {
		dir := t.TempDir()
		cmd := child("life", dir, strconv.Itoa(n))
		out, err := cmd.Output()
		require.NotContains(t, string(out), "child:")
		requireAlive(t, dir, strings.Count(string(out), "acked\n"), fmt.Sprint("change ", n))
		if err == nil {
			require.Greater(t, n, 20, "the life has that many changes")
			t.Logf("%d changes", n-1)
			return
		}
		require.EqualError(t, err, "signal: killed")
	}
}

// TestKillAtRandom kills a busy process again and again.
func TestKillAtRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	acknowledged, unfinished := 0, 0
	for round := range killRounds {
		dir := t.TempDir()
		cmd := child("busy", dir, strconv.Itoa(round))
		lines := start(t, cmd)
		type promise struct{ size, attempts int }
		promised := map[string]promise{}
		take := func() {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			id, number, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(number)
			require.NoError(t, err, "%q", lines.Text())
			switch word {
			case "created":
				promised[id] = promise{size: n}
				acknowledged++
			case "updated":
				promised[id] = promise{promised[id].size, n}
			case "removing":
				delete(promised, id)
			default:
				t.Fatal(lines.Text())
			}
		}
		for range random.IntN(30) {
			require.True(t, lines.Scan())
			take()
		}
		for range random.IntN(2000) {
			runtime.Gosched()
		}
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() {
			take()
		}
		_ = cmd.Wait() // killed
		s, err := Open(dir, Options{Report: func(err error) {
			require.ErrorContains(t, err, "never acknowledged")
			unfinished++
		}})
		require.NoError(t, err)
		ids, problems := all(s)
		require.Empty(t, problems)
		for _, id := range ids {
			e, body, err := content(s, id)
			require.NoError(t, err, "also what was not acknowledged is whole")
			if p, ok := promised[id]; ok {
				require.Len(t, body, p.size)
				require.GreaterOrEqual(t, e.Recipients[0].Attempts, p.attempts)
				delete(promised, id)
			}
		}
		require.Empty(t, promised, "round %d: lost", round)
		require.Len(t, files(t, filepath.Join(dir, queueDir)), 2*len(ids))
		require.NoError(t, s.Close())
	}
	t.Logf("%d rounds: %d messages acknowledged, none lost; %d were unfinished and removed", killRounds, acknowledged, unfinished)
	require.Greater(t, acknowledged, killRounds)
}
