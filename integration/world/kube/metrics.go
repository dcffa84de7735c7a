package kube

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// Selector picks series as PromQL writes it: name{label="value",other=~"re"}.
type Selector struct {
	name   string
	labels map[string]*regexp.Regexp
}

var (
	seriesForm = regexp.MustCompile(`^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?(?: (\S+).*)?$`)
	labelForm  = regexp.MustCompile(`^\s*(\w+)(=~|=)"((?:[^"\\]|\\.)*)"\s*,?`)
)

// ParseSelector reads a selector; = and =~ are understood.
func ParseSelector(text string) (Selector, error) {
	m := seriesForm.FindStringSubmatch(text)
	if m == nil {
		return Selector{}, fmt.Errorf(`metric %q: want name or name{label="value",other=~"re"}`, text)
	}
	s := Selector{name: m[1], labels: map[string]*regexp.Regexp{}}
	for rest := m[2]; rest != ""; {
		l := labelForm.FindStringSubmatch(rest)
		if l == nil {
			return s, fmt.Errorf(`metric %q: cannot read %q; want label="value" or label=~"re"`, text, rest)
		}
		pattern := l[3]
		if l[2] == "=" {
			pattern = regexp.QuoteMeta(pattern)
		}
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			return s, fmt.Errorf("metric %q: %w", text, err)
		}
		s.labels[l[1]], rest = re, rest[len(l[0]):]
	}
	return s, nil
}

// Sum adds up all series of a page in Prometheus' text format that match.
func (s Selector) Sum(page io.Reader) (float64, error) {
	sum := 0.0
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		m := seriesForm.FindStringSubmatch(lines.Text())
		if m == nil || m[1] != s.name || !s.matches(m[2]) {
			continue
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return 0, fmt.Errorf("reading metric %s: %w", lines.Text(), err)
		}
		sum += value
	}
	return sum, lines.Err()
}

func (s Selector) matches(labels string) bool {
	values := map[string]string{}
	for labels != "" {
		l := labelForm.FindStringSubmatch(labels)
		if l == nil {
			return false
		}
		values[l[1]], labels = l[3], labels[len(l[0]):]
	}
	for name, re := range s.labels {
		if !re.MatchString(values[name]) {
			return false
		}
	}
	return true
}
