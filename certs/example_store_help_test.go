package certs_test

import (
	"crypto"
	"errors"
	"io"
	"time"
)

const ttl = time.Hour

// theirs is a key of which an authority sees the public half.
type theirs struct{ public crypto.PublicKey }

func (k theirs) Public() crypto.PublicKey { return k.public }

func (theirs) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("not here")
}
