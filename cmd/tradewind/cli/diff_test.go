package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

const diffApp = `apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: site, namespace: prod}
spec:
  components:
    - name: site
      type: k8s-objects
      properties:
        objects:
          - apiVersion: v1
            kind: ConfigMap
            metadata: {name: settings, namespace: prod}
            data: {colour: blue, size: large}
          - apiVersion: v1
            kind: Secret
            metadata: {name: login, namespace: prod}
            data: {password: bmV3LXBhc3N3b3Jk, user: c2FtZS11c2Vy, token: YWRkZWQtdG9rZW4=}
`

const liveSettings = `apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: prod
  uid: "1"
  resourceVersion: "7"
data: {colour: red, size: large}
`

const liveLogin = `apiVersion: v1
kind: Secret
metadata:
  name: login
  namespace: prod
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"password":"b2xkLXBhc3N3b3Jk"}}'}
data: {password: b2xkLXBhc3N3b3Jk, user: c2FtZS11c2Vy, gone: Z29uZS12YWx1ZQ==}
`

func TestDiff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "site.yaml")
	if err := os.WriteFile(file, []byte(diffApp), 0o600); err != nil {
		t.Fatal(err)
	}
	app, err := oam.Parse([]byte(diffApp))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		args  []string
		setup func(*lab)
	}{
		{"diff", []string{"diff", "prod/site"}, nil},
		{"diff-color", []string{"diff", "prod/site", "--color", "always"}, nil},
		{"diff-file", []string{"diff", "-f", "site.yaml", "--exit-code=false"}, func(l *lab) { l.objects, l.entries = nil, nil }},
		{"diff-fails", []string{"diff", "prod/site"}, func(l *lab) {
			l.fail = errors.New("applying ConfigMap prod/settings: .data.colour: there is no such colour")
		}},
		{"diff-no-argument", []string{"diff"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &lab{shelf: shelf{apps: []*oam.Application{app.DeepCopy()}}}
			l.objects = append(l.objects, objectFrom(t, liveSettings), objectFrom(t, liveLogin),
				objectFrom(t, "{apiVersion: v1, kind: Service, metadata: {name: old, namespace: prod}, spec: {type: ClusterIP}}"),
				objectFrom(t, "{apiVersion: v1, kind: Service, metadata: {name: kept, namespace: prod, annotations: {tradewind.dev/prune: disabled}}}"))
			l.entries, _ = entriesOf("v1 ConfigMap prod/settings", "v1 Secret prod/login", "v1 Service prod/old", "v1 Service prod/gone", "v1 Service prod/kept")
			if tt.setup != nil {
				tt.setup(l)
			}
			args := make([]string, len(tt.args))
			for i, arg := range tt.args {
				args[i] = strings.Replace(arg, "site.yaml", file, 1)
			}
			p, code := at(t, l, nil, args...)
			golden(t, tt.name, p.transcript(tt.args, code))
			noSecrets(t, p.out.String()+p.err.String())
		})
	}
}

// noSecrets looks for the values, in plain and as they are stored.
func noSecrets(t *testing.T, text string) {
	t.Helper()
	for _, value := range []string{"old-password", "new-password", "same-user", "added-token", "gone-value"} {
		for _, form := range []string{value, base64.StdEncoding.EncodeToString([]byte(value))} {
			if strings.Contains(text, form) {
				t.Errorf("%q is in the output:\n%s", form, text)
			}
		}
	}
}

// TestMaskFindsSecretsAnywhere masks the ones inside other documents and those that
// become something else.
func TestMaskFindsSecretsAnywhere(t *testing.T) {
	t.Parallel()
	secret := func(value string) any {
		return map[string]any{"apiVersion": "v1", "kind": "Secret", "stringData": map[string]any{"p": value},
			"metadata": map[string]any{"annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": value}}}
	}
	tests := map[string][2]any{
		"nested":             {secret("old-password"), secret("new-password")},
		"in a list":          {[]any{secret("old-password")}, []any{secret("new-password"), secret("added-token")}},
		"from a text":        {"text", secret("new-password")},
		"to a list":          {secret("old-password"), []any{secret("new-password")}},
		"to another kind":    {secret("old-password"), map[string]any{"kind": "ConfigMap", "apiVersion": "v1", "data": map[string]any{"a": "b"}}},
		"data is not a map":  {map[string]any{"apiVersion": "v1", "kind": "Secret", "data": "old-password"}, secret("new-password")},
		"value is no string": {map[string]any{"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"p": []any{"old-password"}}}, nil},
	}
	for name, tt := range tests {
		before, after := maskPair(map[string]any{"x": tt[0]}, map[string]any{"x": tt[1]})
		raw, err := json.Marshal([]any{before, after})
		if err != nil || !strings.Contains(string(raw), masked) {
			t.Errorf("%s: %v\n%s", name, err, raw)
		}
		noSecrets(t, string(raw))
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "app.yaml")
	const text = `apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: web}
spec:
  components:
    - {name: web, type: webservice, properties: {image: "nginx:1.29"}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, fail := range map[string]error{"dry-run": nil, "dry-run-refused": errors.New("applying Deployment default/web: no nginx here")} {
		p, code := at(t, &lab{fail: fail}, nil, "dry-run", "-f", file)
		golden(t, name, p.transcript([]string{"dry-run", "-f", "app.yaml"}, code))
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		fail error
	}{
		{"logs", []string{"logs", "my-app"}, nil},
		{"logs-follow", []string{"logs", "my-app", "-f", "-c", "worker"}, nil},
		{"logs-container", []string{"logs", "my-app", "--container", "sidecar"}, nil},
		{"logs-raw", []string{"logs", "my-app", "-o", "raw"}, nil},
		{"logs-json", []string{"logs", "my-app", "-c", "worker", "-o", "json"}, nil},
		{"logs-color", []string{"logs", "my-app", "--color", "always"}, nil},
		{"logs-no-pods", []string{"logs", "my-app", "-c", "nothing"}, nil},
		{"logs-fails", []string{"logs", "my-app"}, errors.New("reading the log of Pod default/my-server-1: container is waiting")},
		{"pods", []string{"status", "my-app", "--pod"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &lab{shelf: shelf{apps: seedApps()}, fail: tt.fail}
			for _, text := range []string{
				"{metadata: {name: my-server-1, namespace: default, labels: {app.oam.dev/name: my-app, app.oam.dev/component: my-server}}, " +
					"spec: {nodeName: node-a, initContainers: [{name: init}], containers: [{name: my-server}, {name: sidecar}]}, status: {phase: Running}}",
				"{metadata: {name: worker-1, namespace: default, labels: {app.oam.dev/name: my-app, app.oam.dev/component: worker}}, spec: {containers: [{name: worker}]}}",
				"{metadata: {name: other-1, namespace: default, labels: {app.oam.dev/name: other}}, spec: {containers: [{name: other}]}}",
			} {
				l.pods = append(l.pods, objectFrom(t, text))
			}
			l.logs = map[string]string{
				"my-server-1/init": "migrated\n", "my-server-1/my-server": "listening on 8080\r\nGET /\n", "my-server-1/sidecar": "no line end",
				"worker-1/worker": "two\x1b[2J\n\nlines\n", "other-1/other": "not ours\n",
			}
			p, code := at(t, l, nil, tt.args...)
			golden(t, tt.name, p.transcript(tt.args, code))
		})
	}
}
