package imagepolicy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

func properties(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParse(t *testing.T) {
	t.Parallel()
	a, err := Parse(properties(t, `
url: https://git.example.com/acme/config.git
git: {branch: main}
path: ./apps
imageRepository:
  image: nginx
  policy: {numerical: {order: desc}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if a.Image.Key() != "docker.io/library/nginx" || a.Interval != 5*time.Minute || a.PushBranch != "main" ||
		a.Reflect != ReflectNever || a.BatchWindow != nil || a.Policy.String() != "numerical desc" || a.PullRequest || a.Suspend || a.SkipCI {
		t.Errorf("defaults: %+v", a)
	}
	a, err = Parse(properties(t, `
repoType: git
git: {branch: main}
imageRepository:
  image: ghcr.io/acme/shop
  secretRef: pull
  interval: 1m30s
  filterTags: {pattern: '^main-(?P<ts>[0-9]+)$', extract: $ts}
  policy: {alphabetical: {}, numerical: {order: asc}, semver: {range: ">=1.0.0"}}
  commitMessage: "Image: {{range .Updated.Images}}{{println .}}{{end}}"
  digestReflectionPolicy: Always
  push: {branch: bumps, pullRequest: true}
  batchWindow: 500ms
  skipCI: true
  signingKey: {secretRef: key}
  tokenSecretRef: token
  suspend: true
`))
	if err != nil {
		t.Fatal(err)
	}
	if a.Secret != "pull" || a.Interval != 90*time.Second || a.Reflect != ReflectAlways || a.PushBranch != "bumps" || !a.PullRequest ||
		*a.BatchWindow != 500*time.Millisecond || !a.SkipCI || a.SigningSecret != "key" || a.TokenSecret != "token" || !a.Suspend ||
		a.Policy.String() != "semver >=1.0.0 of $ts where tags match ^main-(?P<ts>[0-9]+)$" {
		t.Errorf("all fields: %+v, policy %s", a, a.Policy)
	}
	if a, err := Parse(properties(t, `{url: x, path: y}`)); a != nil || err != nil {
		t.Errorf("without imageRepository: %v, %v", a, err)
	}
}

func TestParseNamesTheField(t *testing.T) {
	t.Parallel()
	const rule = "policy: {numerical: {order: asc}}"
	for _, test := range []struct{ properties, want string }{
		{"imageRepository: x", "imageRepository: it is a text, not an object"},
		{"imageRepository: {image: a/b, " + rule + "}", "git.branch: imageRepository needs it"},
		{"git: {branch: 1}\nimageRepository: {image: a/b, " + rule + "}", "git.branch: it is a number, not a text"},
		{"git: main\nimageRepository: {image: a/b, " + rule + "}", "git: it is a text, not an object"},
		{"repoType: oci\ngit: {branch: m}\nimageRepository: {image: a/b, " + rule + "}", "imageRepository: there is no Git to write to with repoType oci"},
		{"git: {branch: m}\nimageRepository: {" + rule + "}", "imageRepository.image: it is missing"},
		{"git: {branch: m}\nimageRepository: {image: 'a/b:1', " + rule + "}", `imageRepository.image: "a/b:1" is not an image: it has a tag or a digest`},
		{"git: {branch: m}\nimageRepository: {image: 'https://a/b', " + rule + "}", "it is a URL"},
		{"git: {branch: m}\nimageRepository: {image: A/b, " + rule + "}", "repositories are lower case"},
		{"git: {branch: m}\nimageRepository: {image: a/b}", "imageRepository.policy: it is missing"},
		{"git: {branch: m}\nimageRepository: {image: a/b, policy: {}}", "imageRepository.policy: it is empty"},
		{"git: {branch: m}\nimageRepository: {image: a/b, policy: {newest: {}}}", "imageRepository.policy.newest: there is no such field"},
		{"git: {branch: m}\nimageRepository: {image: a/b, policy: {numerical: asc}}", "imageRepository.policy.numerical: it is a text, not an object"},
		{"git: {branch: m}\nimageRepository: {image: a/b, policy: {numerical: {sort: asc}}}", "imageRepository.policy.numerical.sort: there is no such field"},
		{"git: {branch: m}\nimageRepository: {image: a/b, filterTag: {}, " + rule + "}", "imageRepository.filterTag: there is no such field"},
		{"git: {branch: m}\nimageRepository: {image: a/b, filterTags: {patern: a}, " + rule + "}", "imageRepository.filterTags.patern: there is no such field"},
		{"git: {branch: m}\nimageRepository: {image: a/b, interval: 5, " + rule + "}", "imageRepository.interval: it is a number, not a text"},
		{"git: {branch: m}\nimageRepository: {image: a/b, interval: 1d, " + rule + "}", `imageRepository.interval: "1d" is not a duration`},
		{"git: {branch: m}\nimageRepository: {image: a/b, interval: -5m, " + rule + "}", `imageRepository.interval: "-5m" is not a duration`},
		{"git: {branch: m}\nimageRepository: {image: a/b, interval: 0s, " + rule + "}", "imageRepository.interval: it must be more than zero"},
		{"git: {branch: m}\nimageRepository: {image: a/b, interval: 1min, " + rule + "}", `"1min" is not a duration`},
		{"git: {branch: m}\nimageRepository: {image: a/b, batchWindow: 1h, " + rule + "}", "imageRepository.batchWindow: it is longer than a minute"},
		{"git: {branch: m}\nimageRepository: {image: a/b, digestReflectionPolicy: always, " + rule + "}", `imageRepository.digestReflectionPolicy: "always" is not known`},
		{"git: {branch: m}\nimageRepository: {image: a/b, skipCI: 'yes', " + rule + "}", "imageRepository.skipCI: it is a text, not true or false"},
		{"git: {branch: m}\nimageRepository: {image: a/b, suspend: 1, " + rule + "}", "imageRepository.suspend: it is a number"},
		{"git: {branch: m}\nimageRepository: {image: a/b, push: {pullRequest: true}, " + rule + "}", "imageRepository.push.pullRequest: it needs push.branch"},
		{"git: {branch: m}\nimageRepository: {image: a/b, push: {branch: m, pullRequest: true}, " + rule + "}", "imageRepository.push.branch: a pull request from a branch into itself"},
		{"git: {branch: m}\nimageRepository: {image: a/b, push: {to: m}, " + rule + "}", "imageRepository.push.to: there is no such field"},
		{"git: {branch: m}\nimageRepository: {image: a/b, signingKey: {}, " + rule + "}", "imageRepository.signingKey.secretRef: it is missing"},
		{"git: {branch: m}\nimageRepository: {image: a/b, signingKey: [a], " + rule + "}", "imageRepository.signingKey: it is a list, not an object"},
		{"git: {branch: m}\nimageRepository: {image: a/b, commitMessage: '" + strings.Repeat("x", 4097) + "', " + rule + "}", "imageRepository.commitMessage: it is longer"},
		{"git: {branch: m}\nimageRepository: {image: a/b, filterTags: {pattern: '" + strings.Repeat("x", 4097) + "'}, " + rule + "}", "imageRepository.filterTags.pattern: it is longer"},
	} {
		a, err := Parse(properties(t, test.properties))
		if err == nil || a != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.120s\n got %v, want %s", test.properties, err, test.want)
		}
		if _, ok := errors.AsType[*FieldError](err); !ok {
			t.Errorf("%.120s: %T", test.properties, err)
		}
	}
}
