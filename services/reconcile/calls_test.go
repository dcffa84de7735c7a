package reconcile

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOneSample(t *testing.T) {
	t.Parallel()
	tests := []struct{ kind, result, want, err string }{
		{"scalar", `[1700000000, "0.5"]`, "0.5", ""},
		{"vector", `[{"metric":{},"value":[1700000000,"1e3"]}]`, "1000", ""},
		{"vector", `[{"value":[1,"-2"]}]`, "-2", ""},
		{"vector", `[]`, "", "it gives 0 series, one is wanted"},
		{"vector", `[{"value":[1,"1"]},{"value":[1,"2"]}]`, "", "it gives 2 series, one is wanted"},
		{"vector", `[{"value":[1,"NaN"]}]`, "", `it gives "NaN", a number is wanted`},
		{"vector", `[{"value":[1,"+Inf"]}]`, "", `it gives "+Inf", a number is wanted`},
		{"vector", `[{}]`, "", "it gives no value"},
		{"scalar", `{}`, "", "it gives no value"},
		{"matrix", `[]`, "", "it gives a matrix, a number is wanted"},
	}
	for _, tt := range tests {
		got, err := oneSample(tt.kind, json.RawMessage(tt.result))
		said := ""
		if err != nil {
			said = err.Error()
		}
		if got != tt.want || said != tt.err {
			t.Errorf("%s %s: got %q, %q; want %q, %q", tt.kind, tt.result, got, said, tt.want, tt.err)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	p := params{"condition": ">=0.95", "duration": "5m", "failDuration": "2m"}
	tests := []struct {
		holds          bool
		after          time.Duration
		result, failed bool
		message        string
	}{
		{true, 0, false, false, "the query gives 1, which is >=0.95, since 2026-03-02T12:00:00Z of 5m"},
		{true, 5*time.Minute - time.Second, false, false, "the query gives 1, which is >=0.95, since 2026-03-02T12:00:00Z of 5m"},
		{true, 5 * time.Minute, true, false, "the query gives 1, which is >=0.95, since 2026-03-02T12:00:00Z of 5m"},
		{false, 119 * time.Second, false, false, "the query gives 1, which is not >=0.95, since 2026-03-02T12:00:00Z of 2m"},
		{false, 2 * time.Minute, false, true, "the query gives 1, which is not >=0.95, since 2026-03-02T12:00:00Z of 2m"},
	}
	for _, tt := range tests {
		got := judge(p, "1", measured{tt.holds, since}, since.Add(tt.after))
		want := map[string]any{"result": tt.result, "failed": tt.failed, "message": tt.message}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("holds %t, after %s (-want +got):\n%s", tt.holds, tt.after, diff)
		}
	}
}
