package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

// delivery is one post on its way through the checks. Each fills in what it learns.
type delivery struct {
	r        *http.Request
	begun    time.Time
	client   netip.Addr
	endpoint *endpoint // nil until the receiver is known
	body     *body
	size     int    // of the body
	id       string // the sender's, or made from the body
	event    string // the sender's word
	events   []events.Event
	pushed   events.SourcePushed // of the first of them
}

// serve writes down what became of a post; what becomes of it, the checks say.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	d := &delivery{r: r, begun: g.now(), client: clientAddr(r, g.proxies)}
	a := g.guarded(w, d)
	a.write(w)
	took := g.now().Sub(d.begun)
	g.metrics.delivered(d, a, took)
	g.logDelivery(d, a, took)
}

// guarded turns a panic into a refusal. Panics here are about one post's content, and
// the next post must not suffer from it.
func (g *Gateway) guarded(w http.ResponseWriter, d *delivery) (a *answer) {
	defer func() {
		if d.body != nil {
			d.body.release()
		}
		if p := recover(); p != nil {
			g.metrics.panics.Inc()
			a = busy("the post could not be handled")
			a.err = fmt.Errorf("panic: %v", p)
			g.log.Error("handling a delivery panicked", "err", cut(a.err.Error()), "stack", string(debug.Stack()))
		}
	}()
	for _, check := range []func(http.ResponseWriter, *delivery) *answer{
		g.find, g.admit, g.receive, g.authenticate,
	} {
		if a := check(w, d); a != nil {
			return a
		}
	}
	select {
	case g.working <- struct{}{}:
		defer func() { <-g.working }()
	default:
		return busy("too many posts are in work")
	}
	if a := g.parse(d); a != nil {
		return a
	}
	return g.publish(d)
}

func (g *Gateway) find(_ http.ResponseWriter, d *delivery) *answer {
	sender, id := chi.URLParam(d.r, "sender"), chi.URLParam(d.r, "id")
	d.endpoint = g.endpoints.Load().byPath[endpointID(sender, id)]
	if d.endpoint == nil {
		return notFound()
	}
	select {
	case <-g.closing:
		return busy("shutting down")
	default:
	}
	return nil
}

// admit looks at what came before the body.
func (g *Gateway) admit(_ http.ResponseWriter, d *delivery) *answer {
	e, h := d.endpoint, d.r.Header
	if len(e.AllowFrom) > 0 && !within(d.client, e.AllowFrom) {
		return unauthorizedAs(errors.New("the address is not one that may post"))
	}
	mediaType, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || len(h.Values("Content-Type")) > 1 || !slices.Contains(e.sender.MediaTypes, mediaType) ||
		charset != "" && !strings.EqualFold(charset, "utf-8") {
		return refuse(http.StatusUnsupportedMediaType, malformed, "this content type is not taken here",
			"choose "+strings.Join(e.sender.MediaTypes, " or ")+" at the sender")
	}
	for _, encoding := range h.Values("Content-Encoding") {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return refuse(http.StatusUnsupportedMediaType, malformed, "compressed bodies are not taken", "")
		}
	}
	if d.r.ContentLength > e.sender.MaxBody {
		return tooLarge(e.sender.MaxBody)
	}
	return nil
}

func (g *Gateway) receive(w http.ResponseWriter, d *delivery) (a *answer) {
	d.body, a = g.read(w, d.r, d.endpoint.sender.MaxBody)
	d.size = len(d.body.data)
	return a
}

// authenticate tries every secret that is alive, so that the time it takes does not tell
// which one fits. Rates are counted only afterwards: a stranger must not be able to use
// up what an honest sender may send.
func (g *Gateway) authenticate(_ http.ResponseWriter, d *delivery) *answer {
	e, h := d.endpoint, d.r.Header
	if err := e.sender.CheckHeader(h); err != nil {
		return malformedAs(err)
	}
	secret, err := g.matchSecret(d)
	if err != nil {
		if e.failed.add(d.begun) {
			g.log.Warn("signatures do not fit", "receiver", e.name(), "sender", e.Sender,
				"reason", fmt.Sprintf("%d within %s: the secret may differ from the sender's", failuresToTell, failuresWithin))
		}
		return unauthorizedAs(err)
	}
	g.metrics.authenticated(e, secret, d.begun)
	d.id, d.event = e.sender.DeliveryID(h), e.sender.Event(h)
	if d.id == "" {
		d.id = d.messageID(0)[:32]
	}
	if !e.rate.AllowN(d.begun, 1) || !g.rate.AllowN(d.begun, 1) {
		a := refuse(http.StatusTooManyRequests, rateLimited, "too many posts", "the source is polled meanwhile")
		a.retryAfter = time.Duration(float64(time.Second) / float64(min(e.rate.Limit(), 1)))
		return a
	}
	return nil
}

// The names of a receiver's secrets in metrics.
const (
	current  = "current"
	previous = "previous"
	none     = "none"
)

func (g *Gateway) matchSecret(d *delivery) (which string, err error) {
	e := d.endpoint
	if e.Unsigned {
		return none, nil
	}
	err = webhook.ErrSignature
	for i, s := range e.Secrets {
		if !s.live(d.begun) {
			continue
		}
		verr := e.sender.Verify(d.r.Header, d.body.data, s.key(), e.Algorithms)
		switch {
		case verr != nil && which == "":
			err = verr
		case verr == nil && which == "":
			which, err = [...]string{current, previous}[i], nil
		}
	}
	return which, err
}

