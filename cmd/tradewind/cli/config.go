package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tradewind-dev/tradewind/handlers"
)

// Config is the whole configuration file. Defaults < file < environment < flags; any key
// can come from the environment: queue.storeDir is TRADEWIND_QUEUE_STORE_DIR, a list or
// object is given there as YAML.
type Config struct {
	// Role is what this process does: all (default), gateway or worker. Gateways and
	// workers apart need an external queue (queue.url).
	Role string `yaml:"role"`

	Hooks    HooksConfig    `yaml:"hooks"`
	Web      ListenConfig   `yaml:"web"`
	Admin    AdminConfig    `yaml:"admin"`
	Queue    QueueConfig    `yaml:"queue"`
	Git      GitConfig      `yaml:"git"`
	Registry RegistryConfig `yaml:"registry"`
	Images   ImagesConfig   `yaml:"images"`
	// Forges says, by host (host or host:port), what kind of forge repositories are at:
	// github, gitlab or gitea (Forgejo, too). The public sites are known. It is needed for
	// pull requests and commit statuses.
	Forges ForgesConfig `yaml:"forges"`

	Cluster ClusterConfig `yaml:"cluster"`
	Worker  WorkerConfig  `yaml:"worker"`
	Render  RenderConfig  `yaml:"render"`
	Steps   StepsConfig   `yaml:"steps"`
	Poll    PollConfig    `yaml:"poll"`
	Log     LogConfig     `yaml:"log"`
}

// ListenConfig is one HTTP listener.
type ListenConfig struct {
	// Address is host:port; port 0 takes a free one, which the log names. Empty
	// switches the listener off.
	Address string `yaml:"address"`
}

// AdminConfig is the listener for the node and the scraper: metrics and probes.
type AdminConfig struct {
	// Address as in ListenConfig.
	Address string `yaml:"address"`
	// Profiling adds /debug/pprof/, for whoever can reach the address.
	Profiling bool `yaml:"profiling"`
}

// HooksConfig is the gateway: where forges post to.
type HooksConfig struct {
	// Address of the only listener that an Ingress should expose.
	Address string `yaml:"address"`
	// TrustedProxies are CIDRs whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trustedProxies"`
	// Receivers are the endpoints /hooks/<sender>/<id>.
	Receivers []ReceiverConfig `yaml:"receivers"`
	// Limits bound what posts may cost; a key that is absent keeps its default.
	Limits HookLimits `yaml:"limits"`
}

// HookLimits are rates of genuine posts. Above one of them a post is answered 429 with a
// Retry-After, and the forge sends it again.
type HookLimits struct {
	// GlobalPerSecond is how many are taken over all receivers.
	GlobalPerSecond int `yaml:"globalPerSecond"`
	// PerMinute and Burst are for one receiver that checks signatures.
	PerMinute int `yaml:"perMinute"`
	Burst     int `yaml:"burst"`
	// UnsignedPerMinute is for one that cannot.
	UnsignedPerMinute int `yaml:"unsignedPerMinute"`
}

// ReceiverConfig is one endpoint for one sender.
type ReceiverConfig struct {
	// ID is the last part of the path: letters, digits, - and _.
	ID string `yaml:"id"`
	// Name is how logs call it; the id when empty.
	Name string `yaml:"name"`
	// Sender is the product that posts: github (GHCR too), gitlab, harbor, distribution,
	// dockerhub, generic.
	Sender string `yaml:"sender"`
	// SecretFile holds the shared secret, at least 16 bytes. One trailing newline is
	// not part of it. Enter it at github as the webhook's secret, at gitlab as its secret
	// token, at harbor as its auth header, in the configuration of a distribution registry
	// as the header "Authorization: Bearer <secret>". It is sent in clear by all but the
	// first, so use one for each.
	SecretFile string `yaml:"secretFile"`
	// PreviousSecretFile holds the secret before a rotation, accepted until
	// PreviousExpires.
	PreviousSecretFile string    `yaml:"previousSecretFile"`
	PreviousExpires    time.Time `yaml:"previousExpires"`
	// Unsigned accepts posts without signature from senders that cannot sign, as dockerhub.
	// Such an event can only cause a look at the source. Its id must be random, from
	// openssl rand -hex 16.
	Unsigned bool `yaml:"unsigned"`
	// Scope lists the repositories and images this sender may speak for: host/path, or
	// host/org/* for all below. For an image the host is the registry's: ghcr.io,
	// docker.io, registry.example.com:5000. Required.
	Scope []string `yaml:"scope"`
}

