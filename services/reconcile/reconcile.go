// Package reconcile takes one look at one Application: it reads the sources as they are
// now, renders, runs the workflow, applies what differs, prunes what is no longer wanted
// and says in the status how it is. A look that finds nothing to do costs no request to
// the API server and, unless something was heard about a source, none to a Git server.
//
// It never waits: whatever is not done yet (health, a timeout, a retry) causes another
// look through the queue.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/helm"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// Queue is what a Reconciler asks of the line that drives it.
type Queue interface {
	Trigger(ctx context.Context, t events.Trigger) error
	TriggerAt(ctx context.Context, t events.Trigger, at time.Time) error
	// Sighting returns a number that grows with every event about a source.
	Sighting(ctx context.Context, source string) (mark uint64, err error)
	Report(ctx context.Context, o events.Outcome) error
}

// Job is one look at an Application.
type Job struct {
	events.Trigger
	// Attempt counts the looks since the last that succeeded, from 1.
	Attempt int
	// Check says whether this worker may still write.
	Check func(context.Context) error
}

// Reconciler looks at Applications. It is safe for concurrent use; one Application is
// looked at by one job at a time.
type Reconciler struct {
	log     *slog.Logger
	metrics *metrics
	cluster *apply.Cluster
	mirrors *git.Mirrors
	charts  *helm.Charts

	renderChart RenderChart
	warm        func()
	renderer    *render.Renderer
	queue       Queue
	outside     Outside
	standing    Standing
	now         func() time.Time

	needsAccount bool

	catalog *render.Catalog
	index   *index
	types   *types
	wakes   *wakes
	asked   *wakes // by somebody, with nothing else behind it
	heads   *heads
	secrets *secrets
	texts   *texts
	changed *broadcaster

	changedTypes *changedTypes

	settled  *settled
	requests *requests
	sole     bool

	others

	mu   sync.Mutex
	memo map[events.Key]*memo
}

// RenderChart is [helm.Render] at the expense of app.
type RenderChart func(ctx context.Context, app string, chart *helm.Chart, in helm.Input) (*helm.Output, error)

// Config is what a Reconciler is made of; all but Outside and Registerer is required.
type Config struct {
	Cluster  *apply.Cluster
	Mirrors  *git.Mirrors
	Charts   *helm.Charts
	Renderer *render.Renderer
	// RenderChart renders charts; nil means [helm.Render], in this process.
	RenderChart RenderChart
	// Warm prepares for rendering that is about to come; nil for nothing.
	Warm func()
	// Catalog is where the Renderer finds its types; it is kept as the cluster has them.
	Catalog *render.Catalog
	Queue   Queue
	// Sole says that no other process looks at Applications: what was read here last was
	// the last that was read.
	Sole    bool
	Outside Outside // for steps; nil means that they reach nothing but the cluster
	Sources Sources
	// Standing is told how a commit fares; nil for nobody.
	Standing Standing
	// NeedsAccount refuses Applications that name no service account to act as.
	NeedsAccount bool
	Logger       *slog.Logger
	Registerer   prometheus.Registerer
}

// New returns a Reconciler and hooks it to the cluster's watches, so it must be called
// before the cluster runs.
func New(cfg Config) *Reconciler {
	r := &Reconciler{
		log: cfg.Logger.With("part", "reconcile"), metrics: newMetrics(cfg.Registerer), cluster: cfg.Cluster, mirrors: cfg.Mirrors, charts: cfg.Charts,
		renderer: cfg.Renderer, catalog: cfg.Catalog, queue: cfg.Queue, outside: cfg.Outside, standing: cfg.Standing, warm: cfg.Warm, now: time.Now, needsAccount: cfg.NeedsAccount,
		index: newIndex(), types: newTypes(), changedTypes: newChangedTypes(), wakes: newWakes(), asked: newWakes(), heads: newHeads(), secrets: newSecrets(), texts: newTexts(), changed: newBroadcaster(), memo: map[events.Key]*memo{},
		settled: newSettled(), requests: newRequests(), sole: cfg.Sole, others: newOthers(cfg.Sources),
	}
	if r.renderChart = cfg.RenderChart; r.renderChart == nil {
		r.renderChart = func(ctx context.Context, _ string, chart *helm.Chart, in helm.Input) (*helm.Output, error) {
			return helm.Render(ctx, chart, in)
		}
	}
	cfg.Cluster.OnApplication(r.onApplication)
	cfg.Cluster.OnDefinition(r.onDefinition)
	cfg.Cluster.OnObject(r.onObject)
	return r
}

