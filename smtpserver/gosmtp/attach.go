package gosmtp

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/smtpserver"
)

// Options is what Attach can be told. The zero value is ready for use. It is
// read-only once given.
type Options struct {
	// Local says whether the server takes mail for a domain, which comes as A-labels
	// in lower case or as an address literal in brackets. Sender groups with access
	// Accept may then write to no other domain (550 5.7.1); those with Relay may. A
	// recipient without a domain is local. One whose domain cannot be read, or that
	// has more than one "@", is not. Local is called from many goroutines.
	//
	// Leave it nil if the Backend decides, as it has to when clients that have
	// authenticated themselves may relay.
	Local func(domain string) bool

	// ForeignText is what a recipient that is not local gets behind 550 5.7.1. Empty:
	// "Relaying denied".
	ForeignText string
	// HourlyText is what a recipient gets behind 452 4.5.3 when MaxRcptsPerHour is
	// used up. Empty: "Too many recipients received this hour".
	HourlyText string
}

// Attach puts the rules that l's host access table has for the inside of a session
// between srv and its Backend, and sets srv.TLSConfig to that of l. Call it before
// srv serves, with at most one Options. For a server of several Listeners call it
// for each, with the Options first: they hold for all.
//
// It is an error if srv has no Backend, or has a TLSConfig already: that would go
// around the settings of the sender groups. Give it to the Listener as base
// configuration instead. Connections of srv that come from elsewhere than a Listener
// are refused when they say EHLO.
func Attach(srv *smtp.Server, l *smtpserver.Listener, opts ...Options) error {
	switch {
	case srv == nil || l == nil:
		return errors.New("gosmtp: Attach needs a server and a listener")
	case srv.Backend == nil:
		return errors.New("gosmtp: the server has no Backend")
	case len(opts) > 1:
		return errors.New("gosmtp: Attach takes one Options at most")
	}
	if b, again := srv.Backend.(*backend); again {
		if len(opts) > 0 {
			return errors.New("gosmtp: the server has its Options from the first call of Attach")
		}
		b.configs = append(b.configs, l.TLSConfig())
		srv.TLSConfig = b.configs.any()
		l.AttachAdapter()
		return nil
	}
	if srv.TLSConfig != nil {
		return errors.New("gosmtp: Server.TLSConfig is set, which would go around the host access table: give that configuration to the Listener")
	}
	b := &backend{Backend: srv.Backend}
	if len(opts) > 0 {
		b.options = opts[0]
	}
	if err := b.options.settle(); err != nil {
		return err
	}
	b.configs = tlsConfigs{l.TLSConfig()}
	srv.Backend = b
	srv.TLSConfig = b.configs[0]
	l.AttachAdapter()
	return nil
}

// tlsConfigs are the TLS configurations of several Listeners, of which each takes its
// own connections only.
type tlsConfigs []*tls.Config

// any returns a configuration that takes the connections of all.
func (c tlsConfigs) any() *tls.Config {
	config := c[0].Clone()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var errs []error
		for _, one := range c {
			chosen, err := one.GetConfigForClient(hello)
			if err == nil {
				return chosen, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}
	return config
}

// settle fills in the texts and checks them.
func (o *Options) settle() error {
	for _, text := range []struct {
		name, otherwise string
		value           *string
	}{
		{"ForeignText", "Relaying denied", &o.ForeignText},
		{"HourlyText", "Too many recipients received this hour", &o.HourlyText},
	} {
		if *text.value == "" {
			*text.value = text.otherwise
		}
		if len(*text.value) > smtpserver.MaxReplyText {
			return fmt.Errorf("gosmtp: %s has %d octets, more than %d", text.name, len(*text.value), smtpserver.MaxReplyText)
		}
		for _, c := range []byte(*text.value) {
			if c < ' ' || c > '~' {
				return fmt.Errorf("gosmtp: %s has octet %q, which is not printable ASCII", text.name, c)
			}
		}
	}
	return nil
}
