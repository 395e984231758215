package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const docs = "../../docs"

// The document of this repository names every job, every contender and every
// series, and shows every drawing; what stands there is what the program writes.
func TestDocumentIsWhole(t *testing.T) {
	text, err := readDocument(docs)
	require.NoError(t, err, "all markers are there")
	for _, r := range rows() {
		contains(t, text, "| "+r.name+" ", "a job without its line: run go run . -write ../../docs")
		if r.limit > 0 {
			contains(t, text, "| "+r.limitOf, r.name)
		}
	}
	for _, what := range []string{heldPolicy, heldNoPolicy, heldStored, heldEntry, heldAnswer, heldSession, heldClear, heldTLS} {
		contains(t, text, what)
	}
	for _, w := range ways {
		contains(t, text, "| "+w.name+" ")
	}
	names := []string{deliveryStudy(plan{}).chart.file, deliveryStudy(plan{}).ofSender().chart.file}
	for _, s := range studies(plan{}) {
		names = append(names, s.chart.file)
	}
	for _, name := range names {
		contains(t, text, "]("+drawings+"/"+name+".svg)", "a drawing that nobody sees")
		svg, err := os.ReadFile(filepath.Join(docs, drawings, name+".svg"))
		require.NoError(t, err)
		requireXML(t, string(svg))
	}
	found, err := filepath.Glob(filepath.Join(docs, drawings, "*"))
	require.NoError(t, err)
	require.Len(t, found, len(names), "nothing but drawings of this program")
	require.NotContains(t, text, "NaN")
}

// contains keeps the whole document out of the message.
func contains(t *testing.T, document, words string, why ...any) {
	t.Helper()
	require.True(t, strings.Contains(document, words), "the document lacks %q %v", words, why)
}

func TestFill(t *testing.T) {
	const document = "# Head\n<!-- bench:one -->\nold\n<!-- bench end -->\nbetween\n<!-- bench:two -->\n<!-- bench end -->\nend\n"
	filled, err := fill(document, []part{{"one", "| a |\n"}, {"two", "b"}})
	require.NoError(t, err)
	const want = "# Head\n<!-- bench:one -->\n\n| a |\n\n<!-- bench end -->\nbetween\n<!-- bench:two -->\n\nb\n\n<!-- bench end -->\nend\n"
	require.Equal(t, want, filled)
	again, err := fill(filled, []part{{"one", "| a |\n"}, {"two", "b"}})
	require.NoError(t, err)
	require.Equal(t, want, again, "filling twice is filling once")
	for _, tc := range []struct {
		why, document string
		parts         []part
		want          string
	}{
		{"a marker without part", document, []part{{"one", ""}}, "at the marker bench:two"},
		{"a part without marker", document, []part{{"one", ""}, {"two", ""}, {"three", ""}}, "no marker bench:three"},
		{"a marker without end", strings.Replace(document, "<!-- bench end -->\nend", "end", 1), []part{{"one", ""}, {"two", ""}}, "no marker bench:two"},
		{"a marker twice", document + document, []part{{"one", ""}, {"two", ""}}, "stands there twice"},
	} {
		_, err := fill(tc.document, tc.parts)
		require.ErrorContains(t, err, tc.want, tc.why)
	}
}

// Old drawings go, the others are written, and a document that cannot be filled
// stays as it is.
func TestWriteDocument(t *testing.T) {
	folder := t.TempDir()
	beside := filepath.Join(folder, drawings)
	require.NoError(t, os.Mkdir(beside, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(beside, "old.svg"), nil, 0o644))
	require.Error(t, writeDocument(folder, "no markers", []part{{"one", ""}}, nil))
	require.FileExists(t, filepath.Join(beside, "old.svg"))
	require.NoError(t, writeDocument(folder, "<!-- bench:one -->\n<!-- bench end -->\n", []part{{"one", "text"}}, []chart{sampleChart}))
	require.NoFileExists(t, filepath.Join(beside, "old.svg"))
	svg, err := os.ReadFile(filepath.Join(beside, "sample.svg"))
	require.NoError(t, err)
	require.Equal(t, sampleChart.svg(), string(svg))
	text, err := os.ReadFile(filepath.Join(folder, documentName))
	require.NoError(t, err)
	require.Contains(t, string(text), "text")
}

// Every part of the document from one quick run, into a copy of it; of the jobs
// those that need no large tables.
func TestEverything(t *testing.T) {
	folder := t.TempDir()
	text, err := os.ReadFile(filepath.Join(docs, documentName))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, documentName), text, 0o644))
	s := session{
		out: io.Discard, log: io.Discard, plan: plan{rounds: 1, sample: 1, quick: true}, lines: make(map[string][]line),
		choice: regexp.MustCompile("^(MTA-STS record|DNSSEC, MX.*|.* by size|MTA-STS cache hits.*|Memory|Deliveries)$"),
	}
	require.NoError(t, s.everything())
	require.NoError(t, writeDocument(folder, string(text), s.parts, s.charts))
	written, err := readDocument(folder)
	require.NoError(t, err)
	require.NotContains(t, written, "NaN", "every figure of the arithmetic has been measured")
	found, err := filepath.Glob(filepath.Join(folder, drawings, "*.svg"))
	require.NoError(t, err)
	require.Len(t, found, len(studies(plan{}))+2)
	for _, path := range found {
		svg, err := os.ReadFile(path)
		require.NoError(t, err)
		requireXML(t, string(svg))
		require.NotContains(t, string(svg), "NaN")
	}
}
