package main

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	bounds := []bound{{"one", "writes", writes, 4}, {"one", "own CPU per own CPU of all", ownPer("all"), 0.1}}
	for _, test := range []struct {
		name string
		rows []row
		want string
	}{
		{"all holds", []row{{Name: "one", Mutating: 4, OwnCPU: 1}, {Name: "all", OwnCPU: 20}}, ""},
		{"too many writes", []row{{Name: "one", Mutating: 5}, {Name: "all", OwnCPU: 20}}, "one: writes: 5.00, at most 4.00"},
		{"a ratio", []row{{Name: "one", OwnCPU: 3}, {Name: "all", OwnCPU: 20}}, "one: own CPU per own CPU of all: 0.15, at most 0.10"},
		{"nothing to check", []row{{Name: "other"}}, "no bound is about these rows"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := check(test.rows, bounds)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("check: %v, want %q", err, test.want)
			}
		})
	}
}
