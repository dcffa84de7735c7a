package helm

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"helm.sh/helm/v4/pkg/release/common"
	rspb "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// maxHistory is how many records of a release are kept, as Flux does.
const maxHistory = 5

// Release is a release as its records tell it, oldest first. It is not safe for
// concurrent use.
type Release struct {
	Name      string
	Namespace string // of the chart's objects
	stored    string // namespace of the records
	records   []*record
}

// Open reads the records of a release; secrets may be in any order.
func Open(name, namespace, stored string, secrets []*unstructured.Unstructured) (*Release, error) {
	r := &Release{Name: name, Namespace: namespace, stored: stored}
	for _, s := range secrets {
		rec, err := decode(s)
		if err != nil {
			return nil, err
		}
		r.records = append(r.records, rec)
	}
	slices.SortFunc(r.records, func(a, b *record) int { return a.Version - b.Version })
	return r, nil
}

func (r *Release) last() *record {
	if len(r.records) == 0 {
		return nil
	}
	return r.records[len(r.records)-1]
}

// Next is what a release needs.
type Next string

// What a release may need.
const (
	Keep     Next = "keep"     // it is what is wanted, or on its way there
	Begin    Next = "begin"    // an install or an upgrade
	RollBack Next = "rollback" // to the last version that was well
	GiveUp   Next = "give up"  // it failed too often; stays as it is
)

// Wants says what has to be done for the release to be made from input. It only reads.
func (r *Release) Wants(input string, retries int) Next {
	last := r.last()
	if last == nil {
		return Begin
	}
	again := Begin
	if r.failures(input) > retries {
		again = GiveUp
	}
	switch {
	case last.instead == input && !last.Info.Status.IsPending():
		return again
	case last.instead == input:
		return Keep
	case last.instead != "" && last.Info.Status == common.StatusFailed:
		return Begin // the way back from something else was no better
	case last.input != input:
		return Begin
	case last.Info.Status != common.StatusFailed:
		return Keep
	case r.good(input) != nil:
		return RollBack
	}
	return again
}

// failures counts the tries with input that failed since something else was wanted. It
// must not need more than the latest record: old ones are dropped.
func (r *Release) failures(input string) int {
	last := r.last()
	switch {
	case last.instead == input:
		return last.tries
	case last.input != input || last.instead != "":
		return 0
	case last.Info.Status == common.StatusFailed:
		return last.tries
	}
	return last.tries - 1
}

// tries is the number of the next try with input.
func (r *Release) tries(input string) int {
	if r.last() == nil {
		return 1
	}
	return r.failures(input) + 1
}

// good is the latest version that was well and is not made from input.
func (r *Release) good(input string) *record {
	for _, rec := range slices.Backward(r.records) {
		if rec.input != input && (rec.Info.Status == common.StatusDeployed || rec.Info.Status == common.StatusSuperseded) {
			return rec
		}
	}
	return nil
}

// NextVersion is the number of the release's next version.
func (r *Release) NextVersion() int {
	if last := r.last(); last != nil {
		return last.Version + 1
	}
	return 1
}

// Upgrades says that the next version takes the place of one that was well.
func (r *Release) Upgrades() bool { return r.good("") != nil }

// Install begins a version: an install, or an upgrade of what is there. out is what chart
// was rendered to with values.
func (r *Release) Install(chart *Chart, out *Output, input string, values map[string]any, now time.Time) error {
	loaded, err := chart.with(copied(values))
	if err != nil {
		return err
	}
	r.abandon(now)
	status, description := common.StatusPendingInstall, "Initial install underway"
	if r.Upgrades() {
		status, description = common.StatusPendingUpgrade, "Preparing upgrade"
	}
	r.add(&record{input: input, tries: r.tries(input), Release: &rspb.Release{
		Chart: loaded, Config: values, Manifest: out.Manifest, Hooks: out.Hooks,
		Info: &rspb.Info{Status: status, Description: description, Notes: out.Notes},
	}}, now)
	return nil
}

// Return begins a version that is the last good one once more.
func (r *Release) Return(input string, now time.Time) {
	to := r.good(input)
	hooks := make([]*rspb.Hook, 0, len(to.Hooks))
	for _, h := range to.Hooks {
		fresh := *h
		fresh.LastRun = rspb.HookExecution{}
		hooks = append(hooks, &fresh)
	}
	r.add(&record{input: to.input, instead: input, tries: r.last().tries, Release: &rspb.Release{
		Chart: to.Chart, Config: to.Config, Manifest: to.Manifest, Hooks: hooks,
		Info: &rspb.Info{Status: common.StatusPendingRollback, Notes: to.Info.Notes, RollbackRevision: to.Version,
			Description: "Rollback to " + strconv.Itoa(to.Version)},
	}}, now)
}

