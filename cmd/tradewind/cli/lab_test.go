package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// lab is a cluster that holds what a test puts into it and notes what is asked of it.
type lab struct {
	shelf
	revisions []apply.Revision
	entries   []apply.Entry
	objects   []*unstructured.Unstructured
	columns   map[string][]apply.Column // by kind
	pods      []*unstructured.Unstructured
	logs      map[string]string // by pod/container
	fail      error             // of every write
	idle      bool              // nobody deals with requests about workflows
	refuses   string            // what is said to them

	mu  sync.Mutex
	did []string
}

func (l *lab) note(format string, args ...any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.did = append(l.did, fmt.Sprintf(format, args...))
	return l.fail
}

func (l *lab) Revisions(context.Context, string, string) ([]apply.Revision, error) {
	return l.revisions, l.err
}

func (l *lab) Restore(_ context.Context, app, recorded *oam.Application, dryRun bool) error {
	return l.note("spec of %s: %s, dry run %t", app.Name, recorded.Spec.Components[0].Properties["image"], dryRun)
}

// Annotate answers a request about a workflow at once, as a worker does in a moment.
func (l *lab) Annotate(_ context.Context, namespace, name string, annotations map[string]string) error {
	var request workflowRequest
	if json.Unmarshal([]byte(annotations[annotationWorkflow]), &request) == nil && !l.idle {
		for _, app := range l.apps {
			if app.Namespace == namespace && app.Name == name {
				app.Status.Workflow.Request, app.Status.Workflow.Refused = request.ID, l.refuses
			}
		}
	}
	return l.note("annotate %s/%s %v", namespace, name, annotations)
}

func (l *lab) Label(_ context.Context, namespace, name string, labels map[string]string) error {
	return l.note("label %s/%s %v", namespace, name, labels)
}

func (l *lab) DeleteApplication(_ context.Context, app *oam.Application, orphan, dryRun bool) error {
	return l.note("delete %s, orphan %t, dry run %t", app.Name, orphan, dryRun)
}

func (l *lab) Tracked(context.Context, string, string) ([]apply.Entry, error) {
	return l.entries, l.err
}

func (l *lab) Read(_ context.Context, ref apply.ObjectRef) (*unstructured.Unstructured, error) {
	for _, o := range l.objects {
		if plainRef(apply.RefOf(o)) == plainRef(ref) {
			return o, nil
		}
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: ref.Kind}, ref.Name)
}

func (l *lab) Columns(_ context.Context, ref apply.ObjectRef) ([]apply.Column, error) {
	return l.columns[ref.Kind], nil
}

// DryRun takes an object as it is rendered, as the server does with most.
func (l *lab) DryRun(ctx context.Context, _ apply.Owner, items []apply.Item, _ bool) []apply.Preview {
	var out []apply.Preview
	for _, item := range items {
		p := apply.Preview{Ref: apply.RefOf(item.Object), Action: apply.Created, Applied: item.Object}
		if live, err := l.Read(ctx, p.Ref); err == nil {
			p.Live, p.Action = live, apply.Configured
		}
		if l.fail != nil {
			p.Action, p.Err = apply.Failed, l.fail
		}
		out = append(out, p)
	}
	return out
}

func (l *lab) Pods(_ context.Context, namespace, selector string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, pod := range l.pods {
		matches := func(term string) bool {
			key, value, _ := strings.Cut(term, "=")
			return pod.GetLabels()[key] == value
		}
		if pod.GetNamespace() == namespace && !slices.ContainsFunc(strings.Split(selector, ","), func(t string) bool { return !matches(t) }) {
			out = append(out, pod)
		}
	}
	return out, l.err
}

func (l *lab) Logs(_ context.Context, _, pod string, o apply.LogOptions) (io.ReadCloser, error) {
	if l.fail != nil {
		return nil, l.fail
	}
	return io.NopCloser(strings.NewReader(l.logs[pod+"/"+o.Container])), nil
}

func (l *lab) Version() (apply.Version, error) {
	return apply.Version{Major: 1, Minor: 37, GitVersion: "v1.37.0"}, nil
}

func (l *lab) ListDefinitions(context.Context, string, string) ([]unstructured.Unstructured, error) {
	return nil, nil
}

func (l *lab) Namespaced(schema.GroupKind) (namespaced, known bool) { return false, false }

func (l *lab) SecretData(context.Context, string, string) (map[string][]byte, error) {
	return map[string][]byte{"username": []byte("bot"), "password": []byte("pass")}, l.err
}

var _ cluster = (*lab)(nil)

// at runs a command line on the lab.
func at(t *testing.T, l *lab, environ []string, args ...string) (*process, int) {
	t.Helper()
	p := newProcess(environ...)
	connect := func(clusterFlags) (cluster, error) { return l, nil }
	root := newRootCmd(p.env)
	fresh := append(clusterCommands(p.env, connect), statusCmd(p.env, func(clusterFlags) (applications, error) { return l, nil }, connect))
	for _, f := range fresh {
		for _, cmd := range root.Commands() {
			if cmd.Name() == f.Name() {
				root.RemoveCommand(cmd)
			}
		}
		root.AddCommand(f)
	}
	root.SetArgs(args)
	return p, p.exit(root.ExecuteContext(t.Context()))
}

// objectFrom reads one object.
func objectFrom(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}
