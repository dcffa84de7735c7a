package handlers

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tradewind-dev/tradewind/events"
)

// scope is what a receiver's sender may speak for: canonical keys, and prefixes of them
// that end with a slash. Nothing in it is a pattern beyond that, and nothing from a
// payload ever becomes one.
type scope struct {
	keys     map[string]bool
	prefixes []string
	folded   *scope
}

func newScope(entries []string) (scope, error) {
	if len(entries) == 0 {
		return scope{}, errors.New("its scope is empty: list the repositories it may speak for, as host/path or host/org/*")
	}
	s := scope{keys: map[string]bool{}, folded: &scope{keys: map[string]bool{}}}
	for i, entry := range entries {
		key, prefix, err := scopeKey(entry)
		if err != nil { // the entry may hold a credential
			return scope{}, fmt.Errorf("entry %d of its scope: %w: want host/path or host/org/*", i+1, err)
		}
		s.add(key, prefix)
		s.folded.add(events.FoldRepoKey(key), prefix)
	}
	return s, nil
}

func (s *scope) add(key string, prefix bool) {
	if prefix {
		s.prefixes = append(s.prefixes, key)
		return
	}
	s.keys[key] = true
}

// scopeKey reads host/path as what a URL with it means, and host/org/* by taking a
// repository below and cutting it off again.
func scopeKey(entry string) (key string, prefix bool, err error) {
	url, prefix := strings.CutSuffix(entry, "/*")
	if strings.ContainsAny(url, "*?@") {
		return "", false, errors.New("it holds one of * ? @")
	}
	if !strings.Contains(url, "://") {
		url = "https://" + url
	}
	if !prefix {
		key, err = events.RepoKey(url)
		return key, false, err
	}
	const below = "/x"
	key, err = events.RepoKey(url + below)
	return strings.TrimSuffix(key, below[1:]), true, err
}

// within keeps the keys that are in scope. With fold, upper and lower case are the same.
func (s scope) within(keys []string, fold bool) []string {
	var in []string
	for _, key := range keys {
		if s.has(key) || fold && s.folded.has(events.FoldRepoKey(key)) {
			in = append(in, key)
		}
	}
	return in
}

func (s scope) has(key string) bool {
	if s.keys[key] {
		return true
	}
	for _, p := range s.prefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}
