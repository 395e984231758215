//go:build unix

package spool

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		begin := time.Now()
		q.Add(Job{"c", "c.example"}, begin.Add(3*time.Hour))
		q.Add(Job{"a", "a.example"}, begin.Add(time.Hour))
		q.Add(Job{"b", "b.example"}, begin.Add(2*time.Hour))
		q.Add(Job{"old", "b.example"}, time.Time{})
		require.Equal(t, 4, q.Len())
		for i, want := range []string{"old", "a", "b", "c"} {
			job, err := q.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, job.ID)
			require.Equal(t, time.Duration(i)*time.Hour, time.Since(begin))
			q.Done(job)
		}
		require.Zero(t, q.Len())
		require.Empty(t, q.domains, "nothing is kept of a domain without jobs")
	})
}

// TestQueueEarlierJob: who waits for a late job is woken for an earlier one.
func TestQueueEarlierJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		begin := time.Now()
		q.Add(Job{"late", "a.example"}, begin.Add(time.Hour))
		got := make(chan string)
		for range 2 {
			go func() {
				job, _ := q.Next(t.Context())
				got <- fmt.Sprint(job.ID, " ", time.Since(begin))
			}()
		}
		synctest.Wait()
		q.Add(Job{"early", "b.example"}, begin.Add(time.Minute))
		require.Equal(t, "early 1m0s", <-got)
		require.Equal(t, "late 1h0m0s", <-got)
	})
}

// TestQueueTurns: a domain with much mail has its places and no more, and one with
// little does not wait behind it.
func TestQueueTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(2)
		for i := range 100 {
			q.Add(Job{fmt.Sprint("big", i), "big.example"}, time.Time{})
		}
		q.Add(Job{"small", "small.example"}, time.Now())
		var taken []Job
		for range 3 {
			job, err := q.Next(t.Context())
			require.NoError(t, err)
			taken = append(taken, job)
		}
		slices.SortFunc(taken, func(a, b Job) int { return len(a.ID) - len(b.ID) })
		require.Equal(t, "small", taken[2].ID[:5], "%v", taken)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := q.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "both places are taken")
		next := make(chan Job)
		go func() {
			job, _ := q.Next(t.Context())
			next <- job
		}()
		synctest.Wait()
		q.Done(taken[0])
		require.Equal(t, "big.example", (<-next).Domain)
	})
}

func TestQueueExpedite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(9)
		begin := time.Now()
		for _, id := range []string{"a", "b", "c"} {
			q.Add(Job{id, id + ".example"}, begin.Add(time.Hour))
			q.Add(Job{id, "x.example"}, begin.Add(time.Hour))
		}
		require.False(t, q.Expedite("d"))
		next := make(chan Job, 6)
		for range 6 {
			go func() {
				job, _ := q.Next(t.Context())
				next <- job
			}()
		}
		synctest.Wait()
		require.True(t, q.Expedite("b"))
		require.Equal(t, "b", (<-next).ID)
		require.Equal(t, "b", (<-next).ID)
		require.False(t, q.Expedite("b"), "no longer there")
		require.True(t, q.Expedite(""))
		for range 4 {
			<-next
		}
		require.Zero(t, time.Since(begin))
		require.False(t, q.Expedite(""))

		q = NewQueue(1)
		q.Add(Job{"one", "a.example"}, time.Time{})
		q.Add(Job{"two", "a.example"}, time.Time{})
		job, err := q.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "one", job.ID)
		require.True(t, q.Expedite("two"), "due already, and waiting for its place")
	})
}

func TestQueueContext(t *testing.T) {
	q := NewQueue(1)
	q.Add(Job{"a", "a.example"}, time.Time{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := q.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	job, err := q.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a", job.ID, "it stayed")
}

// TestQueueWorkers: many workers, jobs that come back, and no job lost, doubled or
// beyond the places of its domain.
func TestQueueWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const jobs, domains, places, times = 300, 7, 3, 3
		q := NewQueue(places)
		for i := range jobs {
			q.Add(Job{fmt.Sprint(i), fmt.Sprint("d", i%domains)}, time.Now().Add(time.Duration(i%13)*time.Minute))
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		made := map[string]int{}
		running := make([]atomic.Int32, domains)
		var left atomic.Int32
		left.Store(jobs * times)
		var workers sync.WaitGroup
		for range 20 {
			workers.Go(func() {
				for {
					job, err := q.Next(ctx)
					if err != nil {
						return
					}
					n := &running[job.Domain[1]-'0']
					if n.Add(1) > places {
						t.Error("too many jobs of", job.Domain)
					}
					time.Sleep(time.Second) // of the test's own time
					mu.Lock()
					made[job.ID]++
					again := made[job.ID] < times
					mu.Unlock()
					n.Add(-1)
					if again {
						q.Add(job, time.Now().Add(time.Minute))
					}
					q.Done(job)
					if left.Add(-1) == 0 {
						cancel()
					}
				}
			})
		}
		workers.Wait()
		require.Len(t, made, jobs)
		for id, n := range made {
			require.Equal(t, times, n, id)
		}
		require.Empty(t, q.domains)
	})
}

