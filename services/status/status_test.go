package status

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/apply"
)

type stream []events.Outcome

func (s stream) Outcomes(_ context.Context, _ uint64, fn func(uint64, events.Outcome)) error {
	for i, o := range s {
		fn(uint64(i+1), o)
	}
	return nil
}

type book struct{ lines []string }

func (b *book) Record(_ context.Context, namespace, name string, r apply.Record) error {
	kind := "Normal"
	if r.Warning {
		kind = "Warning"
	}
	b.lines = append(b.lines, namespace+"/"+name+" "+kind+" "+r.Reason+": "+r.Note)
	return errors.New("the API server is away") // must not stop anything
}

// TestRecords tells a story of outcomes and reads what people would see.
func TestRecords(t *testing.T) {
	t.Parallel()
	outcome := func(app string, result events.Result, changed int, reason, message string) events.Outcome {
		return events.Outcome{Key: events.AppKey("shop", app), Result: result, Changed: changed, Reason: reason, Message: message}
	}
	b, busy := &book{}, 2 // times
	r := New(stream{
		outcome("web", events.Success, 3, "", ""),
		outcome("web", events.Unchanged, 0, "", ""),
		outcome("web", events.Failure, 0, "FailedRender", "apps/web.yaml:3: bad"),
		outcome("web", events.Failure, 0, "FailedRender", "apps/web.yaml:3: bad"),
		outcome("db", events.Success, 1, "", ""),
		outcome("web", events.Errored, 0, "FailedFetch", "not reachable"),
		outcome("web", events.Unchanged, 0, "", ""),
		outcome("web", events.Success, 1, "", ""),
		{Key: "branch/x", Result: events.Success, Changed: 1},
		{Key: events.AppKey("shop", "web"), Stage: events.StageScan, Result: events.Failure, Reason: "FailedScan", Message: "no answer"},
		{Key: events.AppKey("shop", "web"), Stage: events.StageCommit, Result: events.Unchanged, Reason: "ImageHeld", Message: "held"},
		outcome("web", events.Unchanged, 0, "", ""), // images do not make an Application unwell
	}, b, func() bool { busy--; return busy >= 0 }, slog.New(slog.DiscardHandler))
	r.since = r.since.AddDate(-10000, 0, 0) // the outcomes above have no time
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"shop/web Normal Applied: objects were changed",
		"shop/web Warning FailedRender: apps/web.yaml:3: bad",
		"shop/db Normal Applied: objects were changed",
		"shop/web Warning FailedFetch: not reachable",
		"shop/web Normal Healthy: as wanted again",
		"shop/web Normal Applied: objects were changed",
		"shop/web Warning FailedScan: no answer",
		"shop/web Normal ImageHeld: held",
	}
	if diff := cmp.Diff(want, b.lines); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
