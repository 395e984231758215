package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// maxTable is the largest table file in octets, some hundred thousand lines.
const maxTable = 64 << 20

// readTable reads the destination table; an empty name is a table of defaults alone.
func readTable(name string) (*tlspolicy.Table, error) {
	if name == "" {
		return tlspolicy.NewTable(defaults(), nil)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	table, err := parseTable(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return table, nil
}

// parseTable reads lines of a destination and what holds for it, such as
//
//	default          mode=preferred
//	partner.example  mode=required-verify-hosted
//	.bank.example    mode=required dane=mandatory mtasts=off   # and all below
//
// Destinations are the keys of [tlspolicy.NewTable]. What an entry leaves out comes from
// the default entry, and what that leaves out from defaults. All lines that are
// wrong are reported.
func parseTable(r io.Reader) (*tlspolicy.Table, error) {
	def, hasDefault := defaults(), false
	entries, at := map[string]tlspolicy.Settings{}, map[string]int{}
	var problems []error
	lines := bufio.NewScanner(io.LimitReader(r, maxTable+1))
	size := 0
	for n := 1; lines.Scan(); n++ {
		size += len(lines.Bytes()) + 1
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		key := words[0]
		s, err := parseSettings(words[1:])
		switch {
		case err != nil:
		case key == "default" && hasDefault:
			err = errors.New("there is a default entry already")
		case key == "default":
			hasDefault = true
			def.Mode = s.Mode
			if s.DANE != tlspolicy.DANEDefault {
				def.DANE = s.DANE
			}
			if s.MTASTS != tlspolicy.MTASTSDefault {
				def.MTASTS = s.MTASTS
			}
		case at[key] > 0:
			err = fmt.Errorf("%s has an entry in line %d already", key, at[key])
		default:
			entries[key], at[key] = s, n
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if size > maxTable {
		return nil, fmt.Errorf("more than %d octets", maxTable)
	}
	// Mode no goes without a look at either kind of policy. In the default entry they
	// are on unless the table says otherwise, and to say so for each is tedious.
	if def.Mode == tlspolicy.No {
		def.DANE, def.MTASTS = tlspolicy.DANENone, tlspolicy.Off
	}
	table, err := tlspolicy.NewTable(def, entries)
	if err != nil {
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return table, nil
}

// parseSettings reads what stands behind a destination.
func parseSettings(words []string) (s tlspolicy.Settings, err error) {
	if len(words) == 0 {
		return s, errors.New("the destination has no settings: want mode=, dane= or mtasts=")
	}
	seen := map[string]bool{}
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		if !ok || seen[name] {
			return s, fmt.Errorf("%q: want each of mode=, dane= and mtasts= once at most", word)
		}
		seen[name] = true
		switch name {
		case "mode":
			s.Mode, err = tlspolicy.ParseMode(value)
		case "dane":
			s.DANE, err = tlspolicy.ParseDANE(value)
		case "mtasts":
			s.MTASTS, err = tlspolicy.ParseMTASTS(value)
		case "fallback":
			err = errors.New("fallback: Postfix decides by itself when clear text follows a failed STARTTLS; see smtp_tls_security_level in postconf(5)")
		default:
			err = fmt.Errorf("%q: want mode=, dane= or mtasts=", word)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}
