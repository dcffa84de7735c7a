package main

import (
	"errors"
	"fmt"
	"slices"
)

// bound is what must hold on any machine, however fast and however busy: a count of
// requests, or a ratio of processor times of the same run.
type bound struct {
	row  string
	what string
	of   func(r row, all []row) float64
	most float64
}

func writes(r row, _ []row) float64 { return r.Mutating }

// ownPerServer is Tradewind's processor time as a multiple of the API server's.
func ownPerServer(r row, _ []row) float64 { return r.OwnCPU / r.APICPU }

// ownPer is Tradewind's processor time as a multiple of its own in another row.
func ownPer(other string) func(row, []row) float64 {
	return func(r row, all []row) float64 {
		at := slices.IndexFunc(all, func(o row) bool { return o.Name == other })
		if at < 0 {
			return 0
		}
		return r.OwnCPU / all[at].OwnCPU
	}
}

// bounds leave room above what was measured: a slow machine shows a state more on the way to
// healthy now and then.
var bounds = []bound{
	{"fanout-100-install", "writes", writes, 1100},
	{"fanout-100-install", "own CPU per CPU of the API server", ownPerServer, 0.6},
	{"fanout-100-one-app", "writes", writes, 4.5},
	{"fanout-100-one-app", "own CPU per own CPU of the commit to all", ownPer("fanout-100-all-apps"), 0.05},
	{"fanout-100-all-apps", "writes", writes, 450},
	{"fanout-100-all-apps", "own CPU per CPU of the API server", ownPerServer, 0.8},
	{"fanout-100-readme", "writes", writes, 0},
	{"fanout-100-readme", "own CPU per own CPU of the commit to all", ownPer("fanout-100-all-apps"), 0.05},
	{"fanout-100-noop", "writes", writes, 0},
	{"fanout-100-noop", "own CPU per own CPU of the commit to all", ownPer("fanout-100-all-apps"), 0.18},
	{"fanout-100-drift", "writes", writes, 6},
}

// check compares the rows with the bounds, of which at least one must be about them.
func check(rows []row, bounds []bound) error {
	var broken []error
	checked := 0
	for _, b := range bounds {
		for _, r := range rows {
			if r.Name != b.row {
				continue
			}
			checked++
			if got := b.of(r, rows); got > b.most {
				broken = append(broken, fmt.Errorf("%s: %s: %.2f, at most %.2f", b.row, b.what, got, b.most))
			}
		}
	}
	if checked == 0 {
		return errors.New("no bound is about these rows")
	}
	return errors.Join(broken...)
}
