package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// session is one run of the program.
type session struct {
	plan
	out, log io.Writer
	choice   *regexp.Regexp

	lines  map[string][]line // by the name of the row
	missed []string
	parts  []part
	charts []chart

	weights []held
}

// everything measures all that is chosen and prints it.
func (s *session) everything() error {
	begun, before := time.Now(), load()
	fmt.Fprintf(s.out, "%s, %d rounds of %v, load before: %s\n", machine(), s.rounds, s.sample, before)
	found := 0
	for _, step := range []func() (int, error){s.jobs, s.studies, s.memory, s.deliveries} {
		n, err := step()
		if err != nil {
			return err
		}
		found += n
	}
	if found == 0 {
		return fmt.Errorf("nothing matches %q", s.choice)
	}
	fmt.Fprintf(s.out, "\nload after: %s\n", load())
	summary := "Every demand is met.\n"
	if len(s.missed) > 0 {
		summary = "Missed:\n\n- " + strings.Join(s.missed, "\n- ") + "\n"
	}
	_, err := io.WriteString(s.out, summary)
	s.parts = append(s.parts, part{"missed", summary}, part{"machine", fmt.Sprintf(
		"%s. %d rounds of %v for each contender of a job (of %v where two processes talk), %d for each point of a series. Load averages of the machine before: %s, after: %s. The whole run took %v, on %s.\n",
		machine(), s.rounds, s.sample, connected*s.sample, s.forSeries().rounds, before, load(), time.Since(begun).Round(time.Second), begun.UTC().Format(time.DateOnly))})
	return err
}

// add prints a part of the results and keeps it for the document.
func (s *session) add(name, title, text string) error {
	s.parts = append(s.parts, part{name, text})
	_, err := fmt.Fprintf(s.out, "\n%s\n\n%s", title, text)
	return err
}

// jobs measures the chosen rows, if their contenders agree.
func (s *session) jobs() (found int, err error) {
	table := [][]string{columns}
	for _, r := range rows() {
		if !s.choice.MatchString(r.name) {
			continue
		}
		if err := s.job(r); err != nil {
			return 0, err
		}
		lines := s.lines[r.name]
		table = append(table, cells(r, lines)...)
		for _, l := range lines {
			if l.missed {
				s.missed = append(s.missed, missedLine(r.name, l.name, fmt.Sprintf("%s (%.3f)", l.verdict, l.ratio.median)))
			}
		}
	}
	if len(table) == 1 {
		return 0, nil
	}
	return len(table) - 1, s.add("jobs", "Side by side", markdown(table))
}

// connected is how many times longer a sample is where two processes talk: an
// operation there takes a millisecond, and each has its own share of chance.
const connected = 4

func (s *session) job(r row) error {
	contenders := r.setup()
	defer done(contenders)
	if err := agree(contenders, 4); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	p := s.plan
	if contenders[0].end != nil {
		p.sample *= connected
	}
	all := measure(r.name, contenders, r.clock, p)
	s.lines[r.name] = evaluate(r, all)
	return writeSamples(s.log, r.name, all)
}

// forSeries is the plan for series, which have many points: half the rounds.
func (p plan) forSeries() plan {
	p.rounds = (p.rounds + 1) / 2
	return p
}

func (s *session) studies() (found int, err error) {
	for _, study := range studies(s.plan) {
		if !s.choice.MatchString(study.name) {
			continue
		}
		found++
		points := study.examine(s.forSeries())
		lines, missed := study.table(points)
		s.missed = append(s.missed, missed...)
		s.charts = append(s.charts, study.draw(points))
		if err := s.add(study.chart.file, study.name+": "+study.chart.y, markdown(lines)); err != nil {
			return 0, err
		}
	}
	return found, nil
}

const memoryName = "Memory"

func (s *session) memory() (found int, err error) {
	if !s.choice.MatchString(memoryName) {
		return 0, nil
	}
	s.weights = weights(s.plan)
	return 1, s.add("memory", memoryName, markdown(weightTable(s.weights)))
}

// deliveries and the arithmetic that is built on everything before.
func (s *session) deliveries() (found int, err error) {
	study := deliveryStudy(s.plan)
	if !s.choice.MatchString(study.name) {
		return 0, nil
	}
	points := study.examine(s.forSeries())
	lines, _ := study.table(points)
	sender := study.ofSender()
	ofSender, _ := sender.table(points)
	s.charts = append(s.charts, study.draw(points), sender.draw(points))
	b := basisOf(points, s.lines, s.weights)
	err = errors.Join(
		s.add(study.chart.file, study.name+": "+study.chart.y, markdown(lines)),
		s.add(sender.chart.file, sender.name+": "+sender.chart.y, markdown(ofSender)),
		s.add("throughput", "What a core and a fleet can send", b.sums()+"\n"+markdown(b.throughput())),
	)
	if len(s.weights) > 0 && s.lines[coldDelivery] != nil { // everything that it is made of
		err = errors.Join(err, s.add("million", "A million domains", markdown(b.perMillion())))
	}
	return 1, err
}
