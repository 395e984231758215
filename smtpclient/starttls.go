package smtpclient

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// isAlert tells whether err is a TLS alert that the peer sent, other than
// close_notify, which reads as io.EOF. crypto/tls has no exported type for it
// outside QUIC; this is the form that its documentation and tests keep.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// handshakeCause sorts what crypto/tls returned from Handshake.
func handshakeCause(err error) HandshakeCause {
	var header tls.RecordHeaderError
	switch {
	case isAlert(err):
		return CauseAlert
	case errors.As(err, &header):
		return CauseNotTLS
	case errors.Is(err, os.ErrDeadlineExceeded):
		return CauseTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return CauseLost
	}
	return CauseOther
}
