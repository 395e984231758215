// This file lets peers.go declare functions that have no body.
