package main

import "fmt"

// agree runs the contenders of a row step by step and returns an error if one of
// them finds something else than smtpsec. What is fast and wrong is no
// contender.
func agree(contenders []contender, steps int) error {
	for step := range steps {
		want := ""
		for i, c := range contenders {
			c.run(1)
			if c.answer == nil {
				continue
			}
			got := c.answer()
			if i == 0 {
				want = got
			}
			if got != want {
				return fmt.Errorf("operation %d: %s finds %q, %s %q", step+1, contenders[0].name, want, c.name, got)
			}
		}
	}
	return nil
}
