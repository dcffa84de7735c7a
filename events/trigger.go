package events

import (
	"fmt"
	"strings"
	"time"
)

// Cause says why a look is wanted; the values are the fixed set "trigger" of the
// metrics, logs and API.
type Cause string

// The causes of a look.
const (
	CauseWebhook  Cause = "webhook"
	CausePoll     Cause = "poll"
	CauseImage    Cause = "image"
	CauseManual   Cause = "manual"
	CauseSchedule Cause = "schedule" // a deadline inside a run: retry, timeout, suspend duration
	CauseDrift    Cause = "drift"    // an object we own changed in the cluster
	CauseReplay   Cause = "replay"
)

// Key names what is worked on by at most one worker at a time: an Application, or a
// branch that is written to.
type Key string

// AppKey is the key of an Application.
func AppKey(namespace, name string) Key {
	return Key("app/" + namespace + "/" + name)
}

// BranchKey is the key of a branch that is written to: whoever holds it is the only
// writer of ours. The repository is named by its key, see [RepoKey].
func BranchKey(repoKey, branch string) Key {
	return Key("branch/" + SourceKey(repoKey, branch))
}

// Branch returns what k names when it is a branch, for people: "<repo key>@<branch>".
// Either part may hold an @, so keys are made again and compared, not taken apart.
func (k Key) Branch() (name string, ok bool) {
	name, ok = strings.CutPrefix(string(k), "branch/")
	repo, branch, cut := strings.Cut(name, "@")
	return name, ok && cut && repo != "" && branch != ""
}

// App returns the Application that k names.
func (k Key) App() (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(string(k), "app/")
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, "/")
	return namespace, name, ok && namespace != "" && name != "" && !strings.Contains(name, "/")
}

// Validate refuses keys that no part of Tradewind writes.
func (k Key) Validate() error {
	if len(k) > 1024 {
		return fmt.Errorf("key of %d bytes: at most 1024", len(k))
	}
	_, _, app := k.App()
	if _, branch := k.Branch(); !app && !branch {
		return fmt.Errorf("key %q: want app/<namespace>/<name> or branch/<repository>@<branch>", string(k))
	}
	return nil
}

// Trigger asks for one look at a key. A second trigger for a key that is waiting
// already changes nothing: the look that comes reads the world as it is then.
type Trigger struct {
	Key   Key       `json:"key"`
	Cause Cause     `json:"cause"`
	Event string    `json:"event,omitempty"` // id of the event behind it, for the trace
	Time  time.Time `json:"time"`            // when the first event behind it was accepted
}