// QueueConfig is the durable queue, NATS JetStream.
type QueueConfig struct {
	// URL of an external NATS cluster. Empty runs JetStream inside this process,
	// without a listener.
	URL string `yaml:"url"`
	// CredentialsFile for the external cluster.
	CredentialsFile string `yaml:"credentialsFile"`
	// StoreDir keeps the embedded queue; it must be on a disk that outlives the process.
	StoreDir string `yaml:"storeDir"`
	// AllowVolatile permits a StoreDir on a temporary file system (demo, tests).
	AllowVolatile bool `yaml:"allowVolatile"`
	// Replicas of each stream on an external cluster, 1 or 3.
	Replicas int `yaml:"replicas"`
}

// GitConfig is how sources are reached; the lists of hosts hold for charts and
// buckets, too.
type GitConfig struct {
	// Dir caches mirrors; it may vanish at any time. Empty keeps them in memory.
	Dir string `yaml:"dir"`
	// AllowedHosts are hosts (host or host:port) that may resolve to private or
	// loopback addresses.
	AllowedHosts []string `yaml:"allowedHosts"`
	// InsecureHosts may be reached over plain http.
	InsecureHosts []string `yaml:"insecureHosts"`
	// Timeout bounds one fetch.
	Timeout time.Duration `yaml:"timeout"`
}

// RegistryConfig is how image registries are reached.
type RegistryConfig struct {
	// AllowedHosts are hosts (host or host:port) that may resolve to private or
	// loopback addresses.
	AllowedHosts []string `yaml:"allowedHosts"`
	// InsecureHosts may be reached over plain http.
	InsecureHosts []string `yaml:"insecureHosts"`
	// TokenRealms are, by registry, further hosts that may get its credentials to hand
	// out a token.
	TokenRealms map[string][]string `yaml:"tokenRealms"`
}

// ClusterConfig is how the Kubernetes API is reached. Both empty means the pod's own
// service account.
type ClusterConfig struct {
	Kubeconfig string `yaml:"kubeconfig"`
	Context    string `yaml:"context"`
	// RequireServiceAccount refuses Applications without the annotation
	// app.oam.dev/service-account-name. It names the account of the Application's namespace
	// that everything is read and written as; without it that is Tradewind's own.
	RequireServiceAccount bool `yaml:"requireServiceAccount"`
}

// WorkerConfig is the consuming half.
type WorkerConfig struct {
	// Slots is how many Applications are worked on at once.
	Slots int `yaml:"slots"`
	// Grace is how long work in hand may go on after a signal; keep it below the pod's
	// terminationGracePeriodSeconds.
	Grace time.Duration `yaml:"grace"`
	// Resync is how often everything is compared with what the watches of the cluster know,
	// as a net under them; about, so that workers do not do it all at once.
	Resync time.Duration `yaml:"resync"`
}

// RenderConfig bounds what templates, kustomizations and charts may use. They run in
// processes of their own, without network or credentials.
type RenderConfig struct {
	// Processes is how many render at once.
	Processes int `yaml:"processes"`
	// Timeout bounds the rendering of one component.
	Timeout time.Duration `yaml:"timeout"`
	// MemoryMiB bounds what one process may hold.
	MemoryMiB int `yaml:"memoryMiB"`
	// SopsBinary is the program that decrypts files; empty means tradewind-sops beside
	// this program.
	SopsBinary string `yaml:"sopsBinary"`
}

// StepsConfig is what workflow steps may reach: requests, webhooks, notifications, mail.
type StepsConfig struct {
	// AllowedHosts are hosts (host or host:port) that may resolve to private or
	// loopback addresses.
	AllowedHosts []string `yaml:"allowedHosts"`
}

// PollConfig is the safety net behind the webhooks.
type PollConfig struct {
	// MaxInterval is the longest time a source goes unlooked at, whatever pullInterval
	// its Applications ask for.
	MaxInterval time.Duration `yaml:"maxInterval"`
}

// LogConfig is the log on stderr.
type LogConfig struct {
	// Level is debug, info, warn or error.
	Level string `yaml:"level"`
	// Format is json, text, or auto (text on a terminal).
	Format string `yaml:"format"`
}

// The roles.
const (
	roleAll     = "all"
	roleGateway = "gateway"
	roleWorker  = "worker"
)

