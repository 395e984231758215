package gosmtp

import (
	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/smtpserver"
)

// go-smtp takes a reply from an error only if that is a *smtp.SMTPError itself, not
// one that wraps it.
var (
	// RFC 3207 section 4.
	errNeedTLS = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Must issue a STARTTLS command first"}
	// RFC 4954 section 6.
	errAuthNeedsTLS = &smtp.SMTPError{Code: 538, EnhancedCode: smtp.EnhancedCode{5, 7, 11}, Message: "Encryption required for requested authentication mechanism"}

	errTooManyMessages = &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 7, 0}, Message: "Too many messages in this session, come again"}
	errEnding          = &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 7, 0}, Message: "This session is ending"}
	errTooManyRcpts    = &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 5, 3}, Message: "Too many recipients in this message"}
	// RFC 1870 section 6.1 and 6.3.
	errTooLarge = &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 3, 4}, Message: "Message exceeds the maximum size"}
	// RFC 5321 section 2.3.8: CR and LF occur together or not at all.
	errBareNewline = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "Message data has a bare CR or LF"}
	// RFC 5321 section 3.8: nobody hears it.
	errBrokenOff = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "The connection ended within the message"}
	// The server accepts connections that no table has judged.
	errNoVerdict = &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 5}, Message: "System not configured to serve this connection"}
)

// rejection returns the refusal of a policy.
func rejection(r *smtpserver.Rejection) *smtp.SMTPError {
	return &smtp.SMTPError{Code: r.Code, EnhancedCode: smtp.EnhancedCode{r.Code / 100, 7, 1}, Message: r.Text}
}
