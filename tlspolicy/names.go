package tlspolicy

import (
	"fmt"
	"strconv"
)

// nameOf returns names[i], or a text such as "Reason(200)" for a value that has
// no name.
func nameOf(names []string, i uint8, typ string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return typ + "(" + strconv.Itoa(int(i)) + ")"
}

// appendName appends names[i] to b. A value without a name is an error, so that
// no program can write down what none can read.
func appendName(b []byte, names []string, i uint8, typ string) ([]byte, error) {
	if int(i) < len(names) {
		return append(b, names[i]...), nil
	}
	return nil, fmt.Errorf("tlspolicy: %s value %d is out of range", typ, i)
}
