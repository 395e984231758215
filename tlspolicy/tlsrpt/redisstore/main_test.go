package redisstore

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"
)

// TestMain silences go-redis, which would print every connection that fails: here
// that is the purpose.
func TestMain(m *testing.M) {
	logging.Disable()
	os.Exit(m.Run())
}
