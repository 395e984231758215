package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	// The parser below go-toml gives the range of every key and value; BurntSushi/toml
	// tells positions of syntax errors only.
	"github.com/pelletier/go-toml/v2/unstable"
)

const (
	// MaxFile bounds a configuration file in octets: some tens of thousands of
	// sender entries or destinations.
	MaxFile = 4 << 20
	// maxProblems bounds what is told of one file. Nobody reads further.
	maxProblems = 200
	// maxShown bounds how much of the file's own text is quoted.
	maxShown = 80
	// maxDepth bounds how deep arrays and tables stand in one another. The file needs
	// four.
	maxDepth = 32
	// maxKey bounds the part of a key between two dots; the longest that means anything
	// is a next hop in brackets with its port.
	maxKey = 320
)

// kind is what a node of the file is. Its text says so in messages.
type kind string

const (
	kindTable   kind = "a table"
	kindArray   kind = "an array"
	kindText    kind = "a text"
	kindInteger kind = "a number"
	kindBool    kind = "true or false"
	kindOther   kind = "a date or a number with a fraction"
)

// node is a value of the file with its place.
type node struct {
	kind   kind
	line   int
	parent *node  // nil for the whole file
	name   string // in the parent; "" for an item of an array
	text   string // of a text, an integer or a truth value

	keys  []string // of a table, in the order of the file
	table map[string]*node
	items []*node // of an array

	tables bool // an array of [[tables]]
	header bool // a table with a header of its own, which cannot have a second one
	used   bool // somebody has asked for it
}

func newTable(parent *node, name string, line int) *node {
	return &node{kind: kindTable, line: line, parent: parent, name: name, table: map[string]*node{}}
}

// path returns the dotted path of the node.
func (n *node) path() string {
	var parts []string
	for ; n.parent != nil; n = n.parent {
		if n.name != "" {
			parts = append(parts, n.name)
		}
	}
	slices.Reverse(parts)
	return joinKey("", parts...)
}

// at returns the path of a key in the table.
func (n *node) at(key string) string { return joinKey(n.path(), key) }

// document is a file on its way into a tree.
type document struct {
	l     *loader
	lines []int // offsets at which lines begin
	at    int   // offset of what the parser sees
	p     unstable.Parser
	// damaged: parts could not be read, so that what seems to be missing may be there.
	damaged bool
}

// parse reads a whole file. What it cannot read it tells l about, and reads on with
// the next statement, so that the tree has everything else.
func (l *loader) parse(data []byte) *node {
	root := newTable(nil, "", 1)
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	d := &document{l: l, lines: []int{0}}
	for i, c := range data {
		if c == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		l.fail(d.line(i), "", "a NUL octet: this is no text file")
		return nil
	}
	if !utf8.Valid(data) {
		for i := 0; i < len(data); {
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n == 1 {
				l.fail(d.line(i), "", "octet %#x is not UTF-8: save the file as UTF-8", data[i])
				return nil
			}
			i += n
		}
	}
	whole := data
	section := root
	for {
		d.p.Reset(data[:len(data):len(data)])
		for d.p.NextExpression() {
			section = d.statement(root, section, d.p.Expression())
		}
		if d.p.Error() == nil {
			break
		}
		d.damaged = true
		line := d.syntax(data, d.p.Error())
		next := d.resume(whole, line)
		if next < 0 || l.full() {
			break
		}
		d.at, data = next, whole[next:]
	}
	if !d.damaged && !l.failed() {
		d.crossCheck(whole)
	}
	l.damaged = d.damaged
	return root
}

// line returns the line of an offset in the whole file.
func (d *document) line(offset int) int {
	i, found := slices.BinarySearch(d.lines, offset)
	if found {
		return i + 1
	}
	return i
}

// syntax tells of a syntax error and returns its line.
func (d *document) syntax(data []byte, err error) int {
	offset, text := 0, err.Error()
	if pe := (*unstable.ParserError)(nil); errors.As(err, &pe) {
		// As the parser itself does: capacities tell where a part of a slice begins.
		offset = min(max(len(data)-cap(pe.Highlight), 0), len(data))
		text = pe.Message
	}
	line := d.line(d.at + offset)
	d.l.fail(line, "", "syntax: %s", text)
	return line
}

// resume returns the offset of the first line behind one with an error that looks
// like the beginning of a statement, or -1. A line that does so inside a text of
// several lines makes for one more error and no more.
func (d *document) resume(data []byte, line int) int {
	for i := line; i < len(d.lines); i++ { // lines are counted from 1: this is the next one
		end := len(data)
		if i+1 < len(d.lines) {
			end = d.lines[i+1]
		}
		text := strings.TrimSpace(string(data[d.lines[i]:end]))
		key, _, ok := strings.Cut(text, "=")
		key = strings.TrimSpace(key)
		if ok && key != "" && strings.Trim(key, bareLetters+`."`) == "" || strings.HasPrefix(text, "[") && strings.Contains(text, "]") && !strings.Contains(text, ",") {
			return d.lines[i]
		}
	}
	return -1
}

// statement adds one top-level expression to the tree and returns the table that the
// next one belongs to.
func (d *document) statement(root, section *node, n *unstable.Node) *node {
	switch n.Kind {
	case unstable.KeyValue:
		d.set(section, n, 0)
	case unstable.Table, unstable.ArrayTable:
		return d.open(root, n)
	}
	return section
}