func defaultConfig() Config {
	return Config{
		Role:  roleAll,
		Hooks: HooksConfig{Address: ":9292", Limits: defaultHookLimits()},
		Web:   ListenConfig{Address: ":8080"},
		Admin: AdminConfig{Address: ":9090"},
		Queue: QueueConfig{Replicas: 1},
		Git:   GitConfig{Timeout: time.Minute},
		Images: ImagesConfig{
			BatchWindow: 100 * time.Millisecond,
			AuthorName:  "kubevelabot", AuthorEmail: "kubevelabot@users.noreply.github.com",
		},
		Worker:  WorkerConfig{Slots: 8, Grace: 20 * time.Second, Resync: time.Hour},
		Render:  RenderConfig{Processes: 2, Timeout: 30 * time.Second, MemoryMiB: 512},
		Poll:    PollConfig{MaxInterval: 10 * time.Minute},
		Log:     LogConfig{Level: "info", Format: "auto"},
		Cluster: ClusterConfig{},
	}
}

func defaultHookLimits() HookLimits {
	l := handlers.DefaultLimits()
	return HookLimits{GlobalPerSecond: l.GlobalPerSecond, PerMinute: l.PerMinute, Burst: l.Burst, UnsignedPerMinute: l.UnsignedPerMinute}
}

// loadConfig reads the file at path (none when empty) over the defaults, then the
// environment over both. Errors name the file and line, or the variable.
func loadConfig(path string, environ []string) (Config, error) {
	cfg := defaultConfig()
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return cfg, usageErrorf("reading configuration: %w", err)
		}
		if err := decodeStrict(data, &cfg); err != nil {
			return cfg, usageErrorf("reading configuration %s: %w", path, err)
		}
	}
	if err := applyEnvironment(&cfg, environ); err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

func decodeStrict(data []byte, into any) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) { // an empty file is a valid one
		return nil
	}
	if typeErr, ok := errors.AsType[*yaml.TypeError](err); ok {
		return errors.New(strings.Join(typeErr.Errors, "; "))
	}
	return err
}

// Validate refuses, at start, what would fail later; every error names its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	switch c.Role {
	case roleAll:
	case roleGateway, roleWorker:
		if c.Queue.URL == "" {
			bad("queue.url", "role %s needs an external queue; set it, or use role all", c.Role)
		}
	default:
		bad("role", "%q: want all, gateway or worker", c.Role)
	}
	if c.Queue.URL == "" && c.Queue.StoreDir == "" {
		bad("queue.storeDir", "the embedded queue needs a directory on a durable disk")
	}
	if c.Queue.URL == "" && c.Queue.StoreDir != "" && !filepath.IsAbs(c.Queue.StoreDir) {
		bad("queue.storeDir", "%q: want an absolute path", c.Queue.StoreDir)
	}
	if c.Worker.Slots < 1 || c.Worker.Slots > 1000 {
		bad("worker.slots", "%d: want 1 to 1000", c.Worker.Slots)
	}
	if c.Worker.Grace < time.Second || c.Worker.Grace > 10*time.Minute {
		bad("worker.grace", "%s: want 1s to 10m", c.Worker.Grace)
	}
	if c.Worker.Resync < 10*time.Second || c.Worker.Resync > 24*time.Hour {
		bad("worker.resync", "%s: want 10s to 24h", c.Worker.Resync)
	}
	if c.Render.Processes < 1 || c.Render.Processes > 100 {
		bad("render.processes", "%d: want 1 to 100", c.Render.Processes)
	}
	if c.Render.Timeout < time.Second || c.Render.Timeout > 10*time.Minute {
		bad("render.timeout", "%s: want 1s to 10m", c.Render.Timeout)
	}
	if c.Render.MemoryMiB < 64 || c.Render.MemoryMiB > 1<<20 {
		bad("render.memoryMiB", "%d: want 64 or more", c.Render.MemoryMiB)
	}
	if c.Poll.MaxInterval < 10*time.Second || c.Poll.MaxInterval > time.Hour {
		bad("poll.maxInterval", "%s: want 10s to 1h", c.Poll.MaxInterval)
	}
	if c.Git.Timeout < time.Second || c.Git.Timeout > 30*time.Minute {
		bad("git.timeout", "%s: want 1s to 30m", c.Git.Timeout)
	}
	c.Images.validate(bad)
	c.Forges.validate(bad)
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		bad("log.level", "%q: want debug, info, warn or error", c.Log.Level)
	}
	switch c.Log.Format {
	case "json", "text", "auto":
	default:
		bad("log.format", "%q: want json, text or auto", c.Log.Format)
	}
	if len(errs) == 0 {
		return nil
	}
	return usageErrorf("configuration: %w", errors.Join(errs...))
}
