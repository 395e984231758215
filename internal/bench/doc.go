// Command bench runs the same inputs through smtpsec, through its peers and
// through the bare work that no program can avoid, and prints how they compare;
// then how lookups, caches and deliveries grow, and what they take of memory.
//
//	cd internal/bench && go run .
//
// Times of one machine say little about another; ratios taken side by side say
// more. So every row of the table is measured in one run, its contenders take
// turns, and what counts is smtpsec's time divided by that of the contender
// measured next to it. README.md says what each row does and how to read the
// table. With -write the program puts its output into docs/performance.md and
// draws the plots beside it.
//
// The program is a module of its own: the library never depends on its peers.
package main
