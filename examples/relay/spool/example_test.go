//go:build unix

package spool_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

// A message is received, its delivery is tried once, and then again.
func Example() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	// DATA.
	w, err := s.Create(10 << 20)
	if err != nil {
		log.Fatal(err) // 4xx to the client
	}
	defer w.Abort()
	if _, err := io.Copy(w, strings.NewReader("Subject: hello\r\n\r\nWorld\r\n")); err != nil {
		log.Fatal(err)
	}
	err = w.Commit(&spool.Envelope{
		Sender:     "alice@example.org",
		Recipients: []spool.Recipient{{Address: "bob@example.com", Notify: spool.NotifyFailure}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("250 queued")

	// Two attempts.
	for _, reply := range []string{"451 4.7.1 come back later", "250 2.0.0 taken"} {
		m, err := s.Get(w.ID())
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(m.Body())
		if err != nil {
			log.Fatal(err)
		}
		err = m.Update(func(e *spool.Envelope) error {
			r := &e.Recipients[0]
			r.Attempts++
			if strings.HasPrefix(reply, "2") {
				r.State = spool.Delivered
				return nil
			}
			r.LastError = reply
			next, ok := spool.Retry{}.Next(e.Received, time.Now(), r.Attempts, 0.5)
			fmt.Println("again in", time.Until(next).Round(time.Minute), ok)
			r.NextAttempt = next
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
		e := m.Envelope()
		fmt.Println(len(body), "octets:", e.Recipients[0].State, "after", e.Recipients[0].LastError)
		if e.Done() {
			err = m.Remove()
		}
		if err != nil {
			log.Fatal(err)
		}
		m.Close()
	}
	for e := range s.All() {
		fmt.Println("left:", e.ID)
	}
	// Output:
	// 250 queued
	// again in 30m0s true
	// 25 octets: queued after 451 4.7.1 come back later
	// 25 octets: delivered after 451 4.7.1 come back later
}

// Jobs come out of a Queue when they are due, and domains take turns.
func ExampleQueue() {
	q := spool.NewQueue(1)
	q.Add(spool.Job{ID: "first", Domain: "example.com"}, time.Now().Add(-2*time.Hour))
	q.Add(spool.Job{ID: "second", Domain: "example.com"}, time.Now().Add(-time.Hour))
	q.Add(spool.Job{ID: "third", Domain: "example.net"}, time.Now().Add(-time.Minute))
	for q.Len() > 0 {
		job, err := q.Next(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(job.ID, "to", job.Domain)
		q.Done(job) // or Add it again first
	}
	// Output:
	// first to example.com
	// third to example.net
	// second to example.com
}
