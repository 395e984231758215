package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// table reads the keys of a table of the file. Every method notes that its key is
// known, and does nothing if the key is absent; a value of the wrong type is an error
// and counts as absent. The nil table is one that is not in the file: it has no keys.
type table struct {
	l     *loader
	n     *node
	known []string
}

// get returns the value of a key, nil if it is absent or not of one of the kinds.
func (t *table) get(key string, kinds ...kind) *node {
	if t == nil {
		return nil
	}
	t.known = append(t.known, key)
	n := t.n.table[key]
	if n == nil {
		return nil
	}
	n.used = true
	if slices.Contains(kinds, n.kind) {
		return n
	}
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	n.fail(t.l, "is %s, and should be %s", n.kind, strings.Join(names, " or "))
	return nil
}

// missing tells that a key has to be there. A value of the wrong type has been told
// of already.
func (t *table) missing(key, what string) {
	if t.l.damaged || t.n.table[key] != nil {
		return
	}
	t.l.fail(t.n.line, t.n.at(key), "is missing: write %s", what)
}

// done tells of the keys that nobody has asked for.
func (t *table) done() {
	if t == nil {
		return
	}
	for _, key := range t.n.keys {
		n := t.n.table[key]
		if n.used {
			continue
		}
		if near := nearest(key, t.known); near != "" {
			n.fail(t.l, "unknown key: did you mean %q?", near)
		} else {
			n.fail(t.l, "unknown key: known here are %s", list(t.known))
		}
	}
}

// sub returns a table of the table, nil if it is not there.
func (t *table) sub(key string) *table {
	n := t.get(key, kindTable)
	if n == nil {
		return nil
	}
	return &table{l: t.l, n: n}
}

// subs returns the tables of an array of tables.
func (t *table) subs(key string) []*table {
	n := t.get(key, kindArray)
	if n == nil {
		return nil
	}
	var all []*table
	for _, item := range n.items {
		if item.kind != kindTable {
			n.fail(t.l, "is an array of something else: write [[%s]] and its keys below", n.path())
			return nil
		}
		all = append(all, &table{l: t.l, n: item})
	}
	return all
}

// all returns the values of a table whose keys are names that the operator chose.
func (t *table) all(kinds ...kind) []*node {
	if t == nil {
		return nil
	}
	var found []*node
	for _, key := range t.n.keys {
		if n := t.get(key, kinds...); n != nil {
			found = append(found, n)
		}
	}
	return found
}

func (t *table) text(key string) (string, *node) {
	n := t.get(key, kindText)
	if n == nil {
		return "", nil
	}
	return n.text, n
}

// texts returns the texts of an array, or a text alone as an array of one. n is nil
// if the key is absent.
func (t *table) texts(key string) (items []*node, n *node) {
	n = t.get(key, kindText, kindArray)
	if n == nil {
		return nil, nil
	}
	return n.texts(t.l), n
}

// texts returns the items of an array of texts.
func (n *node) texts(l *loader) []*node {
	if n.kind == kindText {
		return []*node{n}
	}
	var items []*node
	for _, item := range n.items {
		if item.kind != kindText {
			item.fail(l, "has %s in it, and should have texts only", item.kind)
			continue
		}
		items = append(items, item)
	}
	return items
}

func (t *table) flag(key string) (value bool, n *node) {
	n = t.get(key, kindBool)
	return n != nil && n.text == "true", n
}

// number returns a whole number from low to high, def if the key is absent.
func (t *table) number(key string, def, low, high int64) int64 {
	n := t.get(key, kindInteger)
	if n == nil {
		return def
	}
	v, err := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 64)
	if err != nil || v < low || v > high {
		n.fail(t.l, "%s is out of range: from %d to %d", n.text, low, high)
		return def
	}
	return v
}

// limit returns a number from 1 to high, -1 for "none" and 0 if the key is absent.
func (t *table) limit(key string, high int64) int {
	if t != nil && t.n.table[key] != nil && t.n.table[key].kind == kindText {
		text, n := t.text(key)
		if text != "none" {
			n.fail(t.l, "%s is no limit: write a number, or \"none\"", show(text))
			return 0
		}
		return -1
	}
	return int(t.number(key, 0, 1, high))
}

