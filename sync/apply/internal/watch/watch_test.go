package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

var boats = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "boats"}

func boat(name string, version int) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Boat"}}
	o.SetName(name)
	o.SetResourceVersion(fmt.Sprint(version))
	return o
}

func client() *fake.FakeDynamicClient {
	return fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{boats: "BoatList"})
}

// harness is a watch that is fed by hand: what arrives goes into the store and is told,
// as the informer does it.
type harness struct {
	*Watch[*unstructured.Unstructured]
	told []string
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{}
	var err error
	h.Watch, err = New(Config[*unstructured.Unstructured]{
		Client: client(), Resource: boats, Keep: func(u *unstructured.Unstructured) *unstructured.Unstructured { return u },
		Changed: func(before, after *unstructured.Unstructured, own bool) {
			version := func(o *unstructured.Unstructured) string {
				if o == nil {
					return "none"
				}
				return o.GetResourceVersion()
			}
			h.told = append(h.told, strings.TrimSpace(version(before)+">"+version(after)+" "+map[bool]string{true: "own"}[own]))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *harness) arrive(t *testing.T, before, after *unstructured.Unstructured) {
	t.Helper()
	var err error
	if after == nil {
		err = h.informer.GetStore().Delete(before)
	} else {
		err = h.informer.GetStore().Add(after)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.changed(before, after, false)
}

func (h *harness) now(t *testing.T) string {
	t.Helper()
	o, ok := h.Get("", "a")
	if !ok {
		return "none"
	}
	return o.GetResourceVersion()
}

func TestOwnWrites(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(t *testing.T, h *harness)
		now  string
		told []string
	}{
		{"the answer comes before the echo", func(t *testing.T, h *harness) {
			h.arrive(t, nil, boat("a", 1))
			h.Writing("", "a")
			h.Wrote(boat("a", 5))
			h.arrive(t, boat("a", 1), boat("a", 5))
		}, "5", []string{"none>1", "1>5 own"}},
		{"the echo comes before the answer", func(t *testing.T, h *harness) {
			h.arrive(t, nil, boat("a", 1))
			h.Writing("", "a")
			h.arrive(t, boat("a", 1), boat("a", 5))
			h.Wrote(boat("a", 5))
		}, "5", []string{"none>1", "1>5 own"}},
		{"what others did before the write is part of its answer", func(t *testing.T, h *harness) {
			h.Writing("", "a")
			h.arrive(t, nil, boat("a", 3))
			h.Wrote(boat("a", 5))
			h.arrive(t, boat("a", 3), boat("a", 5))
		}, "5", []string{"none>3 own", "3>5 own"}},
		{"what others did after it is told", func(t *testing.T, h *harness) {
			h.Writing("", "a")
			h.arrive(t, nil, boat("a", 5))
			h.arrive(t, boat("a", 5), boat("a", 7))
			h.Wrote(boat("a", 5))
		}, "7", []string{"none>7"}},
		{"a write that fails tells what was held back", func(t *testing.T, h *harness) {
			h.Writing("", "a")
			h.arrive(t, nil, boat("a", 3))
			h.Stopped("", "a")
		}, "3", []string{"none>3"}},
		{"a write that fails does not tell the echo of one before", func(t *testing.T, h *harness) {
			h.Wrote(boat("a", 3))
			h.Writing("", "a")
			h.arrive(t, nil, boat("a", 3))
			h.Stopped("", "a")
		}, "3", []string{"none>3 own"}},
		{"the write is seen before the watch brings it", func(_ *testing.T, h *harness) {
			h.Wrote(boat("a", 5))
		}, "5", nil},
		{"an older state does not hide it", func(t *testing.T, h *harness) {
			h.Wrote(boat("a", 5))
			h.arrive(t, nil, boat("a", 3))
		}, "5", []string{"none>3 own"}},
		{"our delete is seen at once and is no news", func(t *testing.T, h *harness) {
			h.arrive(t, nil, boat("a", 3))
			h.Writing("", "a")
			h.Deleted(boat("a", 3))
			if got := h.now(t); got != "none" {
				t.Errorf("right after the delete there is %s", got)
			}
			h.arrive(t, boat("a", 4), nil)
		}, "none", []string{"none>3", "4>none own"}},
		{"created anew after our delete", func(t *testing.T, h *harness) {
			h.arrive(t, nil, boat("a", 3))
			h.Writing("", "a")
			h.Deleted(boat("a", 3))
			h.arrive(t, boat("a", 4), nil)
			h.arrive(t, nil, boat("a", 6))
		}, "6", []string{"none>3", "4>none own", "none>6"}},
		{"somebody deletes what we wrote", func(t *testing.T, h *harness) {
			h.Wrote(boat("a", 3))
			h.arrive(t, nil, boat("a", 3))
			h.arrive(t, boat("a", 4), nil)
		}, "none", []string{"none>3 own", "4>none"}},
		{"it came and went while we wrote", func(t *testing.T, h *harness) {
			h.Writing("", "a")
			h.arrive(t, nil, boat("a", 3))
			h.arrive(t, boat("a", 4), nil)
			h.Stopped("", "a")
		}, "none", []string{"4>none"}},
		{"two writers at once", func(t *testing.T, h *harness) {
			h.Writing("", "a")
			h.Writing("", "a")
			h.arrive(t, nil, boat("a", 5))
			h.Wrote(boat("a", 5))
			h.arrive(t, boat("a", 5), boat("a", 6))
			h.Wrote(boat("a", 6))
		}, "6", []string{"none>6 own"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			test.do(t, h)
			if diff := cmp.Diff(test.told, h.told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if got := h.now(t); got != test.now {
				t.Errorf("there is %s, want %s", got, test.now)
			}
			if len(h.writing) > 0 {
				t.Errorf("still writing %v", h.writing)
			}
			var listed []string
			for _, o := range h.List() {
				listed = append(listed, o.GetResourceVersion())
			}
			if want := slices.DeleteFunc([]string{test.now}, func(v string) bool { return v == "none" }); !slices.Equal(want, listed) {
				t.Errorf("the list holds %v, want %v", listed, want)
			}
		})
	}
}

func TestWaitSaysWhyThereIsNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"forbidden":  {apierrors.NewForbidden(boats.GroupResource(), "", errors.New("ask somebody")), `boats.example.com is forbidden: ask somebody`},
		"not served": {apierrors.NewNotFound(boats.GroupResource(), ""), `boats.example.com "" not found`},
		"away":       {errors.New("connection refused"), "too long\nfailed to list example.com/v1, Resource=boats: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client()
			refuse := func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, test.err }
			c.PrependReactor("list", "*", refuse)
			broken := make(chan error, 100)
			w, err := New(Config[*unstructured.Unstructured]{
				Client: c, Resource: boats, Keep: func(u *unstructured.Unstructured) *unstructured.Unstructured { return u },
				Failed: func(err error) { broken <- err },
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); w.Run(ctx) }()
			defer func() { cancel(); <-done }()
			<-broken
			waiting, stop := context.WithTimeoutCause(ctx, 200*time.Millisecond, errors.New("too long"))
			defer stop()
			err = w.Wait(waiting)
			if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
				err = status
			}
			if err == nil || err.Error() != test.want {
				t.Errorf("error is %v", err)
			}
		})
	}
}