func (r *Release) add(rec *record, now time.Time) {
	rec.Name, rec.Namespace, rec.Version = r.Name, r.Namespace, r.NextVersion()
	rec.ApplyMethod = string(rspb.ApplyMethodServerSideApply)
	rec.Info.FirstDeployed, rec.Info.LastDeployed = now.UTC(), now.UTC()
	if len(r.records) > 0 {
		rec.Info.FirstDeployed = r.records[0].Info.FirstDeployed
	}
	rec.created, rec.changed = strconv.FormatInt(now.Unix(), 10), true
	r.records = append(r.records, rec)
}

// abandon closes a version that was not done when something else was wanted.
func (r *Release) abandon(now time.Time) {
	if last := r.last(); last != nil && last.Info.Status.IsPending() {
		last.set(common.StatusFailed, "Superseded before it was done, at "+now.UTC().Format(time.RFC3339))
	}
}

func (rec *record) set(status common.Status, description string) {
	rec.SetStatus(status, description)
	rec.changed = true
}

// Pending says that the latest version is on its way, and since when.
func (r *Release) Pending() (since time.Time, pending bool) {
	last := r.last()
	return last.Info.LastDeployed, last.Info.Status.IsPending()
}

// Failed is why what input makes did not get well: the latest version failed, or is
// there in its place.
func (r *Release) Failed(input string) (why string, failed bool) {
	last := r.last()
	if last.Info.Status == common.StatusFailed {
		return last.Info.Description, true
	}
	if last.instead != input {
		return "", false
	}
	for _, rec := range slices.Backward(r.records) {
		if rec.input == input && rec.Info.Status == common.StatusFailed {
			return fmt.Sprintf("%s (rolled back to version %d)", rec.Info.Description, last.Info.RollbackRevision), true
		}
	}
	return "rolled back", true
}

// Done closes the latest version: it is well. Those before it are history.
func (r *Release) Done() {
	last := r.last()
	description := map[common.Status]string{
		common.StatusPendingInstall: "Install complete", common.StatusPendingUpgrade: "Upgrade complete",
	}[last.Info.Status]
	if description == "" {
		description = last.Info.Description
	}
	for _, rec := range r.records[:len(r.records)-1] {
		if rec.Info.Status == common.StatusDeployed {
			rec.set(common.StatusSuperseded, rec.Info.Description)
		}
	}
	last.set(common.StatusDeployed, description)
}

// Fail closes the latest version: it did not get well.
func (r *Release) Fail(why string) {
	last := r.last()
	action := map[common.Status]string{
		common.StatusPendingInstall: "Install", common.StatusPendingUpgrade: "Upgrade", common.StatusPendingRollback: "Rollback",
	}[last.Info.Status]
	last.set(common.StatusFailed, fmt.Sprintf("%s of %s %s failed: %s", action, last.Chart.Metadata.Name, last.Chart.Metadata.Version, why))
}

// Version is the number of the latest version, 0 when there is none.
func (r *Release) Version() int {
	if last := r.last(); last != nil {
		return last.Version
	}
	return 0
}

// Chart is the latest version's chart, as in "mysql-operator-0.4.0".
func (r *Release) Chart() string {
	m := r.last().Chart.Metadata
	return m.Name + "-" + m.Version
}

// Objects are what the latest version consists of, hooks aside: its CRDs, then the rest.
func (r *Release) Objects() (crds, objects []*unstructured.Unstructured, err error) {
	last := r.last()
	if crds, err = definitions(last.Chart); err != nil {
		return nil, nil, err
	}
	if objects, err = parse(last.Manifest); err != nil {
		return nil, nil, err
	}
	for _, o := range objects {
		own(o, r.Name, r.Namespace)
	}
	return crds, objects, nil
}

// Records are the Secrets of all versions that are kept; changed says which were changed
// since they were read, the latest always among them.
func (r *Release) Records() (all []*unstructured.Unstructured, changed []*unstructured.Unstructured, err error) {
	for _, rec := range r.records[max(0, len(r.records)-maxHistory):] {
		o, err := rec.secret(r.stored)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, o)
		if rec.changed || rec == r.last() {
			changed = append(changed, o)
		}
	}
	return all, changed, nil
}
