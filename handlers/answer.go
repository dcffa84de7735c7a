package handlers

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

// result is how a post ended: a metric label and a log value.
type result string

const (
	accepted     result = "accepted"
	ignored      result = "ignored"
	duplicate    result = "duplicate"
	unauthorized result = "unauthorized"
	malformed    result = "malformed"
	unknown      result = "unknown"
	overlong     result = "too_large"
	rateLimited  result = "rate_limited"
	unavailable  result = "unavailable"
)

func results() []result {
	return []result{accepted, ignored, duplicate, unauthorized, malformed, unknown, overlong, rateLimited, unavailable}
}

// answer is what a post gets, and why.
type answer struct {
	status     int
	result     result
	body       any
	retryAfter time.Duration
	close      bool // the connection, because of what may still come on it

	reason webhook.Reason // of an ignored one
	err    error          // for the log only
	gone   bool           // nobody is there to read it
}

// taken is the body of a 2xx answer.
type taken struct {
	Status   string `json:"status"`
	Delivery string `json:"delivery,omitempty"`
	Event    string `json:"event,omitempty"`
	Message  string `json:"message,omitempty"`
}

// refused is the body of any other.
type refused struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

func refuse(status int, r result, problem, hint string) *answer {
	return &answer{status: status, result: r, body: refused{problem, hint}}
}

// notFound is one answer to everything that is not there or not shown.
func notFound() *answer {
	return refuse(http.StatusNotFound, unknown, "there is nothing at this address", "compare it with the webhook URL of the receiver")
}

// unauthorizedAs is one answer to every post that is not proven to be genuine.
func unauthorizedAs(err error) *answer {
	a := refuse(http.StatusUnauthorized, unauthorized, "the signature is missing or does not fit",
		"the secret at the sender must be that of the receiver, and the body must arrive unchanged")
	a.err = err
	return a
}

func tooLarge(limit int64) *answer {
	a := refuse(http.StatusRequestEntityTooLarge, overlong, fmt.Sprintf("the body is larger than %d bytes", limit), "")
	a.close = true
	return a
}

func busy(problem string) *answer {
	a := refuse(http.StatusServiceUnavailable, unavailable, problem, "send it again later")
	a.retryAfter, a.close = 5*time.Second, true
	return a
}

func malformedBy(err error, problem, hint string) *answer {
	a := refuse(http.StatusBadRequest, malformed, problem, hint)
	a.err = err
	return a
}

func (d *delivery) ignore(why webhook.Ignored) *answer {
	return &answer{
		status: http.StatusOK, result: ignored, reason: why.Reason,
		body: taken{Status: "ignored", Delivery: d.id, Event: d.event, Message: why.Message},
	}
}

func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int(a.retryAfter.Seconds()))))
	}
	if a.close {
		h.Set("Connection", "close")
	}
	data, err := json.Marshal(a.body)
	if err != nil { // two kinds of struct of texts always marshal
		panic(err)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(append(data, '\n')) // the client is gone, or it is not
}

// level is how loud the log is about it: odd things are warnings, strangers are not.
func (a *answer) level() slog.Level {
	switch {
	case a.status >= 500 || a.reason == webhook.OutOfScope:
		return slog.LevelWarn
	case a.result == unknown || a.gone:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
