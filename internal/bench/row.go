package main

// A row is one job, done by several contenders on the same input.
type row struct {
	name string
	// setup makes the input and the contenders. What it makes lives for this
	// row alone, so that a large table in one row is no burden for the garbage
	// collector in another.
	setup func() []contender
	// clock is the time that counts.
	clock clock
	// allocs is what smtpsec may allocate per operation.
	allocs uint64
	// limit is the most that smtpsec may take, as a multiple of the contender
	// named in limitOf, and more what it may allocate beyond it. 0: nothing is
	// demanded.
	limit   float64
	limitOf string
	more    uint64
	// goalNs is what the design asks for on a small server, in nanoseconds per
	// operation, for information. 0: nothing.
	goalNs float64
}

// clock says which time of an operation counts.
type clock uint8

const (
	ownCPU   clock = iota // processor time of this process
	bothEnds              // the same, with the process at the other end of the connection
	wall                  // time that passes: for what runs on several cores
)

func (c clock) String() string {
	return [...]string{"CPU", "CPU, both ends", "wall"}[c]
}

type kind uint8

const (
	ours  kind = iota // smtpsec
	floor             // the bare work: what even the best program must do
	peer              // another library
	other             // smtpsec under other conditions
)

// A contender does the job of its row.
type contender struct {
	name string
	kind kind
	// run does the job n times, on one input after the other. It contains the
	// loop, so that no indirect call is measured.
	run func(n int)
	// answer tells what the last operation of run found, in words that all
	// contenders of the row share. What is checked is thus what is timed. Only a
	// floor that does a part of the job may have none.
	answer func() string
	// least is how many operations a sample must have; 0: no matter.
	least int
	// end is the process at the other end of the connection, nil if there is none.
	end *helper
	// close gives back what the contender holds beyond memory; nil: nothing.
	close func()
}

const us = "smtpsec"

// rows are all jobs in the order of the table.
func rows() []row {
	var all []row
	for _, some := range [][]row{
		daneRows(), recordRows(), stsRows(), lookupRows(), tableRows(), decisionRows(), certificateRows(),
		validationRows(), accessRows(), dialRows(), listenerRows(),
	} {
		all = append(all, some...)
	}
	return all
}

// done closes the contenders of a row.
func done(contenders []contender) {
	for _, c := range contenders {
		if c.close != nil {
			c.close()
		}
	}
}

// must returns v; an error is a mistake in the input of a row.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// matched says whether a comparison succeeded.
func matched(ok bool) string {
	if ok {
		return "match"
	}
	return "no match"
}
