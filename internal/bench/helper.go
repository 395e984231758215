package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// helperMark in the environment makes this program a helper: the process at the
// other end of a connection. With it the time and the memory of one end can be
// told from those of the other.
const helperMark = "SMTPSEC_BENCH_HELPER"

// order is what a helper is told to do.
type order struct {
	Do    string // serve, sessions, hold, release or cpu
	Addr  string // of the server that sessions are opened to
	N     int    // how many: destinations served, sessions
	TLS   bool   // sessions say STARTTLS
	Roots []byte // PEM, for sessions with TLS
}

// report is what it answers.
type report struct {
	Err   string
	Addr  string        // serve
	Roots []byte        // serve, PEM
	CPU   time.Duration // of the helper since it began
}

// helper is the handle of a process.
type helper struct {
	mu     sync.Mutex
	cmd    *exec.Cmd
	orders io.WriteCloser
	in     *json.Encoder
	out    *json.Decoder
}

// newHelper starts this program once more.
func newHelper() *helper {
	cmd := exec.Command(must(os.Executable()))
	cmd.Env = append(os.Environ(), helperMark+"=1")
	cmd.Stderr = os.Stderr
	orders, reports := must(cmd.StdinPipe()), must(cmd.StdoutPipe())
	check(cmd.Start())
	return &helper{cmd: cmd, orders: orders, in: json.NewEncoder(orders), out: json.NewDecoder(reports)}
}

// do sends an order and waits for the report.
func (h *helper) do(o order) report {
	h.mu.Lock()
	defer h.mu.Unlock()
	check(h.in.Encode(o))
	var r report
	check(h.out.Decode(&r))
	if r.Err != "" {
		panic("helper: " + r.Err)
	}
	return r
}

func (h *helper) cpuTime() time.Duration { return h.do(order{Do: "cpu"}).CPU }

// close ends the process, which goes when there are no more orders.
func (h *helper) close() {
	check(h.orders.Close())
	check(h.cmd.Wait())
}

// help is the main function of a helper.
func help(orders io.Reader, reports io.Writer) error {
	in, out := json.NewDecoder(orders), json.NewEncoder(reports)
	var s senders
	for {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var r report
		var err error
		switch o.Do {
		case "serve":
			r.Addr, r.Roots, err = serveMailHosts(o.N)
		case "sessions":
			err = s.sessions(o)
		case "hold":
			err = s.hold(o)
		case "release":
			err = s.release()
		case "cpu":
		default:
			err = fmt.Errorf("no order %q", o.Do)
		}
		if err != nil {
			r.Err = err.Error()
		}
		r.CPU = cpuTime()
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}
