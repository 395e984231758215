package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// point is a measured value with the interval that holds its true median.
type point struct {
	x float64
	y spread
}

// curve is one line of a chart.
type curve struct {
	name   string
	points []point
}

// chart is a drawing of curves with logarithmic axes.
type chart struct {
	file   string // name of the SVG without its end
	title  string
	x, y   string // what the axes show
	curves []curve
}

// hue is one colour on light and on dark paper.
type hue struct{ light, dark string }

// The colours of a drawing. A test holds them to the contrast that text and
// lines need (WCAG 2.2, 1.4.3 and 1.4.11) on both papers.
var (
	paper   = hue{"#ffffff", "#0d1117"}
	ink     = hue{"#1f2328", "#e6edf3"}
	grid    = hue{"#d1d9e0", "#30363d"}
	strokes = []hue{{"#0550ae", "#58a6ff"}, {"#bc4c00", "#f0883e"}, {"#116329", "#3fb950"}, {"#8250df", "#bc8cff"}, {"#9a6700", "#d29922"}}
	dashes  = []string{"", "7 4", "2 3", "10 3 2 3", "4 2"}
)

// Sizes in the units of the drawing.
const (
	drawingWidth, drawingHeight = 720, 420
	leftMargin, rightMargin     = 104, 24
	topMargin                   = 44
	bottomMargin                = 52 // under the axis
	legendLine                  = 18
)

// svg draws the chart. Curves differ in colour, dash and mark, so that they can be
// told apart without colour; bars through the points are their intervals.
func (c chart) svg() string {
	var b strings.Builder
	tall := drawingHeight + legendLine*len(c.curves)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		drawingWidth, tall, drawingWidth, tall, escape(c.title))
	fmt.Fprintf(&b, "<title>%s</title>\n%s", escape(c.title), sheet(len(c.curves)))
	fmt.Fprintf(&b, `<rect class="paper" width="%d" height="%d"/>`+"\n", drawingWidth, tall)
	words(&b, leftMargin, 24, "start", "title", c.title)

	xs, ys := axis{from: leftMargin, to: drawingWidth - rightMargin}, axis{from: drawingHeight - bottomMargin, to: topMargin}
	var marks []float64 // the sizes that were measured
	for _, curve := range c.curves {
		for _, p := range curve.points {
			xs.hold(p.x)
			ys.hold(p.y.low)
			ys.hold(p.y.high)
			marks = append(marks, p.x)
		}
	}
	slices.Sort(marks)
	for _, v := range slices.Compact(marks) {
		at := xs.place(v)
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %dV%d"/>`+"\n", at, drawingHeight-bottomMargin, topMargin)
		words(&b, at, drawingHeight-bottomMargin+18, "middle", "", tick(v))
	}
	for _, v := range ys.ticks() {
		at := ys.place(v)
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/>`+"\n", leftMargin, at, drawingWidth-rightMargin)
		words(&b, leftMargin-8, at+4, "end", "", tick(v))
	}
	words(&b, (leftMargin+drawingWidth-rightMargin)/2, drawingHeight-bottomMargin+38, "middle", "", c.x)
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (topMargin+drawingHeight-bottomMargin)/2, escape(c.y))

	for i, curve := range c.curves {
		var path strings.Builder
		fmt.Fprintf(&b, `<g class="c%d">`+"\n", i)
		for j, p := range curve.points {
			x, y := xs.place(p.x), ys.place(p.y.median)
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)], x, y)
			fmt.Fprintf(&b, `<path class="bar" d="M%.1f %.1fV%.1f"/>`, x, ys.place(p.y.low), ys.place(p.y.high))
			mark(&b, i, x, y)
		}
		fmt.Fprintf(&b, "\n"+`<path class="line" d="%s"/>`, path.String())
		at := float64(drawingHeight + legendLine*i)
		fmt.Fprintf(&b, `<path class="line" d="M%d %.1fh40"/>`, leftMargin, at)
		mark(&b, i, leftMargin+20, at)
		b.WriteString("</g>\n")
		words(&b, leftMargin+50, at+4, "start", "", curve.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// sheet is the style of a drawing with n curves, for light and for dark paper.
func sheet(n int) string {
	light, dark := new(strings.Builder), new(strings.Builder)
	rule := func(format string, h hue) {
		fmt.Fprintf(light, format, h.light)
		fmt.Fprintf(dark, format, h.dark)
	}
	rule(".paper{fill:%s}", paper)
	rule("text{fill:%s}", ink)
	rule(".grid{stroke:%s}", grid)
	for i := range n {
		rule(fmt.Sprintf(".c%d{stroke:%%[1]s;fill:%%[1]s}", i), strokes[i])
	}
	shapes := "text{font:13px system-ui,sans-serif}.title{font-weight:600;font-size:15px}.line{fill:none;stroke-width:2}.bar{stroke-width:1.5}"
	for i := range n {
		if dashes[i] != "" {
			shapes += fmt.Sprintf(".c%d .line{stroke-dasharray:%s}", i, dashes[i])
		}
	}
	return fmt.Sprintf("<style>%s%s@media (prefers-color-scheme:dark){%s}</style>\n", shapes, light, dark)
}

// mark draws the sign of a curve at a point.
func mark(b *strings.Builder, curve int, x, y float64) {
	switch curve % 3 {
	case 0:
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5"/>`, x, y)
	case 1:
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="7" height="7"/>`, x-3.5, y-3.5)
	default:
		fmt.Fprintf(b, `<path d="M%.1f %.1fl4.5 8h-9z"/>`, x, y-5)
	}
}

func words(b *strings.Builder, x, y float64, anchor, class, text string) {
	if class != "" {
		class = fmt.Sprintf(` class="%s"`, class)
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, class, escape(text))
}

func escape(s string) string {
	var b strings.Builder
	check(xml.EscapeText(&b, []byte(s)))
	return b.String()
}

// axis places values by their logarithm between two ends of the drawing.
type axis struct {
	from, to  float64
	low, high float64 // of the values
}

func (a *axis) hold(v float64) {
	if a.low == 0 || v < a.low {
		a.low = v
	}
	a.high = max(a.high, v)
}

// place leaves a twentieth of the axis free at each end.
func (a *axis) place(v float64) float64 {
	share := 0.5
	if a.high > a.low {
		share = math.Log(v/a.low) / math.Log(a.high/a.low)
	}
	return a.from + (a.to-a.from)*(0.05+0.9*share)
}

// ticks are the values that get a number: powers of ten, and if these are few
// also twice and five times each, or more between.
func (a *axis) ticks() []float64 {
	for _, steps := range [][]float64{{1}, {1, 2, 5}, {1, 1.5, 2, 3, 4, 5, 7}, {1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9}} {
		var ticks []float64
		for power := math.Floor(math.Log10(a.low)); power <= math.Log10(a.high); power++ {
			for _, s := range steps {
				if v := s * math.Pow(10, power); v >= a.low*0.999 && v <= a.high*1.001 {
					ticks = append(ticks, v)
				}
			}
		}
		if len(ticks) >= 3 {
			return ticks
		}
	}
	return []float64{a.low, a.high}
}

// tick writes a number as people do: 1,000 and 0.5.
func tick(v float64) string {
	if v < 1000 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return grouped(int(math.Round(v)))
}

// grouped writes a whole number with commas.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
