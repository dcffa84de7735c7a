package helm

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// exact says that a text names one version and not a range.
func exact(version string) bool {
	_, err := semver.StrictNewVersion(strings.TrimPrefix(version, "v"))
	return err == nil
}

func constraint(version string) (*semver.Constraints, error) { return semver.NewConstraint(version) }

// newest picks the highest version that the range allows; pre-releases only where the
// range itself names one. What is not a version is never chosen.
func newest(versions []string, wanted string) (string, error) {
	for _, v := range versions {
		if v == wanted {
			return v, nil
		}
	}
	allowed, err := constraint(wanted)
	if err != nil {
		return "", fmt.Errorf("%q is not a range of versions", wanted)
	}
	var best *semver.Version
	var found string
	for _, text := range versions {
		v, err := semver.NewVersion(text)
		if err == nil && allowed.Check(v) && (best == nil || v.GreaterThan(best)) {
			best, found = v, text
		}
	}
	if best == nil {
		return "", &Error{Err: fmt.Errorf("no version of it is in the range %q (there are %s)", wanted, some(versions)),
			Advice: "change properties.version, or publish the chart"}
	}
	return found, nil
}

// some lists a few.
func some(versions []string) string {
	const most = 5
	switch {
	case len(versions) == 0:
		return "none"
	case len(versions) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(versions[:most], ", "), len(versions)-most)
	}
	return strings.Join(versions, ", ")
}
