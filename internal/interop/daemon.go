//go:build interop

package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a line of a log may take to appear.
const patience = 30 * time.Second

// absent skips the test because something is missing; where CI is set nothing may be, and the test fails.
func absent(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// needRoot wants root, without which no mail server runs as several users.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		absent(t, "mail servers change their user: run the test as root")
	}
}

// program returns the path of an installed program. debian is its package.
func program(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		absent(t, "%s is not installed: apt-get install %s", name, debian)
	}
	return path
}

// fetched returns the tree that mta.sh has unpacked.
func fetched(t testing.TB, tree string) string {
	t.Helper()
	cache := os.Getenv("SMTPSEC_MTA_CACHE")
	if cache == "" {
		cache = filepath.Join("..", "..", ".cache", "mta")
	}
	path, err := filepath.Abs(filepath.Join(cache, tree))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		absent(t, "no %s: run internal/interop/mta.sh", path)
	}
	return path
}

// tempDir is t.TempDir with a path that other users can walk.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "smtpsec-interop-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// makeDir makes a folder for a user and its group; -1 leaves one as it is.
func makeDir(t testing.TB, uid, gid int, mode os.FileMode, path ...string) string {
	t.Helper()
	dir := filepath.Join(path...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t testing.TB, mode os.FileMode, content string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// freePort returns a port that is free for TCP at addr.
func freePort(t testing.TB, addr netip.Addr) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// A Log is what a program writes, line by line. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	lines   []string
	grown   chan struct{} // closed when a line comes, and then replaced
	stopped bool
}

func newLog() *Log { return &Log{grown: make(chan struct{})} }

// read takes lines until the end of the file.
func (l *Log) read(f io.Reader) {
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l.add(lines.Text(), false)
	}
	l.add("", true)
}

func (l *Log) add(line string, stopped bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stopped {
		l.stopped = true
	} else {
		l.lines = append(l.lines, line)
	}
	close(l.grown)
	l.grown = make(chan struct{})
}

// Mark returns the number of lines that there are.
func (l *Log) Mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// Since returns the lines from a Mark on.
func (l *Log) Since(mark int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines[mark:])
}

// Wait returns the lines from mark on as soon as n of them match. That they do not come fails the test.
func (l *Log) Wait(t testing.TB, mark int, match *regexp.Regexp, n int) []string {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		lines, grown, stopped := slices.Clone(l.lines[mark:]), l.grown, l.stopped
		l.mu.Unlock()
		found := 0
		for _, line := range lines {
			if match.MatchString(line) {
				found++
			}
		}
		if found >= n {
			return lines
		}
		if stopped {
			t.Fatalf("waiting for lines like %q, %d of %d came, and the program has ended:\n%s", match, found, n, strings.Join(lines, "\n"))
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("waiting for lines like %q, %d of %d came:\n%s", match, found, n, strings.Join(lines, "\n"))
		}
	}
}

// start runs a program until the end of the test, or of the test program. What it writes to standard output and error
// is its Log. Its end is that of a SIGKILL: what it leaves behind is in temporary folders.
func start(t testing.TB, cmd *exec.Cmd) *Log {
	t.Helper()
	log, wait := launch(t, cmd)
	t.Cleanup(func() {
		cmd.Process.Kill()
		wait()
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, strings.Join(log.Since(0), "\n"))
		}
	})
	return log
}

// launch starts a program. wait returns when it and all its children have closed the Log.
func launch(t testing.TB, cmd *exec.Cmd) (log *Log, wait func() error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		if cmd.SysProcAttr.Cloneflags != 0 && errors.Is(err, syscall.EPERM) {
			absent(t, "no namespaces here: %v", err)
		}
		t.Fatal(err)
	}
	log = newLog()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.Close()
		log.read(r)
	}()
	return log, func() error {
		<-done
		return cmd.Wait()
	}
}

// run runs a program to its end and returns what it wrote.
func run(t testing.TB, dir, path string, args ...string) string {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// A namespace is a small world for one program and all that it starts: they see files of their own, so that users and
// folders which a mail server was built to expect exist there and nowhere else, and none of them outlives the first.
type namespace struct {
	users   []string          // added to /etc/passwd and /etc/group, with numbers of their own
	empty   []string          // folders that are empty at first, in memory
	files   map[string]string // existing files of the system, and the content that they have inside
	prepare string            // shell commands, run inside before the program
}

// firstUser is the number of the first added user. Debian gives it to nobody (policy section 9.2.2: 60000 to 64999 are
// for packages that ask for one).
const firstUser = 64900

// command returns the command that runs a program in a namespace. dir is for the files it needs.
func (n namespace) command(t testing.TB, dir, path string, args ...string) *exec.Cmd {
	t.Helper()
	script := "set -e\nmount --make-rprivate /\n"
	for _, file := range []string{"passwd", "group"} {
		if len(n.users) == 0 {
			break
		}
		content, err := os.ReadFile("/etc/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for i, user := range n.users {
			format := "%[1]s:x:%[2]d:%[2]d::/nonexistent:/usr/sbin/nologin\n"
			if file == "group" {
				format = "%s:x:%d:\n"
			}
			content = fmt.Appendf(content, format, user, firstUser+i)
		}
		script += fmt.Sprintf("mount --bind %q /etc/%s\n", writeFile(t, 0o644, string(content), dir, "inside-"+file), file)
	}
	for i, file := range slices.Sorted(maps.Keys(n.files)) {
		inside := writeFile(t, 0o644, n.files[file], dir, fmt.Sprintf("inside-%d", i))
		script += fmt.Sprintf("mount --bind %q \"$(readlink -f %q)\"\n", inside, file)
	}
	for _, folder := range n.empty {
		script += fmt.Sprintf("mount -t tmpfs -o mode=755 tmpfs %q\n", folder)
	}
	// The shell stays, as the first process. With it all others in the namespace are killed.
	script += n.prepare + "\nset +e\n\"$@\"\nexit $?\n"
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "sh", path}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	return cmd
}
