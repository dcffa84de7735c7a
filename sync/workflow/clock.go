package workflow

import (
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// rounding is what a stored time may have lost. It is added to every deadline, so that
// none comes early.
const rounding = time.Second

// timeout is when a step that was begun fails for lack of an end, or zero.
func (r *run) timeout(n *node) time.Time {
	if r.ended(n.Name) {
		return time.Time{}
	}
	return r.since(n, n.Timeout)
}

func (r *run) expired(n *node) bool {
	due := r.timeout(n)
	return !due.IsZero() && !r.now.Before(due)
}

// resumption is when a suspend step ends by itself, or zero.
func (r *run) resumption(n *node) time.Time {
	if r.phase(n.Name) != oam.StepSuspending {
		return time.Time{}
	}
	return r.since(n, suspendDuration(n.Step))
}

func (r *run) since(n *node, duration string) time.Time {
	if duration == "" || !r.begun(n) {
		return time.Time{}
	}
	d, err := oam.ParseStepDuration(duration)
	if err != nil { // NewPlan and oam.Validate refuse it
		return time.Time{}
	}
	return r.state(n).FirstExecuteTime.Add(d + rounding)
}

func suspendDuration(s oam.Step) string {
	if s.Type != oam.TypeSuspend {
		return ""
	}
	d, _ := s.Properties["duration"].(string)
	return d
}
