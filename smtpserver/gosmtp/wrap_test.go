package gosmtp

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/smtpserver"
)

// The four kinds of session that a Backend may have.
type (
	plainSession struct{ smtp.Session }
	authSession  struct{ smtp.Session }
	lmtpSession  struct{ smtp.Session }
	bothSession  struct {
		smtp.Session
		authSession
		lmtpSession
	}
)

func (authSession) AuthMechanisms() []string                       { return []string{"X-TEST"} }
func (authSession) Auth(string) (sasl.Server, error)               { return nil, errors.New("reached") }
func (lmtpSession) LMTPData(io.Reader, smtp.StatusCollector) error { return errors.New("reached") }

func TestWrapKeepsInterfaces(t *testing.T) {
	tests := []struct {
		name       string
		inner      smtp.Session
		auth, lmtp bool
	}{
		{"neither", &plainSession{}, false, false},
		{"AUTH", &authSession{}, true, false},
		{"LMTP", &lmtpSession{}, false, true},
		{"both", &bothSession{}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			policy := &smtpserver.Policy{AuthInClear: smtpserver.On, MaxMessageBytes: -1}
			s := wrap(&session{Session: tt.inner, server: &smtp.Conn{}, policy: policy})
			auth, isAuth := s.(smtp.AuthSession)
			lmtp, isLMTP := s.(smtp.LMTPSession)
			require.Equal(t, tt.auth, isAuth)
			require.Equal(t, tt.lmtp, isLMTP)
			require.Same(t, tt.inner, Unwrap(s))
			if isAuth {
				require.Equal(t, []string{"X-TEST"}, auth.AuthMechanisms())
				_, err := auth.Auth("X-TEST")
				require.EqualError(t, err, "reached")
			}
			if isLMTP {
				require.EqualError(t, lmtp.LMTPData(strings.NewReader(""), nil), "reached")
			}
		})
	}
	require.Nil(t, Unwrap(rejected{}), "a rejected peer has no session of the Backend")
	other := &plainSession{}
	require.Same(t, other, Unwrap(other))
}

// statusLog is the StatusCollector of go-smtp.
type statusLog []string

func (l *statusLog) SetStatus(to string, err error) {
	text := "ok"
	if err != nil {
		text = err.Error()
	}
	*l = append(*l, to+" "+text)
}

// lmtpFunc is a session whose LMTPData is a function.
type lmtpFunc struct {
	smtp.Session
	data func(io.Reader, smtp.StatusCollector) error
}

func (f lmtpFunc) LMTPData(r io.Reader, s smtp.StatusCollector) error { return f.data(r, s) }

func quiet(smtpserver.Kind, smtpserver.Reason, int) {}

func TestLMTPStatuses(t *testing.T) {
	full := errors.New("mailbox full")
	readThenTell := func(r io.Reader, s smtp.StatusCollector) error {
		if _, err := io.ReadAll(r); err != nil {
			return err
		}
		s.SetStatus("a", nil)
		s.SetStatus("b", full)
		return nil
	}
	tellThenRead := func(r io.Reader, s smtp.StatusCollector) error {
		s.SetStatus("a", nil)
		s.SetStatus("b", full)
		_, err := io.ReadAll(r)
		return err
	}
	tellWithoutRead := func(_ io.Reader, s smtp.StatusCollector) error {
		s.SetStatus("a", full)
		return full
	}
	heedless := func(r io.Reader, s smtp.StatusCollector) error {
		s.SetStatus("a", nil)
		_, _ = io.ReadAll(r)
		s.SetStatus("b", nil)
		return nil
	}
	tests := []struct {
		name, in string
		data     func(io.Reader, smtp.StatusCollector) error
		want     statusLog
		err      error
	}{
		{"statuses behind the message pass", "x\r\n", readThenTell, statusLog{"a ok", "b mailbox full"}, nil},
		{"statuses before its end wait for it", "x\r\n", tellThenRead, statusLog{"a ok", "b mailbox full"}, nil},
		{"a session that does not read may refuse", "x\r\n", tellWithoutRead, statusLog{"a mailbox full"}, full},
		{"a refused message has no statuses but the error", "x\r\n", func(r io.Reader, s smtp.StatusCollector) error { return full }, nil, full},
		{"too large: nobody gets it", strings.Repeat("x", 100), readThenTell, nil, errTooLarge},
		{"too large: nobody is told that he has it", strings.Repeat("x", 100), tellThenRead, nil, errTooLarge},
		{"too large: what the session says does not count", strings.Repeat("x", 100), heedless, nil, errTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			policy := &smtpserver.Policy{MaxMessageBytes: 50}
			s := wrap(&session{Session: lmtpFunc{data: tt.data}, server: &smtp.Conn{}, policy: policy, report: quiet}).(smtp.LMTPSession)
			var got statusLog
			err := s.LMTPData(strings.NewReader(tt.in), &got)
			require.Equal(t, tt.err, err)
			require.Equal(t, tt.want, got)
		})
	}
}
