// Package scope says which repositories and images a receiver's sender may speak for: keys that are
// equal, and keys below a prefix of whole path parts. Nothing in a scope is a pattern
// beyond that, and nothing from a payload ever becomes one.
package scope

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tradewind-dev/tradewind/events"
)

// Scope is a set of repositories.
type Scope struct{ exact, folded, images set }

type set struct {
	keys     map[string]bool
	prefixes []string // each ends with a slash
}

// Parse reads the entries of a configuration: host/path, or host/org/* for all below.
func Parse(entries []string) (Scope, error) {
	if len(entries) == 0 {
		return Scope{}, errors.New("its scope is empty: list the repositories it may speak for, as host/path or host/org/*")
	}
	s := Scope{exact: newSet(), folded: newSet(), images: newSet()}
	for i, entry := range entries {
		key, prefix, err := parseEntry(entry)
		if err != nil { // the entry may hold a credential
			return Scope{}, fmt.Errorf("entry %d of its scope: %w: want host/path or host/org/*", i+1, err)
		}
		s.exact.add(key, prefix)
		s.folded.add(events.FoldRepoKey(key), prefix)
		if image, ok := imageEntry(entry); ok {
			s.images.add(image, prefix)
		}
	}
	return s, nil
}

func newSet() set { return set{keys: map[string]bool{}} }

func (s *set) add(key string, prefix bool) {
	if prefix {
		s.prefixes = append(s.prefixes, key)
		return
	}
	s.keys[key] = true
}

// parseEntry reads host/path as what a URL with it means, and host/org/* by taking a
// repository below and cutting it off again.
func parseEntry(entry string) (key string, prefix bool, err error) {
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

// imageEntry reads an entry as the name of an image, which is spelled in its own way: the
// host of Docker Hub has many names. Some entries are no image's.
func imageEntry(entry string) (key string, ok bool) {
	name, prefix := strings.CutSuffix(entry, "/*")
	if strings.Contains(name, "://") {
		return "", false
	}
	const below = "/x/x" // a name in Docker Hub has two parts
	if !prefix {
		key, tag, _, err := events.SplitImage(name)
		return key, err == nil && tag == ""
	}
	key, err := events.ImageKey(name + below)
	return strings.TrimSuffix(key, below[1:]), err == nil
}

// WithinImages keeps the keys of images that are in scope.
func (s Scope) WithinImages(keys []string) []string {
	var in []string
	for _, key := range keys {
		if s.images.has(key) {
			in = append(in, key)
		}
	}
	return in
}

// Within keeps the keys that are in scope. With fold, upper and lower case are the same.
func (s Scope) Within(keys []string, fold bool) []string {
	var in []string
	for _, key := range keys {
		if s.exact.has(key) || fold && s.folded.has(events.FoldRepoKey(key)) {
			in = append(in, key)
		}
	}
	return in
}

func (s *set) has(key string) bool {
	return s.keys[key] || slices.ContainsFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}
