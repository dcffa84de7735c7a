package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/outbound"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// Outside is what steps reach beside the cluster.
type Outside interface {
	Do(ctx context.Context, r outbound.Request) (*outbound.Response, error)
	Send(ctx context.Context, m outbound.Mail) error
}

// reads says that a call changes nothing and sends nothing, so that it may be made again.
func reads(c render.Call) bool {
	switch c.Provider {
	case "kube":
		return c.Function == "read" || c.Function == "list"
	case "query", "metrics", "multicluster", "oam":
		return c.Function != "deploy" && c.Function != "component-apply"
	case "config":
		return c.Function == "read" || c.Function == "list"
	}
	return false
}

// do makes one call of a step.
func (x *run) do(ctx context.Context, step oam.Step, c render.Call) (map[string]any, error) {
	p := params(c.Params)
	if cluster := p.text("cluster"); cluster != "" && cluster != policy.Local {
		return nil, fmt.Errorf("cluster %q is not known yet: only %q, the cluster Tradewind runs in, is", cluster, policy.Local)
	}
	switch c.Provider + " " + c.Function {
	case "kube apply":
		live, err := x.applyStepObjects(ctx, []any{p["value"]})
		if err != nil {
			return nil, err
		}
		return map[string]any{"value": live[0]}, nil
	case "kube apply-in-parallel":
		list, _ := p["value"].([]any)
		live, err := x.applyStepObjects(ctx, list)
		return map[string]any{"value": live}, err
	case "kube patch":
		return x.patchObject(ctx, p)
	case "kube read":
		return x.readObject(ctx, p)
	case "kube list":
		return x.listObjects(ctx, p)
	case "kube delete":
		return map[string]any{}, x.deleteObjects(ctx, p)
	case "http do":
		return x.httpDo(ctx, p)
	case "metrics promCheck":
		return x.promCheck(ctx, step, c)
	case "email send":
		return map[string]any{}, x.sendMail(ctx, p)
	}
	if c.Provider == "config" {
		return x.config(ctx, c.Function, p)
	}
	if value, known, err := x.doMore(ctx, c.Provider+" "+c.Function, p); known {
		return value, err
	}
	return nil, fmt.Errorf("provider %q has no function %q", c.Provider, c.Function)
}

// params are the parameters of a call.
type params map[string]any

func (p params) text(name string) string {
	s, _ := p[name].(string)
	return s
}

func (p params) object(name string) params {
	m, _ := p[name].(map[string]any)
	return m
}

func (p params) number(name string) int {
	switch n := p[name].(type) {
	case int64:
		return int(n)
	case float64:
		return int(n)
	case int:
		return n
	}
	return 0
}

func (p params) texts(name string) []string {
	list, _ := p[name].([]any)
	var out []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func (p params) labels(name string) map[string]string {
	out := map[string]string{}
	for k, v := range p.object(name) {
		out[k] = fmt.Sprint(v)
	}
	return out
}

// objectFrom is an object of a step, in the Application's namespace unless it says
// another.
func (x *run) objectFrom(value any) (*unstructured.Unstructured, error) {
	m, _ := value.(map[string]any)
	o := (&unstructured.Unstructured{Object: m}).DeepCopy()
	if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
		return nil, errors.New("value: want an object with apiVersion, kind and metadata.name")
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(x.app.Namespace)
	}
	return o, nil
}

// applyStepObjects applies objects that a step makes itself. They are the Application's
// like those of its components, and go when they are not made any more.
func (x *run) applyStepObjects(ctx context.Context, values []any) ([]any, error) {
	var items []apply.Item
	for _, value := range values {
		o, err := x.objectFrom(value)
		if err != nil {
			return nil, err
		}
		labels := o.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[oam.LabelName], labels[oam.LabelNamespace], labels[oam.LabelRevision] = x.app.Name, x.app.Namespace, x.revision.Name
		o.SetLabels(labels)
		rule := x.set.Rule(policy.ObjectOf(o.GetKind(), o.GetName(), "", labels), policy.OnUpdate)
		items = append(items, apply.Item{Object: o, Treatment: apply.Treatment(rule)})
	}
	if err := x.apply(ctx, items, false); err != nil {
		return nil, err
	}
	var out []any
	for _, item := range items {
		if made := resourceOf(item.Object, byStep); !slices.Contains(x.madeNow, made) {
			x.madeNow = append(x.madeNow, made)
		}
		live, err := x.cluster.Live(ctx, apply.RefOf(item.Object))
		if err != nil || live == nil {
			live = item.Object
		}
		out = append(out, live.DeepCopy().Object)
	}
	return out, nil
}

func (x *run) patchObject(ctx context.Context, p params) (map[string]any, error) {
	o, err := x.objectFrom(p["value"])
	if err != nil {
		return nil, err
	}
	if err := x.mayTouch(apply.RefOf(o)); err != nil {
		return nil, err
	}
	result, err := x.cluster.Patch(ctx, apply.RefOf(o), p.object("patch"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"result": result.Object}, nil
}

func (x *run) readObject(ctx context.Context, p params) (map[string]any, error) {
	o, err := x.objectFrom(p["value"])
	if err != nil {
		return nil, err
	}
	if err := x.mayTouch(apply.RefOf(o)); err != nil {
		return nil, err
	}
	found, err := x.cluster.Read(ctx, apply.RefOf(o))
	if err != nil {
		return nil, err
	}
	return map[string]any{"value": found.Object}, nil
}

func (x *run) listObjects(ctx context.Context, p params) (map[string]any, error) {
	resource, filter := p.object("resource"), p.object("filter")
	ref := kindRef(resource.text("apiVersion"), resource.text("kind"))
	ref.Namespace = filter.text("namespace")
	if err := x.mayTouch(ref); err != nil {
		return nil, err
	}
	found, err := x.cluster.List(ctx, ref, filter.labels("matchingLabels"))
	if err != nil {
		return nil, err
	}
	items := make([]any, 0, len(found))
	for i := range found {
		items = append(items, found[i].Object)
	}
	return map[string]any{"values": map[string]any{"items": items}}, nil
}

func (x *run) deleteObjects(ctx context.Context, p params) error {
	value, filter := p.object("value"), p.object("filter")
	if filter == nil {
		o, err := x.objectFrom(map[string]any(value))
		if err != nil {
			return err
		}
		if err := x.mayTouch(apply.RefOf(o)); err != nil {
			return err
		}
		return x.cluster.Delete(ctx, apply.RefOf(o))
	}
	ref := kindRef(value.text("apiVersion"), value.text("kind"))
	ref.Namespace = cmp.Or(filter.text("namespace"), x.app.Namespace)
	if err := x.mayTouch(ref); err != nil {
		return err
	}
	found, err := x.cluster.List(ctx, ref, filter.labels("matchingLabels"))
	for i := range found {
		err = errors.Join(err, x.cluster.Delete(ctx, apply.RefOf(&found[i])))
	}
	return err
}

func kindRef(apiVersion, kind string) apply.ObjectRef {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	return apply.RefOf(o)
}

// mayTouch keeps a step away from the Secrets of other namespaces: whoever may write an
// Application here need not be allowed to read there.
func (x *run) mayTouch(ref apply.ObjectRef) error {
	if ref.Group == "" && ref.Kind == "Secret" && ref.Namespace != x.app.Namespace {
		return fmt.Errorf("a step uses the Secrets of its Application's namespace, %s, and no others", x.app.Namespace)
	}
	return nil
}
