package tlsrpttest_test

import (
	"testing"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/tlsrpttest"
)

func TestMemory(t *testing.T) {
	tlsrpttest.TestStore(t, func(testing.TB) tlsrpttest.Backend {
		m := new(tlsrpt.Memory)
		return tlsrpttest.Backend{Open: func() tlsrpt.Store { return m }}
	})
}
