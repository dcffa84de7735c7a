// Package handlers is the gateway: HTTP handlers that take webhooks from strangers and
// hand on what is genuine as events.
//
// A post is accepted (202) only after the event behind it was stored; what cannot be
// stored is refused (503), what is genuine but of no use is ignored (200). Everything
// before the signature check costs a stranger more than us: bodies are bounded one by
// one and together, nothing is parsed, and nothing that was not sent is told.
//
// In: HTTP. Out: events through [Publisher], answers, one log line per post, metrics.
// Refused: a receiver without a usable secret, a repository outside a receiver's scope,
// and any payload as an instruction. What senders look like is package webhook's.
package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/handlers/internal/intake"
)

// Publisher stores events. It returns nil only when every one of them survives a crash;
// duplicate means that all of them had been stored before. After an error the outcome is
// unknown, and storing the same events again is harmless. It obeys ctx.
type Publisher interface {
	Publish(ctx context.Context, evs ...events.Event) (duplicate bool, err error)
}

// Watchers knows who looks at what.
type Watchers interface {
	// Watching counts the Applications that look at any of the repositories, given by
	// their keys, at a ref; -1 when that is not known here.
	Watching(repoKeys []string, ref string) int
	// WatchingImage counts the policies that choose among the tags of any of the images;
	// -1 when that is not known here.
	WatchingImage(imageKeys []string) int
}

// HooksConfig is what the gateway needs.
type HooksConfig struct {
	// Receivers are the endpoints to begin with; see [Gateway.SetReceivers].
	Receivers []Receiver
	// Publisher stores events. Required.
	Publisher Publisher
	// Watchers lets an answer say that nobody looks at a repository; nil where that is
	// not known.
	Watchers Watchers
	// Limits bound what all posts together may cost; zero means [DefaultLimits].
	Limits Limits
	// TrustedProxies are the addresses whose X-Forwarded-For is believed, one hop each.
	// Without them the client is whoever opened the connection.
	TrustedProxies []netip.Prefix
	// Aliases are other addresses of servers, "host:port" to "host"; see
	// [events.HostAliases].
	Aliases events.HostAliases
	// Closing, once closed, makes the gateway refuse new posts with 503 while it
	// finishes those it has. Nil means never.
	Closing <-chan struct{}
	// Logger gets one line per post; nil discards.
	Logger *slog.Logger
	// Registerer gets the metrics tradewind_webhook_*; nil keeps them private.
	Registerer prometheus.Registerer

	now func() time.Time // in tests
}

// Validate refuses what could not work; every error names its place.
func (c HooksConfig) Validate() error {
	var errs []error
	if c.Publisher == nil {
		errs = append(errs, errors.New("hooks: no publisher"))
	}
	if c.Limits != (Limits{}) {
		errs = append(errs, c.Limits.Validate())
	}
	_, err := newEndpoints(c.Receivers, DefaultLimits())
	return errors.Join(append(errs, err)...)
}

// Gateway takes webhooks. It is safe for concurrent use.
type Gateway struct {
	publisher Publisher
	watchers  Watchers
	limits    Limits
	proxies   []netip.Prefix
	aliases   events.HostAliases
	closing   <-chan struct{}
	log       *slog.Logger
	metrics   *metrics
	now       func() time.Time

	endpoints atomic.Pointer[endpoints]
	rate      *rate.Limiter
	intake    *intake.Intake
	working   chan struct{} // a token each
	router    chi.Router
}

// Hooks returns the handler of the listener that senders post to. It answers
// POST /hooks/<sender>/<receiver id> and nothing else.
func Hooks(cfg HooksConfig) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	limits := cfg.Limits
	if limits == (Limits{}) {
		limits = DefaultLimits()
	}
	g := &Gateway{
		publisher: cfg.Publisher, watchers: cfg.Watchers, limits: limits, proxies: cfg.TrustedProxies,
		aliases: cfg.Aliases, closing: cfg.Closing, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		now: cfg.now, rate: rate.NewLimiter(rate.Limit(limits.GlobalPerSecond), limits.GlobalPerSecond),
		intake: intake.New(limits.BodyBytes, limits.BodyTime, limits.Reading), working: make(chan struct{}, limits.InFlight),
	}
	if g.now == nil {
		g.now = time.Now
	}
	g.metrics = newMetrics(cfg.Registerer, g)
	if err := g.SetReceivers(cfg.Receivers); err != nil {
		return nil, err
	}
	g.router = g.routes()
	return g, nil
}

// SetReceivers replaces all receivers, as after a change of configuration or secrets.
// When one of them is not usable, none is replaced.
func (g *Gateway) SetReceivers(receivers []Receiver) error {
	next, err := newEndpoints(receivers, g.limits)
	if err != nil {
		return err
	}
	if last := g.endpoints.Load(); last != nil {
		next.inherit(last)
	}
	g.metrics.receivers(next)
	g.endpoints.Store(next)
	return nil
}

// ServeHTTP implements [http.Handler].
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.router.ServeHTTP(w, r) }

const hookPath = "/hooks/{sender}/{id}"

// routes does without the middlewares that rewrite paths or believe forwarded headers:
// a path reaches a receiver byte by byte or not at all.
func (g *Gateway) routes() chi.Router {
	r := chi.NewRouter()
	r.Post(hookPath, g.serve)
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) { notFound().write(w) })
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		// The router says this of every path when it does not know the method.
		if parts := strings.Split(r.URL.EscapedPath(), "/"); len(parts) != 4 || parts[1] != "hooks" {
			notFound().write(w)
			return
		}
		w.Header().Set("Allow", http.MethodPost)
		refuse(http.StatusMethodNotAllowed, unknown, "only POST is served here", "this is the address to enter as webhook URL").write(w)
	})
	return r
}

// The deadlines of the listener that [Server] returns. A body has BodyTime of the limits,
// after which there is time for an answer.
const (
	headerTime = 5 * time.Second
	idleTime   = time.Minute
	answerTime = 15 * time.Second
	maxHeader  = 64 << 10
)

// Server is an HTTP server for h whose deadlines leave a slow or silent client nothing
// to hold. The body deadline is the handler's own.
func Server(addr string, h http.Handler) *http.Server {
	body := DefaultLimits().BodyTime
	return &http.Server{
		Addr: addr, Handler: h,
		ReadHeaderTimeout: headerTime, ReadTimeout: headerTime + body, WriteTimeout: headerTime + body + answerTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true,
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
}

// id names a receiver as the path does.
func endpointID(sender, id string) string { return fmt.Sprintf("%s/%s", sender, id) }
