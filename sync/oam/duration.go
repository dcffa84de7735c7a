package oam

import (
	"fmt"
	"regexp"
	"time"
)

var (
	intervalForm = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
	timeoutForm  = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m))+$`)
)

// ParseDuration reads an interval in the form that Flux and KubeVela accept: "90s",
// "1h30m". Bare numbers, days and negative values are refused.
func ParseDuration(s string) (time.Duration, error) {
	return parseForm(s, intervalForm, "ms, s, m or h, such as 90s or 1h30m")
}

// ParseTimeout reads a timeout in the form that Flux accepts: as an interval, but
// without hours.
func ParseTimeout(s string) (time.Duration, error) {
	return parseForm(s, timeoutForm, "ms, s or m, such as 90s or 2m30s")
}

func parseForm(s string, form *regexp.Regexp, units string) (time.Duration, error) {
	if form.MatchString(s) {
		if d, err := time.ParseDuration(s); err == nil { // else it is too long for a Duration
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q is not a duration: want numbers with %s", s, units)
}

// ParseStepDuration reads the timeout of a workflow step or the duration of a suspend
// step. KubeVela takes any Go duration there; one that is not positive has no meaning.
func ParseStepDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration: want numbers with ms, s, m or h, such as 90s or 1h30m", s)
	}
	return d, nil
}
