package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/outbound"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// measured is since when a condition about a metric holds, or does not.
type measured struct {
	Holds bool      `json:"holds"`
	Since time.Time `json:"since"`
}

// promCheck asks Prometheus once. Since when the answer is what it is, is kept with the
// run, so that a restart does not begin to count anew.
func (x *run) promCheck(ctx context.Context, step oam.Step, c render.Call) (map[string]any, error) {
	p := params(c.Params)
	for _, name := range []string{"duration", "failDuration"} {
		if _, err := time.ParseDuration(p.text(name)); err != nil {
			return nil, fmt.Errorf("%s: %q given, a duration such as 5m wanted", name, p.text(name))
		}
	}
	value, err := x.queryMetric(ctx, p.text("metricEndpoint"), p.text("query"))
	if err != nil {
		return nil, err
	}
	holds, err := x.renderer.Condition(ctx, value+" "+p.text("condition"), map[string]any{})
	if err != nil {
		return nil, fmt.Errorf("condition %q: %w", p.text("condition"), err)
	}
	record := x.store.Steps[step.Name]
	state, known := record.Measured[c.Path]
	if !known || state.Holds != holds {
		state = measured{holds, x.now()}
		if record.Measured == nil {
			record.Measured = map[string]measured{}
		}
		record.Measured[c.Path] = state
		x.setStep(step.Name, record)
	}
	return judge(p, value, state, x.now()), nil
}

// judge says whether the condition has held, or failed, for long enough.
func judge(p params, value string, state measured, now time.Time) map[string]any {
	long, verb := p.text("duration"), "is"
	if !state.Holds {
		long, verb = p.text("failDuration"), "is not"
	}
	limit, _ := time.ParseDuration(long) // checked
	over := !now.Before(state.Since.Add(limit))
	return map[string]any{
		"result": state.Holds && over, "failed": !state.Holds && over,
		"message": fmt.Sprintf("the query gives %s, which %s %s, since %s of %s", value, verb, p.text("condition"), state.Since.UTC().Format(time.RFC3339), long),
	}
}

// queryMetric is the one value that an instant query gives, as a decimal number.
func (x *run) queryMetric(ctx context.Context, endpoint, query string) (string, error) {
	if x.outside == nil {
		return "", errNoOutside
	}
	answer, err := x.outside.Do(ctx, outbound.Request{
		Method: http.MethodGet, URL: strings.TrimSuffix(endpoint, "/") + "/api/v1/query?query=" + url.QueryEscape(query),
	})
	if err != nil {
		return "", err
	}
	var said struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(answer.Body), &said); err != nil {
		return "", fmt.Errorf("query %q: the answer (%d) is not that of Prometheus", query, answer.Status)
	}
	if said.Status != "success" {
		return "", fmt.Errorf("query %q: Prometheus says: %s", query, said.Error)
	}
	sample, err := oneSample(said.Data.ResultType, said.Data.Result)
	if err != nil {
		return "", fmt.Errorf("query %q: %w", query, err)
	}
	return sample, nil
}

// oneSample reads a scalar, or a vector of one series.
func oneSample(kind string, result json.RawMessage) (string, error) {
	var pair []any // time, value
	switch kind {
	case "scalar":
		_ = json.Unmarshal(result, &pair) // its length says so
	case "vector":
		var series []struct{ Value []any }
		if err := json.Unmarshal(result, &series); err != nil || len(series) != 1 {
			return "", fmt.Errorf("it gives %d series, one is wanted", len(series))
		}
		pair = series[0].Value
	default:
		return "", fmt.Errorf("it gives a %s, a number is wanted", kind)
	}
	if len(pair) != 2 {
		return "", errors.New("it gives no value")
	}
	text, _ := pair[1].(string)
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
		return "", fmt.Errorf("it gives %q, a number is wanted", text)
	}
	return strconv.FormatFloat(number, 'f', -1, 64), nil
}
