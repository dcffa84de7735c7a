package imagepolicy

import (
	"regexp"
	"time"

	"github.com/tradewind-dev/tradewind/registry"
)

// Automation is the imageRepository of a kustomize component: which image is looked at,
// how a tag is chosen, and how the choice is written back to Git.
type Automation struct {
	Image    registry.Image
	Secret   string        // imageRepository.secretRef, a docker-registry Secret
	Interval time.Duration // of the poll; webhooks do not wait for it
	Policy   *Policy

	// CommitMessage is a template that the fixed first line is followed by.
	CommitMessage string
	Reflect       Reflect
	// PushBranch gets the commits: the branch that is read, if no other was named.
	PushBranch string
	// PullRequest asks for a pull request from PushBranch instead of waiting for somebody
	// to merge it.
	PullRequest bool
	// BatchWindow is how long to wait for other images of the same branch; nil leaves it
	// to the writer.
	BatchWindow   *time.Duration
	SkipCI        bool   // the message tells CI systems to skip the commit
	SigningSecret string // a Secret with the key that signs commits
	// TokenSecret is a Secret with the token for the forge, when it is not that of the
	// repository.
	TokenSecret string
	Suspend     bool
}

// Reflect says when the digest of the chosen tag is written beside it. A marker for the
// digest alone needs one of the two that do.
type Reflect string

// The values of digestReflectionPolicy.
const (
	ReflectNever        Reflect = "Never"
	ReflectIfNotPresent Reflect = "IfNotPresent" // the digest of when the tag was first chosen
	ReflectAlways       Reflect = "Always"       // the digest of now; a tag pushed again moves it
)

// The limits of the fields, and what they are when left out.
const (
	defaultInterval = 5 * time.Minute
	maxBatchWindow  = time.Minute
	maxMessage      = 4096
)

// durations are written as Flux takes them: 1h30m, but neither 1d nor 90.
var durationGrammar = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)

// Parse reads the imageRepository of a kustomize component's properties. There is none:
// nil without an error.
func Parse(properties map[string]any) (*Automation, error) {
	top := &fields{at: "", left: properties}
	block := top.object("imageRepository")
	if block == nil || top.err != nil {
		return nil, top.err
	}
	git := top.object("git")
	branch := ""
	if git != nil {
		branch = git.text("branch")
	}
	if kind := top.text("repoType"); kind != "" && kind != "git" {
		top.fail("imageRepository", "there is no Git to write to with repoType "+kind, "leave imageRepository out, or set repoType to git")
	} else if branch == "" {
		top.fail("git.branch", "imageRepository needs it", "name the branch that gets the commits, such as main")
	}
	if err := firstOf(git, top); err != nil {
		return nil, err
	}
	a := &Automation{PushBranch: branch}
	if err := a.read(block); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Automation) read(block *fields) error {
	image := block.required("image")
	a.Secret, a.TokenSecret = block.text("secretRef"), block.text("tokenSecretRef")
	a.Interval = block.duration("interval", defaultInterval)
	a.CommitMessage = block.text("commitMessage")
	a.Reflect = Reflect(block.oneOf("digestReflectionPolicy", string(ReflectNever), string(ReflectIfNotPresent), string(ReflectAlways)))
	a.SkipCI, a.Suspend = block.flag("skipCI"), block.flag("suspend")
	if block.has("batchWindow") {
		window := block.duration("batchWindow", 0)
		a.BatchWindow = &window
	}
	push, key := block.object("push"), block.object("signingKey")
	if push != nil {
		if branch := push.text("branch"); branch != "" {
			push.check(branch != a.PushBranch || !push.flag("pullRequest"), "branch", "a pull request from a branch into itself", "name another branch")
			a.PushBranch = branch
		} else {
			push.check(!push.flag("pullRequest"), "pullRequest", "it needs push.branch", "name the branch the pull request comes from")
		}
		a.PullRequest = push.flag("pullRequest")
	}
	if key != nil {
		a.SigningSecret = key.required("secretRef")
	}
	policy, err := readPolicy(block)
	block.check(a.Interval > 0, "interval", "it must be more than zero", "write 5m")
	block.check(a.BatchWindow == nil || *a.BatchWindow <= maxBatchWindow, "batchWindow", "it is longer than a minute", "write 1m or less")
	block.check(len(a.CommitMessage) <= maxMessage, "commitMessage", "it is longer than 4096 bytes", "shorten it")
	if err := firstOf(block.unknown(), push.unknown(), key.unknown()); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	a.Policy = policy
	if a.Image, err = registry.ParseImage(image); err != nil {
		return &FieldError{Field: "imageRepository.image", Reason: err.Error(), next: hintOf(err)}
	}
	return nil
}
