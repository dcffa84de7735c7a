package apply

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Tracked reads, from the server, the inventory of an Application; empty when there is
// none.
func (c *Cluster) Tracked(ctx context.Context, namespace, name string) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := c.dynamic.Resource(trackerResource).List(ctx, metav1.ListOptions{
		LabelSelector: oam.LabelName + "=" + name + "," + oam.LabelNamespace + "=" + namespace,
	})
	if err != nil {
		return nil, listError("ResourceTrackers", err)
	}
	var out []Entry
	for i := range list.Items {
		t := decodeTracker(&list.Items[i])
		if t.err != nil {
			return nil, fmt.Errorf("reading ResourceTracker %s: %w", t.Name, t.err)
		}
		out = append(out, t.entries...)
	}
	return out, nil
}

// Pods reads the pods that a label selector chooses, by name.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) ([]*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := c.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).
		Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, classify(ObjectRef{Version: "v1", Kind: "Pods"}, "listing", err)
	}
	out := make([]*unstructured.Unstructured, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, &list.Items[i])
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out, nil
}

// LogOptions choose what of a container's log is read.
type LogOptions struct {
	Container string
	Follow    bool
	Tail      int           // lines from the end; negative means all
	Since     time.Duration // 0 means from the beginning
}

// Logs opens the log of a container. The caller closes it.
func (c *Cluster) Logs(ctx context.Context, namespace, pod string, o LogOptions) (io.ReadCloser, error) {
	query := url.Values{"container": {o.Container}}
	if o.Follow {
		query.Set("follow", "true")
	}
	if o.Tail >= 0 {
		query.Set("tailLines", strconv.Itoa(o.Tail))
	}
	if o.Since > 0 {
		query.Set("sinceSeconds", strconv.Itoa(max(1, int(o.Since.Seconds()))))
	}
	body, err := c.raw.get(ctx, "", query, "api", "v1", "namespaces", namespace, "pods", pod, "log")
	if err != nil {
		return nil, classify(ObjectRef{Version: "v1", Kind: "Pod", Namespace: namespace, Name: pod}, "reading the log of", err)
	}
	return body, nil
}

// Column is one cell of what "kubectl get" shows of an object.
type Column struct{ Name, Value string }

const asTable = "application/json;as=Table;v=v1;g=meta.k8s.io"

// Columns asks the server for the columns of one object, without its name.
func (c *Cluster) Columns(ctx context.Context, ref ObjectRef) ([]Column, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	k, err := c.kinds.Find(ctx, ref.gvk())
	if err != nil {
		return nil, classify(ref, "reading", err)
	}
	path := []string{"apis", k.Resource.Group, k.Resource.Version}
	if k.Resource.Group == "" {
		path = []string{"api", k.Resource.Version}
	}
	if k.Namespaced {
		path = append(path, "namespaces", ref.Namespace)
	}
	body, err := c.raw.get(ctx, asTable, nil, append(path, k.Resource.Resource, ref.Name)...)
	if err != nil {
		return nil, classify(ref, "reading", err)
	}
	defer func() { _ = body.Close() }()
	var table metav1.Table
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&table); err != nil {
		return nil, fmt.Errorf("reading the columns of %s: %w", ref, err)
	}
	if len(table.Rows) != 1 {
		return nil, fmt.Errorf("reading the columns of %s: %d rows given, 1 wanted", ref, len(table.Rows))
	}
	var out []Column
	for i, column := range table.ColumnDefinitions {
		if column.Priority == 0 && column.Name != "Name" && i < len(table.Rows[0].Cells) {
			out = append(out, Column{Name: column.Name, Value: fmt.Sprint(table.Rows[0].Cells[i])})
		}
	}
	return out, nil
}

// maxAnswer bounds what is read of an answer that is held in memory.
const maxAnswer = 4 << 20

// raw makes requests whose answers are not objects.
type raw struct {
	client *http.Client
	server *url.URL
}

func newRaw(config *rest.Config, client *http.Client) (*raw, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	return &raw{client: client, server: server}, err
}

func (r *raw) get(ctx context.Context, accept string, query url.Values, path ...string) (io.ReadCloser, error) {
	address := r.server.JoinPath(path...)
	address.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(res.Body, maxServerText))
	var status metav1.Status
	if json.Unmarshal(said, &status) == nil && status.Kind == "Status" {
		return nil, &apierrors.StatusError{ErrStatus: status}
	}
	return nil, errors.New(res.Status + " " + string(bytes.TrimSpace(said)))
}
