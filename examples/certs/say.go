package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/certs"
)

// note says something about what was done.
func (p *program) note(format string, args ...any) {
	fmt.Fprintf(p.stderr, "note: %s\n", plain(fmt.Sprintf(format, args...)))
}

// findings says what package certs has found.
func (p *program) findings(list []certs.Finding) {
	for _, f := range list {
		fmt.Fprintln(p.stderr, plain(f.String()))
	}
}

// json prints a value for programs.
func (p *program) json(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", data)
	return err
}

// plain keeps foreign text on its line, and from commanding the terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

func hexOf(sum [32]byte) string { return hex.EncodeToString(sum[:]) }

// moment is a time for people and programs.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// date is a time in a table.
func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// many writes a list in a table.
func many(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ",")
}
