//go:build race

package dane

// raceEnabled: the race detector allocates on its own account.
const raceEnabled = true