// run is one look at one Application.
type run struct {
	*Reconciler
	cluster *apply.Cluster // as the account of the Application, when it names one
	account string
	job     Job
	app     *oam.Application // a copy; its status is what was stored
	owner   apply.Owner
	status  oam.Status // what will be stored
	memo    *memo
	begun   time.Time
	changes apply.ChangeSet
	commit  string       // of the first source, for the log
	seen    []oam.Source // at the commits of this look

	// What deliver found out, in its order.
	set         *policy.Set
	plan        workflow.Plan
	parts       []*part
	revision    oam.Revision
	store       *store
	fresh       bool      // sources are asked anew,
	newerThan   time.Time // unless they were since then
	moved       bool      // a Git source is at another commit than last time
	policyItems []apply.Item
	policyMade  []*render.Component
	policyWaits string // why the steps may not go on yet, or ""
	inv         *apply.Inventory
	madeNow     []oam.AppliedResource // by steps, in this look
	terminate   bool                  // a step ends the run
	wake        time.Time             // another look is due then; zero for none
}

// problem is why a run did not get to its end.
type problem struct {
	stage     events.Stage
	condition string
	reason    string
	result    events.Result
	after     time.Duration // what the other side asked for, or zero
	wait      time.Duration // exactly how long the next try waits; zero for the usual
	fatal     bool          // this worker may not go on
	err       error
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

// Run takes one look. Its error is a verdict for the queue.
func (r *Reconciler) Run(ctx context.Context, job Job) error {
	namespace, name, ok := job.Key.App()
	if !ok {
		return events.Drop(fmt.Errorf("%q is not the key of an Application", string(job.Key)))
	}
	app, found, parseErr := r.cluster.Application(namespace, name)
	switch {
	case !found:
		r.forget(job.Key)
		return events.Skip("the Application is gone")
	case app.Labels[oam.LabelPause] == "true":
		return events.Skip("the Application is paused")
	}
	if name, ok := suspended(app); ok {
		return events.Skip(fmt.Sprintf("component %q is suspended", name))
	}
	r.settled.set(job.Key, nil) // until it is found as it should be
	x := &run{
		Reconciler: r, cluster: r.cluster, job: job, app: app.DeepCopy(), begun: r.now(), memo: r.memoOf(job.Key),
		owner: apply.Owner{Namespace: namespace, Name: name, UID: app.UID},
	}
	x.status = *x.app.Status.DeepCopy()
	if err := x.actAs(ctx); err != nil {
		return x.finish(ctx, err)
	}
	if !app.DeletionTimestamp.IsZero() {
		return x.finish(ctx, x.remove(ctx))
	}
	if parseErr == nil {
		parseErr = oam.Validate(x.app)
	}
	if parseErr != nil {
		return x.finish(ctx, &problem{stage: events.StageRender, condition: oam.ConditionParsed, reason: "FailedParse", result: events.Failure, err: parseErr})
	}
	return x.finish(ctx, x.deliver(ctx))
}

// suspended finds a component whose source is switched off; it holds the whole
// Application as it is. An Application that is being deleted is never held.
func suspended(app *oam.Application) (string, bool) {
	for _, c := range app.Spec.Components {
		if src, err := render.SourceOf(c); err == nil && src != nil && src.Suspend && app.DeletionTimestamp.IsZero() {
			return c.Name, true
		}
	}
	return "", false
}

// remove deletes what the Application owns and then lets it go.
func (x *run) remove(ctx context.Context) error {
	fail := func(err error) error { return applyProblem(oam.ConditionReady, "FailedGC", err) }
	x.status.Phase = oam.PhaseDeleting
	inv, err := x.cluster.LoadInventory(x.owner)
	if err != nil {
		return fail(err)
	}
	if !slices.Contains(x.app.Finalizers, oam.FinalizerOrphan) && len(inv.Entries) > 0 {
		// A policy that cannot be read may be the one that keeps something.
		if x.set, err = x.parsePolicies(x.app.Spec.Defaulted()); err != nil {
			return fail(fmt.Errorf("what is to be kept is not known: %w", err))
		}
		x.changes, err = x.cluster.DeleteAll(ctx, inv, apply.PruneOptions{Check: x.job.Check, Fate: x.fate(true)})
		if err = errors.Join(err, x.changes.Err()); err != nil {
			return fail(err)
		}
	}
	if err := x.cluster.SetFinalizer(ctx, x.app, false); err != nil {
		return fail(err)
	}
	x.forget(x.job.Key)
	return nil
}

// memo is what a worker remembers of an Application between looks. It may be lost at any
// time.
type memo struct {
	rendered  map[string]renderedMemo // by part
	releases  map[string]releaseMemo  // by part
	requested string                  // value of the requested-at annotation last honoured
	tries     map[string]try          // of steps that ended with an error
	polls     map[string]try          // of steps that wait for something outside
	external  map[string]fetched      // Policy and Workflow objects
	frozen    *frozen
	store     *store
	account   checkedAccount
}

func (r *Reconciler) memoOf(key events.Key) *memo {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.memo[key] == nil {
		r.memo[key] = &memo{
			rendered: map[string]renderedMemo{}, tries: map[string]try{}, polls: map[string]try{}, external: map[string]fetched{},
			releases: map[string]releaseMemo{},
		}
	}
	return r.memo[key]
}

func (r *Reconciler) forget(key events.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.memo, key)
	r.settled.set(key, nil)
	r.requests.forget(key)
}