// messageID identifies the i-th change of a post by what was signed, because the id in
// the header was not; resending the bytes is the same message, whoever resends them.
func (d *delivery) messageID(i int) string {
	h := sha256.New()
	h.Write([]byte(endpointID(d.endpoint.Sender, d.endpoint.ID)))
	h.Write(binary.BigEndian.AppendUint64([]byte{0}, uint64(i)))
	h.Write(d.body.data)
	return hex.EncodeToString(h.Sum(nil))
}

// maxEvent is what the queue stores of one event.
const maxEvent = 60 << 10

// parse turns the body into events, or says why there are none.
func (g *Gateway) parse(d *delivery) *answer {
	if d.endpoint.Suspended {
		return d.ignore(webhook.Ignored{Reason: webhook.Suspended, Message: "the receiver is suspended"})
	}
	parsed, err := d.endpoint.sender.Parse(d.r.Header, d.body.data)
	if err != nil {
		return malformedAs(err)
	}
	why := parsed.Ignored
	for i, change := range parsed.Changes {
		ev, ignored := g.event(d, i, change)
		if ignored.Reason != "" {
			why = ignored
			continue
		}
		d.events = append(d.events, ev)
	}
	if len(d.events) == 0 {
		return d.ignore(why)
	}
	return nil
}

// event binds a change to the receiver's scope.
func (g *Gateway) event(d *delivery, i int, c webhook.Change) (events.Event, webhook.Ignored) {
	e := d.endpoint
	keys := c.Keys(g.aliases, e.sender.FoldsCase)
	in := e.scope.within(keys, e.sender.FoldsCase)
	switch {
	case c.Ignored.Reason != "":
		return events.Event{}, c.Ignored
	case len(keys) == 0:
		return events.Event{}, webhook.Ignored{Reason: webhook.NoRepository, Message: "the payload has no URL of a repository"}
	case len(in) == 0:
		g.metrics.outOfScope.WithLabelValues(e.name()).Inc()
		return events.Event{}, webhook.Ignored{Reason: webhook.OutOfScope, Message: cut(keys[0]) + " is not in the scope of this receiver"}
	}
	push := c.Push
	push.Repos = in
	data, err := json.Marshal(push)
	if err != nil || len(data) > maxEvent {
		return events.Event{}, webhook.Ignored{Reason: webhook.TooLarge, Message: "the names in it are too long"}
	}
	if len(d.events) == 0 {
		d.pushed = push
	}
	return events.Event{
		SpecVersion: events.SpecVersion, ID: d.messageID(i), Source: "/hooks/" + endpointID(e.Sender, e.name()),
		Type: events.TypeSourcePushed, Subject: events.SourceKey(in[0], push.Ref), Time: d.begun.UTC(),
		Receiver: e.name(), Delivery: d.id, Data: data,
	}, webhook.Ignored{}
}

// publish stores the events before it answers. A client that has gone meanwhile does not
// stop it: the events are genuine, and the sender may not ask again.
func (g *Gateway) publish(d *delivery) *answer {
	patience := max(time.Second, d.endpoint.sender.Patience-g.now().Sub(d.begun))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), patience)
	defer cancel()
	again, err := g.publisher.Publish(ctx, d.events...)
	if err != nil {
		a := busy("the event could not be stored")
		a.err, a.close = fmt.Errorf("publishing: %w", err), false
		return a
	}
	a := &answer{status: http.StatusAccepted, result: accepted, body: taken{Status: "queued", Delivery: d.id, Event: d.event}}
	if again {
		a.result, a.body = duplicate, taken{Status: "duplicate", Delivery: d.id, Event: d.event}
		return a
	}
	if g.unwatched(d) {
		return d.ignore(webhook.Ignored{
			Reason:  webhook.Unwatched,
			Message: "no Application looks at " + cut(d.events[0].Subject) + " yet",
		})
	}
	return a
}

// unwatched says that nobody looks at any of it. The events are stored all the same: an
// Application may appear in this instant.
func (g *Gateway) unwatched(d *delivery) bool {
	if g.watchers == nil {
		return false
	}
	for _, ev := range d.events {
		push, err := ev.Pushed()
		if err != nil || g.watchers.Watching(push.Repos, push.Ref) != 0 {
			return false
		}
	}
	return true
}

func malformedAs(err error) *answer {
	if m, ok := errors.AsType[*webhook.MalformedError](err); ok {
		return malformedBy(err, m.Problem, m.Hint)
	}
	return malformedBy(err, "the post could not be read", "")
}

// cut keeps texts from outside short, and whole in UTF-8.
func cut(s string) string {
	const most = 512
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func (g *Gateway) logDelivery(d *delivery, a *answer, took time.Duration) {
	if !g.log.Enabled(d.r.Context(), a.level()) {
		return
	}
	attrs := []slog.Attr{slog.String("result", string(a.result)), slog.Int("status", a.status), slog.Duration("took", took)}
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, cut(value)))
		}
	}
	if d.endpoint != nil { // else the path is a stranger's, or a secret mistyped
		add("sender", d.endpoint.Sender)
		add("receiver", d.endpoint.name())
	}
	add("delivery", d.id)
	add("trigger", d.event)
	if len(d.events) > 0 {
		add("event", d.events[0].ID)
		add("type", d.events[0].Type.Short())
		add("repo", d.pushed.Repos[0])
		add("ref", d.pushed.Ref)
		add("commit", d.pushed.After)
	}
	add("reason", string(a.reason))
	if d.client.IsValid() {
		add("client", d.client.String())
	}
	if a.err != nil {
		add("err", a.err.Error())
	}
	g.log.LogAttrs(d.r.Context(), a.level(), "delivery handled", attrs...)
}
