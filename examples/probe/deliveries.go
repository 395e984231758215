package main

import (
	"slices"
	"strings"
)

// decisions writes what would happen under each mode: with the settings that are in
// question, and where that differs with others. Modes that do the same are told
// together.
func (w *writer) decisions(r *Result) {
	if len(r.Decisions) == 0 {
		return
	}
	w.toned(bold, "Delivery", "")
	groups := modes(r.Decisions)
	for i, group := range groups {
		same := func(other []Decision) bool { return slices.EqualFunc(group, other, alike) }
		if slices.ContainsFunc(groups[:i], same) {
			continue // told with the first of them
		}
		var names []string
		for _, other := range groups[i:] {
			if same(other) {
				names = append(names, other[0].Mode)
			}
		}
		w.paragraph("  ", strings.Join(names, ", "))
		w.group(r, group)
	}
}

// group writes what would happen under one mode.
func (w *writer) group(r *Result, group []Decision) {
	first := &group[0]
	for i := range group {
		if group[i].DANE == r.Asked.DANE && group[i].MTASTS == r.Asked.MTASTS {
			first = &group[i]
		}
	}
	w.outcome(first, "")
	told := []string{first.Text}
	for i := range group {
		if d := &group[i]; !slices.Contains(told, d.Text) {
			told = append(told, d.Text)
			w.outcome(d, "; with "+combinations(group, d.Text))
		}
	}
}

func (w *writer) outcome(d *Decision, where string) {
	mark := map[bool]string{true: "    + ", false: "    - "}[d.Delivers()]
	w.toned(d.tone(), mark, d.Text+where)
}

func alike(a, b Decision) bool { return a.DANE == b.DANE && a.MTASTS == b.MTASTS && a.Text == b.Text }

// modes parts the decisions by mode.
func modes(all []Decision) [][]Decision {
	var groups [][]Decision
	for start := 0; start < len(all); {
		end := start
		for end < len(all) && all[end].Mode == all[start].Mode {
			end++
		}
		groups = append(groups, all[start:end])
		start = end
	}
	return groups
}

// combinations names the settings under which a text is what happens.
func combinations(group []Decision, text string) string {
	type setting struct {
		dane    string
		of, all []string // MTA-STS settings with that text, and all of them
	}
	var settings []setting
	for _, d := range group {
		i := slices.IndexFunc(settings, func(s setting) bool { return s.dane == d.DANE })
		if i < 0 {
			i = len(settings)
			settings = append(settings, setting{dane: d.DANE})
		}
		settings[i].all = append(settings[i].all, d.MTASTS)
		if d.Text == text {
			settings[i].of = append(settings[i].of, d.MTASTS)
		}
	}
	var parts []string
	for i, s := range settings {
		same := func(other setting) bool { return slices.Equal(other.of, s.of) }
		if len(s.of) == 0 || slices.ContainsFunc(settings[:i], same) {
			continue
		}
		var danes []string
		for _, other := range settings[i:] {
			if same(other) {
				danes = append(danes, other.dane)
			}
		}
		part := "DANE " + strings.Join(danes, " or ")
		switch {
		case len(s.of) == len(s.all):
		case len(danes) == len(settings):
			part = "MTA-STS " + strings.Join(s.of, " or ")
		default:
			part += " and MTA-STS " + strings.Join(s.of, " or ")
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; or ")
}

func (d *Decision) tone() tone {
	switch d.Action {
	case "deliver-tls-verified":
		return good
	case "deliver-tls-unverified":
		return fair
	case "deliver-clear":
		return poor
	}
	return bad
}
