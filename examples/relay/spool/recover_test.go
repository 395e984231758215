//go:build unix

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOpenClearsAway: what a crash can leave, and what somebody else has put there.
func TestOpenClearsAway(t *testing.T) {
	s, dir := newSpool(t)
	whole := mustAdd(t, s)
	require.NoError(t, s.Close())
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, queueDir, name), []byte(text), 0o600))
	}
	const unfinished, lost, renamed = "20200101-000000-000000000001", "20200101-000000-000000000002", "20200101-000000-000000000003"
	put(unfinished+".eml", "half a mess")
	put(unfinished+".json.tmp", "{")
	put(whole+".json.tmp", "{ half an update")
	put(lost+".json", "{")
	put(renamed+".json.tmp", "{ whose body is gone")
	put("notes.txt", "mine")
	put(whole+".json~", "an editor's")

	var reported []string
	var corrupt []*CorruptError
	s = openSpool(t, dir, Options{Report: func(err error) {
		reported = append(reported, err.Error())
		if damage := (*CorruptError)(nil); errors.As(err, &damage) {
			corrupt = append(corrupt, damage)
		}
	}})
	require.Len(t, reported, 4, "%q", reported)
	require.Len(t, corrupt, 1)
	require.Equal(t, lost, corrupt[0].ID)
	require.Equal(t, "corrupt/"+lost, corrupt[0].Aside)
	require.ElementsMatch(t, []string{"queue/" + whole + ".eml", "queue/" + whole + ".json", "queue/" + whole + ".json~",
		"queue/notes.txt", "corrupt/" + lost + "/" + lost + ".json"}, files(t, dir))
	ids, problems := all(s)
	require.Equal(t, []string{whole}, ids)
	require.Empty(t, problems)
}

// TestCorrupt: a damaged pair is moved aside whole, by whoever meets it first, and
// what was moved aside before is not touched.
func TestCorrupt(t *testing.T) {
	damages := []struct {
		why string
		do  func(t *testing.T, dir, id string) error
	}{
		{"envelope cut", func(t *testing.T, dir, id string) error {
			return os.Truncate(filepath.Join(dir, envelopeName(id)), 100)
		}},
		{"envelope empty, as after a crash without fsync", func(t *testing.T, dir, id string) error {
			return os.Truncate(filepath.Join(dir, envelopeName(id)), 0)
		}},
		{"envelope of another message", func(t *testing.T, dir, id string) error {
			text, err := os.ReadFile("testdata/envelope.json")
			require.NoError(t, err)
			return os.WriteFile(filepath.Join(dir, envelopeName(id)), text, 0o600)
		}},
		{"body cut", func(t *testing.T, dir, id string) error { return os.Truncate(filepath.Join(dir, bodyName(id)), 3) }},
		{"body longer", func(t *testing.T, dir, id string) error {
			return os.WriteFile(filepath.Join(dir, bodyName(id)), []byte(sampleBody+"."), 0o600)
		}},
		{"body missing", func(t *testing.T, dir, id string) error { return os.Remove(filepath.Join(dir, bodyName(id))) }},
		{"huge envelope", func(t *testing.T, dir, id string) error {
			return os.Truncate(filepath.Join(dir, envelopeName(id)), 1<<40)
		}},
	}
	for _, test := range damages {
		for _, meet := range []string{"All", "Get"} {
			t.Run(test.why+"/"+meet, func(t *testing.T) {
				s, dir := newSpool(t)
				other, id := mustAdd(t, s), mustAdd(t, s)
				require.NoError(t, os.Mkdir(filepath.Join(dir, corruptDir, id), 0o700), "there was one before")
				require.NoError(t, test.do(t, dir, id))
				before := len(files(t, filepath.Join(dir, queueDir)))

				attached, err := Attach(dir)
				require.NoError(t, err)
				defer attached.Close()
				ids, problems := all(attached)
				require.Equal(t, []string{other}, ids)
				require.Len(t, problems, 1)
				require.Len(t, files(t, filepath.Join(dir, queueDir)), before, "looking moves nothing")

				if meet == "Get" {
					_, err = s.Get(id)
				} else {
					ids, problems = all(s)
					require.Equal(t, []string{other}, ids, "the rest goes on")
					require.Len(t, problems, 1)
					err = problems[0]
				}
				damage := (*CorruptError)(nil)
				require.ErrorAs(t, err, &damage)
				require.Equal(t, CorruptError{ID: id, Err: damage.Err, Aside: "corrupt/" + id + ".2"}, *damage)
				require.Len(t, files(t, filepath.Join(dir, damage.Aside)), before-2, "nothing is deleted")
				require.Len(t, files(t, filepath.Join(dir, queueDir)), 2)
				_, err = s.Get(id)
				require.ErrorIs(t, err, ErrNotFound)
				_, problems = all(s)
				require.Empty(t, problems, "one error")
			})
		}
	}
}

// TestOtherRelease: what a later release wrote is left for it.
func TestOtherRelease(t *testing.T) {
	s, dir := newSpool(t)
	id := mustAdd(t, s)
	path := filepath.Join(dir, envelopeName(id))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	later := strings.Replace(string(text), ": 1,", ": 2,", 1)
	require.NoError(t, os.WriteFile(path, []byte(later), 0o600))
	_, problems := all(s)
	require.Len(t, problems, 1)
	require.ErrorIs(t, problems[0], ErrVersion)
	require.ErrorContains(t, problems[0], id)
	require.NoError(t, s.Close())
	s = openSpool(t, dir, Options{})
	_, err = s.Get(id)
	require.ErrorIs(t, err, ErrVersion)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, later, string(got))
	require.FileExists(t, filepath.Join(dir, bodyName(id)))
}

// TestMendByHand: what was moved aside can be mended and put back.
func TestMendByHand(t *testing.T) {
	s, dir := newSpool(t)
	id := mustAdd(t, s)
	path := filepath.Join(dir, envelopeName(id))
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, good[1:], 0o600))
	_, err = s.Get(id)
	require.Error(t, err)
	aside := filepath.Join(dir, corruptDir, id)
	require.NoError(t, os.WriteFile(filepath.Join(aside, id+".json"), good, 0o600))
	for _, suffix := range []string{".eml", ".json"} {
		require.NoError(t, os.Rename(filepath.Join(aside, id+suffix), filepath.Join(dir, queueDir, id+suffix)))
	}
	_, body, err := content(s, id)
	require.NoError(t, err)
	require.Equal(t, sampleBody, body)
}
