package tlsrpttest_test

import (
	"context"
	"fmt"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/tlsrpttest"
)

// A snapshot that is stored twice counts once.
func ExampleSnapshot() {
	store, day := new(tlsrpt.Memory), tlsrpt.Day(20513)
	for range 2 {
		snapshot := tlsrpttest.Snapshot(day, "receiver.example", "writer1", 7)
		if err := store.Save(context.Background(), []*tlsrpt.Snapshot{snapshot}); err != nil {
			fmt.Println(err)
		}
	}
	tally, err := store.Load(context.Background(), day, "receiver.example")
	fmt.Println(tally.Day(), tally.Policies()[0].Successes, err)
	// Output:
	// 2026-03-01 7 <nil>
}
