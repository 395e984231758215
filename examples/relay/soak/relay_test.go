//go:build interop && linux

package soak

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

// patience is how long anything may take that must happen.
const patience = time.Minute

// A program is a relay under test: the real one, in a process of its own.
type program struct {
	t     *testing.T
	path  string // of the program
	file  string // its configuration
	spool string // directory
	log   *journal

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when the log of cmd has ended
}

// build builds the relay and gives it a configuration.
func build(t *testing.T, spoolDir, configuration string) *program {
	t.Helper()
	dir := t.TempDir()
	p := &program{t: t, path: filepath.Join(dir, "relay"), file: filepath.Join(dir, "relay.toml"), spool: spoolDir, log: newJournal(t, dir)}
	out, err := exec.Command("go", "build", "-o", p.path, "..").CombinedOutput()
	require.NoError(t, err, "%s", out)
	p.configure(configuration)
	t.Cleanup(func() { p.kill() })
	return p
}

// configure writes the file; a relay that runs does not look at it before reload.
func (p *program) configure(text string) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(p.file, []byte(strings.ReplaceAll(text, "SPOOL", p.spool)), 0o600))
}

// launch starts the relay. It returns at once.
func (p *program) launch() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	r, w, err := os.Pipe()
	require.NoError(p.t, err)
	p.cmd = exec.Command(p.path, "-config", p.file)
	p.cmd.Stderr = w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(p.t, p.cmd.Start())
	w.Close()
	ended := make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		defer r.Close()
		p.log.read(r)
	}()
}

// start starts the relay and waits until it listens.
func (p *program) start() {
	p.t.Helper()
	listening := p.log.expect("msg=listening")
	p.launch()
	listening()
}

// kill ends the relay with SIGKILL, and returns when it is gone.
func (p *program) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// stop ends the relay with SIGTERM, after which it must end well.
func (p *program) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	require.NoError(p.t, p.wait(), "the exit status is that of success")
}

// wait waits for the end of the relay. The error is that of its exit status.
func (p *program) wait() error {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		require.FailNow(p.t, "the relay does not end", p.log.tail())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// order runs the program beside itself, as an operator does.
func (p *program) order(args ...string) string {
	p.t.Helper()
	out, err := exec.Command(p.path, append([]string{"-config", p.file}, args...)...).CombinedOutput()
	require.NoError(p.t, err, "%s", out)
	return string(out)
}

// queue returns the envelopes in the spool.
func (p *program) queue() (all []*spool.Envelope) {
	p.t.Helper()
	s, err := spool.Attach(p.spool)
	require.NoError(p.t, err)
	defer s.Close()
	for e, err := range s.All() {
		require.NoError(p.t, err)
		all = append(all, e)
	}
	return all
}

// drain waits until nothing is in the spool but what left lets be there. The relay is asked to try everything now and
// then, because there are attempts whose wait is long.
func (p *program) drain(wait time.Duration, left func(*spool.Envelope) bool) {
	p.t.Helper()
	count := func() (n int) {
		s, err := spool.Attach(p.spool)
		require.NoError(p.t, err)
		defer s.Close()
		for e, err := range s.All() {
			if err == nil && !left(e) { // what is removed meanwhile is an error
				n++
			}
		}
		return n
	}
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	last := time.Now()
	for deadline := last.Add(wait); count() > 0; <-look.C {
		if time.Now().After(deadline) {
			require.FailNow(p.t, "the queue does not become empty", "%s\n%s", p.order("-queue"), p.log.tail())
		}
		if time.Since(last) > 5*time.Second {
			last = time.Now()
			p.order("-flush")
		}
	}
}

// A journal is the log of all lives of a relay. It is safe for concurrent use.
type journal struct {
	t    *testing.T
	file *os.File

	mu      sync.Mutex
	counts  map[string]int // of level and msg
	errors  []string       // the first lines with level=ERROR
	recent  []string
	waiting map[chan string]string
}

func newJournal(t *testing.T, dir string) *journal {
	f, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	j := &journal{t: t, file: f, counts: map[string]int{}, waiting: map[chan string]string{}}
	t.Cleanup(func() {
		f.Close()
		if t.Failed() {
			t.Logf("the relay's log:\n%s", j.tail())
		}
	})
	return j
}

func (j *journal) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		j.add(lines.Text())
	}
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintln(j.file, line)
	if j.recent = append(j.recent, line); len(j.recent) > 200 {
		j.recent = j.recent[100:]
	}
	j.counts[field(line, "level")+" "+field(line, "msg")]++
	if field(line, "level") == "ERROR" && len(j.errors) < 1000 || strings.Contains(line, "panic") {
		j.errors = append(j.errors, line)
	}
	for c, word := range j.waiting {
		if strings.Contains(line, word) {
			c <- line
			delete(j.waiting, c)
		}
	}
}

// field returns the value of an attribute in the text form of slog.
func field(line, name string) string {
	_, value, ok := strings.Cut(" "+line, " "+name+"=")
	if !ok {
		return ""
	}
	if strings.HasPrefix(value, `"`) {
		end := strings.Index(value[1:], `"`)
		return value[1 : 1+max(0, end)]
	}
	value, _, _ = strings.Cut(value, " ")
	return value
}

// expect begins to look for a line with a text in it. The function that it returns waits for the line.
func (j *journal) expect(text string) func() string {
	c := make(chan string, 1)
	j.mu.Lock()
	j.waiting[c] = text
	j.mu.Unlock()
	return func() string {
		j.t.Helper()
		select {
		case line := <-c:
			return line
		case <-time.After(patience):
			require.FailNow(j.t, "the log never said it", "%q\n%s", text, j.tail())
			return ""
		}
	}
}

// lines returns those with a text in them.
func (j *journal) lines(text string) (found []string) {
	j.t.Helper()
	all, err := os.ReadFile(j.file.Name())
	require.NoError(j.t, err)
	for line := range bytes.Lines(all) {
		if bytes.Contains(line, []byte(text)) {
			found = append(found, string(line))
		}
	}
	return found
}

// count wants so many lines with a text in them. What the relay has written may still be on its way.
func (j *journal) count(n int, text string) {
	j.t.Helper()
	require.Eventually(j.t, func() bool { return len(j.lines(text)) >= n }, patience, 10*time.Millisecond, "%d lines with %q:\n%s", n, text, j.tail())
	require.Len(j.t, j.lines(text), n, text)
}

func (j *journal) tail() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.recent, "\n")
}
