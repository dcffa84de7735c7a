package reconcile

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// waitsFor ends the evaluation of a step that a call found to be waiting.
type waitsFor string

func (w waitsFor) Error() string { return string(w) }

// componentOf renders a component that a step brings itself, in its namespace.
func (x *run) componentOf(ctx context.Context, p params) (*part, error) {
	made := &part{}
	if p["patch"] != nil {
		return nil, errors.New("patch: not supported here, use a trait of the component or an override policy")
	}
	if err := oam.Decode("value", p.object("value"), &made.Component); err != nil {
		return nil, err
	}
	src, err := render.SourceOf(made.Component)
	if err != nil {
		return nil, err
	}
	if src != nil {
		return nil, fmt.Errorf("value: a component of type %q has a source: a step of type apply-component delivers it", made.Type)
	}
	made.spec, made.Namespace = made.Component, p.text("namespace")
	made.rendered, err = x.renderer.Component(ctx, made.spec, x.context(made), nil)
	return made, err
}

func (x *run) componentRender(ctx context.Context, p params) (map[string]any, error) {
	made, err := x.componentOf(ctx, p)
	if err != nil {
		return nil, err
	}
	outputs := map[string]any{}
	value := map[string]any{"outputs": outputs}
	for i, o := range made.rendered.Objects {
		place(value, outputs, o, i == 0)
	}
	return value, nil
}

// componentApply applies a component. Its objects are the step's: they stay while the run
// is about this revision.
func (x *run) componentApply(ctx context.Context, p params) (map[string]any, error) {
	made, err := x.componentOf(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := x.apply(ctx, x.items(made, policy.OnUpdate, made.rendered.Objects), false); err != nil {
		return nil, err
	}
	for _, o := range made.rendered.Objects {
		if r := resourceOf(o.Unstructured, byStep); !slices.Contains(x.madeNow, r) {
			x.madeNow = append(x.madeNow, r)
		}
	}
	if health := x.health(ctx, made); p["waitHealthy"] != false && !health.Healthy {
		return nil, waitsFor(fmt.Sprintf("wait healthy: component %s: %s", made.Name, health.Message))
	}
	value := x.valueOf(ctx, made)
	delete(value, "context")
	return value, nil
}

// searchEvents lists the Kubernetes Events about an object.
func (x *run) searchEvents(ctx context.Context, p params) (map[string]any, error) {
	about, err := x.objectFrom(p["value"])
	if err != nil {
		return nil, err
	}
	all, err := x.cluster.List(ctx, apply.ObjectRef{Version: "v1", Kind: "Event", Namespace: about.GetNamespace()}, nil)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, event := range all {
		involved := params(event.Object).object("involvedObject")
		if involved.text("kind") == about.GetKind() && involved.text("name") == about.GetName() {
			list = append(list, event.Object)
		}
	}
	return map[string]any{"list": list}, nil
}

// What a step gets of a log is kept while the step runs.
const (
	maxLog      = 256 << 10
	maxLogLines = 1000
)

// podLogs reads the end of a container's log.
func (x *run) podLogs(ctx context.Context, p params) (map[string]any, error) {
	options := p.object("options")
	o := apply.LogOptions{Container: options.text("container"), Tail: maxLogLines, Since: time.Duration(options.number("sinceSeconds")) * time.Second}
	if n := options.number("tailLines"); n > 0 {
		o.Tail = min(n, maxLogLines)
	}
	namespace := p.text("namespace")
	if namespace == "" {
		namespace = x.app.Namespace
	}
	log, err := x.cluster.Logs(ctx, namespace, p.text("pod"), o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	text, err := io.ReadAll(io.LimitReader(log, maxLog))
	if err != nil {
		return nil, fmt.Errorf("reading the log of pod %s/%s: %w", namespace, p.text("pod"), err)
	}
	return map[string]any{"outputs": map[string]any{"logs": base64.StdEncoding.EncodeToString(text)}}, nil
}
