package inbound

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"a@x.example": "a@x.example", "a.b+c@x": "a.b+c@x", "a b@x": `"a b"@x`, `a"b\c@x`: `"a\"b\\c"@x`, "a@b@x": `"a@b"@x`,
		"a..b@x": `"a..b"@x`, ".a@x": `".a"@x`, "a> SIZE=1 <@x": `"a> SIZE=1 <"@x`, "postmaster": "postmaster", "\u00fc@x": "\u00fc@x",
	} {
		require.Equal(t, want, Address(in))
	}
}

// deadlines notes the read deadlines of a connection.
type deadlines struct {
	net.Conn
	last time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.last = t
	return nil
}

// TestPaced: message data may pause, and may be slow, but not so slow for ever.
func TestPaced(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		why   string
		begun time.Duration // ago
		got   int64
		left  time.Duration // until the deadline
	}{
		{"at the beginning", 0, 0, dataPause},
		{"fast enough: a pause is allowed", time.Hour, 10_000_000, dataPause},
		{"a drip: time is up", 10 * time.Minute, 100, dataPause + 100*time.Millisecond - 10*time.Minute},
		{"slow: less than a pause is left", 10 * time.Minute, 400_000, dataPause + 400*time.Second - 10*time.Minute},
	} {
		conn := &deadlines{}
		p := &paced{r: strings.NewReader("x"), conn: conn, begin: now.Add(-tc.begun), n: tc.got}
		_, err := p.Read(make([]byte, 1))
		require.NoError(t, err)
		require.Equal(t, tc.got+1, p.n)
		require.InDelta(t, float64(now.Add(tc.left).Unix()), float64(conn.last.Unix()), 20, tc.why)
	}
}

// TestBrokeOff: what fails in reading is told from what fails in writing, and the end is
// no failure.
func TestBrokeOff(t *testing.T) {
	_, err := io.Copy(io.Discard, Pace(strings.NewReader("x"), &deadlines{}))
	require.NoError(t, err)
	cause := errors.New("connection reset")
	_, err = io.Copy(io.Discard, Pace(iotest.ErrReader(cause), &deadlines{}))
	require.ErrorIs(t, err, ErrBrokeOff)
	require.ErrorIs(t, err, cause)
}

func TestLeadsOn(t *testing.T) {
	for mailbox, want := range map[string]bool{
		"a%x.example@home.example": true, "x.example!a@home.example": true, "a@x.example@home.example": true,
		"a.b+c@home.example": false, "postmaster": false, "@x": false, "a@home.example": false,
	} {
		require.Equal(t, want, LeadsOn(mailbox), mailbox)
	}
}

// FuzzAddress: what stands between angle brackets reads as it was meant, and ends there.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"a@x", "a b@x", `a"b\c@x`, "a> SIZE=1 <@x", "a@b@x", "..@x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, mailbox string) {
		got := Address(mailbox)
		local, quoted := strings.CutPrefix(got, `"`)
		if !quoted || !strings.Contains(mailbox, "@") { // go-smtp hands over none without it
			require.Equal(t, mailbox, got)
			if at := strings.LastIndexByte(got, '@'); at > 0 {
				require.False(t, strings.ContainsAny(got[:at], " <>\"@"), got)
			}
			return
		}
		var plain strings.Builder
		for i := 0; ; i++ {
			require.Less(t, i, len(local), got)
			if local[i] == '"' {
				require.Equal(t, mailbox, plain.String()+local[i+1:])
				require.NotContains(t, local[i+2:], "@")
				return
			}
			if local[i] == '\\' {
				i++
			}
			plain.WriteByte(local[i])
		}
	})
}
