package tlsrpt

import "strings"

// alertTexts are the alerts of TLS (RFC 8446 section 6) as crypto/tls spells them,
// by their numbers.
var alertTexts = map[uint8]string{
	0: "close notify", 10: "unexpected message", 20: "bad record MAC", 21: "decryption failed", 22: "record overflow",
	30: "decompression failure", 40: "handshake failure", 42: "bad certificate", 43: "unsupported certificate",
	44: "revoked certificate", 45: "expired certificate", 46: "unknown certificate", 47: "illegal parameter",
	48: "unknown certificate authority", 49: "access denied", 50: "error decoding message", 51: "error decrypting message",
	60: "export restriction", 70: "protocol version not supported", 71: "insufficient security level", 80: "internal error",
	86: "inappropriate fallback", 90: "user canceled", 100: "no renegotiation", 109: "missing extension",
	110: "unsupported extension", 111: "certificate unobtainable", 112: "unrecognized name", 113: "bad certificate status response",
	114: "bad certificate hash value", 115: "unknown PSK identity", 116: "certificate required", 120: "no application protocol",
	121: "encrypted client hello required",
}

var (
	remoteAlerts = alertReasons(reasonRemote)
	localAlerts  = alertReasons(reasonLocal)
)

// alertReasons returns the reasons by the text of the error.
func alertReasons(prefix string) map[string]string {
	reasons := make(map[string]string, len(alertTexts))
	for _, text := range alertTexts {
		reasons["tls: "+text] = prefix + strings.ToLower(strings.ReplaceAll(text, " ", "-"))
	}
	return reasons
}

// alertReason returns the reason of an alert. One that crypto/tls has no text for
// has no name here either.
func alertReason(reasons map[string]string, alert error, prefix string) string {
	if reason, ok := reasons[alert.Error()]; ok {
		return reason
	}
	return prefix + "error"
}
