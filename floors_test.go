package smtpsec_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"os"

	"github.com/stretchr/testify/require"
)

const module = "github.com/smtpsec/smtpsec"

// A room is a folder and all below it that has no room of its own.
type room struct {
	dir string
	// imports names the rooms that its packages may import, besides
	// themselves. Test files are held to it too.
	imports []string
	// modules names the foreign packages (or trees of them) that its ordinary
	// files may import. Test files may also use testModules.
	modules []string
}

// The house, from the ground up. Every package of the module must stand in one
// of these rooms; some are not furnished yet.
var house = []room{
	{dir: "internal", imports: []string{"dane/dnssec", "internal/testpki"}, modules: []string{"golang.org/x/net/idna"}},
	{dir: "internal/p12", imports: []string{"internal", "internal/testpki"}, modules: []string{"golang.org/x/crypto"}},
	{dir: "internal/testpki"},
	{dir: "internal/dnstest", imports: []string{"internal"}, modules: []string{"github.com/miekg/dns"}},
	{dir: "internal/interop", imports: []string{"*"}},
	{dir: "internal/lab", imports: []string{"internal", "internal/dnstest", "internal/testpki", "dane/dnssec"},
		modules: []string{"github.com/miekg/dns", "github.com/emersion/go-smtp"}},
	{dir: "dane/dnssec", imports: []string{"internal", "internal/dnstest"}, modules: []string{"github.com/miekg/dns", "golang.org/x/net/idna"}},

	{dir: "dane", imports: []string{"dane/dnssec", "internal", "internal/testpki"}, modules: []string{"golang.org/x/net/idna"}},
	{dir: "mtasts", imports: []string{"internal", "internal/testpki", "internal/dnstest", "mtasts/ststest"}, modules: []string{"golang.org/x/net/idna", "golang.org/x/text/unicode/norm"}},
	{dir: "mtasts/dirstore", imports: []string{"mtasts", "mtasts/ststest", "internal"}},
	{dir: "mtasts/redisstore", imports: []string{"mtasts", "mtasts/ststest", "internal"}, modules: []string{"github.com/redis/go-redis"}},
	{dir: "mtasts/ststest", imports: []string{"mtasts", "internal", "internal/testpki"}},
	{dir: "certs", imports: []string{"internal", "internal/p12", "internal/testpki"},
		modules: []string{"golang.org/x/crypto", "golang.org/x/net/idna", "software.sslmate.com/src/go-pkcs12"}},
	{dir: "certs/roots", imports: []string{"certs", "internal"}, modules: []string{"golang.org/x/crypto/x509roots/fallback/bundle"}},
	{dir: "tlspolicy", imports: []string{"internal", "internal/testpki"}, modules: []string{"golang.org/x/net/idna"}},
	{dir: "tlspolicy/tlsrpt", imports: []string{"internal", "internal/testpki"}},
	{dir: "tlspolicy/tlsrpt/dirstore", imports: []string{"tlspolicy/tlsrpt", "internal"}},
	{dir: "tlspolicy/tlsrpt/redisstore", imports: []string{"tlspolicy/tlsrpt", "internal"}, modules: []string{"github.com/redis/go-redis"}},

	{dir: "smtpclient", imports: []string{"dane", "dane/dnssec", "mtasts", "mtasts/dirstore", "certs", "tlspolicy", "tlspolicy/tlsrpt",
		"internal", "internal/lab", "internal/testpki", "internal/dnstest"}, modules: []string{"golang.org/x/net/idna"}},
	{dir: "smtpserver", imports: []string{"internal", "internal/testpki"}, modules: []string{"golang.org/x/net/idna"}},
	{dir: "smtpserver/gosmtp", imports: []string{"smtpserver", "internal", "internal/testpki"}, modules: []string{"github.com/emersion/go-smtp", "github.com/emersion/go-sasl"}},

	{dir: "examples", imports: []string{"*"}, modules: []string{"*"}},
	{dir: ".", imports: nil}, // the map has no code
}

// testModules are open to every test file.
var testModules = []string{"github.com/stretchr/testify", "github.com/miekg/dns", "github.com/emersion/go-smtp",
	"github.com/emersion/go-sasl", "github.com/wneessen/go-mail", "software.sslmate.com/src/go-pkcs12"}

// onlyInTests are rooms whose packages serve tests, examples and each other: no
// ordinary file of another room may import them.
var onlyInTests = []string{"internal/lab", "internal/dnstest", "internal/testpki", "mtasts/ststest", "tlspolicy/tlsrpt/tlsrpttest"}

func roomOf(dir string) (room, bool) {
	for d := dir; ; d = path.Dir(d) {
		if i := slices.IndexFunc(house, func(r room) bool { return r.dir == d }); i >= 0 {
			return house[i], d != "." || dir == "."
		}
		if d == "." {
			return room{}, false
		}
	}
}