// TestQueueMemory measures what a job at rest takes, with its id.
func TestQueueMemory(t *testing.T) {
	const jobs = 100_000
	before := heapInUse()
	q := NewQueue(10)
	for i := range jobs {
		id := fmt.Sprintf("20261124-091500-%012x", i)
		q.Add(Job{id, fmt.Sprint(i%1000, ".example")}, time.Unix(int64(i*7919%jobs), 0).Add(1e9*time.Second))
	}
	each := float64(heapInUse()-before) / jobs
	runtime.KeepAlive(q)
	t.Logf("%.0f octets for each of %d jobs in 1000 domains", each, jobs)
	require.Less(t, each, 120.0)
}

// heapInUse returns the octets in use after a collection.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkQueue(b *testing.B) {
	q := NewQueue(20)
	now := time.Now()
	for i := range 100_000 {
		q.Add(Job{"20261124-091500-6b1f0c2d9e8a", fmt.Sprint(i % 1000)}, now.Add(time.Duration(i)-time.Hour))
	}
	b.ReportAllocs()
	for b.Loop() {
		job, err := q.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		q.Add(job, now)
		q.Done(job)
	}
}

// TestBusy: what is due or out keeps a queue busy, what comes later does not.
func TestBusy(t *testing.T) {
	q := NewQueue(1)
	require.False(t, q.Busy())
	q.Add(Job{ID: "a", Domain: "x"}, time.Now().Add(time.Hour))
	require.False(t, q.Busy())
	q.Add(Job{ID: "b", Domain: "x"}, time.Now())
	q.Add(Job{ID: "c", Domain: "x"}, time.Now())
	require.True(t, q.Busy())
	for range 2 {
		job, err := q.Next(t.Context())
		require.NoError(t, err)
		require.True(t, q.Busy())
		q.Done(job)
	}
	require.False(t, q.Busy())
	require.True(t, q.Expedite("a"))
	require.True(t, q.Busy())
}

// TestQueueClock: a job waits as long as it was told to, also if somebody sets the
// clock meanwhile; times from the disk are those of the wall clock.
func TestQueueClock(t *testing.T) {
	q := NewQueue(1)
	// The wall clock was a day ahead when the queue began, and has been set back since:
	// what now is a day less by it, and no less by the monotonic clock.
	ahead := time.Now()
	q.begin = stepped(ahead, 24*time.Hour)
	q.Add(Job{"retry", "a.example"}, time.Now().Add(-time.Millisecond))
	require.True(t, q.Busy())
	job, ok, _ := q.take(time.Now())
	require.True(t, ok)
	require.Equal(t, "retry", job.ID)
	q.Done(job)
	for _, far := range []time.Time{{}, time.Unix(1<<40, 0)} {
		q.Add(Job{"far", "a.example"}, far)
	}
	job, ok, _ = q.take(time.Now())
	require.True(t, ok)
	q.Done(job)
	_, ok, due := q.take(time.Now())
	require.False(t, ok)
	require.True(t, due.After(time.Now()))
	require.True(t, q.Expedite(""))
	_, ok, _ = q.take(time.Now())
	require.True(t, ok)
}

// stepped returns t as it would be if the wall clock were ahead by d, its monotonic
// reading being the same: two readings, and the difference between their walls.
func stepped(t time.Time, d time.Duration) time.Time {
	v := reflect.ValueOf(&t).Elem()
	wall := (*uint64)(v.FieldByName("wall").Addr().UnsafePointer())
	*wall += uint64(d/time.Second) << 30 // seconds stand above 30 bits of nanoseconds while there is a monotonic reading
	return t
}
