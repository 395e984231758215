//go:build !race

package mtasts

const yearDomains = 1000
