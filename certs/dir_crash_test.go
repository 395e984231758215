//go:build unix

package certs

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// The children of the tests are this program with these set.
const (
	crashDir  = "CERTS_TEST_CRASH_DIR"
	crashWhat = "CERTS_TEST_CRASH_WHAT" // a key of crashOperations, or "loop"
	crashStep = "CERTS_TEST_CRASH_STEP" // before which step the child kills itself
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := crashChild(dir); err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// crashInput is what the operations of the children read, in the directory beside
// the store.
func crashInput(dir, name string) []byte {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
	if err != nil {
		panic(err)
	}
	return data
}

// crashOperations change a store made by crashPrepare.
var crashOperations = map[string]func(s *Store, dir string) error{
	"create": func(s *Store, dir string) error {
		_, err := s.CreateSelfSigned("new.example", Form{CommonName: "new.example", Days: 9})
		return err
	},
	"import": func(s *Store, dir string) error {
		_, err := s.ImportPEM("imported", crashInput(dir, "pair.pem"), ImportOptions{})
		return err
	},
	"install": func(s *Store, dir string) error {
		_, err := s.Install("a.example", crashInput(dir, "signed.pem"), InstallOptions{})
		return err
	},
	"rollback": func(s *Store, dir string) error { _, err := s.Rollback("b.example"); return err },
	"prepare":  func(s *Store, dir string) error { _, err := s.PrepareNext("a.example", NextOptions{}); return err },
	"install next": func(s *Store, dir string) error {
		_, err := s.InstallNext("b.example", crashInput(dir, "next.pem"), InstallOptions{})
		return err
	},
	"promote": func(s *Store, dir string) error { _, err := s.Promote("c.example", true); return err },
	"retire":  func(s *Store, dir string) error { return s.Retire("b.example", true) },
	"rename":  func(s *Store, dir string) error { return s.Rename("c.example", "d.example") },
	"remove":  func(s *Store, dir string) error { return s.Remove("a.example", false) },
	"assign":  func(s *Store, dir string) error { _, err := s.Assign("https", "b.example", "a.example"); return err },
	"trust": func(s *Store, dir string) error {
		trust, err := NewTrustStore(TrustOptions{Storage: Lists(s.options.Storage)})
		if err == nil {
			_, err = trust.Import(strings.NewReader(string(crashInput(dir, "signed.pem"))), CAImportOptions{})
		}
		return err
	},
}

func crashChild(dir string) error {
	d, err := OpenDirectory(dir, DirectoryOptions{})
	if err != nil {
		return err
	}
	s, err := OpenStore(StoreOptions{Storage: d})
	if err != nil {
		return err
	}
	what := os.Getenv(crashWhat)
	if what == "loop" {
		inputs := [][]byte{crashInput(dir, "signed.pem"), crashInput(dir, "again.pem")}
		for i := 0; ; i++ {
			if _, err := s.Install("a.example", inputs[i%2], InstallOptions{}); err != nil {
				return err
			}
			if _, err := s.Rollback("a.example"); err != nil {
				return err
			}
			fmt.Println(i)
		}
	}
	step, err := strconv.Atoi(os.Getenv(crashStep))
	if err != nil {
		return err
	}
	d.step = func(string, string) error {
		if step--; step == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
		return nil
	}
	return crashOperations[what](s, dir)
}

// crashPrepare makes the store that the operations change, and their inputs. a is
// self-signed; b has a former certificate and a next key; c has a former certificate and
// a signed next key.
func crashPrepare(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	d, err := OpenDirectory(dir, DirectoryOptions{})
	require.NoError(t, err)
	defer d.Close()
	s := openStore(t, StoreOptions{Storage: d})
	root := testpki.NewRoot("Root")
	input := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(dir), name), data, 0o600))
	}
	for _, name := range []string{"a.example", "b.example", "c.example"} {
		created(t, s, name)
		request, err := s.CSR(name)
		require.NoError(t, err)
		signed := storedPEM(signRequest(t, root, request))
		if name == "a.example" {
			input("signed.pem", signed)
			input("again.pem", storedPEM(signRequest(t, root, request)))
			continue
		}
		_, err = s.Install(name, signed, InstallOptions{})
		require.NoError(t, err)
		next, err := s.PrepareNext(name, NextOptions{})
		require.NoError(t, err)
		signed = storedPEM(signRequest(t, root, next.Request))
		if name == "b.example" {
			input("next.pem", signed)
			continue
		}
		_, err = s.InstallNext(name, signed, InstallOptions{})
		require.NoError(t, err)
	}
	input("pair.pem", storePair(t, root.Leaf([]string{"imported.example"})))
	_, err = s.Assign("https", "c.example", "b.example")
	require.NoError(t, err)
	return dir
}

