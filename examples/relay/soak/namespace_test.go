//go:build interop && linux

package soak

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// insideVariable names the test that runs inside.
const insideVariable = "SMTPSEC_SOAK_INSIDE"

// inside reports whether the test runs in namespaces of its own. If not, it runs it there, and the caller returns.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideVariable) == t.Name() {
		settle(t)
		return true
	}
	if os.Geteuid() != 0 {
		absent(t, "namespaces want root")
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+(time.Until(deadline)-5*time.Second).String())
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), insideVariable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&out, os.Stderr)
	err := cmd.Run()
	if cmd.Process == nil && errors.Is(err, syscall.EPERM) {
		absent(t, "no namespaces here: %v", err)
	}
	t.Logf("inside:\n%s", out.String())
	require.NoError(t, err)
	require.Contains(t, out.String(), "--- PASS: "+t.Name(), "it must have run")
	return false
}

// absent skips the test because something is missing; where CI is set nothing may be, and the test fails.
func absent(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// settle makes the namespaces habitable: loopback is up and has the addresses of the documentation networks, and what
// is mounted here is seen nowhere else.
func settle(t *testing.T) {
	t.Helper()
	require.NoError(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer syscall.Close(s)
	set := func(request uintptr, name string, data ...byte) {
		var r struct {
			name [syscall.IFNAMSIZ]byte
			data [24]byte
		}
		copy(r.name[:], name)
		copy(r.data[:], data)
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), request, uintptr(unsafe.Pointer(&r)))
		require.Zero(t, errno, "%s: %v", name, errno)
	}
	set(syscall.SIOCSIFFLAGS, "lo", syscall.IFF_UP|syscall.IFF_RUNNING)
	// All addresses of these networks, of class C, are ours then (RFC 5737).
	for alias, network := range map[string][3]byte{"lo:1": {192, 0, 2}, "lo:2": {198, 51, 100}, "lo:3": {203, 0, 113}} {
		set(syscall.SIOCSIFADDR, alias, syscall.AF_INET, 0, 0, 0, network[0], network[1], network[2], 1)
	}
}

// smallDisk mounts a file system in memory of so many octets.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, syscall.Mount("soak", dir, "tmpfs", 0, options))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// fill takes all the room that a disk has left, until the returned function is called.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := dir + "/ballast"
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	for block := []byte(strings.Repeat("full", 16<<10)); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			block = block[:len(block)/2]
		}
	}
	return func() { require.NoError(t, os.Remove(name)) }
}
