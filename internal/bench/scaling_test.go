package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A study of three sizes, of which the largest takes three times as long.
func TestStudyTable(t *testing.T) {
	point := func(curve string, x int, ns, ratio float64) measured {
		return measured{curve: curve, x: x, cost: sure(ns), toThousand: sure(ratio), passed: sure(2 * ns)}
	}
	points := []measured{
		point("names", 10, 10, 0.5), point("map", 10, 5, 0.5), point("names", 1000, 20, 1), point("map", 1000, 10, 1),
		point("names", 1_000_000, 60, 3), point("map", 1_000_000, 40, 4),
	}
	s := study{name: "Table by size", twice: true, chart: chart{x: "entries"}}
	lines, missed := s.table(points)
	require.Equal(t, [][]string{
		{"entries", "10", "1,000", "1,000,000", "largest ÷ 1,000", "95 %", "demanded"},
		{"names", "10", "20", "60", "3.00", "3.00-3.00", "at most 2: MISSED"},
		{"map", "5", "10", "40", "4.00", "4.00-4.00", ""},
	}, lines)
	require.Equal(t, []string{"Table by size, names: at most 2: MISSED (3.00)"}, missed)
	c := s.draw(points)
	require.Equal(t, []point1{{"names", 3}, {"map", 3}}, shape(c))
	require.Equal(t, sure(60), c.curves[0].points[2].y)

	s.twice, s.perSecond = false, true
	lines, missed = s.table(points)
	require.Equal(t, []string{"names", "50,000,000", "25,000,000", "8,300,000"}, lines[1], "of the time that passed")
	require.Empty(t, missed)
	require.Equal(t, spread{1e9 / 4, 1e9 / 8, 1e9 / 2}, rate(spread{4, 2, 8}))
}

type point1 struct {
	name   string
	points int
}

func shape(c chart) (all []point1) {
	for _, curve := range c.curves {
		all = append(all, point1{curve.name, len(curve.points)})
	}
	return all
}

// What is asked for again and again is what is asked for at first.
func TestAgain(t *testing.T) {
	d := newDestinations(thousand, true)
	again := d.again(few)
	require.Len(t, again.names, ask)
	require.Equal(t, d.names[:few], again.names[:few])
	require.Equal(t, d.names[:few], again.names[ask-few:])
	a := newNets(thousand)
	require.Equal(t, a.ask[3], a.again(few).ask[few+3])
}

// The arithmetic: a millisecond a message is a thousand a second and core, and a
// billion a day are 11,574 a second, three times that at the peak, on cores half
// used.
func TestThroughput(t *testing.T) {
	b := basisOf([]measured{
		{curve: ways[0].name, x: 1, cost: sure(0.9e6)}, {curve: ways[0].name, x: 16, cost: sure(1e6)}, {curve: ways[0].name, x: 64, cost: sure(5e6)},
	}, map[string][]line{coldDelivery: {{ns: sure(720_000)}}}, []held{{what: heldPolicy, octets: 1500}})
	require.Equal(t, []string{ways[0].name, "1000 µs", "1,000", "70", "5"}, b.throughput()[1])
	require.Contains(t, b.sums(), "12,000 a second on average")
	require.Contains(t, b.sums(), "35,000 a second")
	require.Equal(t, []string{"an MTA-STS policy in memory", "1.50 GB"}, b.perMillion()[1])
	require.Contains(t, b.perMillion(), []string{"its answers validated anew every 3600 s", "0.20 cores"})
}

func TestRound2(t *testing.T) {
	for v, want := range map[float64]int{0: 0, 0.4: 0, 7: 7, 12: 12, 126: 130, 1949: 1900, 11574: 12000, -5: -5} {
		require.Equal(t, want, round2(v), "%v", v)
	}
}