func allows(list []string, dir string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		return p == "*" || dir == p || strings.HasPrefix(dir, p+"/")
	})
}

// TestFloors reads every Go file of the module, whatever its build tags, and
// holds its imports against the plan of the house.
func TestFloors(t *testing.T) {
	files := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			nested := false
			if name != "." {
				_, err := os.Stat(path.Join(name, "go.mod"))
				nested = err == nil
			}
			if base := d.Name(); nested || base != "." && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		files++
		checkFile(t, name)
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, files, 10, "the walk must have seen the module")
}

func checkFile(t *testing.T, name string) {
	dir, test := path.Dir(name), strings.HasSuffix(name, "_test.go") || strings.Contains(name, "/testdata/")
	r, ok := roomOf(dir)
	if !ok {
		t.Errorf("%s: package %s stands in no room of the house", name, dir)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	require.NoError(t, err)
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		if problem := problemWith(r, imported, test); problem != "" {
			t.Errorf("%s imports %s: %s", name, imported, problem)
		}
	}
}

// problemWith says why a file of room r may not import a package, "" if it may.
func problemWith(r room, imported string, test bool) string {
	inside, ours := strings.CutPrefix(imported, module+"/")
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case ours:
		target, ok := roomOf(inside)
		switch {
		case !ok:
			return "no such room"
		case target.dir == "examples" && r.dir != "examples" && !(test && r.dir == "internal/interop"):
			return "nothing imports the examples, but for the tests with other people's software"
		case slices.Contains(onlyInTests, target.dir) && !test && !slices.Contains(onlyInTests, r.dir) && r.dir != "examples":
			return "a room for tests only"
		case target.dir != r.dir && !slices.Contains(r.imports, target.dir) && !slices.Contains(r.imports, "*"):
			return "room " + r.dir + " may not import room " + target.dir
		}
	case strings.Contains(first, "."):
		if !allows(r.modules, imported) && !(test && allows(testModules, imported)) {
			return "module is not open to room " + r.dir
		}
	}
	return ""
}

// TestNoCircles: no room reaches itself over the rooms that it may import, so
// the plan has a ground and a roof.
func TestNoCircles(t *testing.T) {
	byDir := map[string]room{}
	for _, r := range house {
		require.NotContains(t, byDir, r.dir, "room listed twice")
		byDir[r.dir] = r
	}
	// Rooms for tests look down on the room they serve while its tests look
	// at them; ordinary files may not import them (onlyInTests).
	var visit func(dir string, trail []string)
	visit = func(dir string, trail []string) {
		require.NotContains(t, trail, dir, "circle: %v", append(trail, dir))
		for _, next := range byDir[dir].imports {
			if next == "*" || slices.Contains(onlyInTests, next) {
				continue
			}
			require.Contains(t, byDir, next, "%s may import a room that does not exist", dir)
			if dir == "internal" && next == "dane/dnssec" {
				continue // one ground: packages of internal build on dnssec and the reverse, never in a circle (the compiler sees to it)
			}
			visit(next, append(slices.Clone(trail), dir))
		}
	}
	for dir := range byDir {
		visit(dir, nil)
	}
}

// TestPlanIsHeld shows that the check can fail.
func TestPlanIsHeld(t *testing.T) {
	for _, tc := range []struct {
		why, dir, imported string
		test, ok           bool
	}{
		{"side by side", "dane", module + "/mtasts", false, false},
		{"side by side, in a test", "dane", module + "/mtasts", true, false},
		{"upwards", "tlspolicy", module + "/smtpclient", false, false},
		{"across", "smtpclient", module + "/smtpserver", false, false},
		{"from the ground up", "internal/hostname", module + "/tlspolicy", false, false},
		{"the lab in ordinary code", "smtpclient", module + "/internal/lab", false, false},
		{"the lab in a test", "smtpclient", module + "/internal/lab", true, true},
		{"examples are the roof", "smtpclient", module + "/examples/relay", true, false},
		{"a wire library where none belongs", "tlspolicy", "github.com/miekg/dns", false, false},
		{"testify outside tests", "dane", "github.com/stretchr/testify/require", false, false},
		{"testify in tests", "dane", "github.com/stretchr/testify/require", true, true},
		{"downwards", "smtpclient", module + "/dane/dnssec", false, true},
		{"the ground", "mtasts", module + "/internal/hostname", false, true},
		{"the standard library", "dane", "crypto/x509", false, true},
		{"an example imports what it likes", "examples/quickstart", module + "/internal/lab", false, true},
	} {
		r, ok := roomOf(tc.dir)
		require.True(t, ok)
		require.Equal(t, tc.ok, problemWith(r, tc.imported, tc.test) == "", tc.why)
	}
	_, ok := roomOf("util")
	require.False(t, ok, "a package outside the plan")
}
