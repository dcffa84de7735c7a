package kinds_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/kinds"
)

// server tells of the kinds it has, in the form that real ones use.
type server struct {
	groups atomic.Value // string, of APIGroupDiscovery documents
	asked  atomic.Int32
	away   atomic.Bool
}

func group(name, freshness, kind string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q},"versions":[{"version":"v1","freshness":%q,"resources":[`+
		`{"resource":%q,"responseKind":{"group":%q,"version":"v1","kind":%q},"scope":"Cluster","verbs":["get"],"singularResource":"x",`+
		`"subresources":[{"subresource":"status","responseKind":{"kind":%q},"verbs":["get"]}]}]}]}`,
		name, freshness, strings.ToLower(kind)+"s", name, kind, kind)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.away.Load() {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	items := ""
	if r.URL.Path == "/apis" {
		s.asked.Add(1)
		items, _ = s.groups.Load().(string)
	}
	w.Header().Set("Content-Type", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	_, _ = io.WriteString(w, `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[`+items+`]}`)
}

// RoundTrip answers without a network, so that time can be pretended.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

func TestFind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		s.groups.Store(group("a.example.com", "Current", "Boat") + "," + group("b.example.com", "Stale", "Car"))
		k, err := kinds.New(&rest.Config{Host: "http://pretended.example.com", QPS: -1}, &http.Client{Transport: s}, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		find := func(gvk schema.GroupVersionKind) error {
			_, err := k.Find(t.Context(), gvk)
			return err
		}
		boat := schema.GroupVersionKind{Group: "a.example.com", Version: "v1", Kind: "Boat"}
		car := schema.GroupVersionKind{Group: "b.example.com", Version: "v1", Kind: "Car"}
		ship := schema.GroupVersionKind{Group: "c.example.com", Version: "v1", Kind: "Ship"}

		found, err := k.Find(t.Context(), boat)
		want := kinds.Kind{Resource: schema.GroupVersionResource{Group: "a.example.com", Version: "v1", Resource: "boats"}}
		if err != nil || found != want {
			t.Errorf("a kind that is there: %+v %v", found, err)
		}
		if err := find(car); err == nil || meta.IsNoMatchError(err) {
			t.Errorf("a kind whose group does not answer: %v", err)
		}
		if err := find(ship); !meta.IsNoMatchError(err) {
			t.Errorf("a kind that is not there: %v", err)
		}
		if namespaced, known := k.Namespaced(boat.GroupKind()); namespaced || !known {
			t.Errorf("scope: %v %v", namespaced, known)
		}
		before := s.asked.Load()
		if err := find(ship); !meta.IsNoMatchError(err) || s.asked.Load() != before {
			t.Errorf("a moment later it asked again: %v", err)
		}

		s.groups.Store(group("a.example.com", "Current", "Boat") + "," + group("c.example.com", "Current", "Ship"))
		time.Sleep(2 * time.Second) // pretended
		if err := find(ship); err != nil {
			t.Errorf("a kind that came: %v", err)
		}

		k.Outdated()
		s.away.Store(true)
		if err := find(boat); err != nil {
			t.Errorf("a kind that was there, while nobody answers: %v", err)
		}
		if err := find(car); err == nil || meta.IsNoMatchError(err) {
			t.Errorf("an unknown kind, while nobody answers: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.AwaitServed(ctx, car); err == nil {
			t.Error("a kind that nobody serves is served")
		}
	})
}
