package main

import (
	"crypto"
	"errors"
	"io"
)

// publicOnly is a key of which an authority sees the public half.
type publicOnly struct{ public crypto.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.public }

func (publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the private half is somewhere else")
}
