package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The document and, beside it, the folder of its drawings.
const (
	documentName = "performance.md"
	drawings     = "performance"
)

// part is a piece of the document that this program writes.
type part struct{ name, text string }

// partNames are the parts that a document must have, in this order.
var partNames = []string{"machine", "missed", "jobs", "table", "hat", "sts", "memory", "deliveries", "sender", "throughput", "million"}

var markers = regexp.MustCompile(`(?s)<!-- bench:(\w+) -->\n(.*?)<!-- bench end -->\n`)

// fill puts the parts between their markers. Every marker needs its part, and every
// part its marker, once.
func fill(document string, parts []part) (string, error) {
	var errs []error
	texts := make(map[string]string)
	for _, p := range parts {
		texts[p.name] = p.text
	}
	filled := markers.ReplaceAllStringFunc(document, func(old string) string {
		name := markers.FindStringSubmatch(old)[1]
		text, ok := texts[name]
		if !ok {
			errs = append(errs, fmt.Errorf("nothing to put at the marker bench:%s, or it stands there twice", name))
			return old
		}
		delete(texts, name)
		return fmt.Sprintf("<!-- bench:%s -->\n\n%s\n<!-- bench end -->\n", name, strings.Trim(text, "\n")+"\n")
	})
	for _, p := range parts {
		if _, left := texts[p.name]; left {
			errs = append(errs, fmt.Errorf("no marker bench:%s", p.name))
		}
	}
	return filled, errors.Join(errs...)
}

// readDocument reads the document and makes sure that it can be filled, before
// minutes are spent on measuring.
func readDocument(folder string) (string, error) {
	text, err := os.ReadFile(filepath.Join(folder, documentName))
	if err != nil {
		return "", err
	}
	var parts []part
	for _, name := range partNames {
		parts = append(parts, part{name: name})
	}
	_, err = fill(string(text), parts)
	return string(text), err
}

// writeDocument writes the document and its drawings, and removes drawings that
// are no more.
func writeDocument(folder, document string, parts []part, charts []chart) error {
	text, err := fill(document, parts)
	if err != nil {
		return err
	}
	beside := filepath.Join(folder, drawings)
	if err := os.MkdirAll(beside, 0o755); err != nil {
		return err
	}
	var names []string
	for _, c := range charts {
		name := c.file + ".svg"
		names = append(names, name)
		if err := os.WriteFile(filepath.Join(beside, name), []byte(c.svg()), 0o644); err != nil {
			return err
		}
	}
	old, err := filepath.Glob(filepath.Join(beside, "*.svg"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if !slices.Contains(names, filepath.Base(path)) {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(folder, documentName), []byte(text), 0o644)
}
