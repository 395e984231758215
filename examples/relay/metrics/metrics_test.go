package metrics

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func Example() {
	var dsns Counts
	dsns.Add("failed")
	dsns.Add("delayed")
	dsns.Add("failed")
	w := NewWriter(os.Stdout)
	w.Counter("relay_dsns_total", "Notifications written, by action.", dsns.Samples("action")...)
	w.Gauge("relay_queue_jobs", "Deliveries that wait.", Value(12))
	_ = w.Flush()
	// Output:
	// # HELP relay_dsns_total Notifications written, by action.
	// # TYPE relay_dsns_total counter
	// relay_dsns_total{action="delayed"} 1
	// relay_dsns_total{action="failed"} 2
	// # HELP relay_queue_jobs Deliveries that wait.
	// # TYPE relay_queue_jobs gauge
	// relay_queue_jobs 12
}

// TestLabels: whatever stands in a label, it ends where it should, in one line.
func TestLabels(t *testing.T) {
	for value, want := range map[string]string{
		"x": "x", "": "", "\"": `\"`, "\\": `\\`, "a\nb": `a\nb`, `\n`: `\\n`, "\u00fc\x00": "\u00fc\x00", "\xff": "?",
	} {
		require.Equal(t, Sample{`{a="` + want + `",b="y"}`, 1}, Labelled(1, "a", value, "b", "y"))
	}
}

func TestCounts(t *testing.T) {
	var c Counts
	require.Empty(t, c.All())
	require.Empty(t, c.Samples("x"))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { c.Add("a") })
	}
	group.Wait()
	all := c.All()
	require.Equal(t, map[string]uint64{"a": 8}, all)
	all["a"] = 0
	require.EqualValues(t, 8, c.All()["a"], "a copy")
}

// TestNoSamples: a metric of which nothing is known yet is declared all the same.
func TestNoSamples(t *testing.T) {
	var b strings.Builder
	w := NewWriter(&b)
	w.Counter("x_total", "y")
	require.NoError(t, w.Flush())
	require.Equal(t, "# HELP x_total y\n# TYPE x_total counter\n", b.String())
}