// crashPicture describes a store by what it serves and could serve. Keys and certificates
// that are made by chance do not show.
func crashPicture(t *testing.T, s *Store) (picture []string) {
	t.Helper()
	list, err := s.List()
	require.NoError(t, err)
	for _, line := range list {
		d := detail(t, s, line.Name)
		key, err := s.Signer(line.Name)
		require.NoError(t, err)
		require.True(t, publicEqual(key.Public(), d.Chain[0].PublicKey), "never a key with the certificate of another")
		sum := func(sum [sha256.Size]byte) string { return hexSum(sum)[:8] }
		text := line.Name + " current " + sum(d.SHA256)
		if line.Name == "new.example" {
			text = line.Name
		}
		if len(d.Previous) > 0 {
			text += " previous " + sum(fingerprint(d.Previous[0]))
		}
		if d.HasNext {
			text += " next"
		}
		if len(d.Next) > 0 {
			text += " " + sum(fingerprint(d.Next[0]))
		}
		picture = append(picture, text)
	}
	roles, err := s.Roles()
	require.NoError(t, err)
	for role := range roles {
		text := "role " + role
		for _, e := range s.state.Load().entriesOf(role) {
			text += " " + hexSum(fingerprint(e.chain[0]))[:8]
		}
		picture = append(picture, text)
	}
	trust, err := NewTrustStore(TrustOptions{Storage: Lists(s.options.Storage)})
	require.NoError(t, err)
	count, err := trust.Count(CustomCAs)
	require.NoError(t, err)
	return append(picture, fmt.Sprint("authorities ", count))
}

// crashOpen opens what a crash has left, as the next start does.
func crashOpen(t *testing.T, dir string) []string {
	t.Helper()
	d, err := OpenDirectory(dir, DirectoryOptions{})
	require.NoError(t, err)
	defer d.Close()
	require.Empty(t, crashLeftovers(t, dir), "opening removes what is unfinished")
	return crashPicture(t, openStore(t, StoreOptions{Storage: d}))
}

func crashLeftovers(t *testing.T, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), ".") {
			names = append(names, path)
		}
		return err
	}))
	return names
}

// crashCopy copies a prepared store with its inputs.
func crashCopy(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(filepath.Dir(dir))))
	return filepath.Join(to, "store")
}

// crashAllowed returns the former picture, the new one and, where the generation
// before is replaced, the former one without it.
func crashAllowed(t *testing.T, dir, what string) [][]string {
	t.Helper()
	before := crashOpen(t, dir)
	done := crashCopy(t, dir)
	d, err := OpenDirectory(done, DirectoryOptions{})
	require.NoError(t, err)
	require.NoError(t, crashOperations[what](openStore(t, StoreOptions{Storage: d}), done))
	require.NoError(t, d.Close())
	after := crashOpen(t, done)
	require.NotEqual(t, before, after, what)
	allowed := [][]string{before, after}
	if what == "promote" || what == "install" {
		without := slices.Clone(before)
		for i, line := range without {
			if strings.HasPrefix(line, "c.example") {
				head, tail, _ := strings.Cut(line, " previous ")
				without[i] = head + tail[8:]
			}
		}
		allowed = append(allowed, without)
	}
	return allowed
}

// Every operation is killed before each of its steps: the store then is as it was
// before, or as it is afterwards.
func TestKillAtEveryStep(t *testing.T) {
	dir := crashPrepare(t)
	for what := range crashOperations {
		t.Run(what, func(t *testing.T) {
			allowed := crashAllowed(t, dir, what)
			killed := 0
			for step := 1; ; step += crashStride {
				copied := crashCopy(t, dir)
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), crashDir+"="+copied, crashWhat+"="+what, crashStep+"="+strconv.Itoa(step))
				out, err := cmd.CombinedOutput()
				require.Contains(t, allowed, crashOpen(t, copied), "step %d", step)
				if err == nil {
					break
				}
				require.Equal(t, "signal: killed", err.Error(), "%s", out)
				killed++
			}
			require.Positive(t, killed)
		})
	}
}

