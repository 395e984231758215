package config

import "strings"

// nearest returns the word that is most like text, "" if none is: at most a third of
// its letters may differ. Numbers are never meant to be others.
func nearest(text string, words []string) string {
	const longest = 64 // no word of the file is longer, and the comparison is quadratic
	text = strings.ToLower(strings.ReplaceAll(text, "_", "-"))
	if len(text) > longest || !strings.ContainsAny(text, "abcdefghijklmnopqrstuvwxyz") {
		return ""
	}
	best, found := len(text)/3+1, ""
	for _, w := range words {
		if len(w) > longest {
			continue
		}
		if d := distance(text, strings.ToLower(w)); d < best || d == best && found != "" && w < found {
			best, found = d, w
		}
	}
	return found
}

// distance is how many letters have to be put in, taken out, replaced or swapped with
// their neighbour to make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
