//go:build !interop && unix

package dirstore

// killRounds is how often TestKill kills a writing process.
const killRounds = 100
