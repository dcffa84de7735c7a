package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

const (
	oldDomain = "testsvc.example.com"
	newDomain = "kubevela.example.com"
)

// change pushes the example's new domain and says when the Ingress had it.
func (d *demo) change(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.table(ctx); err != nil {
		return err
	}
	path := filepath.Join(d.clone, "apps", "my-app.yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), oldDomain, newDomain)), 0o644); err != nil {
		return err
	}
	if _, err := forge.Git(ctx, d.clone, "commit", "--quiet", "--all", "--message", "A new domain"); err != nil {
		return err
	}
	changed := make(chan error, 1)
	var seen time.Time
	go func() {
		ingress := kube.Object{Kind: "Ingress", Namespace: namespace, Name: "my-server"}
		err := d.world.Cluster.Await(ctx, ingress, kube.Want{Path: "spec.rules[0].host", Match: kube.Exactly(newDomain)})
		seen = time.Now()
		changed <- err
	}()
	if _, err := forge.Git(ctx, d.clone, "push", "--quiet"); err != nil {
		return err
	}
	if err := <-changed; err != nil {
		return err
	}
	push, _, err := d.world.Git.AwaitDelivery(ctx, 0, func(x forge.Delivery) bool { return x.Ref == "refs/heads/main" })
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\npush in the repository → webhook answered %d after %s → Ingress changed after %s\n",
		push.Status, since(push.Pushed, push.Answered), since(push.Pushed, seen))
	return nil
}

func since(start, end time.Time) string { return fmt.Sprintf("%d ms", end.Sub(start).Milliseconds()) }
