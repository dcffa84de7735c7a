package apply

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// transport obeys the API server when it asks to be left alone: it waits a short time
// once and then tells the caller, whose queue can wait better. client-go by itself would
// sleep through ten such answers and lose how long was asked for.
type transport struct {
	next    http.RoundTripper
	metrics *metrics
}

// retryLater is an answer that asks for another try.
type retryLater struct {
	code  int
	after time.Duration
}

func (e *retryLater) Error() string {
	return fmt.Sprintf("the API server is too busy (%d %s)", e.code, http.StatusText(e.code))
}

// patience is how long a request may be held back here.
const patience = time.Second

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.send(req)
	after, busy := asksToWait(res)
	if err != nil || !busy {
		return res, err
	}
	if after > patience || req.Body != nil && req.GetBody == nil || !pause(req.Context(), after) {
		return nil, refuse(res, after)
	}
	discard(res)
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	res, err = t.send(again)
	if after, busy = asksToWait(res); err == nil && busy {
		return nil, refuse(res, after)
	}
	return res, err
}

func (t *transport) send(req *http.Request) (*http.Response, error) {
	begun := time.Now()
	res, err := t.next.RoundTrip(req)
	code := "<error>"
	if err == nil {
		code = strconv.Itoa(res.StatusCode)
	}
	t.metrics.requests.WithLabelValues(code, req.Method).Inc()
	if req.URL.Query().Get("watch") == "" {
		t.metrics.requestDuration.WithLabelValues(req.Method).Observe(time.Since(begun).Seconds())
	}
	return res, err
}

// asksToWait reads answers that say the request was not looked at: too many requests, or
// a server that is starting or stopping.
func asksToWait(res *http.Response) (time.Duration, bool) {
	if res == nil || res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	seconds, err := strconv.Atoi(strings.TrimSpace(res.Header.Get("Retry-After")))
	if err != nil || seconds < 0 {
		return 0, false
	}
	return time.Duration(seconds) * time.Second, true
}

// pause spreads those who wait for the same moment.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d + rand.N(100*time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func refuse(res *http.Response, after time.Duration) error {
	discard(res)
	return &retryLater{code: res.StatusCode, after: after}
}

// discard makes the connection usable for the next request.
func discard(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	_ = res.Body.Close()
}
