package tlspolicy_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

func TestLive(t *testing.T) {
	var live tlspolicy.Live
	require.Nil(t, live.Load())
	s, _, err := live.Lookup("example.com", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.BuiltIn(), s, "the zero Live acts as an empty table")

	first := newTable(t, tlspolicy.Settings{}, entries{"example.com": mode(tlspolicy.RequiredVerify)})
	require.NoError(t, live.Replace(first))

	// A file with a bad entry does not weaken what is in force.
	broken, err := tlspolicy.NewTable(tlspolicy.Settings{}, entries{"example.com": mode(tlspolicy.No), "a..b": {}})
	require.Error(t, err)
	require.ErrorIs(t, live.Replace(broken), tlspolicy.ErrNoTable)
	require.Same(t, first, live.Load())
	s, _, err = live.Lookup("example.com", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.RequiredVerify, s.Mode)
}

// TestLiveReplacedWhileInUse: every lookup sees one of the tables as a whole,
// and refused tables never show.
func TestLiveReplacedWhileInUse(t *testing.T) {
	var live tlspolicy.Live
	weak, strong := mode(tlspolicy.Required), mode(tlspolicy.RequiredVerifyHosted)
	tables := []*tlspolicy.Table{
		newTable(t, weak, entries{"example.com": weak}),
		newTable(t, strong, entries{"example.com": strong}),
	}
	require.NoError(t, live.Replace(tables[0]))

	stop := make(chan struct{})
	var readers, writer sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 5000 {
				table := live.Load()
				a, _, errA := table.Lookup("example.com", tlspolicy.NextHop{})
				b, _, errB := table.Lookup("example.net", tlspolicy.NextHop{})
				c, _, errC := live.Lookup("EXAMPLE.com.", tlspolicy.NextHop{})
				if errA != nil || errB != nil || errC != nil || a != b || c.Mode == tlspolicy.No {
					t.Errorf("mixed settings %v, %v, %v (%v, %v, %v)", a, b, c, errA, errB, errC)
					return
				}
			}
		})
	}
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			broken, _ := tlspolicy.NewTable(mode(tlspolicy.No), entries{"a..b": {}})
			if live.Replace(broken) == nil || live.Replace(tables[i%2]) != nil {
				t.Error("a refused table was taken, or a good one refused")
				return
			}
		}
	})
	readers.Wait()
	close(stop)
	writer.Wait()
}
