package tree

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
)

// sourceIgnore is Flux's file of patterns, in the form of .gitignore. It counts for the
// directory it is in and below.
const sourceIgnore = ".sourceignore"

// maxIgnore bounds a file of patterns.
const maxIgnore = 64 << 10

// list returns the entries of a directory that listings show: those that .sourceignore
// files do not exclude and, where these say nothing, that a GitOps source has a use for.
func (t *Tree) list(name string) ([]objects.Entry, error) {
	chain, err := t.walk(name, true)
	if err != nil {
		return nil, err
	}
	last := chain[len(chain)-1]
	if last.Kind == objects.Submodule {
		return nil, nil
	}
	tree, ok := t.store.Tree(last.ID)
	if !ok {
		return nil, &objects.MissingError{ID: last.ID, Kind: "tree"}
	}
	path := make([]string, 0, len(chain))
	var rules []gitignore.Pattern
	for i, dir := range chain {
		if i > 0 {
			path = append(path, dir.Name)
			if matchRules(rules, path, true) == gitignore.Exclude {
				return nil, fmt.Errorf("%s is excluded by %s: %w", strings.Join(path, "/"), sourceIgnore, fs.ErrPermission)
			}
		}
		if rules, err = t.addRules(rules, dir, path); err != nil {
			return nil, err
		}
	}
	shown := make([]objects.Entry, 0, len(tree.Entries))
	for _, e := range tree.Entries {
		switch matchRules(rules, append(path, e.Name), isDir(e)) {
		case gitignore.Exclude:
			continue
		case gitignore.NoMatch:
			if excludedByDefault(e) {
				continue
			}
		}
		shown = append(shown, e)
	}
	return shown, nil
}

// addRules appends the patterns of one directory.
func (t *Tree) addRules(rules []gitignore.Pattern, dir objects.Entry, path []string) ([]gitignore.Pattern, error) {
	e, err := t.child(dir, sourceIgnore)
	if err != nil || e.Kind != objects.File && e.Kind != objects.Exec {
		return rules, nil //nolint:nilerr // no patterns here
	}
	if size, err := t.store.Size(e.ID); err != nil || size > maxIgnore {
		return nil, fmt.Errorf("%s in %q is larger than %d bytes", sourceIgnore, strings.Join(path, "/"), maxIgnore)
	}
	data, err := t.store.Blob(e.ID)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		text := strings.TrimRight(string(line), "\r\n")
		if strings.HasPrefix(text, "#") || strings.TrimSpace(text) == "" {
			continue
		}
		rules = append(rules, gitignore.ParsePattern(text, path))
	}
	return rules, nil
}

// matchRules: the last pattern that says something wins.
func matchRules(rules []gitignore.Pattern, path []string, isDir bool) gitignore.MatchResult {
	for _, rule := range slices.Backward(rules) {
		if m := rule.Match(path, isDir); m != gitignore.NoMatch {
			return m
		}
	}
	return gitignore.NoMatch
}

// excludedByDefault is Flux's list: files of forges, continuous integration and tools,
// pictures, films and archives.
func excludedByDefault(e objects.Entry) bool {
	switch e.Name {
	case ".git", ".github", ".circleci":
		return isDir(e)
	case ".gitignore", ".gitmodules", ".gitattributes", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml",
		"cloudbuild.yaml", "codeship-services.yml", "codeship-steps.yml", ".goreleaser.yml", ".sops.yaml", ".flux.yaml":
		return true
	}
	for _, suffix := range []string{".jpg", ".jpeg", ".gif", ".png", ".wmv", ".flv", ".tar.gz", ".zip"} {
		if strings.HasSuffix(e.Name, suffix) {
			return true
		}
	}
	return false
}
