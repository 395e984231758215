package main

import "github.com/wneessen/go-mail"

// goMailMessage puts a text into a message of go-mail's, which makes its own headers.
func goMailMessage(from, to string, text []byte) (*mail.Msg, error) {
	m := mail.NewMsg()
	if err := m.From(from); err != nil {
		return nil, err
	}
	if err := m.To(to); err != nil {
		return nil, err
	}
	m.SetBodyString(mail.TypeTextPlain, string(text))
	return m, nil
}