// Whatever fails at whatever step, a full disk for example, is the error; what was
// served is served; what is stored is the former state or the new one; and what
// failed can be done again, by the same store or after a restart.
func TestFullDiskAtEveryStep(t *testing.T) {
	dir := crashPrepare(t)
	for what, operation := range crashOperations {
		t.Run(what, func(t *testing.T) {
			allowed := crashAllowed(t, dir, what)
			for step, done := 1, false; !done; step++ {
				copied := crashCopy(t, dir)
				d := openDirectory(t, copied, DirectoryOptions{})
				s := openStore(t, StoreOptions{Storage: d})
				before := crashPicture(t, s)
				left, place := step, ""
				d.step = func(operation, path string) error {
					if left--; left == 0 {
						place = operation + " " + path
						return syscall.ENOSPC
					}
					return nil
				}
				err := operation(s, copied)
				d.step = nil
				if done = left > 0; done {
					require.NoError(t, err)
					break
				}
				require.ErrorIs(t, err, syscall.ENOSPC, place)
				// The steps of rename and of prepare, whose key is not in service, do for
				// themselves, and trust is read from the storage.
				switch what {
				case "rename", "prepare", "trust":
				case "remove": // no key is served that the storage does not have any more
					require.Contains(t, allowed, crashPicture(t, s), place)
				default:
					require.Equal(t, before, crashPicture(t, s), place)
				}
				// Once more, as an operator would do. Where the new state was reached
				// and only its last sync failed, there may be nothing to do.
				_ = operation(s, copied)
				require.NoError(t, d.Close())
				again := allowed[1:]
				if what == "rollback" { // done twice, it is not done
					again = allowed
				}
				require.Contains(t, again, crashOpen(t, copied), "again after %s", place)
			}
		})
	}
}

// A process that writes all the time is killed at any moment.
func TestKillAtRandomMoments(t *testing.T) {
	dir := crashPrepare(t)
	var leaves []string
	for _, name := range []string{"signed.pem", "again.pem"} {
		m, err := ReadBytes(crashInput(dir, name), ReadOptions{})
		require.NoError(t, err)
		leaves = append(leaves, hexSum(fingerprint(m.Certificates[0])))
	}
	d := openDirectory(t, dir, DirectoryOptions{})
	leaves = append(leaves, hexSum(detail(t, openStore(t, StoreOptions{Storage: d}), "a.example").SHA256))
	require.NoError(t, d.Close())
	random := rand.New(rand.NewPCG(3, 9))
	for round := range crashRounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir, crashWhat+"=loop")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for range 1 + random.IntN(3) {
			require.True(t, lines.Scan(), "round %d", round)
			require.NotContains(t, lines.Text(), "child:")
		}
		for range random.IntN(2000) {
			runtime.Gosched()
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed
		d := openDirectory(t, dir, DirectoryOptions{})
		s := openStore(t, StoreOptions{Storage: d})
		require.Empty(t, crashLeftovers(t, dir))
		picture := detail(t, s, "a.example")
		require.Contains(t, leaves, hexSum(picture.SHA256), "round %d", round)
		if len(picture.Previous) > 0 {
			require.NotEqual(t, picture.SHA256, fingerprint(picture.Previous[0]))
		}
		key, err := s.Signer("a.example")
		require.NoError(t, err)
		require.True(t, publicEqual(key.Public(), picture.Chain[0].PublicKey))
		require.NoError(t, d.Close())
	}
}

// While one process writes, readers in others see whole entries and never wait; a second
// writer is refused.
func TestReaderBesideWriter(t *testing.T) {
	dir := crashPrepare(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir, crashWhat+"=loop")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	_, err = OpenDirectory(dir, DirectoryOptions{})
	require.ErrorIs(t, err, ErrLocked)
	go func() {
		for lines.Scan() {
		}
	}()
	reader := openDirectory(t, dir, DirectoryOptions{ReadOnly: true})
	for range 30 {
		s := openStore(t, StoreOptions{Storage: reader})
		key, err := s.Signer("a.example")
		require.NoError(t, err)
		require.True(t, publicEqual(key.Public(), detail(t, s, "a.example").Chain[0].PublicKey))
	}
}
