package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue"
	"github.com/tradewind-dev/tradewind/handlers"
	"github.com/tradewind-dev/tradewind/services/bump"
	"github.com/tradewind-dev/tradewind/services/commitstatus"
	"github.com/tradewind-dev/tradewind/services/reconcile"
	records "github.com/tradewind-dev/tradewind/services/status"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/guard"
	"github.com/tradewind-dev/tradewind/sync/helm"
	"github.com/tradewind-dev/tradewind/sync/outbound"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/render/pool"
)

func newServeCmd(e *env) *cobra.Command {
	var path, role string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway, the router and the workers",
		Long: "Run Tradewind: an HTTP gateway that takes webhooks, a durable queue, and workers\n" +
			"that deliver. By default all of it in this process, with the queue embedded.",
		Example: "  tradewind serve --config tradewind.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(configPath(path, e), e.environ)
			if err != nil {
				return err
			}
			if role != "" {
				cfg.Role = role
				if err := cfg.Validate(); err != nil {
					return err
				}
			}
			return serve(cmd.Context(), e, cfg)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file (default $TRADEWIND_CONFIG)")
	cmd.Flags().StringVar(&role, "role", "", "all, gateway or worker (default from the configuration)")
	return cmd
}

func configPath(flag string, e *env) string {
	if flag != "" {
		return flag
	}
	return e.getenv("TRADEWIND_CONFIG")
}

// server is everything one process runs. Which parts there are depends on the role.
type server struct {
	cfg      Config
	log      *slog.Logger
	registry *prometheus.Registry
	queue    *queue.Queue
	worker   *worker // nil in a gateway
	parts    errgroup.Group
	checks   []handlers.Check
}

// worker is the consuming half.
type worker struct {
	cluster    *apply.Cluster
	mirrors    *git.Mirrors
	reconciler *reconcile.Reconciler
	processes  *pool.Pool
	bumper     *bump.Bumper
	teller     *commitstatus.Teller
	running    atomic.Int32 // jobs
}

// busy says that there is more to deliver than can be at once.
func (s *server) busy() bool { return int(s.worker.running.Load()) >= s.cfg.Worker.Slots }

func serve(ctx context.Context, e *env, cfg Config) error {
	s := &server{cfg: cfg, log: newLogger(e.stderr, cfg.Log), registry: prometheus.NewRegistry()}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	slog.SetDefault(s.log)
	bridgeKubernetesLogs(s.log)
	q, err := queue.Open(ctx, queueConfig(cfg), queue.Options{Logger: s.log, Registerer: s.registry})
	if err != nil {
		return err
	}
	s.queue = q
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if err := q.Close(closing); err != nil {
			s.log.Warn("closing the queue", "err", err)
		}
	}()
	s.checks = append(s.checks, handlers.Check{Name: "queue", Ask: q.Ready})
	if cfg.Role != roleGateway {
		if err := s.newWorker(); err != nil {
			return err
		}
	}
	// Everything stops when one part fails, and the listeners answer until work has
	// stopped coming.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.start(ctx, cancel)
	<-ctx.Done()
	s.log.Info("stopping", "grace", cfg.Worker.Grace.String())
	err = s.parts.Wait()
	if s.worker != nil {
		s.worker.processes.Close()
	}
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

func queueConfig(cfg Config) queue.Config {
	c := queue.Default()
	c.URL, c.CredentialsFile = cfg.Queue.URL, cfg.Queue.CredentialsFile
	c.StoreDir, c.AllowVolatile = cfg.Queue.StoreDir, cfg.Queue.AllowVolatile
	c.Replicas, c.Grace = cfg.Queue.Replicas, cfg.Worker.Grace
	return c
}

func (s *server) newWorker() error {
	cluster, err := apply.Connect(apply.Config{Kubeconfig: s.cfg.Cluster.Kubeconfig, Context: s.cfg.Cluster.Context},
		apply.Options{Logger: s.log, Registerer: s.registry})
	if err != nil {
		return err
	}
	mirrors := git.NewMirrors(git.Config{
		Dir: s.cfg.Git.Dir, AllowedHosts: s.cfg.Git.AllowedHosts, InsecureHosts: s.cfg.Git.InsecureHosts,
		Timeout: s.cfg.Git.Timeout, Registerer: s.registry,
	})
	charts := helm.NewCharts(helm.Config{
		Dial: guard.New("git.allowedHosts", s.cfg.Git.AllowedHosts, nil).Dial, InsecureHosts: s.cfg.Git.InsecureHosts, Timeout: s.cfg.Git.Timeout,
	})
	catalog := render.NewCatalog()
	types := render.Config{Definitions: catalog, Namespaced: cluster.Namespaced}
	processes := pool.New(types, renderPool(s.cfg.Render, s.log))
	types.Elsewhere = processes
	images, forges := registryClient(s.cfg.Registry), newForges(s.cfg)
	teller := commitstatus.New(commitstatus.Config{Cluster: cluster, Forge: forges, Reports: s.queue, Logger: s.log})
	cluster.OnApplication(teller.OnApplication)
	s.worker = &worker{cluster: cluster, mirrors: mirrors, processes: processes, teller: teller, reconciler: reconcile.New(reconcile.Config{
		Cluster: cluster, Mirrors: mirrors, Charts: charts, RenderChart: chartsIn(processes), Catalog: catalog, Renderer: render.New(types),
		Queue: reconcileQueue{s.queue}, Sole: s.cfg.Queue.URL == "", Outside: outbound.New(outbound.Config{AllowedHosts: s.cfg.Steps.AllowedHosts}),
		Warm: processes.Warm, Standing: teller.Tell, NeedsAccount: s.cfg.Cluster.RequireServiceAccount,
		Sources: otherSources(s.cfg, images), Logger: s.log, Registerer: s.registry,
	})}
	s.worker.bumper = s.newBumper(cluster, mirrors, images, forges)
	s.checks = append(s.checks, handlers.Check{Name: "cluster", Ask: cluster.Ready})
	return nil
}

