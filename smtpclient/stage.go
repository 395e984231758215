package smtpclient

import "fmt"

// Stage is how far an attempt came.
type Stage uint8

const (
	// StageNone is the zero value.
	StageNone Stage = iota
	// StageResolve: the host's addresses and TLSA records.
	StageResolve
	// StagePlan: the policy said not to connect to the host.
	StagePlan
	// StageConnect: the TCP connection.
	StageConnect
	// StageGreeting: the server's first reply.
	StageGreeting
	// StageEHLO: EHLO in clear text.
	StageEHLO
	// StageHELO: HELO after EHLO was refused.
	StageHELO
	// StageSTARTTLS: the command and its reply.
	StageSTARTTLS
	// StageHandshake: the TLS handshake, the certificate checks included.
	StageHandshake
	// StageTLS: EHLO inside TLS.
	StageTLS
	// StageReady: the session was handed out.
	StageReady
)

var stageNames = [...]string{"none", "resolve", "plan", "connect", "greeting", "ehlo", "helo", "starttls",
	"handshake", "ehlo-tls", "ready"}

// String returns the name of the stage, such as "starttls".
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("Stage(%d)", uint8(s))
}
