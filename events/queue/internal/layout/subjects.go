package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tradewind-dev/tradewind/events"
)

// All subjects. What people name (branches with ".", "*" or spaces) is hashed; the names
// themselves travel in the payload.
const (
	workSubjects     = "tw.work.*.*"
	timerSubjects    = "tw.timer.*.*"
	claimSubjects    = "tw.claim.*"
	sessionSubjects  = "tw.session.*"
	parkedSubjects   = "tw.parked.*.*"
	outcomeSubjects  = "tw.out.*"
	sightingSubjects = "tw.seen.*"
	imageSubjects    = "tw.image.*"

	// AllSessions, AllClaims, AllParked and AllIntake match every record of their kind.
	AllSessions = sessionSubjects
	AllClaims   = claimSubjects
	AllParked   = parkedSubjects
	AllIntake   = "tw.in.>"
)

// Token is s in the fixed alphabet of subject tokens.
func Token(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

func intakeSubjects(shard int) string { return fmt.Sprintf("tw.in.%d.>", shard) }

// Intake is where an event is stored: class, host and repository come from its subject
// ("<host>/<path>@<ref>", or "<host>/<path>:<tag>" of an image), so that a replay can ask for one repository.
func Intake(e events.Event) string {
	sum := sha256.Sum256([]byte(e.ID))
	class := "other"
	about, _, _ := strings.Cut(e.Subject, "@")
	switch e.Type {
	case events.TypeSourcePushed:
		class = "git"
	case events.TypeArtifactPublished:
		class = "reg"
		if key, err := events.ImageKey(e.Subject); err == nil {
			about = key // without the tag
		}
	}
	host, _, _ := strings.Cut(about, "/")
	return fmt.Sprintf("tw.in.%d.%s.%s.%s", sum[0]%IntakeShards, class, Token(host), Token(about))
}

// Lane is a class of work with a consumer of its own, so that ten thousand routine
// checks never stand before a push.
type Lane string

// The lanes: Now for what somebody or something waits for, Later for routine and
// retries.
const (
	Now   Lane = "now"
	Later Lane = "later"
)

// Lanes returns all lanes.
func Lanes() []Lane { return []Lane{Now, Later} }

// LaneOf is the lane of work with cause c.
func LaneOf(c events.Cause) Lane {
	switch c {
	case events.CausePoll, events.CauseSchedule:
		return Later
	default:
		return Now
	}
}

// Work is where a key's entry waits in a lane.
func Work(l Lane, k events.Key) string { return "tw.work." + string(l) + "." + Token(string(k)) }

// WorkOf reports whether subject is where an entry for k belongs.
func WorkOf(subject string, k events.Key) bool {
	for _, l := range Lanes() {
		if subject == Work(l, k) {
			return true
		}
	}
	return false
}

// LaneWork matches the waiting entries of a lane.
func LaneWork(l Lane) string { return "tw.work." + string(l) + ".*" }

// Timer is where the look that a caller asked for at a later time waits.
func Timer(k events.Key) string { return "tw.timer.at." + Token(string(k)) }

// Retry is where the next try after a failure waits.
func Retry(k events.Key) string { return "tw.timer.retry." + Token(string(k)) }

// Claim is where the record of who works on k is.
func Claim(k events.Key) string { return "tw.claim." + Token(string(k)) }

// Session is where a session shows that it lives.
func Session(id string) string { return "tw.session." + Token(id) }

// Parked is where a parked item is; class tells keys from events and unreadable messages.
func Parked(class, id string) string { return "tw.parked." + class + "." + Token(id) }

// ParkedClass matches the parked items of a class.
func ParkedClass(class string) string { return "tw.parked." + class + ".*" }

// Outcome is where outcomes of k are.
func Outcome(k events.Key) string { return "tw.out." + Token(string(k)) }

// Sighting is where the last event heard of a source is.
func Sighting(sourceKey string) string { return "tw.seen." + Token(sourceKey) }

// Image is where the tags announced of an image are.
func Image(imageKey string) string { return "tw.image." + Token(imageKey) }
