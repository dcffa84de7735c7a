package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/integration/world/oci"
	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

// The receiver that every world's Git server posts to.
const (
	ReceiverID = "demo"
	Secret     = "not-a-secret-outside-of-this-world"
)

// imageReceiver is how logs call the one that the world's registry posts to.
const imageReceiver = "images"

const readyTimeout = time.Minute

// Tradewind is the program under test: a child process that can be killed and started
// again with the same configuration, queue and addresses.
type Tradewind struct {
	Binary string
	Config string // path of its configuration file
	Log    *proc.Log

	env     []string
	config  map[string]any
	process *proc.Process
	ended   bool   // by us, or not started yet
	hooks   string // host:port, kept across restarts as a forge would expect
	admin   string
	client  *http.Client
}

func newTradewind(dir, binary string, config map[string]any) (*Tradewind, error) {
	if err := os.MkdirAll(filepath.Join(dir, "queue"), 0o755); err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "webhook-secret")
	if err := os.WriteFile(secret, []byte(Secret+"\n"), 0o600); err != nil {
		return nil, err
	}
	log, err := proc.NewLog(filepath.Join(dir, "tradewind.log"))
	if err != nil {
		return nil, err
	}
	return &Tradewind{
		Binary: binary, Config: filepath.Join(dir, "tradewind.yaml"), Log: log, config: config, ended: true,
		env:   []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir()},
		hooks: "127.0.0.1:0", admin: "127.0.0.1:0", client: &http.Client{Timeout: 10 * time.Second},
	}, nil
}

// configFor is everything of the file that does not change while the world lives.
func configFor(dir, gitHost, chartHost, imageHost, kubeconfig string) map[string]any {
	secret := filepath.Join(dir, "webhook-secret")
	hosts := []string{gitHost, chartHost, imageHost}
	return map[string]any{
		"queue":    map[string]any{"storeDir": filepath.Join(dir, "queue"), "allowVolatile": true},
		"git":      map[string]any{"allowedHosts": hosts, "insecureHosts": hosts},
		"forges":   map[string]any{gitHost: "github"},
		"steps":    map[string]any{"allowedHosts": []string{"127.0.0.1"}},
		"cluster":  map[string]any{"kubeconfig": kubeconfig},
		"web":      map[string]any{"address": ""},
		"admin":    map[string]any{},
		"log":      map[string]any{"level": "debug", "format": "json"},
		"registry": map[string]any{"allowedHosts": []string{imageHost}, "insecureHosts": []string{imageHost}},
		"hooks": map[string]any{"receivers": []any{
			map[string]any{
				"id": ReceiverID, "name": ReceiverID, "sender": "github", "secretFile": secret, "scope": []string{gitHost + "/acme/*"},
			},
			map[string]any{
				"id": ReceiverID, "name": imageReceiver, "sender": "distribution", "secretFile": secret, "scope": []string{imageHost + "/*"},
			},
		}},
		"poll": map[string]any{"maxInterval": "10m"},
	}
}

// Start runs "tradewind serve" and returns when it is ready for work.
func (t *Tradewind) Start(ctx context.Context) error {
	if t.process != nil && t.process.Running() {
		return errors.New("tradewind is running already")
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := t.writeConfig(); err != nil {
		return err
	}
	from := t.Log.Len()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), t.Binary, "serve", "--config", t.Config)
	cmd.Env = t.env
	var err error
	if t.process, err = proc.Start("tradewind", t.Log, cmd); err != nil {
		return err
	}
	ctx, release := t.process.WhileRunning(ctx)
	defer release()
	t.ended = false
	if t.hooks, err = t.listening(ctx, from, "hooks"); err != nil {
		return err
	}
	if t.admin, err = t.listening(ctx, from, "admin"); err != nil {
		return err
	}
	return proc.Poll(ctx, func() error { return t.ready(ctx) })
}

func (t *Tradewind) writeConfig() error {
	for section, address := range map[string]string{"hooks": t.hooks, "admin": t.admin} {
		t.config[section].(map[string]any)["address"] = address
	}
	data, err := yaml.Marshal(t.config)
	if err != nil {
		return err
	}
	return os.WriteFile(t.Config, data, 0o600)
}

// listening finds the address of a listener in the log.
func (t *Tradewind) listening(ctx context.Context, from int, part string) (string, error) {
	var line struct{ Msg, Part, Address string }
	_, _, err := t.Log.Await(ctx, from, func(text string) bool {
		line.Msg, line.Part, line.Address = "", "", ""
		return json.Unmarshal([]byte(text), &line) == nil && line.Msg == "listening" && line.Part == part
	})
	if err != nil {
		return "", fmt.Errorf("waiting for tradewind to listen for %s: %w", part, err)
	}
	return line.Address, nil
}

func (t *Tradewind) ready(ctx context.Context) error {
	status, body, err := t.get(ctx, "/readyz")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("readyz answers %d: %s", status, body)
	}
	return nil
}

func (t *Tradewind) get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.admin+path, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := t.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// HooksURL is where a sender posts to.
func (t *Tradewind) HooksURL() string { return "http://" + t.hooks }

// AdminURL serves metrics and probes.
func (t *Tradewind) AdminURL() string { return "http://" + t.admin }

// Webhook is what a user would enter at the forge.
func (t *Tradewind) Webhook() *forge.Webhook {
	return &forge.Webhook{URL: t.HooksURL() + "/hooks/github/" + ReceiverID, Secret: Secret}
}

// ImageWebhook is what a user would enter at the registry.
func (t *Tradewind) ImageWebhook() *oci.Webhook {
	return &oci.Webhook{URL: t.HooksURL() + "/hooks/distribution/" + ReceiverID, Secret: Secret}
}

// Alive is nil while the process runs.
func (t *Tradewind) Alive() error {
	if t.process == nil {
		return errors.New("tradewind was not started")
	}
	if !t.process.Running() {
		return t.process.Crashed()
	}
	return nil
}

// PID is the process to be measured.
func (t *Tradewind) PID() int { return t.process.PID() }

// Kill ends it as a crash of the machine would: SIGKILL.
func (t *Tradewind) Kill() error {
	if err := t.Alive(); err != nil {
		return err
	}
	t.ended = true
	t.process.Kill()
	return nil
}

// Stop ends it in good order.
func (t *Tradewind) Stop(ctx context.Context) error {
	if err := t.Alive(); err != nil {
		return err
	}
	t.ended = true
	return t.process.Stop(ctx)
}

// Metric sums the series of Tradewind that match.
func (t *Tradewind) Metric(ctx context.Context, s kube.Selector) (float64, error) {
	status, body, err := t.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("metrics answer %d", status)
	}
	return s.Sum(bytes.NewReader(body))
}
