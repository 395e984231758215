package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// A screen shows results, for a person or as JSON, and how far the work has come.
type screen struct {
	json bool
	live bool // stderr is a terminal: show progress there
	err  io.Writer
	page page

	mu      sync.Mutex
	out     io.Writer
	broken  error // of out
	started int
	ready   int
	count   map[Status]int
	lab     bool
}

const (
	// narrowest is the least width that is wrapped to.
	narrowest = 40
	// widest is how long a line gets, however wide the terminal is.
	widest = 110
	// unknownWidth is that of output that goes to no terminal.
	unknownWidth = 80
)

func newScreen(stdout, stderr io.Writer, o *options) *screen {
	s := &screen{json: o.json, out: stdout, err: stderr, count: map[Status]int{}, lab: o.lab && len(o.domains) == 0}
	width, terminal := terminalWidth(stdout)
	_, s.live = terminalWidth(stderr)
	dumb := os.Getenv("TERM") == "dumb"
	s.live = s.live && !dumb
	s.page.width = width
	s.page.colour = o.colour == "always" || o.colour == "auto" && terminal && !dumb && os.Getenv("NO_COLOR") == ""
	return s
}

// terminalWidth tells how many columns w has, and whether it is a terminal.
func terminalWidth(w io.Writer) (int, bool) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return unknownWidth, false
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		return unknownWidth, true
	}
	return min(max(width, narrowest), widest), true
}

// begun counts a look that begins.
func (s *screen) begun() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started++
	s.progress()
}

func (s *screen) progress() {
	if s.live {
		fmt.Fprintf(s.err, "\r\x1b[Kprobing: %d begun, %d ready", s.started, s.ready)
	}
}

// show prints a Result. The error is that of the output, this time or earlier.
func (s *screen) show(r *Result) error {
	var text []byte
	if s.json {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			return err
		}
		text = []byte(b.String())
	} else {
		text = s.page.render(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live {
		fmt.Fprint(s.err, "\r\x1b[K")
	}
	if !s.json && s.ready > 0 {
		text = append([]byte("\n"), text...)
	}
	s.ready++
	s.count[r.Status]++
	if s.broken == nil {
		_, s.broken = s.out.Write(text)
	}
	if s.ready < s.started {
		s.progress()
	}
	return s.broken
}

// end takes the progress away and, for a person, sums up.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live {
		fmt.Fprint(s.err, "\r\x1b[K")
	}
	if s.json || s.broken != nil || s.ready < 2 {
		return
	}
	w := s.page.writer()
	w.blank()
	w.paragraph("", fmt.Sprintf("%d domains: %d as they should be, %d to mend, %d that nothing can be said about, %d that are none.",
		s.ready, s.count[StatusOK], s.count[StatusMend], s.count[StatusUnknown], s.count[StatusInvalid]))
	if s.lab {
		var more []string
		for _, d := range labWorld().Domains {
			more = append(more, d.Name)
		}
		w.paragraph("", "The lab has these domains: "+strings.Join(more, " "))
	}
	_, s.broken = s.out.Write(w.bytes())
}

func (s *screen) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

func (s *screen) shown() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}
