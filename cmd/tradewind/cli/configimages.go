package cli

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/sync/forge"
)

// ImagesConfig is how pushed images get into Git.
type ImagesConfig struct {
	// BatchWindow is how long a commit waits for further images while they come one
	// after the other. A branch that was quiet gets its commit at once.
	BatchWindow time.Duration `yaml:"batchWindow"`
	// AuthorName and AuthorEmail are the author and committer.
	AuthorName  string `yaml:"authorName"`
	AuthorEmail string `yaml:"authorEmail"`
}

func (c ImagesConfig) validate(bad func(key, format string, args ...any)) {
	if c.BatchWindow < time.Millisecond || c.BatchWindow > time.Minute {
		bad("images.batchWindow", "%s: want 1ms to 1m", c.BatchWindow)
	}
	if !isPerson(c.AuthorName) {
		bad("images.authorName", "%q: want a text without < and >", c.AuthorName)
	}
	if !isPerson(c.AuthorEmail) {
		bad("images.authorEmail", "%q: want an address without < and >", c.AuthorEmail)
	}
}

// isPerson is what Git takes as a name or an address.
func isPerson(s string) bool { return s != "" && !strings.ContainsAny(s, "<>\n") }

// ForgesConfig is the kind of forge by host.
type ForgesConfig map[string]string

func (c ForgesConfig) validate(bad func(key, format string, args ...any)) {
	for _, host := range slices.Sorted(maps.Keys(c)) {
		if kind := c[host]; !forge.Kind(kind).Valid() {
			bad("forges."+host, "%q: want github, gitlab or gitea", kind)
		}
	}
}
