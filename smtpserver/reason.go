package smtpserver

// Reason says why something happened. The zero value is ReasonNone.
type Reason uint8

const (
	ReasonNone Reason = iota

	// Why there is no TLS.
	ReasonNeverTried         // no STARTTLS
	ReasonRefused            // the filter refused STARTTLS: the reply says why
	ReasonInjection          // octets behind STARTTLS
	ReasonClientAlert        // the client ended the handshake
	ReasonServerAlert        // the server ended it
	ReasonNoCommonVersion    // no version of TLS that both have
	ReasonNoCommonCipher     // no cipher suite that both have
	ReasonClientCertMissing  // a client certificate is required and none came
	ReasonClientCertRejected // the client certificate is not valid here
	ReasonBadRecord          // the client sent something else than TLS records
	ReasonPlaintext          // the server wrote clear text after its 220
	ReasonTimeout            // took too long
	ReasonClientClosed       // the client went away
	ReasonServerClosed       // the server did

	// Why the filter ended a session.
	ReasonClientHello     // a TLS record where a command belongs
	ReasonBareNewline     // CR or LF that is not CRLF
	ReasonHTTP            // a web client
	ReasonBDAT            // BDAT in clear text
	ReasonLineTooLong     // a line without end
	ReasonTooManyBad      // too many refused commands
	ReasonEarlyTalker     // octets before the greeting
	ReasonUnexpected220   // the server said 220 to another command than STARTTLS
	ReasonUnexpectedReply // the server gave a reply after which clear text cannot be trusted
	ReasonReplyTooLong    // a reply of the server without end
	ReasonShutdown        // Listener.Shutdown

	// Why a connection was refused.
	ReasonNoMatch       // no sender group matches
	ReasonPolicy        // the policy says so
	ReasonRejected      // the peer has been told that it is not welcome
	ReasonTooManyConns  // too many connections from the address
	ReasonListenerFull  // too many connections
	ReasonBusyRefusing  // too many refused sessions at a time
	ReasonNoAddress     // the listener below could not tell the peer's address
	ReasonTLSNotAllowed // implicit TLS for a group with TLS No

	// Why a certificate cannot be used or should not be.
	ReasonNotReady     // the source says that it is not ready
	ReasonExpired      // the certificate's time is over
	ReasonNotYetValid  // its time has not come
	ReasonSourceFailed // the source gave none

	// Why an adapter refused something.
	ReasonTLSRequired      // it is not for clear text
	ReasonTooManyMessages  // too many messages on the connection
	ReasonTooManyRcpts     // too many recipients in the message
	ReasonRcptRate         // too many recipients from the address in an hour
	ReasonMessageTooLarge  // SIZE, or the message itself
	ReasonForeignRecipient // the recipient is of another server, and the peer may not relay

	reasons // their number
)

// String returns the reason as a few words with hyphens. The names are stable.
func (r Reason) String() string {
	return enumName(uint8(r), "Reason", "none",
		"never-tried", "refused", "injection", "client-alert", "server-alert", "no-common-version", "no-common-cipher",
		"client-cert-missing", "client-cert-rejected", "bad-record", "plaintext-after-220", "timeout", "client-closed", "server-closed",
		"client-hello", "bare-newline", "http", "bdat", "line-too-long", "too-many-bad", "early-talker", "unexpected-220",
		"unexpected-reply", "reply-too-long", "shutdown",
		"no-match", "policy", "rejected", "too-many-connections", "listener-full", "busy-refusing", "no-address", "tls-not-allowed",
		"not-ready", "expired", "not-yet-valid", "source-failed",
		"tls-required", "too-many-messages", "too-many-recipients", "recipient-rate", "message-too-large", "foreign-recipient")
}

// Stage says how far a handshake came. The zero value is StageNone: no handshake.
type Stage uint8

const (
	StageNone         Stage = iota
	StageBeforeHello        // nothing complete from the client
	StageAfterHello         // the ClientHello came
	StageServerFlight       // the server has answered it
)

// String returns "none", "before-client-hello", "after-client-hello" or
// "after-server-flight".
func (s Stage) String() string {
	return enumName(uint8(s), "Stage", "none", "before-client-hello", "after-client-hello", "after-server-flight")
}
