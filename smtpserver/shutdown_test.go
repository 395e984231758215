package smtpserver

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestShutdown(t *testing.T) {
	w := serve(t, forAll(t, tlsPreferred))
	silent := w.dial() // in a handshake
	silent.until220()
	busy := w.dial()
	busy.want(greeting)
	shut := make(chan error)
	go func() { shut <- w.listener.Shutdown(context.Background()) }()
	silent.all() // ended
	busy.say("QUIT\r\n", bye)
	require.NoError(t, <-shut)
	_, err := w.listener.Accept()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, w.listener.Close(), net.ErrClosed)

	w = serve(t, forAll(t, tlsPreferred))
	idle := w.dial()
	idle.want(greeting)
	in, _ := w.dial().starttls(clientTLS())
	in.say(ehlo, ehloInTLS)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, w.listener.Shutdown(ctx), context.Canceled)
	idle.all()
	in.all()
}

// TestShutdownInEveryPhase: when its time is over, Shutdown ends whatever there is.
func TestShutdownInEveryPhase(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	o := Options{Resolver: slowZone{asked, answer}, Table: compile(t,
		SenderGroup{Name: "bad", Senders: []string{"127.9.0.0/16"}, Policy: Policy{Access: Reject}},
		SenderGroup{Name: "good", Senders: []string{"127.0.0.1"}, Policy: Policy{Access: Accept, TLS: TLSPreferred, AuthInClear: On}},
		group("named", "mx.example.com"), group("rest", "ALL"))}
	w := serve(t, o)
	w.backend.end = true
	var clients []*peer
	dial := func() *peer {
		p := w.dial()
		clients = append(clients, p)
		return p
	}
	greeted := func() *peer {
		p := dial()
		p.want(greeting)
		p.send(ehlo)
		p.ehloReply()
		return p
	}
	greeted().send("NOO")
	greeted().say("AUTH PLAIN\r\n", "334 \r\n")
	greeted().say("STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n")
	in, _ := dial().starttls(clientTLS())
	in.say(ehlo, ehloInTLS)
	lingering, _ := dial().starttls(clientTLS())
	lingering.say(ehlo, ehloInTLS)
	lingering.say(mail, mailOK) // EndAfterReply
	rejected := from(t, w.addr, 8<<16)
	rejected.want("554 5.7.1 Access denied\r\n")
	unnamed := from(t, w.addr, 1)
	<-asked
	clients = append(clients, rejected, unnamed)
	w.backend.see(func() { w.backend.end = false })
	data := greeted()
	data.say(mail+rcpt+"DATA\r\n", mailOK+rcptOK+dataGo)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, w.listener.Shutdown(ctx), context.Canceled)
	for _, p := range clients {
		p.all()
	}
	w.events.wait(t, KindClosed, len(clients))
	require.NoError(t, w.listener.Shutdown(context.Background()))
	require.Zero(t, w.listener.Stats().Active)
	close(answer)
}

// slowZone tells when it is asked, and answers when it is told to.
type slowZone struct{ asked, answer chan struct{} }

func (z slowZone) LookupPTR(ctx context.Context, _ netip.Addr) ([]string, time.Duration, error) {
	close(z.asked)
	<-z.answer // whatever ctx says
	return nil, 0, ctx.Err()
}

func (z slowZone) LookupAddrs(context.Context, string, string) ([]netip.Addr, time.Duration, error) {
	return nil, 0, nil
}
