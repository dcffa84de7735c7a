package apply_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tradewind-dev/tradewind/sync/apply"
)

// pretend connects to an API server that answers as told.
func pretend(t *testing.T, reg prometheus.Registerer, answer http.HandlerFunc) *apply.Cluster {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":""}}],` +
		`"clusters":[{"name":"c","cluster":{"server":"` + server.URL + `"}}]}`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := apply.Connect(apply.Config{Kubeconfig: file, Version: "1.2.3"}, apply.Options{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBusyServer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		after   string
		busyFor int32
		asked   int32
		want    string
		wait    time.Duration
	}{
		"once":           {"0", 1, 2, "", 0},
		"longer":         {"1", 9, 2, "updating Application shop/site: the API server is too busy (429 Too Many Requests)", time.Second},
		"for a minute":   {"60", 9, 1, "updating Application shop/site: the API server is too busy (429 Too Many Requests)", time.Minute},
		"without saying": {"", 9, 1, "updating Application shop/site: the server has received too many requests and has asked us to try again later", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			c := pretend(t, nil, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || !strings.Contains(string(body), "annotations") || r.UserAgent() != "tradewind/1.2.3" {
					t.Errorf("%s sent %q", r.UserAgent(), body)
				}
				if asked.Add(1) <= test.busyFor {
					if test.after != "" {
						w.Header().Set("Retry-After", test.after)
					}
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"apiVersion":"core.oam.dev/v1beta1","kind":"Application","metadata":{"name":"site"},"spec":{"components":[]}}`)
			})
			err := c.Annotate(t.Context(), "shop", "site", map[string]string{"a": "b"})
			switch e, ok := errors.AsType[*apply.Error](err); {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (!ok || err.Error() != test.want || !e.Retryable || e.RetryAfter != test.wait):
				t.Errorf("error is %+v", err)
			}
			if got := asked.Load(); got != test.asked {
				t.Errorf("asked %d times, want %d", got, test.asked)
			}
		})
	}
}

func TestErrorsOfThePlatformAreRetried(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		code      int
		body      string
		retryable bool
		want      string
	}{
		"internal":     {500, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,"reason":"InternalError","message":"etcd is away"}`, true, "updating Application shop/site: etcd is away"},
		"gateway":      {502, `bad gateway`, true, ""},
		"conflict":     {409, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":409,"reason":"Conflict","message":"it has changed"}`, true, "updating Application shop/site: it has changed"},
		"unauthorized": {401, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":401,"reason":"Unauthorized","message":"Unauthorized"}`, true, "updating Application shop/site: Unauthorized"},
		"invalid":      {422, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":422,"reason":"Invalid","message":"no","details":{"causes":[{"field":"metadata.name","message":"too long"}]}}`, false, "updating Application shop/site: metadata.name: too long"},
		"rbac":         {403, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,"reason":"Forbidden","message":"User \"x\" cannot patch resource"}`, false, "updating Application shop/site: User \"x\" cannot patch resource"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := pretend(t, nil, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(test.code)
				_, _ = io.WriteString(w, test.body)
			})
			err := c.Annotate(t.Context(), "shop", "site", map[string]string{"a": "b"})
			e, ok := errors.AsType[*apply.Error](err)
			if !ok || e.Retryable != test.retryable || test.want != "" && err.Error() != test.want {
				t.Errorf("error is %+v", err)
			}
			if name == "rbac" && !strings.Contains(e.Hint(), "deployments/README.md") {
				t.Errorf("hint is %q", e.Hint())
			}
		})
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	c := pretend(t, nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	err := c.Ready(t.Context())
	if e, ok := errors.AsType[*apply.Error](err); !ok || !e.Retryable || strings.Contains(err.Error(), "http://") {
		t.Errorf("error is %v", err)
	}
	if _, err := c.Version(); err == nil {
		t.Error("a version from nowhere")
	}
	if _, err := c.LoadInventory(apply.Owner{Namespace: "shop", Name: "site"}); !apply.IsRetryable(err) {
		t.Errorf("an inventory that was never read: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	c := pretend(t, reg, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"major":"1","minor":"37+","gitVersion":"v1.37.2","platform":"linux/amd64"}`)
	})
	v, err := c.Version()
	if want := (apply.Version{Major: 1, Minor: 37, GitVersion: "v1.37.2", Platform: "linux/amd64"}); err != nil || v != want {
		t.Errorf("version is %+v, %v", v, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	series := map[string]int{}
	for _, family := range families {
		series[family.GetName()] = len(family.GetMetric())
	}
	want := map[string]int{
		"tradewind_apply_objects_total": 6, "tradewind_apply_drift_total": 2, "tradewind_apply_duration_seconds": 3,
		"tradewind_apply_conflicts_total": 1, "tradewind_apply_prune_held_total": 1,
		"rest_client_requests_total": 1, "rest_client_request_duration_seconds": 1,
	}
	if diff := cmp.Diff(want, series); diff != "" {
		t.Errorf("series at start (-want +got):\n%s", diff)
	}
}
