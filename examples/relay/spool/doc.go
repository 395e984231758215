//go:build unix

// Package spool keeps mail on disk between the 250 to the sender and the 250 from
// the next host. It is the part of a relay that may never forget.
//
// A message is a pair of files in the directory queue, named after its id:
//
//	queue/20261124-091500-6b1f0c2d9e8a.eml    the message as it was received
//	queue/20261124-091500-6b1f0c2d9e8a.json   the envelope: who, to whom, what became of it
//
// The envelope is indented JSON for people; its third line is the SHA-256 of the
// lines below it, and it holds the size and SHA-256 of the body. A damaged file is
// never taken for another message, nor for half of one: the pair is moved to corrupt.
//
// The envelope is the fact. [Spool.Create] writes the body under its final name, and
// [Writer.Commit] syncs it, writes and syncs the envelope beside its place, renames
// it and syncs the directory. Only then may the server say 250. Therefore a body
// without an envelope was never acknowledged, and [Open] removes it. [Message.Update]
// replaces the envelope in the same way. [Message.Remove] takes the envelope away
// first.
//
//	s, err := spool.Open("/var/spool/relay", spool.Options{})  // one runner at a time
//	w, err := s.Create(maxSize)                                // DATA: io.Copy(w, body)
//	defer w.Abort()
//	err = w.Commit(&spool.Envelope{Sender: from, Recipients: to}) // nil: say 250
//
//	m, err := s.Get(id)                                        // an attempt
//	defer m.Close()
//	...                                                        // send m.Body()
//	err = m.Update(func(e *spool.Envelope) error { ... })      // what the host said
//	if m.Envelope().Done() { err = m.Remove() }
//
// What is promised, for SIGKILL and loss of power at any moment, on a local file
// system that keeps what fsync returned for: a message for which Commit returned nil
// is there whole until Remove was called. It is delivered at least once. It is
// delivered twice only if the end came between the 250 of the next host and the
// return of Update or Remove. One case is outside: if the end comes after Commit and
// before the sender has read the 250, the sender sends the message again (RFC 1047).
//
// After any error, such as a full disk, nothing half-written stays, the message is as
// it was, and the same call may be made again. Say 4xx, or keep the Message and repeat
// Update: an attempt whose result could not be written must not be forgotten.
//
// [Open] is for the process that receives and delivers; a second one is refused with
// [ErrLocked]. [Attach] is for an operator's hands beside it or without it: list,
// hold, release, remove. What two processes may do to one message is settled by a
// lock on its body, and the loser is told [ErrBusy].
//
// [Retry] computes when to try again, and [Queue] is the order of attempts in
// memory: about 70 octets for each job. The spool itself keeps nothing
// in memory for a message at rest. It does not look at what a message says, and it
// sends nothing.
package spool
