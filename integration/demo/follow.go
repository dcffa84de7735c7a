package main

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

// kinds are what the example consists of.
var kinds = []string{"Application", "Deployment", "Service", "Ingress", "MysqlCluster.mysql.presslabs.org"}

// recent is how long after a push a change is told as coming from it.
const recent = 30 * time.Second

// follow prints a line per push and per change until ctx ends.
func (d *demo) follow(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.followPushes(ctx) })
	group.Go(func() error { return d.world.Cluster.Follow(ctx, kinds, d.changed) })
	return group.Wait()
}

func (d *demo) followPushes(ctx context.Context) error {
	for i := 0; ; i++ {
		push, _, err := d.world.Git.AwaitDelivery(ctx, i, func(forge.Delivery) bool { return true })
		if err != nil {
			return nil //nolint:nilerror // ctx ended: there is nothing more to follow
		}
		d.event(push.Pushed, "push", fmt.Sprintf("%s %s %.7s, webhook answered %d after %s",
			push.Repo, push.Ref, push.Commit, push.Status, since(push.Pushed, push.Answered)))
	}
}

// changed prints what a person would want to know of one change, often nothing.
func (d *demo) changed(before, after *unstructured.Unstructured) {
	obj := after
	if obj == nil {
		obj = before
	}
	_, owned := obj.GetLabels()["app.oam.dev/name"]
	app := obj.GetKind() == "Application"
	if !owned && !app {
		return
	}
	var what string
	switch {
	case before == nil:
		what = "created"
	case after == nil:
		what = "deleted"
	case app:
		what = progress(before, after)
	case !reflect.DeepEqual(before.Object["spec"], after.Object["spec"]):
		what = "changed"
	}
	if what == "" {
		return
	}
	now := time.Now()
	word := ""
	if pushes := d.world.Git.Deliveries(0); len(pushes) > 0 {
		if pushed := pushes[len(pushes)-1].Pushed; now.Sub(pushed) < recent {
			word = "+" + since(pushed, now)
		}
	}
	d.event(now, word, fmt.Sprintf("%s %s/%s %s", obj.GetKind(), obj.GetNamespace(), obj.GetName(), what))
}

// progress is what changed in an Application's status that is news to a person.
func progress(before, after *unstructured.Unstructured) string {
	value := func(obj *unstructured.Unstructured, path string) string {
		text, err := kube.Lookup(obj.Object, path)
		if err != nil {
			return ""
		}
		return text
	}
	const (
		revision = "status.latestRevision.name"
		phase    = "status.status"
		ready    = "status.conditions[type=Ready].status"
		message  = "status.conditions[type=Ready].message"
	)
	text := ""
	if now := value(after, revision); now != value(before, revision) {
		text += " revision " + now
	}
	if now := value(after, phase); now != value(before, phase) {
		text += " " + now
	}
	if now := value(after, message); value(after, ready) == "False" && now != value(before, message) {
		text += " not ready: " + now
	}
	if text == "" {
		return ""
	}
	return text[1:]
}

func (d *demo) event(at time.Time, word, text string) {
	fmt.Fprintf(d.out, "  %s  %s %s\n", d.out.paint(dim, at.Format("15:04:05.000")), d.out.paint(green, fmt.Sprintf("%-9s", word)), text)
}
