package apply_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tradewind-dev/tradewind/sync/apply"
)

// connectTo is a Cluster at an HTTP server.
func connectTo(t *testing.T, handler http.HandlerFunc) *apply.Cluster {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: '%s/base'}}]\nusers: [{name: u, user: {}}]\n"+
		"contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", server.URL)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := apply.Connect(apply.Config{Kubeconfig: file}, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLogsAreStreamed(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	c := connectTo(t, func(w http.ResponseWriter, r *http.Request) {
		want := "/base/api/v1/namespaces/shop/pods/web-1/log?container=web&follow=true&sinceSeconds=90&tailLines=5"
		if r.URL.String() != want {
			t.Errorf("asked for %s, want %s", r.URL, want)
		}
		fmt.Fprint(w, "first\n")
		http.NewResponseController(w).Flush()
		<-goOn
		fmt.Fprint(w, "second\n")
	})
	log, err := c.Logs(t.Context(), "shop", "web-1", apply.LogOptions{Container: "web", Follow: true, Tail: 5, Since: 90 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	first := make([]byte, 6)
	if _, err := io.ReadFull(log, first); err != nil || string(first) != "first\n" {
		t.Fatalf("before the log goes on: %q, %v", first, err)
	}
	close(goOn)
	if rest, err := io.ReadAll(log); err != nil || string(rest) != "second\n" {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}

func TestLogsRefused(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"container \"web\" is waiting to start","reason":"BadRequest","code":400}`: `reading the log of Pod shop/web-1: container "web" is waiting to start`,
		"<html>no": "reading the log of Pod shop/web-1: 400 Bad Request <html>no",
	} {
		c := connectTo(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, body)
		})
		_, err := c.Logs(t.Context(), "shop", "web-1", apply.LogOptions{Container: "web", Tail: -1})
		if err == nil || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}
