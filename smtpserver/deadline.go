package smtpserver

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// deadlines keeps what the server has asked for apart from what the filter wants:
// the earlier of the two is in force.
type deadlines struct {
	mu          sync.Mutex
	read        time.Time // the server's
	write       time.Time
	ourRead     time.Time // the filter's, while it reads
	ourWrite    time.Time
	readSet     time.Time // in force below; it may be earlier than what is wanted
	writeSet    time.Time
	reads       bool // the filter has begun to read: the server's deadlines matter below
	writes      bool
	interrupted bool // nobody reads any more

	// Until when, in Unix nanoseconds, the deadline in force is good for reads and
	// writes that want a later one: nothing is to be done or locked then. 0: it is not.
	calmRead, calmWrite atomic.Int64

	wake atomic.Pointer[chan struct{}] // wakes who waits for a reply of the server; made when somebody does
}

// aLongTimeAgo interrupts what is under way.
var aLongTimeAgo = time.Unix(1, 0)

// earlier returns the earlier of two deadlines; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// after returns the deadline that lies d behind t, none if d is not above 0.
func after(t time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return t.Add(d)
}

func passed(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// SetDeadline sets both deadlines of the server.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the server's deadline for reads. Timeouts of the filter that
// end earlier stay in force.
func (c *Conn) SetReadDeadline(t time.Time) error {
	d := &c.deadlines
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = t
	d.notify()
	if !d.reads || d.interrupted {
		return nil
	}
	return c.armRead(time.Now())
}

// armRead brings the deadline that is wanted into force. Setting one costs more than
// anything else in passing on a command, and most are a little later than the one
// before: an earlier one stays, and when it passes too soon the read begins anew. The
// caller holds deadlines.mu.
func (c *Conn) armRead(now time.Time) error {
	d := &c.deadlines
	err := arm(c.Conn.SetReadDeadline, &d.readSet, earlier(d.ourRead, d.read), now)
	d.calmRead.Store(calmUntil(d.readSet))
	return err
}

func (c *Conn) armWrite(now time.Time) error {
	d := &c.deadlines
	err := arm(c.Conn.SetWriteDeadline, &d.writeSet, earlier(d.ourWrite, d.write), now)
	d.calmWrite.Store(calmUntil(d.writeSet))
	return err
}

// deadlineSlack is how much time a deadline in force must leave to be kept.
const deadlineSlack = time.Second

func arm(set func(time.Time) error, inForce *time.Time, wanted, now time.Time) error {
	if wanted.Equal(*inForce) {
		return nil
	}
	if !inForce.IsZero() && !wanted.IsZero() && inForce.Before(wanted) && inForce.Sub(now) > deadlineSlack {
		return nil
	}
	*inForce = wanted
	return set(wanted)
}

func calmUntil(inForce time.Time) int64 {
	if inForce.IsZero() {
		return 0
	}
	return inForce.Add(-deadlineSlack).UnixNano()
}

// calm says whether the deadline in force can stay for what wants this one.
func calm(until int64, wanted, now time.Time) bool {
	return until != 0 && now.UnixNano() < until && (wanted.IsZero() || wanted.UnixNano() >= until+int64(deadlineSlack))
}

// SetWriteDeadline sets the server's deadline for writes. Timeouts of the filter
// that end earlier stay in force.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	d := &c.deadlines
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write = t
	if !d.writes {
		return nil
	}
	return c.armWrite(time.Now())
}

// readInner reads, from now on, from the connection below until ours or the server's
// deadline. late says that it was ours that passed.
func (c *Conn) readInner(p []byte, ours, now time.Time) (n int, err error, late bool) {
	d := &c.deadlines
	ours = earlier(ours, c.ageLimit)
	if !calm(d.calmRead.Load(), ours, now) {
		d.mu.Lock()
		if d.interrupted {
			d.mu.Unlock()
			return 0, net.ErrClosed, false
		}
		d.reads, d.ourRead = true, ours
		err = c.armRead(now)
		d.mu.Unlock()
	}
	for {
		if err == nil {
			n, err = c.Conn.Read(p)
		}
		if err == nil {
			return n, nil, false
		}
		d.mu.Lock()
		d.ourRead = ours
		if n > 0 || d.interrupted || !tooSoon(err, d.readSet, earlier(ours, d.read)) {
			break
		}
		err = c.armRead(time.Now())
		d.mu.Unlock()
	}
	if d.interrupted {
		err = net.ErrClosed
	}
	d.mu.Unlock()
	return n, err, isTimeout(err) && passed(ours, time.Now())
}

// tooSoon says whether err is the timeout of a deadline that was kept in force while
// a later one was wanted.
func tooSoon(err error, inForce, wanted time.Time) bool {
	if err == nil || !isTimeout(err) {
		return false
	}
	now := time.Now()
	return passed(inForce, now) && !passed(wanted, now)
}

// interrupt ends the read that is under way and those to come.
func (c *Conn) interrupt() {
	d := &c.deadlines
	d.mu.Lock()
	defer d.mu.Unlock()
	d.interrupted = true
	d.calmRead.Store(0)
	d.notify()
	if d.reads {
		d.readSet = aLongTimeAgo
		c.Conn.SetReadDeadline(aLongTimeAgo)
	}
}

// writeInner writes to the connection below, and wakes who waits for a reply.
func (c *Conn) writeInner(p []byte) (n int, err error) {
	d := &c.deadlines
	defer d.notify()
	now := time.Now()
	ours := earlier(after(now, c.listener.options.WriteTimeout), c.ageLimit)
	if !calm(d.calmWrite.Load(), ours, now) {
		d.mu.Lock()
		d.writes, d.ourWrite = true, ours
		err = c.armWrite(now)
		d.mu.Unlock()
	}
	for {
		if err == nil {
			var k int
			k, err = c.Conn.Write(p[n:])
			n += k
		}
		if err == nil {
			return n, nil
		}
		d.mu.Lock()
		d.ourWrite = ours
		if n == len(p) || !tooSoon(err, d.writeSet, earlier(ours, d.write)) {
			d.mu.Unlock()
			return n, err
		}
		err = c.armWrite(time.Now())
		d.mu.Unlock()
	}
}

// waiter returns the channel on which notify is heard.
func (d *deadlines) waiter() <-chan struct{} {
	if wake := d.wake.Load(); wake != nil {
		return *wake
	}
	wake := make(chan struct{}, 1)
	if !d.wake.CompareAndSwap(nil, &wake) {
		return *d.wake.Load()
	}
	return wake
}

// notify wakes who waits.
func (d *deadlines) notify() {
	if wake := d.wake.Load(); wake != nil {
		select {
		case *wake <- struct{}{}:
		default:
		}
	}
}

// await waits until the server has written, ours or the server's deadline has
// passed, or the connection has ended.
func (c *Conn) await(wake <-chan struct{}, ours time.Time) (err error, late bool) {
	d := &c.deadlines
	ours = earlier(ours, c.ageLimit)
	d.mu.Lock()
	until, over := earlier(ours, d.read), d.interrupted
	d.mu.Unlock()
	if over {
		return net.ErrClosed, false
	}
	var expired <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-wake:
		return nil, false
	case <-expired:
		return os.ErrDeadlineExceeded, passed(ours, time.Now())
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}