func renderPool(cfg RenderConfig, log *slog.Logger) pool.Config {
	return pool.Config{Size: cfg.Processes, Timeout: cfg.Timeout, Memory: int64(cfg.MemoryMiB) << 20, Logger: log.With("part", "render")}
}

// start runs every part in a goroutine of its own; the first that fails ends all.
func (s *server) start(ctx context.Context, fail context.CancelCauseFunc) {
	run := func(name string, part func(context.Context) error) {
		s.parts.Go(func() error {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", name, err))
				return err
			}
			return nil
		})
	}
	if s.cfg.Role != roleWorker && s.cfg.Hooks.Address != "" {
		run("hooks", s.serveHooks)
	}
	if s.cfg.Admin.Address != "" {
		run("admin", s.serveAdmin)
	}
	run("memory", boundMemory)
	if s.worker == nil {
		return
	}
	run("watches", s.worker.cluster.Run)
	run("wake", s.worker.reconciler.Wake)
	run("resync", func(ctx context.Context) error { return s.worker.reconciler.Resync(ctx, s.cfg.Worker.Resync) })
	run("definitions", s.worker.reconciler.RecordDefinitions)
	run("images", s.worker.bumper.Wake)
	run("poll", s.poll)
	run("commitstatus", s.worker.teller.Run)
	run("status", records.New(s.queue, s.worker.cluster, s.busy, s.log).Run)
	run("work", func(ctx context.Context) error {
		// Routing against a half-filled index would send events to nobody.
		if err := s.worker.cluster.WaitForSync(ctx); err != nil {
			return err
		}
		s.log.Info("working", "part", "worker", "slots", s.cfg.Worker.Slots, "apps", len(s.worker.cluster.Applications()))
		var both errgroup.Group
		both.Go(func() error { return s.queue.Route(ctx, s.worker.route) })
		both.Go(func() error { return s.queue.Work(ctx, s.cfg.Worker.Slots, s.worker.run) })
		return both.Wait()
	})
}

// route hands an event to everyone it may concern.
func (w *worker) route(ctx context.Context, ev events.Event) ([]events.Trigger, error) {
	triggers, err := w.bumper.Route(ctx, ev)
	if err != nil {
		return nil, err
	}
	if ev.Type == events.TypeArtifactPublished {
		published, err := ev.Published()
		return append(triggers, w.reconciler.RoutePublished(ev, published.Images, published.Tag)...), err
	}
	apps, err := w.reconciler.Route(ctx, ev)
	return append(apps, triggers...), err
}

// run hands a key to whom it belongs.
func (w *worker) run(ctx context.Context, job queue.Job) error {
	w.running.Add(1)
	defer w.running.Add(-1)
	if _, ok := job.Key.Branch(); ok {
		return w.bumper.Run(ctx, bump.Job{Trigger: job.Trigger, Check: job.Check})
	}
	return w.reconciler.Run(ctx, reconcile.Job{Trigger: job.Trigger, Attempt: job.Attempt, Check: job.Check})
}

// reconcileQueue is the queue as a Reconciler sees it.
type reconcileQueue struct{ *queue.Queue }

var _ reconcile.Queue = reconcileQueue{}

// Sighting drops all but the mark.
func (q reconcileQueue) Sighting(ctx context.Context, source string) (uint64, error) {
	s, err := q.Queue.Sighting(ctx, source)
	return s.Mark, err
}

// The drain of a listener: it goes on answering while load balancers notice that it is
// not ready, then finishes what it has.
const (
	noticePause  = 500 * time.Millisecond
	drainTimeout = 10 * time.Second
)

// listen serves until ctx ends, then drains.
func (s *server) listen(ctx context.Context, part, address string, srv *http.Server) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	s.log.Info("listening", "part", part, "address", ln.Addr().String())
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		time.Sleep(noticePause)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		stopped <- srv.Shutdown(drain)
	})
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// publisher is the queue as the gateway and the poller see it.
type publisher struct{ *queue.Queue }

// Publish says whether all of the events had been stored before.
func (p publisher) Publish(ctx context.Context, evs ...events.Event) (duplicate bool, err error) {
	stored, err := p.Queue.Publish(ctx, evs...)
	if err != nil {
		return false, err
	}
	for _, s := range stored {
		if !s.Duplicate {
			return false, nil
		}
	}
	return len(stored) > 0, nil
}
