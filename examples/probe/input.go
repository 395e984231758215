package main

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"strings"
)

// maxLine is the longest input line that is read; the rest of a longer one is thrown
// away. No name is longer than 253 octets, and no name in U-labels than four times
// that.
const maxLine = 4096

// lines yields the domains of a list, one a line: blanks around them, empty lines and
// what stands behind "#" do not count. An error of the reader is the last thing that
// comes.
func lines(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		b := bufio.NewReaderSize(r, maxLine)
		for {
			line, err := b.ReadSlice('\n')
			text := string(line)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = b.ReadSlice('\n')
			}
			text, _, _ = strings.Cut(text, "#")
			if text = strings.TrimSpace(text); text != "" && !yield(text, nil) {
				return
			}
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield("", err)
				return
			}
		}
	}
}

// arguments yields the domains of the command line; in place of "-" those of stdin.
func arguments(args []string, stdin io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, arg := range args {
			if arg != "-" {
				if !yield(arg, nil) {
					return
				}
				continue
			}
			for text, err := range lines(stdin) {
				if !yield(text, err) || err != nil {
					return
				}
			}
		}
	}
}
