//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/smtpsec/smtpsec/examples/relay/config"
)

// reload reads the file again and puts in force what it says. No connection is
// dropped: sessions keep what they were told, the next ones get the new tables. A
// file with a mistake changes nothing.
func (r *relay) reload() {
	old := r.setup.Load()
	c, err := config.Load(old.config.Path)
	if err == nil {
		err = r.apply(old, c)
	}
	if err != nil {
		r.metrics.reloads.Add("failed")
		logProblems(r.log, err)
		r.log.Error("configuration not reloaded, the former one stays in force", "file", old.config.Path)
		for _, f := range r.fronts {
			f.listener.RejectTable(err)
		}
		return
	}
	r.metrics.reloads.Add("done")
	for _, w := range c.Warnings {
		r.log.Warn("configuration", "problem", w.String())
	}
	for _, what := range c.RestartNeeded(old.config) {
		r.log.Warn("configuration: a restart is needed", "for", what)
	}
	r.log.Info("configuration reloaded", "file", c.Path)
}

// apply swaps everything or nothing.
func (r *relay) apply(old *setup, c *config.Config) error {
	next, err := r.newSetup(c)
	if err != nil {
		return err
	}
	for i, f := range r.fronts {
		if err = setTable(f, c); err != nil {
			for _, done := range r.fronts[:i] {
				err = errors.Join(err, setTable(done, old.config))
			}
			next.end()
			return err
		}
	}
	r.setup.Store(next)
	old.end()
	old.pool.Close() // idle sessions only: what is under way goes on
	return nil
}

// setTable gives a port the table of the listener with its name. A port that the
// file does not know any more keeps what it has until the restart.
func setTable(f *front, c *config.Config) error {
	for i := range c.Listeners {
		if c.Listeners[i].Name == f.name {
			if err := f.listener.SetTable(c.Listeners[i].Options.Table); err != nil {
				return fmt.Errorf("listener %s: %w", f.name, err)
			}
		}
	}
	return nil
}

// logProblems logs every mistake of a file in a line of its own.
func logProblems(log *slog.Logger, err error) {
	var bad *config.Error
	if !errors.As(err, &bad) {
		log.Error("configuration", "err", err)
		return
	}
	for _, p := range bad.Problems {
		level := slog.LevelError
		if p.Warning {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "configuration", "problem", p.String())
	}
}
