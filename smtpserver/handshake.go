package smtpserver

import "time"

// handshake follows a handshake from outside: the records of both sides, and what
// crypto/tls tells on the way. It ends when the server writes application data,
// which it does when it has the client's Finished message.
type handshake struct {
	client, server records

	start    time.Time
	finished time.Time // when the client's Finished message came
	stage    Stage

	clientDone bool // the server gets no more of the client
	tls13      bool // known from the ServerHello on
	answered   bool // the ServerHello has been seen
	cipher     bool // the client has sent ChangeCipherSpec
	appData    bool // the client has sent application data, which in TLS 1.3 may be its Finished
	flight     int  // length of the client's first record behind the ServerHello
	verified   bool // crypto/tls has called VerifyConnection

	certificateDue  bool // the policy demands one of the client
	noCommonVersion bool
	noCommonCipher  bool

	info   TLSInfo
	reason Reason
	alert  uint8
	err    error
}

// fail keeps the first reason.
func (h *handshake) fail(why Reason, err error) {
	if h.reason == ReasonNone {
		h.reason, h.err = why, err
	}
}

// fromClient takes octets of the client and returns how many of them the server may
// have. Behind a broken record and behind an alert there is nothing for it: neither
// commands nor mail in clear text can hide there.
func (h *handshake) fromClient(b []byte, now time.Time) (n int) {
	for n < len(b) && !h.clientDone {
		k, rec, state := h.client.next(b[n:])
		n += k
		switch state {
		case recordBroken:
			h.clientDone = true
			h.fail(ReasonBadRecord, nil)
		case recordComplete:
			h.clientRecord(rec, now)
		}
	}
	return n
}

func (h *handshake) clientRecord(rec record, now time.Time) {
	if h.stage == StageBeforeHello {
		h.stage = StageAfterHello
	}
	if h.answered && h.flight == 0 && rec.kind != recordChangeCipherSpec {
		h.flight = rec.size
	}
	finished := false
	switch rec.kind {
	case recordAlert:
		if alert, ends := plainAlert(rec); ends {
			h.clientAlert(alert)
		}
	case recordChangeCipherSpec:
		h.cipher = true
	case recordHandshake:
		finished = h.cipher && !h.tls13
	case recordApplicationData:
		if !h.appData && h.tls13 && rec.size == encryptedAlert {
			h.clientAlert(0)
		} else {
			finished = true
		}
		h.appData = true
	}
	if finished && h.finished.IsZero() {
		h.finished = now
	}
}

func (h *handshake) clientAlert(alert uint8) {
	h.clientDone = true
	if h.reason == ReasonNone {
		h.alert = alert
	}
	h.fail(ReasonClientAlert, nil)
}

// plainAlert returns the description of an alert, 0 if it is encrypted, and whether
// it ends the connection.
func plainAlert(rec record) (alert uint8, ends bool) {
	const warning, closeNotify = 1, 0
	if rec.size != 2 {
		return 0, true
	}
	return rec.first[1], rec.first[0] != warning || rec.first[1] == closeNotify
}

// fromServer takes what the server writes, whole records, and says whether the
// handshake is complete.
func (h *handshake) fromServer(b []byte) (complete bool) {
	for len(b) > 0 {
		n, rec, state := h.server.next(b)
		if state == recordComplete && h.serverRecord(rec, b[:n]) {
			return true
		}
		b = b[n:]
	}
	return false
}

func (h *handshake) serverRecord(rec record, raw []byte) (complete bool) {
	switch rec.kind {
	case recordAlert:
		if alert, ends := plainAlert(rec); ends {
			h.serverAlert(alert)
		}
	case recordHandshake:
		h.stage = StageServerFlight
		if !h.answered {
			h.answered, h.tls13 = true, isTLS13(raw)
		}
	case recordApplicationData:
		if h.tls13 && rec.size == encryptedAlert {
			h.serverAlert(0)
			return false
		}
		return h.verified
	}
	return false
}

// isTLS13 says whether a record holds a ServerHello with one of the cipher suites
// of TLS 1.3, which no other version has (RFC 8446 appendix B.4).
func isTLS13(raw []byte) bool {
	const serverHello, sessionID = 2, recordHeader + 4 + 2 + 32
	if len(raw) <= sessionID || raw[recordHeader] != serverHello {
		return false
	}
	suite := sessionID + 1 + int(raw[sessionID])
	return suite < len(raw) && raw[suite] == 0x13
}

// Alerts of TLS (RFC 8446 section 6).
const (
	alertHandshakeFailure = 40
	alertProtocolVersion  = 70
	// smallFlight is more than an empty Certificate message and a Finished message
	// take together, and less than any certificate.
	smallFlight = 128
)

func (h *handshake) serverAlert(alert uint8) {
	h.clientDone = true
	if h.alert == 0 {
		h.alert = alert
	}
	why := ReasonServerAlert
	switch {
	case h.noCommonVersion && alert == alertProtocolVersion:
		why = ReasonNoCommonVersion
	case h.noCommonCipher && alert == alertHandshakeFailure:
		why = ReasonNoCommonCipher
	case h.certificateDue && !h.verified && h.flight > 0 && h.flight < smallFlight:
		why = ReasonClientCertMissing
	}
	h.fail(why, nil)
}
