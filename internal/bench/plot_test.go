package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func sure(v float64) spread { return spread{v, v, v} }

var sampleChart = chart{file: "sample", title: `Less < "more" & more`, x: "entries", y: "ns", curves: []curve{
	{"one", []point{{10, sure(20)}, {1000, spread{30, 25, 40}}, {1_000_000, sure(4_000_000)}}},
	{"two & only <two>", []point{{10, sure(1)}}},
	{"three", []point{{10, sure(50)}, {1000, sure(50)}}},
	{"four", []point{{10, sure(60)}, {1000, sure(50)}}},
	{"five", []point{{10, sure(70)}, {1000, sure(50)}}},
}}

// A drawing is XML, stands alone, and has every word, point and number inside its
// paper.
func TestDrawingIsWellFormed(t *testing.T) {
	text := sampleChart.svg()
	requireXML(t, text)
	for _, words := range []string{"Less &lt; &#34;more&#34; &amp; more", "two &amp; only &lt;two&gt;", ">entries<", ">1,000,000<", ">1,000<", ">10<"} {
		require.Contains(t, text, words)
	}
	for _, match := range regexp.MustCompile(`x="([0-9.]+)" y="[0-9.]+" text-anchor="end">([^<]*)<`).FindAllStringSubmatch(text, -1) {
		x, err := strconv.ParseFloat(match[1], 64)
		require.NoError(t, err)
		require.Greater(t, x-8*float64(len(match[2])), 22.0, "%s runs into the name of the axis", match[2])
	}
	require.NotContains(t, text, "NaN")
	require.NotContains(t, text, "Inf")
	require.NotContains(t, text, "href", "nothing is fetched")
	for _, match := range regexp.MustCompile(`c?([xy])="([-0-9.]+)"`).FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(match[2], 64)
		require.NoError(t, err)
		most := float64(drawingWidth)
		if match[1] == "y" {
			most = drawingHeight + float64(legendLine*len(sampleChart.curves))
		}
		require.True(t, v >= 0 && v <= most, match[0])
	}
}

func requireXML(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	first := ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok && first == "" {
			first = start.Name.Space + " " + start.Name.Local
		}
	}
	require.Equal(t, "http://www.w3.org/2000/svg svg", first)
}

// On light and on dark paper text has a contrast of 4.5 and lines have 3 (WCAG 2.2,
// 1.4.3 and 1.4.11), and every class that is used has a colour in both.
func TestDrawingIsReadable(t *testing.T) {
	require.GreaterOrEqual(t, contrast(t, ink.light, paper.light), 4.5)
	require.GreaterOrEqual(t, contrast(t, ink.dark, paper.dark), 4.5)
	for _, h := range strokes {
		require.GreaterOrEqual(t, contrast(t, h.light, paper.light), 3.0, h.light)
		require.GreaterOrEqual(t, contrast(t, h.dark, paper.dark), 3.0, h.dark)
	}
	require.Equal(t, len(strokes), len(dashes))
	text := sampleChart.svg()
	light, dark, ok := strings.Cut(text[strings.Index(text, "<style>"):strings.Index(text, "</style>")], "@media (prefers-color-scheme:dark)")
	require.True(t, ok)
	for _, rule := range []string{".paper{fill:", "text{fill:", ".grid{stroke:", ".c0{", ".c1{", ".c2{", ".c3{", ".c4{"} {
		require.Contains(t, light, rule)
		require.Contains(t, dark, rule)
	}
}

// contrast is the ratio of WCAG 2.2.
func contrast(t *testing.T, a, b string) float64 {
	luminance := func(colour string) float64 {
		var c [3]int
		_, err := fmt.Sscanf(colour, "#%02x%02x%02x", &c[0], &c[1], &c[2])
		require.NoError(t, err)
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			v := float64(c[i]) / 255
			if v <= 0.04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+0.055)/1.055, 2.4)
			}
			sum += weight * v
		}
		return sum
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Points stand where their numbers say, and numbers are where an eye looks for
// them.
func TestAxis(t *testing.T) {
	a := axis{from: 100, to: 200}
	for _, v := range []float64{1000, 10, 100_000} {
		a.hold(v)
	}
	require.InDelta(t, 105, a.place(10), 1e-9)
	require.InDelta(t, 150, a.place(1000), 1e-9)
	require.InDelta(t, 195, a.place(100_000), 1e-9)
	require.Equal(t, []float64{10, 100, 1000, 10_000, 100_000}, a.ticks())
	for _, tc := range []struct {
		low, high float64
		want      []float64
	}{
		{20, 90, []float64{20, 30, 40, 50, 70}},
		{1, 2, []float64{1, 1.5, 2}},
		{7, 7, []float64{7, 7}},
		{640, 4100, []float64{1000, 2000, 700}},
	} {
		b := axis{}
		b.hold(tc.low)
		b.hold(tc.high)
		require.Subset(t, b.ticks(), tc.want, "%v to %v", tc.low, tc.high)
		for _, v := range b.ticks() {
			require.True(t, v > tc.low*0.99 && v < tc.high*1.01, "%v", v)
		}
	}
	for v, want := range map[float64]string{0.5: "0.5", 10: "10", 1000: "1,000", 1_000_000: "1,000,000", 123456: "123,456"} {
		require.Equal(t, want, tick(v))
	}
}
