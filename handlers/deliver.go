package handlers

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
	"github.com/tradewind-dev/tradewind/handlers/internal/intake"
	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

// delivery is one post on its way through the checks. Each fills in what it learns.
type delivery struct {
	r        *http.Request
	begun    time.Time
	client   netip.Addr
	endpoint *endpoint // nil until the receiver is known
	body     *intake.Body
	size     int // of the body
	digest   [sha256.Size]byte
	id       string // the sender's, or made from the body
	event    string // the sender's word
	events   []events.Event
	about    []string // of the first of them, for the log
}

// serve writes down what became of a post; what becomes of it, the checks say.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	d := &delivery{r: r, begun: g.now(), client: intake.Client(r, g.proxies)}
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
			d.body.Release()
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
	if len(e.AllowFrom) > 0 && !intake.Within(d.client, e.AllowFrom) {
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
	limit := d.endpoint.sender.MaxBody
	body, err := g.intake.Read(w, d.r, limit)
	d.body, d.size = body, body.Len()
	_, long := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return nil
	case long:
		a = tooLarge(limit)
	case errors.Is(err, intake.ErrTooMany), errors.Is(err, intake.ErrMemory):
		a = busy(err.Error())
	case errors.Is(err, intake.ErrSlow):
		a = refuse(http.StatusRequestTimeout, malformed, err.Error(), "")
	default:
		a = refuse(http.StatusBadRequest, malformed, "the body did not arrive whole", "")
		a.gone, a.err = true, err
	}
	a.close = true
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
		if e.failed.Add(d.begun) {
			g.log.Warn("signatures do not fit", "receiver", e.name(), "sender", e.Sender,
				"reason", fmt.Sprintf("%d within %s: the secret may differ from the sender's", intake.FailuresToTell, intake.FailuresWithin))
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
		verr := e.sender.Verify(d.r.Header, d.body.Pieces(), s.key(), e.Algorithms)
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
	if d.digest == [sha256.Size]byte{} {
		h := sha256.New()
		for _, piece := range d.body.Pieces() {
			h.Write(piece)
		}
		h.Sum(d.digest[:0])
	}
	path := append([]byte(endpointID(d.endpoint.Sender, d.endpoint.ID)), 0)
	id := sha256.Sum256(append(binary.BigEndian.AppendUint64(path, uint64(i)), d.digest[:]...))
	return hex.EncodeToString(id[:])
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
	attrs := []slog.Attr{slog.String("result", string(a.result)), slog.Int("status", a.status), slog.String("took", took.String())}
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
	if len(d.events) == 0 {
		add("type", d.event)
	} else {
		add("event", d.events[0].ID)
		add("type", d.events[0].Type.Short())
		for i := 0; i < len(d.about); i += 2 {
			add(d.about[i], d.about[i+1])
		}
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