// key returns the parts of a dotted key and the line that it is in, no parts if they
// are too many or too long.
func (d *document) key(n *unstable.Node) (parts []string, line int) {
	it := n.Key()
	for it.Next() {
		if line == 0 {
			line = d.line(d.at + int(it.Node().Raw.Offset))
		}
		parts = append(parts, string(it.Node().Data))
		if len(parts) > maxDepth || len(it.Node().Data) > maxKey {
			d.l.fail(line, "", "a key has at most %d parts of %d octets", maxDepth, maxKey)
			return nil, line
		}
	}
	return parts, line
}

// open finds or makes the table of a [header] or [[header]].
func (d *document) open(root *node, n *unstable.Node) *node {
	parts, line := d.key(n)
	lost := newTable(nil, "", line) // what cannot be placed goes nowhere
	t := d.descend(root, parts, line)
	if t == nil {
		return lost
	}
	last := parts[len(parts)-1]
	old, path := t.table[last], t.at(last)
	if n.Kind == unstable.ArrayTable {
		if old == nil {
			old = &node{kind: kindArray, line: line, parent: t, name: last, tables: true}
			t.put(last, old)
		} else if !old.tables {
			d.l.fail(line, path, "is %s already, in line %d: an array of tables needs [[%s]] each time", old.kind, old.line, path)
			return lost
		}
		item := newTable(old, "", line)
		item.header = true
		old.items = append(old.items, item)
		return item
	}
	switch {
	case old == nil:
		old = newTable(t, last, line)
		t.put(last, old)
	case old.tables:
		d.l.fail(line, path, "is an array of tables, in line %d: write [[%s]]", old.line, path)
		return lost
	case old.kind != kindTable || old.header:
		d.l.fail(line, path, "stands twice: the first one is in line %d", old.line)
		return lost
	}
	old.header, old.line = true, line
	return old
}

// descend returns the table that the last part of a dotted key belongs to, made if
// need be, nil if there cannot be one.
func (d *document) descend(t *node, parts []string, line int) *node {
	if len(parts) == 0 {
		return nil
	}
	for _, part := range parts[:len(parts)-1] {
		next := t.table[part]
		switch {
		case next == nil:
			next = newTable(t, part, line)
			t.put(part, next)
		case next.tables:
			next = next.items[len(next.items)-1]
		case next.kind != kindTable:
			d.l.fail(line, next.path(), "is %s, in line %d, and cannot have keys of its own", next.kind, next.line)
			return nil
		}
		t = next
	}
	return t
}

// set adds a key with its value to a table.
func (d *document) set(t *node, n *unstable.Node, depth int) {
	parts, line := d.key(n)
	if t = d.descend(t, parts, line); t == nil {
		return
	}
	last := parts[len(parts)-1]
	if old := t.table[last]; old != nil {
		d.l.fail(line, t.at(last), "stands twice: the first one is in line %d", old.line)
		return
	}
	if v := d.value(n.Value(), t, last, line, depth); v != nil {
		t.put(last, v)
	}
}

// value makes a node of a value. near is the line of what stands before it, for
// arrays, which have no range of their own.
func (d *document) value(n *unstable.Node, parent *node, name string, near, depth int) *node {
	if depth > maxDepth {
		d.l.fail(near, parent.path(), "more than %d arrays and tables in one another", maxDepth)
		return nil
	}
	v := &node{line: near, parent: parent, name: name, text: string(n.Data)}
	if n.Raw.Length > 0 {
		v.line = d.line(d.at + int(n.Raw.Offset))
	}
	switch n.Kind {
	case unstable.String:
		v.kind = kindText
	case unstable.Integer:
		v.kind = kindInteger
	case unstable.Bool:
		v.kind = kindBool
	case unstable.Array:
		v.kind, v.text = kindArray, ""
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			item := d.value(it.Node(), v, "", near, depth+1)
			if item == nil {
				return nil
			}
			v.items = append(v.items, item)
			near = item.line
		}
	case unstable.InlineTable:
		v = newTable(parent, name, v.line)
		v.header = true
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				d.set(v, it.Node(), depth+1)
			}
		}
	default:
		v.kind = kindOther
	}
	return v
}

func (n *node) put(key string, v *node) {
	n.keys = append(n.keys, key)
	n.table[key] = v
}

// crossCheck has the decoder of the library read the file too. It knows rules about
// what may be added to which table that the tree above does not have.
func (d *document) crossCheck(data []byte) {
	var all map[string]any
	err := toml.Unmarshal(data, &all)
	if err == nil {
		return
	}
	line := 1
	if de := (*toml.DecodeError)(nil); errors.As(err, &de) {
		line, _ = de.Position()
	}
	d.l.fail(min(max(line, 1), len(d.lines)), "", "syntax: %s", strings.TrimPrefix(err.Error(), "toml: "))
}

// bareLetters are what a key may have without quotes.
const bareLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// joinKey appends to a dotted path, in quotes where the file needs them.
func joinKey(path string, parts ...string) string {
	for _, part := range parts {
		if part == "" || strings.Trim(part, bareLetters) != "" {
			part = show(part)
		}
		if path != "" {
			path += "."
		}
		path += part
	}
	return path
}

// show quotes a text of the file, cut to what a message has room for.
func show(text string) string {
	if len(text) > maxShown {
		cut := maxShown
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		return fmt.Sprintf("%q...", text[:cut])
	}
	return fmt.Sprintf("%q", text)
}
