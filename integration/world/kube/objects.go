package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// Object names one object, or with Selector a list of them. Kind may be any name that
// kubectl would take: Deployment, deployments, deploy, mysqlcluster.mysql.presslabs.org.
type Object struct {
	Kind, Namespace, Name string
	Selector              string
}

func (o Object) String() string {
	if o.Selector != "" {
		return fmt.Sprintf("%s %s?%s", o.Kind, o.Namespace, o.Selector)
	}
	return fmt.Sprintf("%s %s/%s", o.Kind, o.Namespace, o.Name)
}

// resource is the client for the objects of o's kind where o is.
func (c *Cluster) resource(o Object) (dynamic.ResourceInterface, error) {
	mapping, err := c.mapping(o.Kind)
	if err != nil {
		return nil, err
	}
	all := c.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return all, nil
	}
	return all.Namespace(o.Namespace), nil
}

// Apply applies YAML documents as kubectl would with server-side apply; those without a
// namespace go to the one given. Unknown fields are refused.
func (c *Cluster) Apply(ctx context.Context, manifest []byte, namespace string) ([]Object, error) {
	var applied []Object
	docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		obj := &unstructured.Unstructured{}
		if err := docs.Decode(&obj.Object); errors.Is(err, io.EOF) {
			return applied, nil
		} else if err != nil {
			return applied, err
		}
		if len(obj.Object) == 0 {
			continue
		}
		if obj.GetNamespace() == "" {
			obj.SetNamespace(namespace)
		}
		o := Object{Namespace: obj.GetNamespace(), Name: obj.GetName()}
		o.Kind = strings.TrimSuffix(obj.GetKind()+"."+obj.GroupVersionKind().Group, ".")
		resource, err := c.resource(o)
		if err != nil {
			return applied, err
		}
		data, err := obj.MarshalJSON()
		if err != nil {
			return applied, err
		}
		_, err = resource.Patch(ctx, o.Name, "application/apply-patch+yaml", data,
			metav1.PatchOptions{FieldManager: "kubectl", FieldValidation: "Strict", Force: new(true)})
		if err != nil {
			return applied, fmt.Errorf("applying %s: %w", o, err)
		}
		applied = append(applied, o)
	}
}

// Patch changes one object by a JSON merge patch, as a person at a keyboard would.
func (c *Cluster) Patch(ctx context.Context, o Object, patch string) error {
	resource, err := c.resource(o)
	if err != nil {
		return err
	}
	_, err = resource.Patch(ctx, o.Name, "application/merge-patch+json", []byte(patch),
		metav1.PatchOptions{FieldManager: "kubectl-edit"})
	return err
}

// Delete deletes one object.
func (c *Cluster) Delete(ctx context.Context, o Object) error {
	resource, err := c.resource(o)
	if err != nil {
		return err
	}
	return resource.Delete(ctx, o.Name, metav1.DeleteOptions{})
}

// Get reads one object; a kind that the cluster does not have counts as not found.
func (c *Cluster) Get(ctx context.Context, o Object) (*unstructured.Unstructured, error) {
	resource, err := c.resource(o)
	if meta.IsNoMatchError(err) {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: o.Kind}, o.Name)
	}
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, o.Name, metav1.GetOptions{})
}

// Value reads the value at path: of one object, or of every object that the selector
// selects, sorted and joined by commas.
func (c *Cluster) Value(ctx context.Context, o Object, path string) (string, error) {
	if o.Selector == "" {
		obj, err := c.Get(ctx, o)
		if err != nil {
			return "", err
		}
		return Lookup(obj.Object, path)
	}
	resource, err := c.resource(o)
	if err != nil {
		return "", err
	}
	list, err := resource.List(ctx, metav1.ListOptions{LabelSelector: o.Selector})
	if err != nil {
		return "", err
	}
	var values []string
	for _, item := range list.Items {
		value, err := Lookup(item.Object, path)
		if err != nil {
			return "", err
		}
		values = append(values, value)
	}
	slices.Sort(values)
	return strings.Join(values, ","), nil
}

// Records counts the Kubernetes Events about an Application whose reason matches, each as
// often as it says it happened.
func (c *Cluster) Records(ctx context.Context, namespace, name string, reason func(string) bool) (int, error) {
	resource, err := c.resource(Object{Kind: "Event.events.k8s.io", Namespace: namespace})
	if err != nil {
		return 0, err
	}
	list, err := resource.List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	count := 0
	for _, item := range list.Items {
		about, _, _ := unstructured.NestedString(item.Object, "regarding", "name")
		kind, _, _ := unstructured.NestedString(item.Object, "regarding", "kind")
		why, _, _ := unstructured.NestedString(item.Object, "reason")
		if kind != "Application" || about != name || !reason(why) {
			continue
		}
		again, _, _ := unstructured.NestedInt64(item.Object, "series", "count")
		count += int(max(1, again))
	}
	return count, nil
}

