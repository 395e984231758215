//go:build unix

package spool

import (
	"container/heap"
	"context"
	"math"
	"sync"
	"time"
)

// Job is one attempt: the recipients of a message that are in one domain.
type Job struct {
	// ID of the message.
	ID string
	// Domain of the recipients, as [Recipient.Domain] returns it.
	Domain string
}

// Queue is the order of attempts, in memory. Jobs come out when they are due, no more
// than so many at a time for each domain, and domains take turns: one that is slow,
// or has the most mail, does not keep the others waiting. It is safe for concurrent
// use. What it holds is found again on the disk with [Spool.All]. Times that are made
// with time.Now keep their distance when somebody sets the clock.
type Queue struct {
	perDomain int
	begin     time.Time     // with the monotonic clock: a step of the wall clock moves nothing
	signal    chan struct{} // has a token when somebody who waits should look

	mu      sync.Mutex
	domains map[string]*domain
	later   jobHeap   // by due time
	turns   []*domain // with a job that is due and a free place
	length  int
}

type domain struct {
	name    string
	later   int      // jobs in Queue.later
	ready   []string // ids that are due
	running int
	inTurns bool
}

type laterJob struct {
	due    time.Duration // since Queue.begin
	id     string
	domain *domain
}

type jobHeap []laterJob

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h jobHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *jobHeap) Push(x any)        { *h = append(*h, x.(laterJob)) }
func (h *jobHeap) Pop() any {
	last := len(*h) - 1
	job := (*h)[last]
	(*h)[last] = laterJob{}
	*h = (*h)[:last]
	return job
}

// NewQueue returns a queue that hands out at most perDomain jobs of a domain at a
// time; less than 1 is 1.
func NewQueue(perDomain int) *Queue {
	return &Queue{perDomain: max(1, perDomain), begin: time.Now(), signal: make(chan struct{}, 1), domains: make(map[string]*domain)}
}

// Add puts a job into the queue. A job that is there twice comes out twice.
func (q *Queue) Add(job Job, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.domains[job.Domain]
	if d == nil {
		d = &domain{name: job.Domain}
		q.domains[job.Domain] = d
	}
	d.later++
	q.length++
	heap.Push(&q.later, laterJob{due: due.Sub(q.begin), id: job.ID, domain: d})
	if q.later[0].domain == d {
		q.wake()
	}
}

// Next waits for a job that is due and whose domain has a free place, and takes that
// place until Done is called. The error is that of ctx.
func (q *Queue) Next(ctx context.Context) (Job, error) {
	for {
		if err := ctx.Err(); err != nil {
			q.wake() // the token may have been for another
			return Job{}, err
		}
		job, ok, due := q.take(time.Now())
		if ok {
			return job, nil
		}
		var timer *time.Timer
		var alarm <-chan time.Time
		if due != nil {
			timer = time.NewTimer(time.Until(*due))
			alarm = timer.C
		}
		select {
		case <-q.signal:
		case <-alarm:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// take returns a job, or when the next one is due.
func (q *Queue) take(now time.Time) (job Job, ok bool, due *time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.later) > 0 && q.later[0].due <= now.Sub(q.begin) {
		j := heap.Pop(&q.later).(laterJob)
		j.domain.later--
		j.domain.ready = append(j.domain.ready, j.id)
		q.turn(j.domain)
	}
	if len(q.turns) == 0 {
		if len(q.later) > 0 {
			t := q.begin.Add(q.later[0].due)
			due = &t
		}
		return Job{}, false, due
	}
	d := q.turns[0]
	q.turns[0] = nil
	q.turns = q.turns[1:]
	d.inTurns = false
	job = Job{ID: d.ready[0], Domain: d.name}
	d.ready[0] = ""
	d.ready = d.ready[1:]
	d.running++
	q.length--
	q.turn(d)
	if len(q.turns) > 0 || len(q.later) > 0 {
		q.wake() // somebody else has to look, or to mind the time
	}
	return job, true, nil
}

// turn puts a domain at the end of the turns if it has a job and a place for it.
func (q *Queue) turn(d *domain) {
	if !d.inTurns && len(d.ready) > 0 && d.running < q.perDomain {
		d.inTurns = true
		q.turns = append(q.turns, d)
	}
}

// Done gives back the place that Next took. It is called once for each job, after the
// job was added again if it has to be.
func (q *Queue) Done(job Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.domains[job.Domain]
	d.running--
	q.turn(d)
	if d.inTurns {
		q.wake()
	}
	if d.running == 0 && d.later == 0 && len(d.ready) == 0 {
		delete(q.domains, job.Domain)
	}
}

// Expedite makes the jobs of a message due now, with "" all jobs. It reports whether
// there was one, due already or not; it looks at every job.
func (q *Queue) Expedite(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	found := false
	for i := range q.later {
		if id == "" || q.later[i].id == id {
			q.later[i].due = math.MinInt64
			found = true
		}
	}
	if found {
		heap.Init(&q.later)
		q.wake()
		return true
	}
	for _, d := range q.domains {
		for _, ready := range d.ready {
			found = found || id == "" || ready == id
		}
	}
	return found
}

// Len returns how many jobs wait, due or not.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.length
}

// Busy reports whether a job is out or due. What is not due yet, it is not busy with.
func (q *Queue) Busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.later) > 0 && q.later[0].due <= time.Since(q.begin) {
		return true
	}
	for _, d := range q.domains {
		if d.running > 0 || len(d.ready) > 0 {
			return true
		}
	}
	return false
}

// wake lets one waiter look.
func (q *Queue) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}