// duration returns a time from low to high, def if the key is absent.
func (t *table) duration(key string, def, low, high time.Duration) time.Duration {
	n := t.get(key, kindText, kindInteger)
	if n == nil {
		return def
	}
	d, err := parseDuration(n.text)
	switch {
	case n.kind == kindInteger:
		n.fail(t.l, "%s has no unit: write \"%ss\" for seconds, with m for minutes, h for hours, d for days", n.text, n.text)
		return def
	case err != nil:
		n.fail(t.l, "%s is no time: %v", show(n.text), err)
		return def
	case d < low || d > high:
		n.fail(t.l, "%s is out of range: from %s to %s", show(n.text), showDuration(low), showDuration(high))
		return def
	}
	return d
}

// timeout returns a time limit: 0 if the key is absent, -1 for "none" if that is
// allowed.
func (t *table) timeout(key string, none bool) time.Duration {
	if t != nil && none {
		if n := t.n.table[key]; n != nil && n.kind == kindText && n.text == "none" {
			t.text(key)
			return -1
		}
	}
	return t.duration(key, 0, time.Millisecond, 24*time.Hour)
}

// size returns octets from low to high, def if the key is absent.
func (t *table) size(key string, def, low, high int64) int64 {
	n := t.get(key, kindText, kindInteger)
	if n == nil {
		return def
	}
	v, err := parseSize(n.text)
	switch {
	case err != nil:
		n.fail(t.l, "%s is no size: %v", show(n.text), err)
		return def
	case v < low || v > high:
		n.fail(t.l, "%s is out of range: from %s to %s", n.text, showSize(low), showSize(high))
		return def
	}
	return v
}

// choice is a word and what it stands for.
type choice[T any] struct {
	word  string
	value T
}

// pick returns what the word of a key stands for, def if the key is absent or the
// word is none of the choices. n is nil if there is no word.
func pick[T any](t *table, key string, def T, choices []choice[T]) (value T, n *node) {
	_, n = t.text(key)
	if n == nil {
		return def, nil
	}
	return pickWord(t.l, n, def, choices), n
}

func pickWord[T any](l *loader, n *node, def T, choices []choice[T]) T {
	words := make([]string, len(choices))
	for i, c := range choices {
		if c.word == n.text {
			return c.value
		}
		words[i] = c.word
	}
	n.unknownWord(l, words)
	return def
}

// unknownWord tells of a text that is none of the words that it could be.
func (n *node) unknownWord(l *loader, words []string) {
	if near := nearest(n.text, words); near != "" {
		n.fail(l, "%s is none of its values: did you mean %q? (One of %s)", show(n.text), near, list(words))
		return
	}
	n.fail(l, "%s is none of its values: write one of %s", show(n.text), list(words))
}

func list(words []string) string {
	words = slices.Clone(words)
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ", ")
}

// parseDuration reads what time.ParseDuration does, with days (d) in front of it.
func parseDuration(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	var total time.Duration
	if ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("write it as \"90s\", \"30m\", \"4h\" or \"5d\"")
		}
		total = time.Duration(n) * 24 * time.Hour
		if rest == "" {
			return total, nil
		}
		s = rest
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || strings.HasPrefix(s, "+") || d > math.MaxInt64-total {
		return 0, fmt.Errorf("write it as \"90s\", \"30m\", \"4h\" or \"5d\"")
	}
	return total + d, nil
}

// showDuration words a time as the file would.
func showDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// units of sizes; those without an i are what disks are sold by.
var units = []choice[int64]{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// parseSize reads "25 MiB", "64KB" or octets.
func parseSize(s string) (int64, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range units {
		if cut, ok := strings.CutSuffix(number, u.word); ok {
			number, unit = strings.TrimSpace(cut), u.value
			break
		}
	}
	v, err := strconv.ParseInt(strings.ReplaceAll(number, "_", ""), 10, 64)
	if err != nil || v < 0 || v > math.MaxInt64/unit {
		return 0, fmt.Errorf("write it as \"64 KiB\", \"25 MiB\", or in octets")
	}
	return v * unit, nil
}

// showSize words a size in the largest unit that divides it.
func showSize(v int64) string {
	for i := 3; i >= 0; i-- {
		if u := units[i]; v >= u.value && v%u.value == 0 {
			return fmt.Sprintf("%d %s", v/u.value, u.word)
		}
	}
	return strconv.FormatInt(v, 10)
}
