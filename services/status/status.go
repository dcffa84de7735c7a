// Package status turns outcomes into what people look at besides an Application's own
// status: one Kubernetes Event per transition, so that "kubectl describe" and every tool
// that shows Events tell what happened and why. It only reads outcomes; nothing that
// delivers depends on it.
package status

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/apply"
)

// Outcomes delivers every outcome after a sequence and then each new one, until ctx ends.
type Outcomes interface {
	Outcomes(ctx context.Context, after uint64, fn func(seq uint64, o events.Outcome)) error
}

// Records keeps what is told about an Application.
type Records interface {
	Record(ctx context.Context, namespace, name string, r apply.Record) error
}

// Recorder writes records. Any number of them may follow the same outcomes: a record has
// the outcome's id, and is written once.
type Recorder struct {
	outcomes Outcomes
	records  Records
	log      *slog.Logger
	since    time.Time
	last     map[events.Key]told
	busy     func() bool
}

// told is what was last said about an Application.
type told struct {
	warning bool
	reason  string
	note    string
}

// New returns a Recorder of the outcomes from now on. While busy says that deliveries are
// waiting, records wait for a while, too: the API server has more urgent things to do than
// to take one for each change, and they have the time at which it happened.
func New(outcomes Outcomes, records Records, busy func() bool, log *slog.Logger) *Recorder {
	return &Recorder{
		outcomes: outcomes, records: records, busy: busy, log: log.With("part", "status"), since: time.Now(), last: map[events.Key]told{},
	}
}

const (
	writeTimeout = 5 * time.Second
	patience     = 2 * time.Second // that one record has
	glance       = 20 * time.Millisecond
)

// Run follows the outcomes until ctx ends.
func (r *Recorder) Run(ctx context.Context) error {
	return r.outcomes.Outcomes(ctx, 0, func(_ uint64, o events.Outcome) {
		record, ok := r.fold(o)
		if !ok || o.Time.Before(r.since) {
			return
		}
		if r.yield(ctx) != nil {
			return
		}
		namespace, name, _ := o.Key.App()
		writing, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		err := r.records.Record(writing, namespace, name, record)
		if err != nil && !errors.Is(err, context.Canceled) {
			r.log.Warn("record not written", "app", namespace+"/"+name, "reason", record.Reason, "err", err)
		}
	})
}

// yield lets deliveries go first.
func (r *Recorder) yield(ctx context.Context) error {
	for began := time.Now(); r.busy() && time.Since(began) < patience; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(glance):
		}
	}
	return nil
}

// fold decides whether an outcome is news: a change in the cluster always is, a problem
// when it is another than before, well-being when there was a problem.
func (r *Recorder) fold(o events.Outcome) (apply.Record, bool) {
	if _, _, ok := o.Key.App(); !ok {
		return apply.Record{}, false
	}
	if o.Stage == events.StageScan || o.Stage == events.StageCommit { // told when it is news
		return apply.Record{
			ID: o.Run, Warning: o.Result == events.Failure || o.Result == events.Errored, Reason: o.Reason, Note: o.Message, Commit: o.Commit, Time: o.Time,
		}, true
	}
	now := told{reason: "Applied", note: "objects were changed"}
	if o.Result == events.Failure || o.Result == events.Errored {
		now = told{warning: true, reason: o.Reason, note: o.Message}
	}
	if o.Result == events.Superseded { // says nothing about how the Application is
		return apply.Record{ID: o.Run, Reason: o.Reason, Note: o.Message, Commit: o.Commit, Time: o.Time}, true
	}
	before := r.last[o.Key]
	news := now.warning && now != before || !now.warning && o.Changed > 0 || !now.warning && before.warning
	if !now.warning && o.Changed == 0 {
		now = told{reason: "Healthy", note: "as wanted again"}
	}
	r.last[o.Key] = now
	return apply.Record{
		ID: o.Run, Warning: now.warning, Reason: now.reason, Note: now.note, Commit: o.Commit, Time: o.Time,
	}, news
}
