//go:build !race

package dane

const raceEnabled = false
