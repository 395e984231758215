// Command bench runs the same inputs through smtpsec, through its peers and
// through the bare work that no program can avoid, and prints how they compare.
//
//	cd internal/bench && go run .
//
// Times of one machine say little about another; ratios taken side by side say
// more. So every row of the table is measured in one process, its contenders
// take turns, and what counts is smtpsec's time divided by that of the contender
// measured next to it. README.md says what each row does and how to read the
// table.
//
// The program is a module of its own: the library never depends on its peers.
package main