// Want says what to wait for: an object whose value at Path matches. The zero value is
// met by any object, Gone by none.
type Want struct {
	Path  string
	Match func(string) bool
	Gone  bool
}

// Exactly matches one text.
func Exactly(text string) func(string) bool { return func(value string) bool { return value == text } }

// Matcher reads what a story expects: one text, or between slashes a regular expression.
func Matcher(text string) (func(string) bool, error) {
	inner, ok := strings.CutPrefix(text, "/")
	if !ok || len(text) < 3 || !strings.HasSuffix(inner, "/") {
		return Exactly(text), nil
	}
	re, err := regexp.Compile(strings.TrimSuffix(inner, "/"))
	if err != nil {
		return nil, err
	}
	return re.MatchString, nil
}

// met also returns what was seen instead.
func (w Want) met(obj *unstructured.Unstructured) (bool, string, error) {
	switch {
	case obj == nil:
		return w.Gone, "no such object", nil
	case w.Gone:
		return false, "still there, deletionTimestamp " + fmt.Sprint(obj.GetDeletionTimestamp()), nil
	case w.Path == "":
		return true, "", nil
	}
	value, err := Lookup(obj.Object, w.Path)
	return err == nil && w.Match(value), fmt.Sprintf("%q", value), err
}

// Await watches one object until it is as wanted. When ctx ends first, the error says
// what was there last.
func (c *Cluster) Await(ctx context.Context, o Object, want Want) error {
	seen := "nothing"
	if _, err := parsePath(want.Path); err != nil {
		return err
	}
	for {
		met, last, err := c.awaitOnce(ctx, o, want)
		if met {
			return nil
		}
		if last != "" {
			seen = last
		}
		if err != nil && !retryable(err) && ctx.Err() == nil {
			return fmt.Errorf("waiting for %s: %w", o, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s %s: %w; last seen: %s", o, want.Path, context.Cause(ctx), seen)
		case <-time.After(50 * time.Millisecond): // the watch broke, or the kind is not there yet
		}
	}
}

func (c *Cluster) awaitOnce(ctx context.Context, o Object, want Want) (met bool, seen string, err error) {
	resource, err := c.resource(o)
	if meta.IsNoMatchError(err) {
		return want.Gone, "no such kind", nil
	}
	if err != nil {
		return false, "", err
	}
	obj, version, err := getOrVersion(ctx, resource, o.Name)
	if err != nil {
		return false, "", err
	}
	if met, seen, err = want.met(obj); met || err != nil {
		return met, seen, err
	}
	events, err := resource.Watch(ctx, metav1.ListOptions{
		ResourceVersion: version, FieldSelector: fields.OneTermEqualSelector("metadata.name", o.Name).String(),
	})
	if err != nil {
		return false, seen, err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		obj, _ := event.Object.(*unstructured.Unstructured)
		switch event.Type {
		case watch.Error, watch.Bookmark:
			return false, seen, nil
		case watch.Deleted:
			obj = nil
		}
		if met, seen, err = want.met(obj); met || err != nil {
			return met, seen, err
		}
	}
	return false, seen, nil
}

// getOrVersion lists instead of getting: the list has a version to watch from even when
// there is no object.
func getOrVersion(ctx context.Context, resource dynamic.ResourceInterface, name string) (*unstructured.Unstructured, string, error) {
	list, err := resource.List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	if err != nil {
		return nil, "", err
	}
	if len(list.Items) == 0 {
		return nil, list.GetResourceVersion(), nil
	}
	return &list.Items[0], list.GetResourceVersion(), nil
}

// retryable tells a cluster that is away for a while from a question that makes no sense.
func retryable(err error) bool {
	_, isStatus := errors.AsType[*apierrors.StatusError](err)
	return !isStatus || apierrors.IsNotFound(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || apierrors.IsTimeout(err)
}

// ApplyBare applies documents with nothing between the client and the API server, several
// at once: what applying them costs at least.
func (c *Cluster) ApplyBare(ctx context.Context, manifests []string, namespace string, parallel int) error {
	type bare struct {
		resource dynamic.ResourceInterface
		name     string
		data     []byte
	}
	todo := make([]bare, 0, len(manifests))
	for _, text := range manifests {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
			return err
		}
		obj.SetNamespace(namespace)
		kind := strings.TrimSuffix(obj.GetKind()+"."+obj.GroupVersionKind().Group, ".")
		resource, err := c.resource(Object{Kind: kind, Namespace: namespace})
		if err != nil {
			return err
		}
		data, err := obj.MarshalJSON()
		if err != nil {
			return err
		}
		todo = append(todo, bare{resource, obj.GetName(), data})
	}
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, b := range todo {
		group.Go(func() error {
			_, err := b.resource.Patch(ctx, b.name, "application/apply-patch+yaml", b.data, metav1.PatchOptions{FieldManager: "bare", Force: new(true)})
			return err
		})
	}
	return group.Wait()
}
