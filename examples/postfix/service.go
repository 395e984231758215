package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/examples/postfix/policymap"
)

const (
	// socketMode lets everybody connect who can get at the folder: Postfix's user is
	// another, and answers are no secret.
	socketMode = 0o666
	// httpTime bounds a request for the metrics.
	httpTime = 10 * time.Second
)

// An address is where to listen, and how to answer there.
type address struct {
	network, at string
	line        bool // tcp_table and not socketmap
}

// parseAddress reads inet:host:port or unix:path, as they stand in main.cf.
func parseAddress(text string) (address, error) {
	kind, at, _ := strings.Cut(text, ":")
	switch kind {
	case "inet":
		if _, _, err := net.SplitHostPort(at); err != nil {
			return address{}, err
		}
		return address{network: "tcp", at: at}, nil
	case "unix":
		if at != "" {
			return address{network: "unix", at: at}, nil
		}
	}
	return address{}, fmt.Errorf("%q: want inet:host:port or unix:path", text)
}

// open listens. A socket that a former process left behind is removed; one that
// somebody listens at is not.
func (a address) open() (net.Listener, error) {
	if a.network == "unix" {
		if info, err := os.Lstat(a.at); err == nil && info.Mode().Type() == fs.ModeSocket {
			if conn, err := net.Dial("unix", a.at); err == nil {
				conn.Close()
				return nil, fmt.Errorf("%s: somebody listens there already", a.at)
			}
			if err := os.Remove(a.at); err != nil {
				return nil, err
			}
		}
	}
	l, err := net.Listen(a.network, a.at)
	if err == nil && a.network == "unix" {
		if err = os.Chmod(a.at, socketMode); err != nil {
			l.Close()
		}
	}
	return l, err
}

// serve listens until ctx ends. reload has the SIGHUPs since the start.
func serve(ctx context.Context, o *options, w *world, logger *slog.Logger, reload <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()

	server := &policymap.Server{Map: w.answers, Logger: logger}
	failed := make(chan error, len(o.listen)+1)
	for _, a := range o.listen {
		l, err := a.open()
		if err != nil {
			return err
		}
		protocol := policymap.Socketmap
		if a.line {
			protocol = policymap.TCPTable
		}
		logger.Info("listening", "protocol", protocol.String(), "address", l.Addr().String())
		group.Go(func() { failed <- server.Serve(ctx, l, protocol) })
	}
	if o.metrics != "" {
		l, err := net.Listen("tcp", o.metrics)
		if err != nil {
			return err
		}
		logger.Info("metrics", "url", "http://"+l.Addr().String()+"/metrics")
		group.Go(func() { failed <- serveMetrics(ctx, l, w.answers) })
	}
	group.Go(func() { w.policies.Run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() == nil && err != nil {
				return err
			}
		case <-reload:
			// A table that is wrong changes nothing.
			table, err := readTable(o.table)
			if err == nil {
				err = w.answers.Reload(table)
			}
			if err != nil {
				logger.Error("the former table stays in force", "error", err)
				continue
			}
			logger.Info("table reloaded", "file", o.table)
		}
	}
}

// serveMetrics serves /metrics until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, m *policymap.Map) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		m.WriteMetrics(w)
	})
	server := &http.Server{Handler: mux, ReadTimeout: httpTime, WriteTimeout: httpTime, IdleTimeout: httpTime}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
