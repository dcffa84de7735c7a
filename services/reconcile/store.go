package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// store is what a run must remember beside its status: the outputs there are, and what
// the calls of unfinished steps have returned. It is kept in a ConfigMap, which is written
// after every call that cannot be made twice and before the status that builds on it.
type store struct {
	// Run names the run that the rest is of. It is the same whoever computes it and when,
	// so that a crash between two writes loses nothing.
	Run    string                `json:"run"`
	Values map[string]any        `json:"values,omitempty"`
	Steps  map[string]stepRecord `json:"steps,omitempty"`
	Vars   map[string]any        `json:"vars,omitempty"` // what steps keep for later steps
	// Cleared is the request for which steps were last forgotten.
	Cleared string `json:"cleared,omitempty"`
	version string
	changed bool
}

// stepRecord is what a step has done in the round it is in.
type stepRecord struct {
	Returned map[string]render.Returned `json:"returned,omitempty"`
	Resumed  bool                       `json:"resumed,omitempty"`
	ResumeAt time.Time                  `json:"resumeAt,omitzero"` // of a step that holds itself for a while
	Measured map[string]measured        `json:"measured,omitempty"`
}

const storeKey = "state"

// storeName is KubeVela's name for it.
func storeName(app string) string { return "workflow-" + app + "-context" }

// runName tells runs apart: a revision is run once, and again for each request to restart.
func (x *run) runName() string {
	name := x.revision.Name
	if r := x.request(); r != nil && r.Op == opRestart && r.Step == "" {
		return name + "/" + r.ID
	}
	if old := x.status.Workflow; old != nil && old.AppRevision == name && old.Run != "" {
		return old.Run
	}
	return name
}

// loadStore reads the data of the run, if there may be any. After the end of a run nobody
// changes it, so that what this worker knows is enough.
func (x *run) loadStore(ctx context.Context) error {
	x.store = &store{Run: x.runName()}
	defer func() { x.store.fill() }() // of the one that is found
	w := x.status.Workflow
	if !x.needsStore() {
		return nil
	}
	known := x.memo.store
	if known != nil && w != nil && w.Finished && w.Backend != nil && known.version == w.Backend.ResourceVersion && known.Run == x.store.Run {
		x.store = known
		return nil
	}
	data, version, err := x.cluster.Stored(ctx, x.app.Namespace, storeName(x.app.Name))
	if err != nil {
		return fmt.Errorf("reading the data of the workflow: %w", err)
	}
	found := &store{}
	if raw := data[storeKey]; raw != "" {
		if err := json.Unmarshal([]byte(raw), found); err != nil {
			return fmt.Errorf("reading ConfigMap %s/%s: %w", x.app.Namespace, storeName(x.app.Name), err)
		}
	}
	x.store.version = version
	if found.Run == x.store.Run {
		found.version, x.store = version, found
	}
	x.memo.store = x.store
	return nil
}

func (s *store) fill() {
	for _, m := range []*map[string]any{&s.Values, &s.Vars} {
		if *m == nil {
			*m = map[string]any{}
		}
	}
	if s.Steps == nil {
		s.Steps = map[string]stepRecord{}
	}
}

// needsStore says that the workflow has something to remember.
func (x *run) needsStore() bool {
	if w := x.status.Workflow; w != nil && w.Backend != nil {
		return true
	}
	if slices.ContainsFunc(x.parts, func(p *part) bool { return len(p.Outputs) > 0 }) {
		return true
	}
	return slices.ContainsFunc(x.plan.All(), func(s oam.Step) bool { return len(s.Outputs) > 0 || !native(s.Type) })
}

// setValue puts out a value.
func (x *run) setValue(name string, value any) {
	x.store.Values[name], x.plan.Values[name] = value, value
	x.store.changed = true
}

// setStep notes what a step has done.
func (x *run) setStep(name string, r stepRecord) {
	x.store.Steps[name] = r
	x.store.changed = true
}

// saveStore writes the data if it changed. Steps that have ended need no record.
func (x *run) saveStore(ctx context.Context) error {
	s := x.store
	if !s.changed {
		return nil
	}
	maps.DeleteFunc(s.Steps, func(name string, _ stepRecord) bool {
		state := workflow.State(x.status.Workflow, name)
		return state != nil && (state.Phase == oam.StepSucceeded || state.Phase == oam.StepFailed || state.Phase == oam.StepSkipped)
	})
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if x.job.Check != nil {
		if err := x.job.Check(ctx); err != nil {
			return err
		}
	}
	version, err := x.cluster.Store(ctx, x.app, storeName(x.app.Name), map[string]string{storeKey: string(raw)}, s.version)
	if err != nil {
		return fmt.Errorf("storing the data of the workflow: %w", err)
	}
	s.version, s.changed = version, false
	x.status.Workflow.Backend = &oam.Backend{
		APIVersion: "v1", Kind: "ConfigMap", Namespace: x.app.Namespace, Name: storeName(x.app.Name), ResourceVersion: version,
	}
	x.memo.store = s
	return nil
}

// forgetSteps drops what steps that are run again have done before, once for a request:
// what they have done since is not forgotten, even if the status that says so was lost.
func (x *run) forgetSteps(request string) {
	if x.store.Cleared == request {
		return
	}
	x.store.Cleared = request
	for name := range x.store.Steps {
		if state := workflow.State(x.status.Workflow, name); state == nil {
			delete(x.store.Steps, name)
		}
	}
	x.store.changed = x.store.changed || x.needsStore()
}
